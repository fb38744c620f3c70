"""Tests of the numbers that sum up attempts."""

from __future__ import annotations

import pytest

from evals.metrics import pass_at_k


def test_pass_at_1_is_the_mean_share_of_resolved_attempts() -> None:
    """Two commits, one solved in 1 of 4 attempts and one in 4 of 4, average to 0.625."""
    assert pass_at_k([(4, 1), (4, 4)], 1) == pytest.approx(0.625)


def test_pass_at_k_is_the_chance_that_a_draw_of_k_holds_a_success() -> None:
    """Of the 6 pairs out of 4 attempts with one success, 3 hold it."""
    assert pass_at_k([(4, 1)], 2) == pytest.approx(0.5)


def test_commits_with_fewer_attempts_than_k_do_not_count() -> None:
    """A commit tried once says nothing about pass@2."""
    assert pass_at_k([(1, 1), (2, 0)], 2) == 0.0
    assert pass_at_k([(1, 1)], 2) is None
