"""Conversations are what the pipeline asks, word for word."""

from __future__ import annotations

import random

import pytest

from harness.answerers.gold import GoldAnswerer
from harness.asking import Interview
from harness.index.facts import FactsCache
from harness.index.repo import RepoIndex
from harness.pipeline import Question, Trajectory, run_pipeline
from models.recipe.conversations import ENVIRONMENT, Conversation, Lesson, Mix, Teacher, conversations, lesson
from models.recipe.episodes import Episode, draw_episode
from models.recipe.names import Pool
from models.recipe.repositories import Size, small_repository
from models.recipe.seen import SEEN

EVERYTHING = Mix(task_analysis=1.0, scope=1.0, precision=1.0, step_plan=1.0, nothing=1.0)


def episode_of(seed: int, **wishes: object) -> Episode:
    """Return an episode; the seed is one that gives any."""
    rng = random.Random(seed)
    repository = small_repository(rng, Pool.PRETRAIN, Size(modules=(4, 4)))
    episode = draw_episode(rng, repository, SEEN, Pool.PRETRAIN, **wishes)  # type: ignore[arg-type]
    assert episode is not None
    return episode


def told(episode: Episode, *, kinds: tuple[str, ...] = ("step-plan",), true_scope: bool = True) -> Lesson:
    """Return the lesson of an episode."""
    made = lesson(episode, true_scope=true_scope, kinds=kinds)
    assert made is not None
    return made


@pytest.mark.parametrize("seed", range(6))
def test_prompts_and_answers_are_those_of_a_run(seed: int) -> None:
    """The true answerer on the same commit is asked the same questions and gives the same answers."""
    episode = episode_of(seed)
    commit = episode.commits[0]
    parent = episode.tree()
    cache = FactsCache()
    interview = Interview(GoldAnswerer(parent, episode.tree(commit)), seed=0, temperature=0.0)
    trajectory = Trajectory(candidate=parent)
    run_pipeline(
        Question(commit.task, ("step-plan",), parent, ENVIRONMENT),
        RepoIndex.build(parent, cache),
        interview,
        trajectory,
    )
    asked = {(call.prompt, call.answer) for call in interview.calls}
    made = list(conversations(told(episode), random.Random(seed), EVERYTHING))
    firsts = [talk.turns[0] for talk in made]
    assert [turn for turn in firsts if turn not in asked and turn[1] != "NOTHING"] == []
    assert {talk.stage for talk in made} >= {"task-analysis", "scope", "precision", "step-plan", "execute-code"}


def test_a_lexical_context_is_not_taught_as_an_answer() -> None:
    """With words deciding what is in view, the stages before planning are nobody's lesson."""
    made = list(conversations(told(episode_of(2), true_scope=False), random.Random(1), EVERYTHING))
    assert {talk.stage for talk in made} <= {"step-plan", "execute-code"}


def test_a_broad_commit_is_divided() -> None:
    """Four changed files with new functions are asked for parts, and each part for its steps."""
    families = [family for family in SEEN if family.name == "add-function"]
    rng = random.Random(5)
    repository = small_repository(rng, Pool.PRETRAIN, Size(modules=(4, 4), functions=(2, 2)))
    episode = draw_episode(rng, repository, families, Pool.PRETRAIN, per_file=1, together=4, spread=True)
    assert episode is not None
    calls = told(episode, kinds=("meta-plan", "step-plan")).calls
    stages = [call.stage for call in calls]
    assert stages.count("meta-plan") == 1
    assert stages.count("execute-code") == 4
    assert stages.count("step-plan") > 1


def test_the_teacher_says_who_answered() -> None:
    """Calls of both answerers can be told apart, so that only true answers are taught."""
    episode = episode_of(3)
    gold = GoldAnswerer(episode.tree(), episode.tree(episode.commits[0]))
    assert {call.answerer for call in told(episode, true_scope=False).calls} == {"gold", "lexical"}
    assert Teacher(gold, true_scope=True) is not None


def test_a_long_conversation_loses_its_last_turns() -> None:
    """The first turn stays whole, whatever its length."""
    made = Conversation("execute-code", ("a", "b"), (("12345", "123"), ("12", "12")))
    assert made.shortened(10).turns == (("12345", "123"),)
    assert made.shortened(3).turns == (("12345", "123"),)
    assert made.shortened(12) == made
