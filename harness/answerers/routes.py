"""Who answers which stage: one name per stage, mixable, small enough to send to a worker.

`lexical` cannot write code, so gold answers execute-code behind it unless another route is named;
the record of every attempt says who answered what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from harness.answerers.gold import GoldAnswerer
from harness.answerers.lexical import LexicalAnswerer
from harness.answerers.replay import ReplayBook, load_replay
from harness.case import Case
from harness.errors import HarnessError
from harness.ports import Model
from harness.stages import Answer, Stage, StageCall

ANSWERERS = ("gold", "lexical", "replay")


class BadRoute(HarnessError):
    """A route names a stage or an answerer that does not exist, or lacks what it needs."""

    code = "BAD_ROUTE"
    exit_code = 2
    hint = f"Answerers are {', '.join(ANSWERERS)}; stages are {', '.join(stage.value for stage in Stage)}."


class ReplayChanged(HarnessError):
    """The replay file is not the one that the run began with."""

    code = "REPLAY_CHANGED"
    exit_code = 12
    hint = "Start the run again; attempts that are stored already belong to the file as it was."


@dataclass(frozen=True)
class RoutedAnswerers:
    """Makes the model of an attempt from the routes; implements `ports.Answerers`."""

    routes: Mapping[Stage, str]
    replay: Path | None = None
    replay_sha256: str = field(default="")

    def model(self, case: Case) -> Model:
        """Return the routed model for a case."""
        makers: Mapping[str, Callable[[], Model]] = {
            "gold": lambda: GoldAnswerer(case.parent, case.gold, truth=case.truth),
            "lexical": LexicalAnswerer,
            "replay": lambda: _book(self.replay, self.replay_sha256).answerer(case.commit.sha),
        }
        made = {name: makers[name]() for name in sorted(set(self.routes.values()))}
        return _Routed({stage: made[name] for stage, name in self.routes.items()})

    def names(self) -> dict[str, str]:
        """Return the routes as they are recorded."""
        return {stage.value: name for stage, name in self.routes.items()}


def make_routes(answerer: str, overrides: Mapping[str, str], replay: Path | None) -> RoutedAnswerers:
    """Return the answerers for a main answerer and per-stage overrides; BadRoute when they make no sense."""
    named = {"(all stages)": answerer, **overrides}
    for stage, name in named.items():
        if name not in ANSWERERS:
            raise BadRoute(f"{name!r} is not an answerer (for {stage})")
    unknown = set(overrides) - {stage.value for stage in Stage}
    if unknown:
        raise BadRoute(f"{min(unknown)!r} is not a stage")
    routes = {stage: overrides.get(stage.value, answerer) for stage in Stage}
    if routes[Stage.EXECUTE_CODE] == "lexical":
        if Stage.EXECUTE_CODE.value in overrides:
            raise BadRoute("lexical cannot answer execute-code")
        routes[Stage.EXECUTE_CODE] = "gold"
    if "replay" not in routes.values():
        return RoutedAnswerers(routes)
    if replay is None:
        raise BadRoute("replay needs a file of recorded answers", hint="Name it with --replay FILE.")
    return RoutedAnswerers(routes, replay, load_replay(replay).sha256)


@dataclass(frozen=True)
class _Routed:
    """A model that hands each call to the answerer of its stage."""

    by_stage: Mapping[Stage, Model]

    def answer(self, call: StageCall) -> Answer:
        return self.by_stage[call.stage].answer(call)


@lru_cache(maxsize=4)
def _book(path: Path | None, sha256: str) -> ReplayBook:
    if path is None:
        raise BadRoute("replay needs a file of recorded answers", hint="Name it with --replay FILE.")
    book = load_replay(path)
    if book.sha256 != sha256:  # its digest is in the key of every attempt of this run
        raise ReplayChanged(f"the replay file {path} changed during the run: sha256 {sha256} became {book.sha256}")
    return book
