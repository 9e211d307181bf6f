"""Routed prompt streams, held against the fluid linear programme."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ...envs.edge_experts.costs import costs
from ...envs.edge_experts.env import ExpertRouteVectorEnv
from ...envs.edge_experts.fluid import Fluid, dual_prices, fluid
from ...envs.edge_experts.instance import Instance
from ...envs.edge_experts.params import PROMPTS_PER_EPISODE
from ...envs.edge_experts.policies import RoutingRule
from ...envs.edge_experts.route_system import RouteSystem
from ...envs.edge_experts.sources import open_instance
from ...train.environments import ExpertsEnvConfig
from ..estimates import Estimate, estimate
from ..statistics import standard_error
from .results import Kind, Point, Row, Target
from .selecting import singles

FloatArray = NDArray[np.float64]
Decide = Callable[[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]], NDArray[np.int64]]
"""Actions (n,) from observations (n, D), masks (n, A) and the rows (n,) of the pending prompts."""
POINTWISE = "optimum, prompt by prompt"
_LABELS = {
    "score": "the gate's favourite",
    "dual_price": "favourite, energy and delay priced",
    "oracle": "best true quality",
    "shortest": "shortest queue",
    "uniform": "random expert",
}


@dataclass(frozen=True, eq=False)
class Played:
    """What a policy did on n seeds.

    Attributes:
        cost: (n,) sums over the decisions.
        duration: (n,) likewise.
        quality: (n,) means; likewise energy (J), delay (s) and late (share of prompts after their budget).
        counts: (categories, experts) prompts answered.
        uses: by constraint (n,) what an episode used of it, as a share of what it may use; empty without constraints.
    """

    cost: FloatArray
    duration: FloatArray
    quality: FloatArray
    energy: FloatArray
    delay: FloatArray
    late: FloatArray
    counts: FloatArray
    uses: dict[str, FloatArray]

    @property
    def values(self) -> FloatArray:
        """(n,) earned per unit of the objective."""
        return -self.cost / self.duration


def _environment(env: ExpertsEnvConfig, instance: Instance, lanes: int, decisions: int) -> ExpertRouteVectorEnv:
    """Lanes that reset themselves after so many decisions, or never where the objective is a ratio."""
    fields = env.kwargs() | {"instance": instance, "horizon": float(decisions)}
    if env.params().objective != "sum":
        fields["horizon"] = math.inf
    return ExpertRouteVectorEnv(lanes, autoreset_mode=AutoresetMode.SAME_STEP, **fields)


def default_decisions(env: ExpertsEnvConfig) -> int:
    """Four training episodes, or one where a budget or what constraints allow ends with it."""
    params = env.params()
    episode = PROMPTS_PER_EPISODE
    if params.objective == "sum" and env.horizon is not None:
        episode = math.ceil(env.horizon)
    return episode if params.hard_budget or params.constraints == "cmdp" else 4 * episode


def play(decide: Decide, venv: ExpertRouteVectorEnv, first_seed: int, decisions: int) -> Played:
    """Run a policy on the seeds ``first_seed + lane``."""
    system = system_of(venv)
    lanes, instance = venv.num_envs, system.instance
    obs, _ = venv.reset(seed=first_seed)
    sums, uses = np.zeros((6, lanes)), dict[str, FloatArray]()
    constrained = system.params.constraints == "cmdp"
    counts = np.zeros((len(instance.categories), instance.n + 1))
    for _ in range(decisions):
        prompts, mask = system.state.lane["prompt"].copy(), venv.action_masks()
        actions = decide(obs, mask, prompts)
        obs, _, _, _, info = venv.step(actions)
        late = info["constraint_costs"]["delay"] > 0.0
        sums += [info["cost"], info["duration"], info["quality"], info["energy_J"], info["delay_s"], late]
        for name, limit in info["constraint_limits"].items() if constrained else ():
            uses[name] = uses.get(name, np.zeros(lanes)) + info["constraint_costs"][name] / limit
        first = actions if actions.ndim == 1 else actions[:, 0]
        np.add.at(counts, (instance.prompts.category[prompts], first), 1.0)
    cost, duration, *means = sums
    quality, energy, delay, late_share = (part / decisions for part in means)
    return Played(cost, duration, quality, energy, delay, late_share, counts[:, : instance.n], uses)


def system_of(venv: ExpertRouteVectorEnv) -> RouteSystem:
    """The simulated system: references may know which prompt is pending."""
    return venv._system


def learned(policy: Any) -> Decide:
    """A trained policy."""
    return lambda obs, mask, prompts: np.asarray(policy.act(obs, mask)["action"], np.int64)


def scripted(rule: str, venv: ExpertRouteVectorEnv, seed: int = 0) -> Decide:
    """A rule by name."""
    policy = RoutingRule(rule, venv, seed=seed)
    return lambda obs, mask, prompts: policy(obs, mask)


def pointwise(found: Fluid, ratio: float, prices: tuple[float, float] = (0.0, 0.0)) -> Decide:
    """The best expert for every prompt, if all that it will cost is known: what the linear programme does.

    Args:
        found: consequences of every choice.
        ratio: price of the duration.
        prices: of the constraints: per joule, and per relative excess delay.
    """
    constrained = prices[0] * found.energy + prices[1] * found.excess
    price = (found.cost - ratio * found.duration + constrained)[:, :-1]

    def decide(obs: Any, mask: NDArray[np.bool_], prompts: NDArray[np.int64]) -> NDArray[np.int64]:
        usable = np.where(mask.any(axis=1, keepdims=True), mask, True)
        chosen: NDArray[np.int64] = np.where(usable, price[prompts], np.inf).argmin(axis=1)
        return chosen

    return decide


def score_routing(policy: Any, env: ExpertsEnvConfig, first_seed: int, lanes: int) -> dict[str, float]:
    """The score of a checkpoint: what a policy earns per unit, negated; where constraints are exceeded, by how much.

    A policy that exceeds a constraint, by more than two standard errors, scores worse than every one that keeps all.
    """
    decisions = default_decisions(env)
    venv = _environment(env, open_instance(env.instance), lanes, decisions)
    found = play(learned(policy), venv, first_seed, decisions)
    value = float(-found.cost.sum() / found.duration.sum())
    excess = sum(max(float(use.mean() - 2.0 * standard_error(use)) - 1.0, 0.0) for use in found.uses.values())
    uses = {f"{name}_use": float(use.mean()) for name, use in found.uses.items()}
    return {"score": excess if excess > 0.0 else -value, "value": value, "quality": float(found.quality.mean()), **uses}


def _value(cost: Any, duration: Any, axis: int = -1) -> Any:
    """Earned per unit over all seeds (a paired `Statistic`)."""
    return -np.sum(cost, axis=axis) / np.sum(duration, axis=axis)


class Comparison:
    """Every policy on the same prompts.

    Args:
        env: the environment.
        instance: experts and prompts.
        first_seed: lane i has the seed ``first_seed + i``.
        lanes: how many seeds.
        decisions: prompts per seed.
    """

    def __init__(self, env: ExpertsEnvConfig, instance: Instance, first_seed: int, lanes: int, decisions: int) -> None:
        self.venv = _environment(env, instance, lanes, decisions)
        self.fluid = fluid(system_of(self.venv))
        best = self.venv.optimum()
        self.target = Target(
            value=-best.bound, exact=self.fluid.exact, method=best.method, seconds=round(best.seconds, 6)
        )
        self._first, self._decisions = first_seed, decisions
        params = env.params()
        prices = dual_prices(system_of(self.venv)) if params.constraints == "cmdp" else (0.0, 0.0)
        ratio = best.bound if params.objective != "sum" else 0.0
        self.reference = self.play(pointwise(self.fluid, ratio, prices))

    def play(self, decide: Decide) -> Played:
        """Run a policy."""
        return play(decide, self.venv, self._first, self._decisions)

    def row(self, label: str, kind: Kind, found: Played, learner: Played | None) -> Row:
        """A policy's row."""
        totals = found.counts.sum(axis=1, keepdims=True)
        against = None
        if learner is not None:
            against = estimate([learner.cost, learner.duration, found.cost, found.duration], _value_difference)
        return Row(
            label=label,
            kind=kind,
            value=estimate([found.cost, found.duration], _value),
            per_seed=found.values.tolist(),
            shortfall=self._shortfall(found),
            quality=float(found.quality.mean()),
            energy=float(found.energy.mean()),
            delay=float(found.delay.mean()),
            late=float(found.late.mean()),
            uses={name: estimate([use]) for name, use in found.uses.items()},
            shares=(found.counts / np.maximum(totals, 1.0)).tolist(),
            difference=against,
        )

    def _shortfall(self, found: Played) -> Estimate | None:
        """How far below the certified value, as a share of it.

        Where choosing prompt by prompt reaches it, the difference from that choice on the same prompts is taken: it has
        the same expectation, without the noise of which prompts came.
        """
        target, best = abs(self.target.value), self.reference
        if target == 0.0:
            return None
        if not self.target.exact:
            return estimate(
                [found.cost, found.duration],
                lambda cost, time, axis: (self.target.value - _value(cost, time, axis)) / target,
            )
        samples = [best.cost, best.duration, found.cost, found.duration]

        def missed(cost: Any, time: Any, other_cost: Any, other_time: Any, axis: int = -1) -> Any:
            return _value_difference(cost, time, other_cost, other_time, axis) / target

        return estimate(samples, missed)


