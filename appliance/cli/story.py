"""The story of one attempt as text: what was asked, decided, planned, edited, tested, judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.oracle.judge import judge
from harness.oracle.recording import recording_from, replies_from


def tell(attempt: dict[str, Any], *, limit: int | None) -> str:
    """Return the story; texts longer than `limit` characters are shortened visibly."""
    return "\n".join(_sections(attempt, limit))


def _sections(attempt: dict[str, Any], limit: int | None) -> Iterator[str]:
    yield f"attempt {attempt['id']}: {attempt['verdict']} - {attempt['reason']}"
    yield f"package {attempt['package']}, commit {attempt['commit_sha']}, attempt {attempt['attempt']}"
    yield f"seed {attempt['seed']}, temperature {attempt['temperature']}, {attempt['started_at']}"
    yield f"routes: {', '.join(f'{stage}={who}' for stage, who in attempt['routes'].items())}"
    yield _block("task", attempt["task"], limit)
    yield "decisions:"
    for decision in attempt["decisions"]:
        if limit is None or decision["verdict"] not in {"irrelevant", "excluded"}:
            where = f"{decision['path']}::{decision['symbol']}" if decision["symbol"] else decision["path"]
            head = f"  {decision['stage']:<10}{decision['verdict']:<11}{decision['score']:>8.2f}"
            yield f"{head}  {where}  ({decision['reason']})"
    yield "calls:"
    for call in attempt["calls"]:
        problem = f"  UNUSABLE: {call['problem']}" if call["problem"] else ""
        who = f"{call['answerer']} ({call['source']})"
        yield f"  {call['call_type']} #{call['ordinal']} by {who}, {call['seconds']:.3f} s{problem}"
        yield _block("    prompt", call["prompt"], limit)
        yield _block("    answer", call["answer"], limit)
    yield "steps:"
    for record in attempt["steps"]:
        step = record["step"]
        state = "applied" if record["applied"] else f"NOT APPLIED: {record['problem']}"
        where = f"{step['file']}::{step['symbol'] or '(module)'}"
        yield f"  {record['part']}/{step['id']} {step['action']} {where}: {state}"
    yield _block("patch", attempt["patch"], limit)
    for flag in attempt["red_flags"]:
        weight = "decides" if flag["hard"] else "kept"
        yield f"red flag ({weight}): {flag['path']}:{flag['line']} uses {flag['name']} ({flag['kind']})"
    for run in attempt["runs"]:
        tests = [test for test in attempt["tests"] if test["run"] == run["run"]]
        outcomes = ", ".join(
            f"{number} {outcome}" for outcome, number in sorted(Counter(t["outcome"] for t in tests).items())
        )
        ended = "completed" if run["completed"] else f"ended early with {run['returncode']}"
        yield f"tests, run {run['run'] + 1}: {outcomes or 'none'}; {ended} after {run['seconds']:.2f} s"
        yield f"  canaries: {_behaviour(run['canaries'])}"
        if run["tampering"]:
            yield f"  TAMPERING: {run['tampering']}"
    for node in attempt["failing"]:
        message = next((t["message"] for t in attempt["tests"] if t["node_id"] == node and t["message"]), "")
        yield f"  not passed: {node}  {(message.strip().splitlines() or [''])[-1][:120]}"
    if attempt["oracle_recording"] is not None:
        yield _oracle(attempt["oracle_recording"], attempt["oracle_replies"])
    yield f"alignment: {', '.join(f'{name} {value}' for name, value in attempt['alignment'].items())}"
    yield f"seconds: {', '.join(f'{name} {value:.3f}' for name, value in attempt['seconds'].items())}"


def _oracle(recording: str, replies: str) -> str:
    asked = recording_from(recording)
    verdict = judge(asked, replies_from(replies))
    found = verdict.first or "as the solution answers"
    return f"oracle: {verdict.agreed} of {len(asked.checked)} recorded calls agree; {found}"


def _behaviour(canaries: list[dict[str, str]]) -> str:
    if not canaries:
        return "none"
    wrong = [row for row in canaries if row["outcome"] != row["expected"]]
    said = "; ".join(f"{row['node_id']} must have {row['expected']}, is {row['outcome']}" for row in wrong)
    return f"{len(canaries)}, " + (said or "all as expected")


def _block(title: str, text: str, limit: int | None) -> str:
    shown = (
        text if limit is None or len(text) <= limit else f"{text[:limit]}\n[... {len(text) - limit} more characters]"
    )
    indent = " " * (len(title) - len(title.lstrip()) + 2)
    return f"{title}:\n" + "\n".join(indent + line for line in shown.splitlines())
