"""Tables of the studies whose results are committed, as Markdown: the generated parts of the pages about results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def results(name: str) -> str:
    """The figures of a reproduced study: excess of every seed over its reference, their median, training seconds."""
    study = json.loads((RESULTS / f"{name}.json").read_text())
    rows = []
    for row in study["rows"]:
        cells = row["cells"]
        against = "the optimum" if cells[0]["against"] == "optimum" else "the best scripted policy (upper end of 95 %)"
        rows.append(
            (
                f"`{row['config'].split('/')[1]}`",
                ", ".join(f"{cell['age']:.4f}" for cell in cells),
                ", ".join(dict.fromkeys(f"{cell['reference']:.4f}" for cell in cells)),
                f"{row['median_excess']:+.2%} over {against}",
                f"{row['limit']:.0%}",
                ", ".join(f"{cell['seconds']:.0f}" for cell in cells),
            )
        )
    header = ("configuration", "mean age, s (seeds 0, 1, 2)", "reference, s", "median excess", "at most", "training, s")
    return table(header, rows)


_NO_FIGURES = "No figures are committed yet. `edgewise reproduce aoi-game --budget full` measures and writes them."


def game_results(name: str) -> str:
    """The policies of the game in one table per drop mode: long-run age, age over episodes, gain by deviating."""
    from edgewise.eval.formats import NOTHING, interval, percent, seconds, share_interval

    parts = []
    for found in _comparisons(name):
        far = f"{found.long_horizon:g} s" if found.long_horizon is not None else "best estimate"
        rows = [
            (
                f"**{row.label}** ({row.rule})" if row.kind == "learned" else f"{row.label} ({row.rule})",
                str(len(row.runs)) if row.kind == "learned" else NOTHING,
                f"{seconds(row.age.estimate)} {interval(row.age)}",
                seconds(row.median) if row.kind == "learned" else NOTHING,
                seconds(row.episodes.estimate),
                NOTHING if row.gain is None else f"{percent(row.gain.estimate)} {share_interval(row.gain)}",
                NOTHING if row.greatest_gain is None else percent(row.greatest_gain.estimate),
                NOTHING if row.training_seconds is None else f"{row.training_seconds:.0f}",
            )
            for row in found.rows
        ]
        header = ("policy", "runs", f"age over {far}, s", "median run, s", f"episodes of {found.horizon:g} s, s")
        header = (*header, "gain by deviating", "greatest gain", "training, s")
        parts.append(f"{found.system[0].upper()}{found.system[1:]}:\n\n{table(header, rows)}")
    return "\n\n".join(parts) or _NO_FIGURES


def game_tables(name: str) -> str:
    """Every table of the study of the game: baselines by both estimators, the fidelity ablation, the sweeps."""
    from edgewise.eval.aoi.compare_page import as_markdown
    from edgewise.eval.aoi.study.findings import Findings
    from edgewise.eval.aoi.study.tables import tables

    path = RESULTS / f"{name}.json"
    if not path.exists():
        return _NO_FIGURES
    if "study" not in json.loads(path.read_text()):
        return "\n".join(map(as_markdown, _comparisons(name))).strip()
    return _tables(tables(Findings.model_validate_json(path.read_text())))


def caching_results(name: str) -> str:
    """The learners of the first part of the caching study against references on the same episodes, briefly."""
    from edgewise.eval.caching.study.findings import Findings
    from edgewise.eval.formats import interval, signed

    path = RESULTS / f"{name}.json"
    if not path.exists():
        return _NO_FIGURES.replace("aoi-game", "caching")
    part = Findings.model_validate_json(path.read_text()).tables[0]
    chosen, rows = ("density_ewma", "lfu", "look-ahead"), []
    for line in part.lines:
        against = {
            entry.label: f"{signed(entry.relative.estimate)} {interval(entry.relative, relative=True)}"
            for entry in line.against
        }
        cost = f"{line.cost.estimate:.2f} {interval(line.cost)}"
        rows.append((f"**{line.label}**", str(len(line.runs)), cost, *(against[name] for name in chosen)))
    header = ("learner", "runs", "cost per slot", *(f"against {name}" for name in chosen))
    return f"{part.title}:\n\n{table(header, rows)}"


def caching_tables(name: str) -> str:
    """Every table of the study of model caching, and where its figures come from."""
    from edgewise.eval.caching.study.findings import Findings
    from edgewise.eval.caching.study.page import tables
    from edgewise.eval.study.page import provenance

    path = RESULTS / f"{name}.json"
    if not path.exists():
        return _NO_FIGURES.replace("aoi-game", "caching")
    found = Findings.model_validate_json(path.read_text())
    run = [check for check in found.checks if check.met is not None]  # of the parts that were run
    found = found.model_copy(update={"checks": run})
    origin = provenance(found.command, found.created, found.git, found.versions, found.hardware)
    said = "; ".join(f"{what}: {text}" for what, text in origin)
    return "\n\n".join([_tables(tables(found), "###"), f"{said[0].upper()}{said[1:]}."])


def experts_tables(name: str) -> str:
    """Every table of the study of edge experts, and where its figures come from."""
    from edgewise.eval.experts.study import revisions, tables

    path = RESULTS / f"{name}.json"
    if not path.exists():
        return _NO_FIGURES.replace("aoi-game", "experts")
    study = json.loads(path.read_text())
    ran = ", ".join(f"`{revision}`" for revision in revisions(study))
    return "\n\n".join(
        [_tables(tables(study)), f"Revisions of the cells: {ran}. Hardware: {study['hardware']['processor']}."]
    )


def _tables(pairs: Iterable[tuple[str, Any]], level: str = "##") -> str:
    """A study's tables under their titles, remarks behind the names."""
    parts = []
    for title, found in pairs:
        rows = (
            (
                f"{line.name} ({line.remark})" if line.remark else line.name,
                *(" ".join(filter(None, cell)) for cell in line.cells),
            )
            for line in found.lines
        )
        parts.append(f"{level} {title}\n\n{found.caption}\n\n{table(found.headings, rows)}")
    return "\n\n".join(parts)


def _comparisons(name: str) -> list[Any]:
    """The tables in a study's results or in the output of ``edgewise compare``; none without such a file."""
    from edgewise.eval.aoi.compare import Comparison

    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    found = content["baselines"] or [] if "study" in content else [content]
    return [Comparison.model_validate(each) for each in found]
