"""Several runs in one table: seeds of one configuration form one row, and only what is comparable stands together."""

import dataclasses
import json

import numpy as np
import pytest

from edgewise.cli.main import main
from edgewise.envs.core.errors import CheckpointError, InvalidInputError
from edgewise.eval.aoi import compare as compare_module
from edgewise.eval.aoi.compare import JSON_NAME, Comparison, compare, write
from edgewise.eval.aoi.compare_page import as_html, as_markdown, print_comparison
from edgewise.eval.aoi.results import read
from edgewise.eval.results import FILE_NAME
from edgewise.train.config import load_config
from edgewise.train.run_folder import open_run


@pytest.fixture
def runs(tmp_path, build_game, game_run):
    """Two seeds of a team, and selfish devices without a Nash check."""
    first = game_run(tmp_path / "team-0", build_game("team", 1.00), seed=0)
    second = game_run(
        tmp_path / "team-1", build_game("team", 1.10).model_copy(update={"first_seed": 2**63 + 2**32}), seed=1
    )
    other = game_run(tmp_path / "selfish", build_game("selfish", 1.60, gain=None), seed=0, name="selfish-game")
    return [first, second, other]


def rows_of(comparison):
    return {row.label: row for row in comparison.rows}


def test_runs_that_differ_in_their_seed_form_one_row(runs):
    found = compare(runs, command=["x"])
    rows = rows_of(found)
    team = rows["synthetic-game"]
    assert team.seeds == [0, 1]
    assert len(team.runs) == 2
    assert team.age.n == 2
    assert team.age.estimate == pytest.approx(1.05, abs=0.01)
    assert team.median == pytest.approx(1.05, abs=0.01)
    assert team.age.low < 1.01
    assert team.age.high > 1.09
    assert team.gain.estimate == pytest.approx(0.3)
    assert team.training_seconds == 4.0
    assert team.decisions_per_second == 250.0
    assert "async_fractional, team" in team.rule
    selfish = rows["selfish-game"]
    assert selfish.gain is None
    assert selfish.age.n > 2  # one run: its own evaluation seeds
    assert [row.age.estimate for row in found.rows] == sorted(row.age.estimate for row in found.rows)
    assert "drop mode authors:1.5" in found.system
    assert found.long_horizon == 20_000.0


def test_a_copy_of_a_run_is_no_second_run(tmp_path, runs, build_game, game_run):
    twin = game_run(tmp_path / "twin", build_game("team", 1.00), seed=0)
    with pytest.raises(InvalidInputError, match=r"twin is .*team-0 once more"):
        compare([*runs, twin])


def test_an_evaluation_that_training_has_left_behind_is_refused(runs):
    stored = json.loads((runs[0] / FILE_NAME).read_text())
    folder = runs[0] / "checkpoints"
    (folder / stored["checkpoint"]).mkdir(parents=True)
    assert compare(runs).rows
    (folder / stored["checkpoint"]).rename(folder / "step_000000999999")
    with pytest.raises(CheckpointError, match=r"keeps step_000000999999; run  edgewise evaluate .*team-0  again"):
        compare(runs)


def test_scripted_rows_pool_the_evaluations_that_met_other_seeds(runs):
    zero = rows_of(compare(runs))["JSQ, zero wait"]
    per_seed = [read(run).baseline("JSQ, zero wait").stretch.per_seed for run in runs[:2]]
    assert zero.kind == "scripted"
    assert zero.age.n == 8  # the third run met the first one's seeds
    assert zero.age.estimate == pytest.approx(np.mean(per_seed))
    assert zero.gain.estimate == 0.0
    assert rows_of(compare(runs))["JSQ, best fixed wait"].gain.estimate == pytest.approx(0.32)


def test_a_gain_that_one_run_lacks_is_no_gain_of_the_row(tmp_path, runs, build_game, game_run):
    third = game_run(tmp_path / "team-2", build_game("team", 1.2, gain=None), seed=2)
    assert rows_of(compare([*runs, third]))["synthetic-game"].gain is None


