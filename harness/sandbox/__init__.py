"""Isolation of untrusted code."""
