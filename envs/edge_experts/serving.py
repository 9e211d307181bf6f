"""What a selection does with the prompts of an instance: answers, their quality, energy and delay, queues left out.

===================== ==========================================================================================
serving rule          who runs, and whose answer counts
===================== ==========================================================================================
`route`               one expert per prompt, as a gate or a router chose
`vote`                every selected expert; the option that most of them prefer
`mixture`             the experts that have weight; the option with the largest weighted probability
`cascade`             one after the other, the frugal ones first, until one is confident
===================== ==========================================================================================

The last three need answer distributions in the instance. (Majority voting and cascades are the usual schemes without a
gate: Chen et al., FrugalGPT, arXiv 2305.05176, cascades with a learned confidence; here it is the answer's own
probability.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.errors import InvalidInputError
from .constraints import SLACK
from .costs import costs
from .instance import Budgets, FloatArray, Instance, IntArray
from .objective import LEAST_PROBABILITY


@dataclass(frozen=True, eq=False)
class Served:
    """Every prompt of an instance, answered.

    Attributes:
        instance: whose prompts.
        quality: (M,) of the answers; with answer distributions 1 for the right option and 0 for others.
        energy: (M,) of all experts that ran, J.
        delay: (M,) end to end, aggregation of every expert that ran included, s.
        surprise: (M,) cross-entropy of the right option, nats; None without answer distributions.
    """

    instance: Instance
    quality: FloatArray
    energy: FloatArray
    delay: FloatArray
    surprise: FloatArray | None = None

    def metrics(self, budgets: Budgets | None = None, rows: ArrayLike | None = None) -> dict[str, Any]:
        """Weighted means over prompts.

        Args:
            budgets: what violations are counted against; default the instance's.
            rows: indices of the prompts that count; default all.

        Returns:
            ``quality`` (micro), ``macro`` (mean over categories), ``energy`` (J), ``delay`` and ``delay_p95`` (s),
            ``delay_by_category`` (s, mean), ``late`` (share of prompts beyond their category's delay budget), and
            ``cross_entropy`` (nats) where it is known.
        """
        prompts = self.instance.prompts
        budgets = self.instance.budgets if budgets is None else budgets
        chosen = np.arange(len(prompts)) if rows is None else np.asarray(rows, np.int64)
        weight, category = prompts.weight[chosen], prompts.category[chosen]
        if not weight.sum() > 0:
            raise InvalidInputError("rows: at least one prompt with a positive weight is needed")
        weight = weight / weight.sum()
        kinds = [c for c in range(len(self.instance.categories)) if weight[category == c].sum() > 0]

        def by_category(values: FloatArray) -> list[float]:
            return [float(np.average(values[category == c], weights=weight[category == c])) for c in kinds]

        quality, delay = self.quality[chosen], self.delay[chosen]
        late = np.zeros(len(chosen)) if budgets.tau is None else delay > np.array(budgets.tau)[category]
        found = {
            "quality": float(weight @ quality),
            "macro": float(np.mean(by_category(quality))),
            "energy": float(weight @ self.energy[chosen]),
            "delay": float(weight @ delay),
            "delay_p95": float(np.quantile(delay, 0.95 - SLACK, weights=weight, method="inverted_cdf")),
            "delay_by_category": dict(
                zip((self.instance.categories[c] for c in kinds), by_category(delay), strict=True)
            ),
            "late": float(weight @ late),
        }
        if self.surprise is not None:
            found["cross_entropy"] = float(weight @ self.surprise[chosen])
        return found


def route(instance: Instance, choice: ArrayLike, *, answers: bool = False) -> Served:
    """One expert answers each prompt.

    Args:
        instance: experts and prompts.
        choice: (M,) the expert of every prompt.
        answers: judge the answers by the answer distributions instead of the expected quality.

    Raises:
        InvalidInputError: a choice is out of range, or there are no answer distributions.
    """
    chosen = np.asarray(choice)
    count, n = instance.prompts.Q.shape
    if chosen.shape != (count,) or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= n:
        raise InvalidInputError.of("choice", f"{count} indices in [0, {n - 1}]", choice)
    ran = np.zeros((count, n), bool)
    ran[np.arange(count), chosen] = True
    if answers:
        return _answered(instance, _distributions(instance)[0][np.arange(count), chosen], ran)
    energy, delay = _bill(instance, ran)
    return Served(instance, instance.prompts.Q[np.arange(count), chosen], energy, delay)


def vote(instance: Instance, subset: Sequence[int]) -> Served:
    """Every selected expert names its preferred option; the most frequent one counts, of equals the more probable.

    Raises:
        InvalidInputError: an empty selection, or no answer distributions.
    """
    answers = _distributions(instance)[0][:, _members(instance, subset)]
    options = answers.shape[2]
    votes = np.eye(options)[answers.argmax(axis=2)].sum(axis=1)
    shares = votes + answers.mean(axis=1) * 0.5  # below one vote: it only breaks ties
    return _answered(instance, shares / shares.sum(axis=1, keepdims=True), _everyone(instance, subset))


def mixture(instance: Instance, weights: ArrayLike) -> Served:
    """The experts' distributions are mixed; those with a weight run.

    Args:
        instance: experts and prompts.
        weights: (M, n) or (n,), >= 0 and summing to 1: uniform over a selection, or a gate's.

    Raises:
        InvalidInputError: weights that are none, or no answer distributions.
    """
    answers, _ = _distributions(instance)
    shares = np.broadcast_to(np.asarray(weights, float), answers.shape[:2])
    if not (np.isfinite(shares).all() and shares.min() >= 0 and np.abs(shares.sum(axis=1) - 1.0).max() <= 1e-6):
        raise InvalidInputError("weights must be >= 0 and sum to 1 for every prompt")
    return _answered(instance, np.einsum("xi,xio->xo", shares, answers), shares > 0)


def cascade(instance: Instance, subset: Sequence[int], confidence: float) -> Served:
    """Ask the selected experts one after the other, in order of mean energy, until an answer is probable enough.

    Delays and energies of all experts that were asked add up. If none is confident, the last one's answer counts.

    Args:
        instance: experts and prompts.
        subset: the selection.
        confidence: probability of its preferred option from which an answer is accepted.

    Raises:
        InvalidInputError: an empty selection, or no answer distributions.
    """
    answers, _ = _distributions(instance)
    table = costs(instance)
    chosen = _members(instance, subset)
    order = chosen[np.argsort(instance.prompts.weight @ table.energy[:, chosen], kind="stable")]
    sure = answers[:, order].max(axis=2) >= confidence
    sure[:, -1] = True
    last = sure.argmax(axis=1)
    ran = np.zeros(answers.shape[:2], bool)
    ran[:, order] = np.arange(len(order)) <= last[:, None]
    answer = answers[np.arange(len(answers)), order[last]]
    return _answered(instance, answer, ran, serial=True)


def _members(instance: Instance, subset: Sequence[int]) -> IntArray:
    chosen = np.unique(np.asarray(subset, np.int64))
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= instance.n:
        raise InvalidInputError.of("subset", f"indices in [0, {instance.n - 1}], at least one", subset)
    return chosen


def _everyone(instance: Instance, subset: Sequence[int]) -> np.ndarray:
    ran = np.zeros(instance.n, bool)
    ran[_members(instance, subset)] = True
    return np.broadcast_to(ran, instance.prompts.Q.shape)


def _distributions(instance: Instance) -> tuple[FloatArray, IntArray]:
    prompts = instance.prompts
    if prompts.P is None or prompts.y is None:
        raise InvalidInputError("this rule needs the answer distributions prompts.P and labels prompts.y")
    return prompts.P, prompts.y


def _bill(instance: Instance, ran: np.ndarray, serial: bool = False) -> tuple[FloatArray, FloatArray]:
    """(energy, delay) of every prompt if these experts ran (M, n), at once or one after the other."""
    table, budgets = costs(instance), instance.budgets
    delay = np.where(ran, table.delay, 0.0)
    took: FloatArray = delay.sum(axis=1) if serial else delay.max(axis=1)
    energy: FloatArray = np.where(ran, table.energy, 0.0).sum(axis=1)
    return energy, budgets.t_gate + took + budgets.t_agg * ran.sum(axis=1)


def _answered(instance: Instance, shares: FloatArray, ran: np.ndarray, serial: bool = False) -> Served:
    """The option with the largest share (M, A) is the answer."""
    right = _distributions(instance)[1]
    surprise = -np.log(np.maximum(shares[np.arange(len(right)), right], LEAST_PROBABILITY))
    hit = (shares.argmax(axis=1) == right).astype(float)
    return Served(instance, hit, *_bill(instance, ran, serial), surprise)
