"""The report's figures by section; a figure without data is left out, and its section says why."""

from __future__ import annotations

from typing import Any

from ..figures import ACCENT, GOOD, SERIES
from ..formats import Figure
from . import figures, game_figures
from .figures import Level
from .results import Evaluation, Game
from .verdict import target_name

_ROWS = 5  # scripted policies shown in figures: the best ones


def sections(evaluation: Evaluation, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All sections in the order of the page.

    Args:
        evaluation: what to report.
        rows: rows of ``metrics.jsonl``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = [
        {
            "id": "learning",
            "title": "Learning",
            "figures": _learning(evaluation, rows),
            "empty": "No metrics were recorded.",
        },
        {"id": "policy", "title": "What it learned", "figures": _policy(evaluation), "empty": ""},
        {"id": "episode", "title": "One greedy episode", "figures": _episode(evaluation), "empty": ""},
    ]
    if evaluation.game is not None:
        empty = "What a device could gain by deviating alone was not measured: edgewise evaluate RUN --exploitability"
        check = {"title": "Age and exploitability", "figures": _nash(evaluation, evaluation.game), "empty": empty}
        found.insert(0, {"id": "nash", **check})
    return found


def _series(rows: list[dict[str, Any]], *keys: str) -> tuple[list[float], list[float]]:
    """Steps and values of the first of these metrics that the rows hold; empty if none."""
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float) and "step" in row]
        if points:
            return [float(step) for step, _ in points], [float(value) for _, value in points]
    return [], []


def levels(evaluation: Evaluation) -> list[Level]:
    """What an age is held against: the optimum or its bound; never waiting; in a game the class's pair instead."""
    found = []
    if evaluation.target is not None:
        found.append(Level(evaluation.target, target_name(evaluation), GOOD))
    game = evaluation.game
    if game is None:
        zero = evaluation.baseline(evaluation.zero_wait).age.estimate
        return [*found, Level(zero, "zero wait", ACCENT, ":")]
    pair = [evaluation.baseline(label).age.estimate for label in (game.cooperative, game.equilibrium)]
    return [*found, Level(pair[0], "cooperative", SERIES[2], "-."), Level(pair[1], "equilibrium", ACCENT, ":")]


def _learning(evaluation: Evaluation, rows: list[dict[str, Any]]) -> list[Figure]:
    lines = levels(evaluation)
    found = []
    steps, ages = _series(rows, "evaluation/mean_age")
    subject = "the greedy policy at every checkpoint"
    if not steps:  # checkpoints were not scored
        steps, ages = _series(rows, "measured_ratio", "fractional/measured_ratio")
        subject = "the exploring policy during training"
    if steps:
        caption = f"Mean age (s) of {subject}, against training decisions, and what it is held against."
        found.append(Figure("learning", figures.learning_curve(steps, ages, lines), "Learning curve", caption))
    steps, ratios = _series(rows, "ratio", "fractional/ratio")
    if steps:
        caption = (
            "The price λ (s) of a second of time in the reward −(cost − λ · duration). Dinkelbach's outer loop moves "
            "it; at the solution it equals the mean age"
        ) + (" (in a game: mean over the devices)." if evaluation.game else ".")
        held = lines[1:] if evaluation.game else lines[:1]
        found.append(Figure("ratio", figures.ratio_trajectory(steps, ratios, held), "Ratio coefficient", caption))
    return found


def _policy(evaluation: Evaluation) -> list[Figure]:
    response, game = evaluation.response, evaluation.game
    caption = (
        "Chosen wait (s) after a completion, against the delay (s) of the completed task"
        + (", at queue lengths met in the episode." if response.n_edges else ".")
        + (
            " Dots: decisions of device 0 in the recorded episode."
            if game
            else " Dots: decisions of the recorded episode."
        )
        + (" Dashed: the proven optimal rule." if response.optimal_waits else "")
    )
    found = [Figure("wait", figures.wait_response(response), "Wait", caption)]
    if game is not None and response.n_edges:
        caption = "Chosen wait (s) after a completion, against the number of tasks at the edges, at three delays (s)."
        drawn = game_figures.queue_waits(game.queue_response)
        found.append(Figure("queue-wait", drawn, "Wait and queues", caption))
    if response.servers:
        caption = f"Where the task goes, by the number of tasks at the edges (L: the device itself). {response.note}"
        found.append(Figure("server", figures.server_response(response), "Server", caption))
        shown = (evaluation.learner, *evaluation.baselines[:_ROWS])
        whose = "all devices" if game else "the learning device"
        caption = f"Share of every place in the choices of {whose}, all evaluation seeds."
        drawn = figures.server_shares({score.label: score.server_shares for score in shown})
        found.append(Figure("shares", drawn, "Server shares", caption))
    if game is not None:
        found.append(_fairness(evaluation, game))
    return [*found, _seed_by_seed(evaluation)]


