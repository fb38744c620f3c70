"""Turns (commit, model) into an outcome with evidence; knows nothing of the rooms above it."""
