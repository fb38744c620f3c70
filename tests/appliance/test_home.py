"""The home is found, never guessed, and its configuration is checked as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import BadConfig, NoHome
from appliance.home import Config, find_home, open_home

ROOT = Path(__file__).parent.parent.parent


def _home(root: Path, text: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "appliance.toml").write_text(text)
    return root


def test_the_nearest_directory_upward_is_the_home(tmp_path: Path) -> None:
    """From a directory below, the closest appliance.toml wins."""
    _home(tmp_path)
    inner = _home(tmp_path / "a" / "b")
    deep = inner / "c" / "d"
    deep.mkdir(parents=True)
    assert find_home(deep, {}).root == inner
    assert find_home(tmp_path / "a", {}).root == tmp_path


def test_the_environment_names_the_home(tmp_path: Path) -> None:
    """APPLIANCE_HOME goes before the directory one stands in."""
    here, there = _home(tmp_path / "here"), _home(tmp_path / "there")
    assert find_home(here, {"APPLIANCE_HOME": str(there)}).root == there


def test_a_named_home_that_is_none_is_not_replaced_by_another(tmp_path: Path) -> None:
    """A wrong APPLIANCE_HOME is an error even where a home is in sight."""
    here = _home(tmp_path / "here")
    with pytest.raises(NoHome, match="gone") as caught:
        find_home(here, {"APPLIANCE_HOME": str(tmp_path / "gone")})
    assert caught.value.exit_code == 10


def test_no_home_says_where_it_looked(tmp_path: Path) -> None:
    """Without appliance.toml in any directory upward there is no home."""
    with pytest.raises(NoHome, match=str(tmp_path)):
        find_home(tmp_path, {})


def test_without_settings_the_defaults_hold(tmp_path: Path) -> None:
    """An empty file is a complete configuration."""
    assert open_home(_home(tmp_path)).config == Config()


def test_the_shipped_configuration_spells_out_the_defaults() -> None:
    """appliance.toml of the project lists every setting with its default."""
    assert open_home(ROOT).config == Config()


def test_settings_are_read(tmp_path: Path) -> None:
    """Each setting reaches the configuration under its name and type."""
    text = "[harness]\nworkers = 3\ngate_budget_s = 30\n[environments]\ncap_gib = 0.5\n"
    assert open_home(_home(tmp_path, text)).config == Config(3, 30.0, 0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[harness]\nworkers = 0", "harness.workers must be above 0"),
        ("[harness]\nworkers = 1.5", "harness.workers must be a whole number"),
        ("[harness]\nworkers = true", "harness.workers must be a whole number"),
        ('[harness]\nworkers = "2"', "harness.workers must be a whole number"),
        ("[harness]\nworkers = inf", "harness.workers must be a whole number"),
        ("[harness]\ngate_budget_s = nan", "harness.gate_budget_s must be a number"),
        ("[environments]\ncap_gib = -1", "environments.cap_gib must be above 0"),
        ("[environments]\ncap = 1", "unknown setting environments.cap"),
        ("[trust]\nunsigned = 'Accept'", 'trust.unsigned must be "refuse" or "accept", found \'Accept\''),
        ("[trust]\nunsigned = true", 'trust.unsigned must be "refuse" or "accept"'),
        ("[trust]\nunsigned = ['accept']", 'trust.unsigned must be "refuse" or "accept"'),
        ("workers = 2", "'workers' is not a table"),
        ("[harness", "is not TOML"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(text: str, problem: str, tmp_path: Path) -> None:
    """Each wrong setting is refused with its name, what is allowed and what was found."""
    with pytest.raises(BadConfig) as caught:
        open_home(_home(tmp_path, text))
    assert problem in str(caught.value)
    assert caught.value.exit_code == 2


def test_taking_unsigned_packages_has_to_be_written_down(tmp_path: Path) -> None:
    """Where nothing is said they are refused; only the one word takes them."""
    assert open_home(_home(tmp_path)).config.unsigned == "refuse"
    assert open_home(_home(tmp_path, '[trust]\nunsigned = "refuse"\n')).config.unsigned == "refuse"
    assert open_home(_home(tmp_path, '[trust]\nunsigned = "accept"\n')).config.unsigned == "accept"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """One run of the command is enough to learn everything that is wrong."""
    with pytest.raises(BadConfig) as caught:
        open_home(_home(tmp_path, "x = 1\n[harness]\nworkers = 0\nwarp = 9\n[environments]\ncap_gib = 'a'\n"))
    assert [word in str(caught.value) for word in ("'x'", "workers", "harness.warp", "cap_gib")] == [True] * 4


def test_a_configuration_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are a bad configuration, not a crash."""
    _home(tmp_path)
    (tmp_path / "appliance.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfig, match="not TOML"):
        open_home(tmp_path)


def test_everything_mutable_lies_below_the_home(tmp_path: Path) -> None:
    """No place of a home is outside of it."""
    home = open_home(_home(tmp_path))
    places = (
        home.packages,
        home.raw_db,
        home.curated_db,
        home.environments,
        home.cache,
        home.incoming,
        home.quarantine,
        home.allowed_signers,
        home.revoked_keys,
        home.watch_status,
    )
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert len(set(places)) == len(places)
