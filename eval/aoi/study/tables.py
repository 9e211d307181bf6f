"""Tables of the study of the game, once for the page and the terminal, with their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...estimates import Estimate
from ...formats import NOTHING, interval, seconds, signed
from ...study.tables import Cell, Line, Table
from ..compare import Comparison, Row
from ..compare_page import caption, columns
from .findings import Fidelity, Findings, SweepFindings

UNREAD = (
    "Absolute ages, curves per baseline and the axes of the papers' figures were not readable, so only these maxima "
    "can be set beside ours; which baselines and which systems they belong to is not known."
)


_BRIEF = ("runs", "gain by deviating", "greatest gain", "training")


@dataclass(frozen=True)
class Published:
    """A documented reduction of the age: the figure, what it is said to hold against, and where."""

    share: float
    against: str
    source: str


BEST_BASELINE = Published(0.506, "the best existing baseline", "arXiv 2409.16832v6, abstract")
PUBLISHED = (
    BEST_BASELINE,
    Published(0.526, "the best baseline", "arXiv 2409.16832v1, abstract, as third parties summarise it"),
    Published(0.576, "several non-fractional benchmarks", "arXiv 2312.10418, abstract"),
    Published(0.313, "optimising updating or offloading alone", "arXiv 2312.10418, as third parties summarise it"),
)


def _age(value: Estimate | None) -> Cell:
    return (NOTHING, "") if value is None else (seconds(value.estimate), interval(value))


def _change(value: Estimate | None) -> Cell:
    return (NOTHING, "") if value is None else (signed(value.estimate), interval(value, relative=True))


def _near(row: Row) -> list[Cell]:
    """Ages over episodes by both estimators."""
    return [_age(row.episodes), _age(row.authors_episodes)]


def baseline_table(comparison: Comparison) -> Table:
    """All policies, learned and scripted, under one drop mode."""
    shown = columns(comparison)
    lines = [
        Line(row.label, row.rule, [cell(row) for _, cell in shown], row.kind == "learned") for row in comparison.rows
    ]
    headings = ["policy", *(title for title, _ in shown)]
    brief = [number for number, (title, _) in enumerate(shown) if title in _BRIEF or title.startswith("age, ")]
    return Table(headings, lines, caption(comparison), brief)


def fidelity_table(fidelity: Fidelity) -> Table:
    """The released code's defects, one by one."""
    far, near = f"{fidelity.comparison.long_horizon:g} s", f"episodes of {fidelity.comparison.horizon:g} s"
    headings = ["variant", f"age, {far} (s)", "against corrected", f"age, {near} (s)", "papers’, episodes (s)"]
    lines = [
        Line(
            effect.variant.replace("+", " + ").replace("_", " "),
            f"{len(effect.row.runs)} run{'s' if len(effect.row.runs) > 1 else ''}",
            [_age(effect.row.age), _change(effect.relative), *_near(effect.row)],
            effect.relative is None,
        )
        for effect in fidelity.effects
    ]
    text = (
        f"The released code's defects one by one: {fidelity.comparison.system}, selfish objective. Corrected: the "
        "published algorithm without them; corrected + …: with this one alone; paper: with all of them and the "
        "released settings. Changes are paired by training seed and evaluation draws; brackets: 95 % bootstrap "
        "intervals."
    )
    return Table(headings, lines, text)


def drop_words(sweep: SweepFindings) -> str:
    """The drop mode of a sweep, for captions."""
    modes = list(dict.fromkeys(point.drop for point in sweep.points))
    return f"drop mode {modes[0]}" if len(modes) == 1 else f"drop modes {', '.join(modes)}"


def sweep_table(sweep: SweepFindings) -> Table:
    """One row per system, and the published figure under them."""
    stretches = sorted({point.comparison.long_horizon or 0.0 for point in sweep.points})
    far = f"{' or '.join(f'{length:g}' for length in stretches)} s"
    near = f"episodes of {sweep.points[0].comparison.horizon:g} s"
    headings = [
        sweep.axis,
        f"learner, {far} (s)",
        "papers’ estimator (s)",
        f"learner, {near} (s)",
        "papers’, episodes (s)",
        "best scripted (s)",
        "gain over it",
        "JSQ, zero wait (s)",
        "gain over it ",
    ]
    lines = []
    for point in sweep.points:
        ours, best = point.learner, point.best
        cells = [_age(ours.age), _age(ours.authors_age), *_near(ours)]
        cells += [(seconds(best.age.estimate), best.label), _change(best.share)]
        cells += [_age(point.zero_wait.age), _change(point.zero_wait.share)]
        lines.append(Line(point.label, point.drop, cells))
    empty = (NOTHING, "")
    claim = (f"up to {100 * BEST_BASELINE.share:.1f} %", f"over {BEST_BASELINE.against}")
    lines.append(Line("published", BEST_BASELINE.source, [empty] * 5 + [claim] + [empty] * 2, strong=True))
    return Table(headings, lines, sweep_caption(sweep), brief=(0, 4, 5, 6, 7))


def sweep_caption(sweep: SweepFindings) -> str:
    """What a sweep's table and figure show."""
    runs = len(sweep.points[0].learner.runs)
    over = f"{runs} training seeds" if runs > 1 else "evaluation seeds (one training seed)"
    return (
        f"{sweep.title}, {drop_words(sweep)}: mean age of all devices. The learner is trained from scratch for every "
        "system (team objective) and meets the same service draws as the scripted policies, whose free waits are tuned "
        f"for every system. Brackets and bars: 95 % bootstrap intervals over {over}. The best scripted policy tunes "
        f"its wait, which the papers' baselines are not known to do. {UNREAD}"
    )


def summary_table(sweeps: Sequence[SweepFindings]) -> Table:
    """The greatest gains along every sweep beside the published maxima."""
    lines = []
    for sweep in sweeps:
        cells: list[Cell] = []
        for gains in ([p.best for p in sweep.points], [p.zero_wait for p in sweep.points]):
            shares = [gain.share.estimate for gain in gains]
            index = shares.index(max(shares))
            value, ends = _change(gains[index].share)
            cells += [(value, ends), (sweep.points[index].label, gains[index].label)]
        lines.append(Line(sweep.title, drop_words(sweep), cells))
    for claim in PUBLISHED:
        cells = [(f"up to {100 * claim.share:.1f} %", claim.against), (NOTHING, ""), (NOTHING, ""), (NOTHING, "")]
        lines.append(Line("published", claim.source, cells, strong=True))
    headings = ["sweep", "greatest gain over the best scripted", "at", "over JSQ without waiting", "at "]
    return Table(headings, lines, f"Greatest gains along the sweeps and the published ones. {UNREAD}")


def tables(findings: Findings) -> list[tuple[str, Table]]:
    """Every table of the study with its title, in the order of the page."""
    found = [(f"Policies, {c.system}", baseline_table(c)) for c in findings.baselines or []]
    if findings.fidelity is not None:
        found.append(("Fidelity ablation", fidelity_table(findings.fidelity)))
    if findings.sweeps:
        found.append(("Sweeps and the published figures", summary_table(findings.sweeps)))
        found += [(f"{sweep.title}, {drop_words(sweep)}", sweep_table(sweep)) for sweep in findings.sweeps]
    return found
