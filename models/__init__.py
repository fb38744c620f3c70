"""Bases and adapters by content, and the recipe of the embedded default base."""
