"""The result of an evaluation of model caching in a few sentences."""

from __future__ import annotations

from ..formats import compared, interval
from .results import FROZEN_0, FROZEN_W, LOOKAHEAD, STATIC_NET, CachingEvaluation, Row

NEAR_CAUSAL = 0.05
"""A learner counts as good within this relative difference of the better tuned causal rule."""


def relative(row: Row) -> float:
    """Learner over this policy, minus 1."""
    assert row.relative is not None
    return row.relative.estimate


def verdict(evaluation: CachingEvaluation) -> dict[str, str]:
    """The result in words, and how it should look: ``good``, ``plain`` or ``bad``."""
    found = _level(evaluation)
    if evaluation.replayed is not None:
        found["text"] += (
            f" All episodes replay {evaluation.replayed}, as training did: this says nothing about requests that the "
            "learner has not seen."
        )
    return found


def _level(evaluation: CachingEvaluation) -> dict[str, str]:
    causal, lookahead = evaluation.row(evaluation.causal), evaluation.row(LOOKAHEAD)
    simple = [row for row in evaluation.scripted if row.kind == "scripted"]
    best = min(simple, key=lambda row: row.cost.estimate)
    cost = f"{evaluation.learner.cost.estimate:.2f} per slot"
    parts = [
        f"{compared(relative(causal))} the better causal rule (“{causal.rule}”, tuned)",
        f"{compared(relative(lookahead))} look-ahead, which knows the demand",
        f"{compared(relative(best))} “{best.label}”, the best policy without free numbers",
    ]
    if best.relative is not None and best.relative.positive:
        text = f"The learner loses to “{best.label}”, the best policy without free numbers: its cost of {cost} is "
        text += f"{compared(relative(best))} it, {parts[0]}, and {parts[1]}."
        return {"tone": "bad", "text": f"{text} {adaptation(evaluation)}".strip()}
    tone = "good" if relative(causal) <= NEAR_CAUSAL else "plain"
    return {"tone": tone, "text": f"Cost {cost}: {'; '.join(parts)}. {adaptation(evaluation)}".strip()}


def adaptation(evaluation: CachingEvaluation) -> str:
    """What inner steps at test time bring, in a sentence; empty for a learner without them."""
    rows = [row for label in (FROZEN_0, FROZEN_W, STATIC_NET) if (row := evaluation.variant(label)) is not None]
    if not evaluation.inner_steps or not rows:
        return ""
    said = ", ".join(f"{compared(relative(row))} {row.label} {interval(row.relative, relative=True)}" for row in rows)
    clear = [row.relative is not None and row.relative.high is not None and row.relative.high < 0 for row in rows]
    word = "pays" if all(clear) else "does not clearly pay"
    return f"Adapting at test time {word}: {said}."
