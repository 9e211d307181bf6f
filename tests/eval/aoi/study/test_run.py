"""The study end to end in seconds: every cell once, cut-off ones continue, results and page say what was held fixed."""

import dataclasses
import json

import pytest

pytest.importorskip("ray")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from edgewise.envs.core.errors import CheckpointError, InvalidInputError, MissingExtraError
from edgewise.eval.aoi.study import cells, findings, plan, run
from edgewise.eval.aoi.study.findings import Findings
from edgewise.eval.aoi.study.page import print_study
from edgewise.eval.aoi.study.run import PAGE, RESULTS
from edgewise.eval.results import FILE_NAME
from edgewise.train.progress import Silent
from edgewise.train.trainer import train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]  # the study itself is one fixture


def reproduce(out, budget="tiny", **options):
    lines = []
    found = run.reproduce(
        budget, out, make_progress=Silent, report=lines.append, command=["edgewise", "reproduce", "a&b"], **options
    )
    return found, lines


def times(out):
    """When the last checkpoint and the evaluation of every cell were written."""
    kept = {}
    for folder in sorted((out / "cells").iterdir()):
        last = max((folder / "checkpoints").iterdir())
        kept[folder.name] = (last.name, last.stat().st_mtime_ns, (folder / FILE_NAME).stat().st_mtime_ns)
    return kept


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study: the monkeypatched plan is needed while it runs only."""
    from . import conftest

    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        conftest.tiny.__wrapped__(patch)
        assert findings.LEARNED == plan.LEARNED
        found, lines = reproduce(out)
    return out, found, lines


def test_every_cell_is_run_and_everything_is_recorded(study):
    out, found, lines = study
    names = {folder.name for folder in (out / "cells").iterdir()}
    assert names == {
        "team_authors-0",
        "selfish_authors-0",
        "recurrent_d3qn_ppo-0",
        "team_none-0",
        "fidelity-corrected-0",
        "fidelity-corrected-single_q-0",
        "sweep-drop-cutoff_1.5-0",
    }
    assert sum("age" in line for line in lines) == len(names)
    assert Findings.model_validate_json((out / RESULTS).read_bytes()) == found
    authors, none = found.baselines
    assert {row.label for row in authors.rows} >= {"team_authors", "recurrent_d3qn_ppo", "JSQ, best fixed wait"}
    checked = {row.label for row in authors.rows if row.kind == "learned" and row.gain is not None}
    assert checked == set(plan.CHECKED)
    assert "drop mode none" in none.system


def test_gains_are_paired_with_the_scripted_policy(study):
    out, found, _ = study
    usual, cut = found.sweeps[0].points
    assert [usual.drop, cut.drop] == ["authors:1.5", "cutoff:1.5"]
    evaluation = json.loads((out / "cells" / "team_authors-0" / FILE_NAME).read_text())
    best = min(evaluation["baselines"], key=lambda row: row["stretch"]["mean_age"]["estimate"])
    ours = evaluation["learner"]["stretch"]["per_seed"]
    theirs = best["stretch"]["per_seed"]
    assert usual.best.label == best["label"]
    assert usual.best.share.estimate == pytest.approx(1.0 - sum(ours) / sum(theirs))
    assert usual.best.share.low <= usual.best.share.estimate <= usual.best.share.high
    assert usual.zero_wait.share.estimate >= usual.best.share.estimate


def test_the_ablation_is_held_against_the_corrected_learner(study):
    _, found, _ = study
    corrected, defect = found.fidelity.effects
    assert (corrected.variant, corrected.relative) == ("corrected", None)
    expected = defect.row.age.estimate / corrected.row.age.estimate - 1.0
    assert defect.relative.estimate == pytest.approx(expected)


def test_the_page_is_self_contained_and_names_the_drop_mode(study):
    out, found, _ = study
    page = (out / PAGE).read_text()
    assert "a&amp;b" in page
    assert "<script" not in page
    assert 'src="http' not in page
    figures = page.split("<figure")[1:]
    assert len(figures) == 1 + len(found.sweeps)
    for figure in figures:
        caption = figure.split("<figcaption>")[1].split("</figcaption>")[0]
        assert "drop mode" in caption
        assert "<svg" in figure
    captions = [part.split("</p>")[0] for part in page.split('<p class="legend">')[1:]]
    assert captions
    assert all("drop mode" in caption or "not readable" in caption for caption in captions)
    assert "up to 50.6 %" in page
    assert "arXiv 2409.16832v6" in page
    assert "were not readable" in page


def test_the_terminal_shows_every_table(study, capsys):
    from rich.console import Console

    _, found, _ = study
    print_study(found, Console(width=200))
    text = capsys.readouterr().out
    assert text.count("drop mode") >= 3
    assert "corrected + single q" in text
    assert "published" in text


def test_finished_cells_are_not_run_again(study, tiny):
    out, found, _ = study
    before = times(out)
    again, lines = reproduce(out)
    assert times(out) == before
    assert lines == ["7 of 7 cells are finished"]
    assert again.sweeps == found.sweeps


def test_what_is_cut_off_continues(study, tiny, tmp_path):
    """A cell stopped at its first checkpoint, and one without its evaluation, end as if nothing had happened."""
    out, _, _ = study
    cell = next(cell for cell in plan.all_cells(tiny) if cell.name == "sweep-drop-cutoff_1.5-0")
    stopped = train(cell.config, cell.folder(tmp_path), stop_at=200)
    assert stopped.step < 600
    assert not cells.is_finished(cell, tmp_path)
    cells.run_cell(cell, tmp_path)
    assert cells.is_finished(cell, tmp_path)

    def weights(folder):
        return json.loads((folder / "run.json").read_text())["result"]["weights_sha256"]

    assert weights(cell.folder(tmp_path)) == weights(cell.folder(out))
    trained = max((cell.folder(tmp_path) / "checkpoints").iterdir()).stat().st_mtime_ns
    (cell.folder(tmp_path) / FILE_NAME).unlink()
    cells.run_cell(cell, tmp_path)
    assert cells.is_finished(cell, tmp_path)
    assert max((cell.folder(tmp_path) / "checkpoints").iterdir()).stat().st_mtime_ns == trained


def test_parts_that_are_finished_stay_in_the_results(study, tiny):
    out, _, _ = study
    found, lines = reproduce(out, only=("fidelity",))
    assert lines == ["2 of 2 cells are finished"]
    assert found.baselines is not None
    assert found.sweeps is not None


def test_the_objectives_alone_fill_both_tables(study, tiny):
    out, whole, _ = study
    found = findings.collect("tiny", tiny, ("objectives",), out, ["x"])
    assert found.fidelity is None
    for comparison, other in zip(found.baselines, whole.baselines, strict=True):
        learned = [row for row in comparison.rows if row.kind == "learned"]
        assert {row.label for row in learned} in ({"team_authors", "selfish_authors"}, {"team_none"})
        assert all(row == next(twin for twin in other.rows if twin.label == row.label) for row in learned)
        assert comparison.system == other.system


def test_tables_hold_finished_runs_of_further_seeds_too(study, tiny):
    out, _, _ = study

    def seeds(asked):
        runs = findings._runs("team_authors", dataclasses.replace(tiny, seeds=asked), 3, out)
        return [cell.config.seed for cell in runs]

    assert seeds(0) == [0]  # one is finished of three
    assert seeds(2) == [0, 1]


def test_another_study_in_the_folder_is_refused(study, longer):
    with pytest.raises(CheckpointError, match=r"another configuration .*steps: 600 there, 800 now"):
        reproduce(study[0], "longer")


@pytest.mark.parametrize(
    ("options", "word"),
    [({"budget": "huge"}, "smoke"), ({"only": ("sweep",)}, "fidelity"), ({"workers": 0}, "workers")],
)
def test_bad_requests(tmp_path, options, word):
    with pytest.raises(InvalidInputError, match=word):
        reproduce(tmp_path, **{"budget": "smoke", **options})


def test_without_ray_more_workers_are_refused_in_one_sentence(tiny, tmp_path, monkeypatch):
    def missing(module, extra):
        raise MissingExtraError(f"needs {module}; install edgewise[{extra}]")

    monkeypatch.setattr(run, "require", missing)
    with pytest.raises(MissingExtraError, match="rllib"):
        reproduce(tmp_path, only=("fidelity",), workers=2)


def test_cells_run_in_parallel(study, tiny, tmp_path):
    import ray

    out, _, _ = study
    found, lines = reproduce(tmp_path, only=("fidelity",), workers=2)
    assert not ray.is_initialized()
    assert sum("age" in line for line in lines) == 2
    alone = json.loads((out / RESULTS).read_text())["fidelity"]["effects"]
    together = [effect.model_dump(mode="json") for effect in found.fidelity.effects]
    assert [effect["row"]["age"] for effect in together] == [effect["row"]["age"] for effect in alone]
