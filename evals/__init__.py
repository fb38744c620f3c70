"""Exams: frozen sets, metrics, comparisons, gates."""
