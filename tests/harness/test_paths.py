"""Roles of paths."""

from __future__ import annotations

import pytest

from harness.paths import Role, is_from_gold, is_test_module, role

ROLES = {
    "src/pkg/core.py": Role.SOURCE,
    "setup_tools.py": Role.SOURCE,
    "pkg/stubs.pyi": Role.SOURCE,
    "pkg/contest.py": Role.SOURCE,
    "pkg/testing_tools.py": Role.SOURCE,
    "tests/test_core.py": Role.TEST,
    "tests/data/input.json": Role.TEST,
    "pkg/tests/deep/helper.py": Role.TEST,
    "pkg/test_inline.py": Role.TEST,
    "pkg/inline_test.py": Role.TEST,
    "docs/test_snippets.py": Role.TEST,
    "testing/plugin.py": Role.TEST,
    "pyproject.toml": Role.PROTECTED,
    "sub/project/setup.cfg": Role.PROTECTED,
    "tests/conftest.py": Role.PROTECTED,
    "src/pkg/conftest.py": Role.PROTECTED,
    "src/sitecustomize.py": Role.PROTECTED,
    "src/evil.pth": Role.PROTECTED,
    "src/pkg/fast.cpython-311-x86_64-linux-gnu.so": Role.PROTECTED,
    "src/pkg/__pycache__/core.cpython-311.pyc": Role.PROTECTED,
    "src/pkg.egg-link": Role.PROTECTED,
    ".env": Role.PROTECTED,
    "app/tests.py": Role.TEST,
    "app/test.py": Role.SOURCE,
    "tests/__init__.py": Role.TEST,
    "py.typed": Role.OTHER,
    "requirements-dev.txt": Role.PROTECTED,
    "docs/requirements.in": Role.PROTECTED,
    "README.md": Role.DOCS,
    "docs/conf.py": Role.DOCS,
    "pkg/notes.rst": Role.DOCS,
    "LICENSE": Role.DOCS,
    "CHANGELOG.txt": Role.DOCS,
    "examples/demo.py": Role.DOCS,
    ".github/workflows/ci.yml": Role.CI,
    ".github/test_action.py": Role.CI,
    "Makefile": Role.CI,
    "pkg/grammar.txt": Role.OTHER,
    "pkg/data.json": Role.OTHER,
}


@pytest.mark.parametrize(("path", "expected"), ROLES.items())
def test_role(path: str, expected: Role) -> None:
    """Each path has the one role that the table says."""
    assert role(path) is expected


def test_grading_takes_tests_and_configuration_from_gold_and_nothing_else() -> None:
    """Exactly tests and protected files come from the gold commit."""
    taken = {path for path in ROLES if is_from_gold(path)}
    assert taken == {path for path, kind in ROLES.items() if kind in {Role.TEST, Role.PROTECTED}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/test_a.py", True),
        ("pkg/a_test.py", True),
        ("tests/helper.py", False),
        ("tests/test_data.json", False),
        ("tests/conftest.py", False),
        (".github/test_a.py", False),
        ("src/a.py", False),
    ],
)
def test_modules_that_pytest_collects(path: str, expected: bool) -> None:
    """Only test-named Python files that are tests by role count as test modules."""
    assert is_test_module(path) is expected