def test_two_configurations_of_one_name_keep_their_own_rows(tmp_path, runs, build_game, game_run):
    longer = game_run(tmp_path / "long", build_game("team", 1.3), seed=0, steps=5000)
    rows = rows_of(compare([*runs, longer]))
    assert rows["synthetic-game"].seeds == [0, 1]
    assert rows["synthetic-game (2)"].age.estimate == pytest.approx(1.3, abs=0.01)


def test_other_systems_and_horizons_do_not_mix(tmp_path, runs, run_dir, build_game, game_run):
    crowded = game_run(tmp_path / "crowded", build_game(), env={"n_devices": 30})
    with pytest.raises(InvalidInputError, match="n_devices is 30, not 20"):
        compare([runs[0], crowded])
    undropped = game_run(tmp_path / "undropped", build_game(), env={"drop": "none"})
    with pytest.raises(InvalidInputError, match=r"drop is 'none', not 'authors:1\.5'"):
        compare([runs[0], undropped])
    short = build_game().model_copy(update={"horizon": 100.0})
    with pytest.raises(InvalidInputError, match="evaluation horizon is 100"):
        compare([runs[0], game_run(tmp_path / "short", short)])
    with pytest.raises(InvalidInputError, match="environment"):
        compare([runs[0], run_dir])
    with pytest.raises(InvalidInputError, match="given twice"):
        compare([runs[0], runs[0]])
    with pytest.raises(InvalidInputError, match="RUN"):
        compare([])


def test_runs_of_another_family_are_refused_by_name(runs, monkeypatch):
    opened = open_run(runs[0])
    other = dataclasses.replace(opened, config=load_config("model_caching/demo"))
    monkeypatch.setattr(compare_module, "open_run", lambda path: other)
    with pytest.raises(InvalidInputError, match=r"only runs of age-minimal offloading .*edgewise/ModelCaching-v0"):
        compare([runs[0]])


def test_an_unevaluated_run_is_told_what_to_do(runs):
    (runs[1] / FILE_NAME).unlink()
    with pytest.raises(CheckpointError, match="edgewise evaluate"):
        compare(runs)


def test_runs_of_one_device_are_compared_too(run_dir):
    found = compare([run_dir])
    assert found.long_horizon is None
    row = rows_of(found)["synthetic"]
    assert row.age == row.episodes
    assert row.authors_age is None
    text = as_markdown(found)
    assert "worst device" not in text
    assert text.count("age, episodes of 1200 s") == 1


def test_the_table_is_written_three_times(tmp_path, runs):
    found = compare(runs, command=["edgewise", "compare", "<x>"])
    paths = write(found, tmp_path / "out" / "here")
    assert Comparison.model_validate_json(paths[0].read_bytes()) == found
    assert paths[0].name == JSON_NAME
    assert "NaN" not in paths[0].read_text()
    markdown = paths[1].read_text()
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(found.rows)
    assert len({line.count("|") for line in table}) == 1
    assert "**synthetic-game** (async_fractional, team)" in markdown
    page = paths[2].read_text()
    assert "<x>" not in page
    assert "://" not in page
    assert "synthetic-game" in page
    assert as_html(found) == page


def test_the_command_prints_and_writes(tmp_path, runs, capsys):
    assert main(["compare", *map(str, runs), "--out", str(tmp_path / "table")]) == 0
    out = capsys.readouterr().out
    for word in ("synthetic-game", "selfish-game", "JSQ, zero wait", "lower bound", "comparison.html"):
        assert word in out, word
    stored = json.loads((tmp_path / "table" / JSON_NAME).read_text())
    assert stored["command"][0]
    assert main(["compare", str(tmp_path)]) == 2


def test_learned_rows_stand_out_in_the_terminal(runs):
    import io

    console_class = pytest.importorskip("rich.console").Console
    stream = io.StringIO()
    print_comparison(compare(runs), console_class(file=stream, force_terminal=True, width=140))
    lines = stream.getvalue().splitlines()
    assert "\x1b[1;36m" in next(line for line in lines if "selfish-game" in line)
    assert "\x1b[1;36m" not in next(line for line in lines if "JSQ, zero wait" in line)
