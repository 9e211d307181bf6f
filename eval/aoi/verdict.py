"""The result of an evaluation in one sentence."""

from __future__ import annotations

from ..formats import compared, percent, seconds
from .nash_results import Exploitability
from .results import Evaluation, Game

_LEVEL = 0.01  # within this relative difference the learner counts as good as a scripted policy
EQUILIBRIUM = 0.05
"""A profile counts as near an equilibrium if the upper end of its mean relative gain is below this."""


def target_name(evaluation: Evaluation) -> str:
    """What the learner's age is held against: the optimum itself, or only a bound on it."""
    if evaluation.optimum is None:
        return "optimum"
    return "lower bound" if evaluation.optimum.value is None else "optimum"


def gap(evaluation: Evaluation) -> float | None:
    """The learner's mean age over the optimum (or its bound), minus 1; integrated where that is possible."""
    if evaluation.quadrature is not None:
        return evaluation.quadrature.gap
    return None if evaluation.gap is None else evaluation.gap.estimate


def verdict(evaluation: Evaluation) -> dict[str, str]:
    """The result in one sentence, and how it should look: ``good``, ``plain`` or ``bad``."""
    if evaluation.game is not None:
        return _game_verdict(evaluation, evaluation.game)
    zero, best = _difference(evaluation, evaluation.zero_wait), _difference(evaluation, evaluation.best)
    if evaluation.worse_than_zero_wait:
        text = f"The learner loses to “{evaluation.zero_wait}”: its mean age is {compared(zero)} it"
        if evaluation.best != evaluation.zero_wait:
            text += f", and {compared(best)} the best scripted policy, “{evaluation.best}”"
        return {"tone": "bad", "text": f"{text}."}
    parts = []
    above = gap(evaluation)
    if above is not None:
        name = "proven lower bound" if target_name(evaluation) == "lower bound" else "optimum"
        parts.append(f"{compared(above)} the {name}")
    parts.append(f"{compared(zero)} “{evaluation.zero_wait}”")
    if evaluation.best != evaluation.zero_wait:
        parts.append(f"{compared(best)} the best scripted policy, “{evaluation.best}”")
    tone = "good" if best <= _LEVEL else "plain"
    return {"tone": tone, "text": f"Mean age {seconds(evaluation.age)} s: {'; '.join(parts)}."}


def _difference(evaluation: Evaluation, label: str) -> float:
    """Learner over this baseline, minus 1."""
    against = evaluation.baseline(label).against
    assert against is not None
    return against.estimate


def _game_verdict(evaluation: Evaluation, game: Game) -> dict[str, str]:
    """A team is judged by its age, selfish devices by what one of them could gain alone."""
    pair = [
        f"{compared(_difference(evaluation, label))} {name} (“{label}”)"
        for label, name in (
            (game.cooperative, "the cooperative optimum of the fixed waits"),
            (game.equilibrium, "the equilibrium of the fixed waits"),
        )
    ]
    age = f"Mean age {seconds(evaluation.age)} s: {'; '.join(pair)}."
    check = game.exploitability
    if evaluation.objective == "team":
        best = _difference(evaluation, evaluation.best)
        tone = "bad" if evaluation.worse_than_zero_wait else "good" if best <= _LEVEL else "plain"
        return {"tone": tone, "text": age if check is None else f"{age} {gains(check)}"}
    if check is None:
        return {"tone": "plain", "text": f"{age} What a device could gain by deviating was not measured."}
    near = (check.mean.high or check.mean.estimate) <= EQUILIBRIUM
    state = "Near an equilibrium" if near else "Not an equilibrium"
    return {"tone": "good" if near else "bad", "text": f"{state}. {gains(check)} {age}"}


def gains(check: Exploitability) -> str:
    """What deviating alone brings, in a sentence."""
    upper = "" if check.mean.high is None else f" (95 % interval up to {percent(check.mean.high)})"
    return (
        f"By deviating alone a device lowers its age by {percent(check.mean.estimate)} on average{upper}, by "
        f"{percent(check.maximum.estimate)} at most, over {len(check.devices)} sampled devices."
    )
