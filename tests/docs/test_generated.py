"""What the pages of the game and of the command line are written from."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgewise.cli.main import main
from edgewise.eval.aoi.compare import Comparison, Row
from edgewise.eval.estimates import Estimate
from edgewise.train.config_io import packaged


def estimate(value: float) -> Estimate:
    return Estimate(estimate=value, low=0.99 * value, high=1.01 * value, confidence=0.95, n=3)


def row(label: str, kind: str, age: float, gain: float | None) -> Row:
    learned = kind == "learned"
    return Row(
        label=label,
        kind=kind,
        rule="async_fractional, team" if learned else "jsq, fixed:1",
        seeds=[0, 1, 2] if learned else [],
        runs=["a", "b", "c"] if learned else [],
        age=estimate(age),
        median=age + 0.001,
        episodes=estimate(age + 0.01),
        authors_age=None,
        authors_episodes=None,
        worst_age=None,
        gain=None if gain is None else estimate(gain),
        greatest_gain=None if gain is None else estimate(gain + 0.02),
        mean_wait=1.0,
        drop_rate=0.1,
        training_seconds=123.4 if learned else None,
        decisions_per_second=9000.0 if learned else None,
    )


@pytest.fixture
def comparison() -> dict[str, Any]:
    """A table as `edgewise compare` and `edgewise reproduce aoi-game` store it."""
    rows = [row("team_authors", "learned", 1.2346, 0.321), row("JSQ, best fixed wait", "scripted", 1.5678, None)]
    found = Comparison(
        system="20 devices, 2 edges, exponential service, drop mode authors:1.5",
        whose="all devices",
        horizon=300.0,
        long_horizon=20_000.0,
        optimum=None,
        bound_only=False,
        rows=rows,
        command=[],
        git=None,
    )
    return found.model_dump(mode="json")


@pytest.fixture
def results(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of committed results."""
    monkeypatch.setattr(sys.modules[build.results.__module__], "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def test_without_committed_figures_the_pages_say_so(build: ModuleType, results: Path) -> None:
    assert build.game_results("aoi_game") == build.game_tables("aoi_game")
    assert "No figures" in build.game_results("aoi_game")


def study(comparison: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"command": [], "git": None, "versions": {}, "hardware": {}}
    head = {"study": "aoi-game", "budget": "full", "seeds": 3, "created": "2000-01-01"}
    return {**head, **empty, "baselines": [comparison], "fidelity": None, "sweeps": None}


@pytest.mark.parametrize("whole", [False, True])
def test_the_game_table_holds_the_committed_figures(
    build: ModuleType, results: Path, comparison: dict[str, Any], whole: bool
) -> None:
    (results / "aoi_game.json").write_text(json.dumps(study(comparison) if whole else comparison))
    learned, scripted = build.game_results("aoi_game").splitlines()[-2:]
    assert learned == (
        "| **team_authors** (async_fractional, team) | 3 | 1.235 [1.222, 1.247] | 1.236 | 1.245 "
        "| 32.1 % [31.8, 32.4] % | 34.1 % | 123 |"
    )
    assert scripted == "| JSQ, best fixed wait (jsq, fixed:1) | – | 1.568 [1.552, 1.583] | – | 1.578 | – | – | – |"
    assert "20 devices, 2 edges" in build.game_results("aoi_game")
    full = build.game_tables("aoi_game")
    assert "age, 20000 s (s)" in full
    assert "1.235 [1.222, 1.247]" in full
    assert "95 % bootstrap" in full


def test_readme_and_results_page_have_the_regions(repository: Path) -> None:
    assert "<!-- generated: game_results aoi_game -->" in (repository / "README.md").read_text()
    assert "<!-- generated: game_tables aoi_game -->" in (repository / "docs" / "results" / "game.md").read_text()


def test_the_command_line_page_names_every_command_and_every_option(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (repository / "docs" / "guides" / "command_line.md").read_text()
    pages = dict(re.findall(r"^## edgewise ([a-z ]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    with pytest.raises(SystemExit):
        main(["--help"])
    (commands,) = re.findall(r"{([a-z,]+)}", capsys.readouterr().out)
    assert list(dict.fromkeys(name.split()[0] for name in pages)) == commands.split(",")
    for name, page in pages.items():
        with pytest.raises(SystemExit):
            main([*name.split(), "--help"])
        told = set(re.findall(r"(?m)^\W*(--[a-z][a-z-]*)", capsys.readouterr().out)) - {"--help"}
        assert told == set(re.findall(r"(?m)^\| `(--[a-z-]+)", page)), name


def test_the_command_line_page_names_every_packaged_configuration(repository: Path) -> None:
    text = (repository / "docs" / "guides" / "command_line.md").read_text()
    names = re.findall(r"(?m)^\| `((?:aoi_offload|model_caching|edge_experts)/[\w/]+)` \| \w", text)
    assert set(names) == set(packaged())
