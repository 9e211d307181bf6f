"""Every study keeps the interface that the command line calls."""

import inspect
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.eval.studies import NAMES, Options, of, reproduce
from edgewise.train.progress import Silent


@pytest.mark.parametrize("name", NAMES)
def test_a_study_takes_the_options_that_it_names(name: str) -> None:
    study = of(name)
    taken = set(inspect.signature(study.reproduce).parameters) - {"budget", "out", "make_progress", "report", "command"}
    assert taken == study.OPTIONS <= {field.name for field in fields(Options)}
    assert set(study.BUDGETS) == {"smoke", "full"}
    assert ("only" in study.OPTIONS) == bool(study.PARTS)


def test_the_command_offers_every_study_budget_and_part() -> None:
    pytest.importorskip("tyro")
    from edgewise.cli import commands

    hints = typing.get_type_hints(commands.reproduce)
    assert typing.get_args(hints["study"]) == NAMES
    assert set(typing.get_args(hints["budget"])) == set(of(NAMES[0]).BUDGETS)
    assert commands.reproduce.__doc__ is not None
    told = " ".join(commands.reproduce.__doc__.split())
    for name in NAMES:
        if of(name).PARTS:
            assert f"{name} {', '.join(of(name).PARTS)}" in told


def test_only_what_was_asked_for_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study, seen = of("caching"), {}

    def run(budget: str, out: Path, *, make_progress: object, **options: object) -> str:
        seen.update(options, budget=budget, out=out)
        return "found"

    monkeypatch.setattr(study, "reproduce", run)
    monkeypatch.setattr(study, "show", lambda found: seen.update(shown=found))
    written = reproduce("caching", "smoke", tmp_path, Options(seeds=2), make_progress=Silent)
    assert seen == {"budget": "smoke", "out": tmp_path, "seeds": 2, "shown": "found"}
    assert written == {"results": tmp_path / "results.json", "page": tmp_path / "study.html"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aoi-game", Options(limit=1.0), "--limit is for experts"),
        ("caching", Options(workers=2), "--workers is for aoi-game"),
        ("aoi-single", Options(only=("drift",)), "--only is for aoi-game, caching, experts"),
        ("aoi", Options(), "study must be one of aoi-single"),
    ],
)
def test_what_a_study_lacks_is_refused(tmp_path: Path, name: str, options: Options, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        reproduce(name, "smoke", tmp_path, options, make_progress=Silent)
    assert not list(tmp_path.iterdir())
