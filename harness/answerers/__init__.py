"""Answerers without weights: gold, lexical, replay, and the routes between them."""
