"""The report of model caching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...envs.model_caching.state import TERMS
from ...train.run_folder import RunFolder
from ..formats import Figure, interval, percent, signed
from ..pages import bar
from ..report import render_page
from . import figures
from .results import CachingEvaluation, MarketRecord
from .verdict import NEAR_CAUSAL, verdict

_FILTERS: dict[str, Callable[..., str]] = {
    "signed": signed,
    "interval": interval,
    "percent": percent,
    "cost": "{:.2f}".format,
}
_BAR_LIMIT = 2.5  # bars end at this multiple of the learner's cost


def render(run: RunFolder, evaluation: CachingEvaluation, rows: list[dict[str, Any]]) -> str:
    """The page as text.

    Args:
        run: the run folder (its ``run.json`` is shown).
        evaluation: what to report.
        rows: rows of ``metrics.jsonl``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return render_page(
        "caching_report.html.j2",
        run,
        evaluation,
        _FILTERS,
        _provenance(evaluation),
        verdict=verdict(evaluation),
        near=NEAR_CAUSAL,
        terms=TERMS,
        table=_table(evaluation),
        sections=_sections(evaluation, rows),
    )


def _sections(evaluation: CachingEvaluation, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures by section, in the order of the page."""
    episode, policies = evaluation.episode, evaluation.rows
    over = f"the first evaluation episode ({len(episode.cache)} slots)"
    redrawn = (
        f" Vertical lines: the popularity is redrawn, every {episode.shift_every} slots." if episode.shift_every else ""
    )
    costs = [
        Figure(
            "parts",
            figures.cost_parts(policies),
            "Where the cost comes from",
            f"Cost per slot by part, mean over {evaluation.n_seeds} episodes, cheapest policy first.",
        ),
        Figure(
            "accuracy",
            figures.accuracy_against_cost(policies),
            "Accuracy against cost",
            "Accuracy of the requests served at the edge (1 minus the mean unit accuracy cost) against the cost per "
            "slot. Diamond: the learner; green: told the demand; orange: tuned density rules.",
        ),
    ]
    points = [(row["step"], row["evaluation/cost"]) for row in rows if "evaluation/cost" in row]
    if points:
        steps, values = zip(*points, strict=True)
        caption = (
            "Cost per slot of the deterministic policy at every checkpoint, on tuning episodes, and what it is held "
            "against on the evaluation episodes."
        )
        svg = figures.learning_curve(steps, values, figures.levels(evaluation))
        costs.append(Figure("learning", svg, "Learning curve", caption, wide=True))
    played = [
        Figure(
            "cache",
            figures.cache_content(episode),
            "Cache content",
            f"Which agents' models are resident in {over}; triangles: loads, crosses: evictions.{redrawn}",
            wide=True,
        ),
        Figure(
            "demand",
            figures.demand(episode),
            "Demand",
            f"Requests of every agent in the same episode, agents by the size of their model.{redrawn}",
            wide=True,
        ),
        Figure(
            "terms",
            figures.cost_over_time(episode),
            "Cost by slot",
            "The five parts of the cost in every slot of the same episode, stacked.",
            wide=True,
        ),
    ]
    sections = [
        {"id": "costs", "title": "Costs", "figures": costs},
        {"id": "episode", "title": "One episode", "figures": played},
    ]
    if evaluation.market is not None:
        sections.append({"id": "market", "title": "A market between servers", "figures": _market(evaluation.market)})
    return sections


def _market(market: MarketRecord) -> list[Figure]:
    """Clocks and trades of the servers that follow the learner."""
    return [
        Figure(
            "clocks",
            figures.clocks(market.auction),
            "Auction clocks",
            f"The slot with the most trades (slot {market.slot}) of {market.servers} servers that all follow the "
            "learner and trade single reasoning paths: the buyers' clock falls, the sellers' rises, and truthful "
            "agents stop it at the first price that they accept. Larger points: more agents. Green: what buyers pay "
            "and what sellers get.",
        ),
        Figure(
            "bids",
            figures.bids_and_asks(market.auction),
            "Bids and asks",
            "The stop prices of the same auction, best first: pairs trade from the left, by McAfee's rule.",
        ),
        Figure(
            "trades",
            figures.trades(market),
            "Trades",
            "Agents with local demand that bid for a path, and paths that were traded, by slot. Payments are transfers "
            f"and in no cost; the auctioneer kept {market.surplus:.3g} of them.",
            wide=True,
        ),
    ]


def _table(evaluation: CachingEvaluation) -> list[dict[str, Any]]:
    """Rows of the comparison with their bars."""
    limit = _BAR_LIMIT * evaluation.learner.cost.estimate
    top = max(min(row.cost.estimate, limit) for row in evaluation.rows)
    return [{"row": row, "bar": bar(row.cost, top, evaluation.bound.bound)} for row in evaluation.rows]


def _provenance(evaluation: CachingEvaluation) -> list[tuple[str, str]]:
    """How bound, tuned rules and the network trained without inner steps came about."""
    bound = evaluation.bound
    pairs = [
        (
            "certified bound",
            f"{bound.method}; first {bound.episodes} episodes, {bound.proved} solved to optimality",
        ),
        ("tuned rules", f"best of a grid on {evaluation.tuning_episodes} training episodes"),
        ("network", f"{evaluation.backbone}, {evaluation.parameters:,} parameters that decide and value"),
    ]
    if evaluation.static_run is not None:
        pairs.append(("static-net", evaluation.static_run))
    return pairs
