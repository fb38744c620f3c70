"""Answerers without weights: gold, lexical, replay, and the routes between them."""

ANSWERER_FORMAT = 1
"""Goes up when the same question would get another answer: a change of gold, of lexical, or of the retrieval that
picks what is asked about. Part of the key of every attempt."""