def _value_difference(cost: Any, time: Any, other_cost: Any, other_time: Any, axis: int = -1) -> Any:
    """First policy's value minus the second's (a paired `Statistic`)."""
    return _value(cost, time, axis) - _value(other_cost, other_time, axis)


def compare_routing(policy: Any, env: ExpertsEnvConfig, first_seed: int, lanes: int, decisions: int) -> dict[str, Any]:
    """The parts of an evaluation of routing.

    Raises:
        InvalidInputError: more than one expert per prompt: the rules choose one.
    """
    params = env.params()
    if params.k != 1:
        raise InvalidInputError.of("k", "1 for an evaluation beside the rules, which choose one expert", params.k)
    instance = open_instance(env.instance)
    contest = Comparison(env, instance, first_seed, lanes, decisions)
    ours = contest.play(learned(policy))
    learner = contest.row("learner", "learner", ours, None)
    prices = contest.fluid.weight @ contest.fluid.cost[:, :-1], contest.fluid.weight @ contest.fluid.duration[:, :-1]
    alone = int((prices[0] / prices[1]).argmin())
    rules: list[tuple[str, str, Kind]] = [(f"single:{alone}", f"always {instance.experts[alone].id}", "scripted")]
    rules += [(rule, _LABELS[rule], "scripted") for rule in ("score", "dual_price", "uniform")]
    if params.queues and params.objective != "per_second":
        rules.append(("shortest", _LABELS["shortest"], "scripted"))
    rules.append(("oracle", _LABELS["oracle"], "reference"))
    others = [contest.row(label, kind, contest.play(scripted(rule, contest.venv)), ours) for rule, label, kind in rules]
    others.append(contest.row(POINTWISE, "reference", contest.reference, ours))
    quality = instance.prompts.weight @ instance.prompts.Q
    energy = contest.fluid.weight @ contest.fluid.energy
    delay = contest.fluid.weight @ costs(instance).delay
    points = singles(instance, lambda only: float(quality[only[0]]), lambda i: (float(energy[i]), float(delay[i])))
    points += [
        Point(label=row.label, kind=row.kind, quality=row.quality, energy=row.energy, delay=row.delay)
        for row in (learner, *others)
        if not row.label.startswith("always ")
    ]
    return {
        "instance": instance,
        "learner": learner,
        "others": others,
        "budgets": [],
        "energies": [],
        "delays": [],
        "points": points,
        "target": contest.target,
    }
