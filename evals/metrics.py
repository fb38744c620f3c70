"""Numbers that sum up attempts, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb


def pass_at_k(counts: Iterable[tuple[int, int]], k: int) -> float | None:
    """Return the mean chance that one of k attempts at a commit resolves it; None without enough attempts.

    `counts` holds (attempts, resolved) per commit; commits with fewer than k attempts do not count.
    The estimator is the unbiased one of Chen et al. 2021: 1 - C(n - c, k) / C(n, k).
    """
    shares = [1.0 - comb(tried - solved, k) / comb(tried, k) for tried, solved in counts if tried >= k]
    return sum(shares) / len(shares) if shares else None
