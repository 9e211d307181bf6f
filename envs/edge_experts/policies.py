"""The baselines: rules that select experts, and rules that route prompts.

===================== ==========================================================================================
selection             what it selects
===================== ==========================================================================================
``random``            experts in random order, each that still fits
``single_best``       the feasible expert with the largest mean quality
``single:I``          expert I alone, whether it fits or not
``all``               every expert, budgets ignored: an upper reference
``fastest``           the feasible expert with the least mean delay
``greenest``          the feasible expert with the least mean energy
``greedy_gain``       by gain, until nothing that fits adds anything
``greedy_density``    by gain per joule
``best_of_two``       the better of the two greedy rules
``optimum``           the certified optimum
===================== ==========================================================================================

===================== ==========================================================================================
routing               where a prompt goes, among experts that work
===================== ==========================================================================================
``uniform``           uniformly at random
``single:I``          always expert I
``score``             the gate's favourite (the instance's scores; without them its category's mean quality)
``shortest``          the least backlog, ties to the lower index
``dual_price``        the favourite after energy and delay are priced as the fluid linear programme prices them
``oracle``            the best true quality: knows the answer, an upper reference
===================== ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .constraints import Constraints, EnergyModel, make_constraints
from .costs import costs, means
from .fluid import dual_prices
from .instance import Budgets, FloatArray, Instance
from .monotone import mask_of, members
from .objective import FacilityLocation, value_of_quality
from .optimum import solve
from .route_system import RouteSystem

SELECTIONS = (
    "random",
    "single_best",
    "single",
    "all",
    "fastest",
    "greenest",
    "greedy_gain",
    "greedy_density",
    "best_of_two",
    "optimum",
)
ROUTINGS = ("uniform", "single", "score", "shortest", "dual_price", "oracle")


def _parse(rule: Any, names: tuple[str, ...], n: int) -> tuple[str, int]:
    """Name and number of a rule.

    Raises:
        InvalidInputError: unknown rule, or an expert out of range.
    """
    allowed = ", ".join("single:I" if name == "single" else name for name in names)
    if not isinstance(rule, str):
        raise InvalidInputError.of("rule", f"one of {allowed}", rule)
    name, _, number = rule.partition(":")
    if name not in names or bool(number) != (name == "single"):
        raise InvalidInputError.of("rule", f"one of {allowed}", rule)
    if name == "single" and not (number.isascii() and number.isdigit() and int(number) < n):
        raise InvalidInputError.of("rule", f"single:I with I in [0, {n - 1}]", rule)
    return name, int(number or 0)


def select(
    instance: Instance,
    rule: str,
    budgets: Budgets | None = None,
    *,
    energy_model: EnergyModel = "all",
    objective: FacilityLocation | None = None,
    seed: int = 0,
) -> tuple[int, ...]:
    """Experts that a rule selects under budgets.

    Args:
        instance: experts and prompts.
        rule: a name of the table above.
        budgets: default the instance's own.
        energy_model: ``"all"`` or ``"topk"``.
        objective: what a selection is worth; default the quality in the instance.
        seed: of ``random``.

    Returns:
        Sorted indices; empty where nothing fits.

    Raises:
        InvalidInputError: unknown rule, or budgets that do not fit.
    """
    name, number = _parse(rule, SELECTIONS, instance.n)
    constraints = make_constraints(instance, budgets, energy_model)
    fixed: dict[str, tuple[int, ...]] = {"single": (number,), "all": tuple(range(instance.n))}
    if name in fixed:
        return fixed[name]
    f = value_of_quality(instance) if objective is None else objective
    if name == "optimum":
        return solve(instance, budgets, energy_model=energy_model, objective=f).solution.subset
    if name == "random":
        return _in_order(constraints, np.random.default_rng(seed).permutation(instance.n).tolist())
    if name in ("single_best", "fastest", "greenest"):
        merits: dict[str, Any] = {
            "single_best": [f(1 << i) for i in range(instance.n)],
            "fastest": -(instance.prompts.weight @ costs(instance).delay),
            "greenest": -means(instance)[0],
        }
        merit = merits[name]
        fits = [i for i in range(instance.n) if constraints.feasible(1 << i)]
        return (max(fits, key=lambda i: merit[i]),) if fits else ()
    found = [greedy(f, constraints, density) for density in (False, True)]
    if name == "best_of_two":
        return max(found, key=lambda subset: f(mask_of(subset)))
    return found[name == "greedy_density"]


def _in_order(constraints: Constraints, order: list[int]) -> tuple[int, ...]:
    subset = 0
    for i in order:
        if constraints.feasible(subset | 1 << i):
            subset |= 1 << i
    return members(subset)


def greedy(f: FacilityLocation, constraints: Constraints, density: bool) -> tuple[int, ...]:
    """Add the expert with the largest gain (per joule), until nothing that fits adds anything.

    Args:
        f: the objective.
        constraints: the budgets.
        density: divide gains by energy.
    """
    subset = 0
    use = constraints.energy + constraints.idle
    while True:
        gains = {}
        for i in range(f.n):
            if not subset >> i & 1 and constraints.feasible(subset | 1 << i):
                gain = f(subset | 1 << i) - f(subset)
                if gain > 0:
                    gains[i] = gain / max(float(use[i]), 1e-300) if density else gain
        if not gains:
            return members(subset)
        subset |= 1 << max(gains, key=lambda i: gains[i])


class RoutingRule:
    """A rule that routes prompts in `edgewise/ExpertRoute-v0` with k = 1: called with observations and masks.

    >>> import gymnasium
    >>> import edgewise
    >>> from edgewise.envs.edge_experts.policies import RoutingRule
    >>> env = gymnasium.make("edgewise/ExpertRoute-v0")
    >>> rule = RoutingRule("shortest", env.unwrapped)
    >>> obs, info = env.reset(seed=0)
    >>> int(rule(obs, info["action_mask"]))
    0

    Args:
        rule: a name of the table above.
        env: the environment that it is for, scalar or vector, unwrapped.
        subset: experts that may be used, for a gate behind a selection; default all.
        seed: of ``uniform``.

    Raises:
        InvalidInputError: unknown rule, or an environment with k > 1.
    """

    def __init__(self, rule: str, env: Any, *, subset: tuple[int, ...] | None = None, seed: int = 0) -> None:
        system = getattr(env, "_system", None)
        if not isinstance(system, RouteSystem) or system.params.k != 1:
            raise InvalidInputError("env must be an ExpertRoute environment with k = 1, unwrapped")
        self.name, self.number = _parse(rule, ROUTINGS, system.instance.n)
        self._layout, self._system, self._rng = system.layout, system, np.random.default_rng(seed)
        self._allowed = np.ones(system.instance.n, bool)
        if subset is not None:
            self._allowed = np.isin(np.arange(system.instance.n), subset)
            if not self._allowed.any():
                raise InvalidInputError.of("subset", f"at least one of 0 to {system.instance.n - 1}", subset)
        if self.name == "dual_price":
            self._price = self._priced(system)

    @staticmethod
    def _priced(system: RouteSystem) -> FloatArray:
        """(M, n) favour of every pair after energy and delay are priced."""
        energy, delay = dual_prices(system) if system.params.constraints == "cmdp" else (0.0, 0.0)
        p, table, prompts = system.tables.params[0], costs(system.instance), system.instance.prompts
        _, _, quality = means(system.instance)
        guess = quality[prompts.category] if prompts.scores is None else 1.0 / (1.0 + np.exp(-prompts.scores))
        excess = np.zeros_like(table.delay)
        if p["delays"]:
            tau = system.tables.tau[prompts.category][:, None]
            excess = np.maximum(p["t_gate"] + table.delay + p["t_agg"] - tau, 0.0) / tau
        if system.params.constraints == "penalty":
            energy, delay = float(p["energy_price"] / p["energy_unit"]), float(p["delay_price"])
        favour: FloatArray = guess - energy * table.energy - delay * excess
        return favour

    def __call__(self, obs: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Experts for one observation (D,) or many (L, D), of the shape () or (L,)."""
        rows, masks = np.atleast_2d(obs), np.atleast_2d(mask)
        usable = masks & self._allowed
        usable = np.where(usable.any(axis=1, keepdims=True), usable, masks)
        favour = np.where(usable, self._favours(rows), -np.inf)
        chosen: NDArray[np.int64] = favour.argmax(axis=1).astype(np.int64)
        return chosen if obs.ndim == 2 else chosen[0]

    def _favours(self, obs: NDArray[np.float32]) -> FloatArray:
        """(L, n) preferences."""
        system, layout = self._system, self._layout
        n = system.instance.n
        rules: dict[str, Callable[[], FloatArray]] = {
            "uniform": lambda: self._rng.random((len(obs), n)),
            "single": lambda: np.tile(np.arange(n) == self.number, (len(obs), 1)).astype(float),
            "shortest": lambda: -obs[:, layout["backlog_s"]].astype(float),
            "score": lambda: self._scores(obs),
            "oracle": lambda: system.instance.prompts.Q[self._pending(len(obs))],
            "dual_price": lambda: self._price[self._pending(len(obs))],
        }
        return rules[self.name]()

    def _scores(self, obs: NDArray[np.float32]) -> FloatArray:
        if self._system.instance.prompts.scores is not None:
            return obs[:, self._layout["score"]].astype(float)
        quality = means(self._system.instance)[2]
        found: FloatArray = quality[obs[:, self._layout["category"]].argmax(axis=1)]
        return found

    def _pending(self, lanes: int) -> NDArray[np.int64]:
        """Rows of the prompts that the lanes wait with: observations of two prompts may be the same."""
        pending: NDArray[np.int64] = self._system.state.lane["prompt"]
        if len(pending) != lanes:
            raise InvalidInputError.of("obs", f"those of all {len(pending)} lanes", f"{lanes} rows")
        return pending