def _fairness(evaluation: Evaluation, game: Game) -> Figure:
    """Who pays for whom."""
    shown = [evaluation.learner, *(evaluation.baseline(label) for label in (game.cooperative, game.equilibrium))]
    ages = {score.label: score.stretch.device_ages for score in shown if score.stretch is not None}
    caption = f"Mean age (s) of every device over {game.stretch_horizon:g} s, sorted: how equally the age is shared."
    return Figure("devices", game_figures.device_ages(ages), "Device by device", caption)


def _seed_by_seed(evaluation: Evaluation) -> Figure:
    """Differences per seed; of a game, over the episodes, of which there are more than stretches."""
    near = [score for score in evaluation.baselines if abs(score.relative.estimate if score.relative else 1.0) < 0.5]
    shown = near[:_ROWS] or evaluation.baselines[:_ROWS]  # a far one would squeeze the others
    ours = evaluation.learner.per_seed
    differences = {score.label: [a / b - 1.0 for a, b in zip(ours, score.per_seed, strict=True)] for score in shown}
    caption = (
        "Learner's mean age over each scripted policy's on the same seed"
        + (f" (episodes of {evaluation.horizon:g} s)" if evaluation.game else "")
        + ", minus 1: one dot per seed, bar at the mean. Left of zero the learner is better."
    )
    return Figure("seeds", figures.seed_differences(differences), "Seed by seed", caption)


def _episode(evaluation: Evaluation) -> list[Figure]:
    trace, edges = evaluation.trace, evaluation.response.n_edges
    caption = (
        f"Age (s) of device {trace.device} over {trace.end - trace.start:.0f} s: it falls to the delay of each "
        "completed task and grows by one second per second in between."
    )
    drawn = figures.sawtooth(trace, evaluation.learner.mean_age.estimate)
    queues = (
        "Tasks at each edge over the same stretch, the one in service included."
        if edges
        else "The system has no edge and no queue: the device waits (grey) or computes."
    )
    return [
        Figure("sawtooth", drawn, "Age", caption, wide=True),
        Figure("queues", figures.queue_timeline(trace), "Queues" if edges else "Activity", queues, wide=True),
    ]


def _nash(evaluation: Evaluation, game: Game) -> list[Figure]:
    check = game.exploitability
    if check is None:
        return []
    names = {
        game.equilibrium: "equilibrium of the fixed waits",
        game.cooperative: "cooperative optimum of the fixed waits",
    }
    scripted = [
        game_figures.Profile(names.get(row.label, row.label), evaluation.baseline(row.label).age, row.mean)
        for row in game.references
    ]
    learner = game_figures.Profile("learner", evaluation.learner.age, check.mean, learner=True)
    bound = None if evaluation.optimum is None else evaluation.optimum.bound
    drop = f"drop mode {game.drop}"
    return [
        Figure(
            "plane",
            game_figures.age_and_regret([learner, *scripted], bound),
            "Age against exploitability",
            f"Mean age (s) of all devices, and by how much (%) a device lowers its own by deviating alone, {drop}. "
            f"Diamond: “{game.equilibrium}”, where nobody gains by another wait; square: “{game.cooperative}”, which "
            "serves all but tempts each. Dashed: the proven lower bound of the age.",
        ),
        Figure(
            "deviations",
            game_figures.deviation_curves(check.curves),
            "What another wait brings",
            f"Change (%) of the age of a device that joins the shortest queue and waits otherwise, while all others "
            f"keep to the learned policy, {drop}: mean over the sampled devices on the tuning seeds. Below zero it "
            "gains.",
        ),
        Figure(
            "gains",
            game_figures.device_gains(check.devices),
            "What each deviation brings",
            f"Gain (%) of the best deviation of each kind on {check.n_seeds} fresh seeds × {check.horizon:g} s, 95 % "
            f"intervals, {drop}. Black bars: the gain without selection bias, where each seed is played by what is "
            "best on the other seeds. What is far worse than the profile is cut off.",
            wide=True,
        ),
    ]
