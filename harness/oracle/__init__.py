"""Judging behaviour in a process that no test and no test framework is part of."""
