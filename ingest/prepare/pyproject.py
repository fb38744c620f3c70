"""What `pyproject.toml` declares, as named groups of requirement lines.

Keys of a group: `base`, `build`, `extra:<name>` (optional-dependencies), `group:<name>` (dependency
groups and their tool-specific forebears). A line starting with `@` refers to another key. Poetry's
own version language is rewritten to PEP 508.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name

Groups = dict[str, list[str]]


def parse_toml(text: str) -> dict[str, Any]:
    """Return the document, or an empty one when it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def project_name(doc: Mapping[str, Any]) -> str:
    """Return the canonical name of the project, "" when the document does not name it."""
    tool = _table(doc, "tool")
    names = (
        _table(doc, "project").get("name"), _table(tool, "poetry").get("name"),
        _table(tool, "flit", "metadata").get("dist-name"), _table(tool, "flit", "metadata").get("module"),
    )  # fmt: skip
    return next((str(canonicalize_name(name)) for name in names if isinstance(name, str)), "")


def read_pyproject(doc: Mapping[str, Any]) -> Groups:
    """Return every group of requirements that the document declares."""
    tool, project = _table(doc, "tool"), _table(doc, "project")
    groups: Groups = {}
    if "build-system" in doc:
        groups["build"] = _lines(_table(doc, "build-system").get("requires", []))
    if "dependencies" in project:
        groups["base"] = _lines(project["dependencies"])
    _named(groups, "extra", _table(project, "optional-dependencies"))
    _named(groups, "group", _table(doc, "dependency-groups"))
    _named(groups, "group", _table(tool, "pdm", "dev-dependencies"))
    _named(groups, "extra", _table(tool, "flit", "metadata", "requires-extra"))
    if flit := _lines(_table(tool, "flit", "metadata").get("requires", [])):
        groups.setdefault("base", []).extend(flit)
    if uv := _lines(_table(tool, "uv").get("dev-dependencies", [])):
        groups.setdefault("group:dev", []).extend(uv)
    for name, env in _table(tool, "hatch", "envs").items():
        if isinstance(env, dict):
            lines = _lines(env.get("dependencies", [])) + _lines(env.get("extra-dependencies", []))
            lines += [f"@extra:{canonicalize_name(feature)}" for feature in _lines(env.get("features", []))]
            groups.setdefault(f"hatch:{name}", []).extend(lines)
    _poetry(groups, _table(tool, "poetry"))
    return groups


def _poetry(groups: Groups, poetry: Mapping[str, Any]) -> None:
    main = _table(poetry, "dependencies")
    if main:
        required = {name: spec for name, spec in main.items() if not _is_optional(spec)}
        groups.setdefault("base", []).extend(_poetry_lines(required))
    for extra, names in _table(poetry, "extras").items():
        lines = _poetry_lines({name: main[name] for name in _lines(names) if name in main})
        groups.setdefault(f"extra:{canonicalize_name(extra)}", []).extend(lines)
    if "dev-dependencies" in poetry:
        groups.setdefault("group:dev", []).extend(_poetry_lines(_table(poetry, "dev-dependencies")))
    for name, group in _table(poetry, "group").items():
        lines = _poetry_lines(_table(group, "dependencies")) if isinstance(group, dict) else []
        groups.setdefault(f"group:{canonicalize_name(name)}", []).extend(lines)


def _poetry_lines(table: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, spec in table.items():
        if name != "python":
            lines += [_poetry_line(name, one) for one in (spec if isinstance(spec, list) else [spec])]
    return lines


def _poetry_line(name: str, spec: object) -> str:
    if isinstance(spec, str):
        return f"{name}{poetry_version(spec)}"
    if not isinstance(spec, dict):
        return name
    where = next((spec[key] for key in ("git", "url", "path", "file") if key in spec), None)
    if where is not None:
        return f"{name} @ {where}"
    extras = f"[{','.join(_lines(spec.get('extras', [])))}]" if spec.get("extras") else ""
    markers = [str(spec["markers"])] if "markers" in spec else []
    if "python" in spec:
        clauses = poetry_version(str(spec["python"])).split(",")
        markers += [f"python_version {_operator(clause)} '{_operand(clause)}'" for clause in clauses if clause]
    marker = " and ".join(f"({one})" for one in markers)
    return f"{name}{extras}{poetry_version(str(spec.get('version', '*')))}" + (f"; {marker}" if marker else "")


def poetry_version(text: str) -> str:
    """Rewrite a Poetry constraint as a PEP 440 specifier set; alternatives (`||`) become no bound."""
    if "|" in text:
        return ""
    return ",".join(filter(None, (_clause(part.strip()) for part in text.split(","))))


def _clause(part: str) -> str:
    if part in {"", "*"}:
        return ""
    if part.startswith("^"):
        numbers = _numbers(part[1:])
        at = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
        return f">={part[1:].strip()},<{_bumped(numbers, at)}"
    if part.startswith("~") and not part.startswith("~="):
        numbers = _numbers(part[1:])
        return f">={part[1:].strip()},<{_bumped(numbers, min(1, len(numbers) - 1))}"
    if part[0].isdigit():
        return f"=={part}"
    return part.replace(" ", "")


def _numbers(version: str) -> list[int]:
    parts = [part for part in version.strip().split(".") if part != "*"]
    return [int("".join(char for char in part if char.isdigit()) or 0) for part in parts] or [0]


def _bumped(numbers: list[int], at: int) -> str:
    return ".".join(str(number) for number in [*numbers[:at], numbers[at] + 1])


def _operator(clause: str) -> str:
    return clause[: len(clause) - len(_operand(clause))]


def _operand(clause: str) -> str:
    return clause.lstrip("<>=!~")


def _named(groups: Groups, prefix: str, table: Mapping[str, Any]) -> None:
    for name, items in table.items():
        groups.setdefault(f"{prefix}:{canonicalize_name(name)}", []).extend(_lines(items))


def _lines(items: object) -> list[str]:
    """Return requirement lines; `{include-group = "x"}` (PEP 735) becomes `@group:x`."""
    found: list[str] = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
            found.append(f"@group:{canonicalize_name(item['include-group'])}")
    return found


def _table(doc: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    value: Any = doc
    for key in keys:
        value = value.get(key, {}) if isinstance(value, Mapping) else {}
    return value if isinstance(value, Mapping) else {}


def _is_optional(spec: object) -> bool:
    return isinstance(spec, dict) and bool(spec.get("optional"))
