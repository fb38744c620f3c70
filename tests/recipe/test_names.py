"""Names come from pools that share no noun, the same ones on every machine."""

from __future__ import annotations

import random
import subprocess
import sys

from models.recipe.names import Namer, Pool, nouns, pool_of_coined, reserved_words


def test_pools_share_no_noun() -> None:
    """A noun that measures or adapts is in no training text of the base."""
    everything = [noun for pool in Pool for noun in nouns(pool)]
    assert len(set(everything)) == len(everything)


def test_there_are_enough_nouns() -> None:
    """The base sees thousands of names, and the reserved pools are wide, too."""
    sizes = {pool: len(nouns(pool)) for pool in Pool}
    assert sizes[Pool.PRETRAIN] >= 9_000
    assert min(sizes.values()) >= 1_000


def test_pools_do_not_depend_on_the_hash_seed() -> None:
    """Two processes with different hash seeds have the same pools."""
    program = "from models.recipe.names import *; import hashlib; print(hashlib.sha256(repr([nouns(p) for p in Pool]).encode()).hexdigest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_names_of_a_repository_are_new() -> None:
    """No two functions, modules or classes of one namer share a name."""
    namer = Namer(random.Random(1), Pool.PRETRAIN)
    names = [draw() for _ in range(60) for draw in (namer.function, namer.module, namer.class_, namer.constant)]
    assert len(set(names)) == len(names)


def test_reserved_nouns_are_found_inside_identifiers() -> None:
    """Snake case, camel case and prose are all looked through."""
    assert reserved_words("def load_glacier(x): return CanyonDepth") == {"glacier", "canyon"}
    assert reserved_words("def load_order(x): return x") == set()


def test_coined_words_go_to_one_pool_each() -> None:
    """A tenth each is reserved; the rule looks at nothing but the word."""
    assert [pool_of_coined(word) for word in ("pofik", "kamat")] == [
        pool_of_coined(word) for word in ("pofik", "kamat")
    ]
