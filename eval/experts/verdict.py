"""The result of an evaluation of edge experts in words, and how its numbers are written."""

from __future__ import annotations

from ..estimates import Estimate
from ..formats import NOTHING, compared, percent
from .results import ExpertsEvaluation

NEAR = 0.02
"""A learner counts as good within this share of the certified optimum."""


def number(value: float | None) -> str:
    """Four significant digits."""
    return NOTHING if value is None else f"{value:.4g}".replace("-", "−")


def span(estimate: Estimate | None) -> str:
    """An interval in brackets; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def share(estimate: Estimate | None) -> str:
    """A small share in percent with two decimals."""
    return NOTHING if estimate is None else f"{100 * estimate.estimate:.2f} %".replace("-", "−")


def share_span(estimate: Estimate | None) -> str:
    """Its interval in percent; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}] %".replace("-", "−")


def target_name(evaluation: ExpertsEvaluation) -> str:
    """What the learner is held against."""
    exact = evaluation.target is None or evaluation.target.exact
    return "certified optimum" if exact else "certified bound"


def verdict(evaluation: ExpertsEvaluation) -> dict[str, str]:
    """The result in words, and how it should look: ``good``, ``plain`` or ``bad``."""
    learner, rule = evaluation.learner, evaluation.best_rule
    against = learner.value.estimate - rule.value.estimate
    scale = abs(rule.value.estimate)
    relative = against / scale if scale > 0 else 0.0
    if abs(relative) <= 1.0:
        versus = f"its value is {compared(relative)} that of the best rule, “{rule.label}”"
    else:  # values that change their sign have no percentages
        best = number(rule.value.estimate)
        versus = f"its value is {number(learner.value.estimate)}, that of the best rule, “{rule.label}”, {best}"
    if rule.exceeded:
        versus += ", though no rule keeps the constraints"
    missing = learner.shortfall
    if learner.exceeded:
        excess = " and ".join(f"{name} by {percent(by)}" for name, by in learner.exceeded.items())
        return {"tone": "bad", "text": f"Exceeds what it may use in expectation: {excess}; {versus}."}
    near = missing is not None and missing.estimate <= NEAR
    tone = "bad" if against < 0 and not near else "good" if near else "plain"
    if missing is None:
        return {"tone": tone, "text": f"No optimum is known; {versus}."}
    worst = evaluation.worst
    if worst is None:
        below = f"{share(missing)} below the {target_name(evaluation)}"
        if missing.estimate > 1.0 and evaluation.target is not None:
            below = f"Far below the {target_name(evaluation)} of {number(evaluation.target.value)}"
        text = f"{below}; {versus}."
        if learner.uses:
            uses = " and ".join(f"{percent(use.estimate)} of the {name}" for name, use in learner.uses.items())
            text = f"{text[:-1]}. It uses {uses} that it may use."
    else:
        text = (
            f"Mean regret {share(missing)} over {len(evaluation.budgets)} pairs of budgets, at worst "
            f"{percent(worst.regret)} (at {worst.energy:.4g} J); {versus}."
        )
    return {"tone": tone, "text": text}
