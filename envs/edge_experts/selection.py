"""Selecting experts under budgets, as Gymnasium environments and their vector twins."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from ..core.errors import InvalidInputError
from ..core.lane_system import Info, Obs
from ..core.lanes import check_lanes, check_options
from ..core.optimum import Optimum
from .constraints import EnergyModel
from .drawn_budgets import BudgetRange
from .faces import ScalarFace, VectorFace
from .instance import Budgets, Instance
from .optimum import Selection
from .selection_system import SelectionSystem
from .sources import open_instance

HORIZON = 300.0


def _system(
    lanes: int,
    once: bool,
    instance: Instance | str,
    budgets: Budgets | dict[str, Any] | None,
    energy_range: tuple[float, float] | None,
    delay_range: tuple[tuple[float, ...], tuple[float, ...]] | None,
    **options: Any,
) -> SelectionSystem:
    """The system behind all four classes; ``options`` are those of `SelectionSystem`."""
    found = open_instance(instance)
    if isinstance(budgets, dict):
        budgets = found.budgets.changed(**budgets)
    if not (budgets is None or isinstance(budgets, Budgets)):
        raise InvalidInputError.of("budgets", "None, Budgets or a dict of its fields", budgets)
    ranges = BudgetRange.of(found)
    try:
        if energy_range is not None:
            low, high = energy_range
            ranges = BudgetRange((low, high), ranges.strict, ranges.lenient)
        if delay_range is not None:
            strict, lenient = delay_range
            ranges = BudgetRange(ranges.energy, tuple(strict), tuple(lenient))
    except (TypeError, ValueError):
        raise InvalidInputError(
            "energy_range and delay_range must be pairs: (least, most) and (strict, lenient)"
        ) from None
    return SelectionSystem(found, lanes, budgets=budgets, ranges=ranges, once=once, **options)


def _spaces(system: SelectionSystem) -> tuple[spaces.Box, spaces.Space[Any]]:
    low, high = np.zeros(system.width, np.float32), np.full(system.width, np.inf, np.float32)
    high[system.layout["selected"]] = 1.0
    low[system.layout["slack"]], high[system.layout["slack"]] = -np.inf, 1.0
    n = system.instance.n
    actions: spaces.Space[Any] = spaces.MultiBinary(n) if system.once else spaces.Discrete(n + 1)
    return spaces.Box(low, high, dtype=np.float32), actions


def _optimum(system: SelectionSystem) -> Optimum:
    """The best return of the current episode, as a cost."""
    if not system.seeded:
        raise InvalidInputError("optimum: the budgets are those of an episode; call reset() first")
    found = system.optimum()
    solution = found.solution
    return Optimum.certified(
        -solution.value,
        -solution.bound,
        solution.method,
        solution.seconds,
        subset=solution.subset,
        status=solution.status,
    )


class _Scalar(ScalarFace):
    """What both selection environments share."""

    _system: SelectionSystem
    _options = frozenset({"budgets"})
    _once: ClassVar[bool]

    def __init__(
        self,
        instance: Instance | str = "synthetic:0",
        *,
        budgets: Budgets | dict[str, Any] | None = None,
        energy_range: tuple[float, float] | None = None,
        delay_range: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        energy_model: EnergyModel = "all",
        reveal_gain: bool = False,
        report_optimum: bool = False,
        horizon: float = HORIZON,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise InvalidInputError.of("render_mode", "None", render_mode)
        system = _system(
            1,
            self._once,
            instance,
            budgets,
            energy_range,
            delay_range,
            energy_model=energy_model,
            reveal_gain=bool(reveal_gain),
            report_optimum=bool(report_optimum),
            horizon=horizon,
        )
        super().__init__(system, *_spaces(system))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode.

        Args:
            seed: starts episode 0 of this seed; without one the next episode of the current seed follows.
            options: ``budgets``: `E_max` and `tau` of this episode only, as `Budgets` or a dict; the numbers that a
                later episode has are the same with or without it.

        Raises:
            InvalidInputError: seed is not an integer in [0, 2^64), an option is unknown, or budgets do not fit.
        """
        check_options(options, self._options)
        self._system.give_budgets((options or {}).get("budgets"))
        return super().reset(seed=seed, options=options)

    @property
    def instance(self) -> Instance:
        """Experts and prompts."""
        return self._system.instance

    @property
    def budgets(self) -> Budgets:
        """Budgets of the current episode."""
        return self._system.budgets()

    @property
    def budget_range(self) -> BudgetRange:
        """Between which budgets an episode's are drawn."""
        return self._system.budget_range

    def selection(self) -> Selection:
        """The certified best subset under the current budgets; solved at the first call, then remembered."""
        return self._system.optimum()

    def optimum(self) -> Optimum:
        """Least cost of the current episode, minus the best value f*, with its certificate.

        Raises:
            InvalidInputError: no episode has begun.
        """
        if not self._system.seeded:
            self.reset(seed=0)
        return _optimum(self._system)


class _Vector(VectorFace):
    """What both vector twins share."""

    _system: SelectionSystem
    _options = frozenset({"budgets"})
    _once: ClassVar[bool]

    def __init__(
        self,
        num_envs: int = 1,
        instance: Instance | str = "synthetic:0",
        *,
        budgets: Budgets | dict[str, Any] | None = None,
        energy_range: tuple[float, float] | None = None,
        delay_range: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
        energy_model: EnergyModel = "all",
        reveal_gain: bool = False,
        report_optimum: bool = False,
        horizon: float = HORIZON,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        lanes = check_lanes(num_envs, max_episode_steps)
        system = _system(
            lanes,
            self._once,
            instance,
            budgets,
            energy_range,
            delay_range,
            energy_model=energy_model,
            reveal_gain=bool(reveal_gain),
            report_optimum=bool(report_optimum),
            horizon=horizon,
        )
        super().__init__(system, *_spaces(system), autoreset_mode)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Obs, Info]:
        """Start an episode in every lane, or in the lanes of ``options["reset_mask"]``; see `LaneVectorEnv.reset`.

        Args:
            seed: see `LaneVectorEnv.reset`.
            options: ``reset_mask``; ``budgets`` of the episodes that begin now, as for the scalar environment.

        Raises:
            InvalidInputError: see `LaneVectorEnv.reset`, or budgets do not fit.
        """
        check_options(options, {"reset_mask"} | self._options)
        self._system.give_budgets((options or {}).get("budgets"))
        return super().reset(seed=seed, options=options)


class ExpertSelectEnv(_Scalar):
    """Experts are added to a selection one by one, within energy and delay budgets.

    ## Description

    Heterogeneous language models run on edge servers. Which of them should run, if all together may use so much energy
    per prompt and no category of prompts may wait longer than its budget? The value of a selection is the mean quality
    when every prompt goes to its best selected expert: an increasing and submodular set function, so the problem is
    discrete monotonic optimisation and the optimum can be certified. (MoE², Jin et al., arXiv 2501.09410: the coarse
    level of its two-level selection; formulas that the paper's public parts do not give are the field's usual ones.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/ExpertSelect-v0", budgets={"E_max": 1000.0, "tau": (1, 4, 10, 15)})
    >>> obs, info = env.reset(seed=0)
    >>> total = 0.0
    >>> for expert in (0, 1, 10):  # the optimum
    ...     obs, reward, terminated, truncated, info = env.step(expert)
    ...     total += reward
    >>> round(float(total), 6), round(-env.unwrapped.optimum().value, 6), terminated
    (0.75948, 0.75948, True)

    ## Action space

    `Discrete(n + 1)`: add expert i, or n to stop. `info["action_mask"]` and `action_masks()` say which experts are
    neither selected nor too much; adding another one costs 1 and changes nothing.

    ## Observation space

    A float32 Box in named parts, `env.unwrapped.layout`; W is the idle power, size in 10⁹ weights:

    | part | meaning |
    | --- | --- |
    | `experts` | for each expert: quality and delay over budget of every category, energy over budget, W, GB, size |
    | `selected` | 1 for selected experts |
    | `slack` | unused share of the energy, of every category's delay, of every limited memory |
    | `gain` | what each expert would add (only with `reveal_gain=True`) |

    ## Time and duration

    Slotted: every decision lasts 1. `time` counts the decisions.

    ## Rewards and the ratio objective

    The reward is the added value, so the return of an episode is the value f(S) of its selection; `cost` is its
    negative. The goal is the sum over an episode, not a ratio.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `refused`), `value` (f of the selection so far), `action_mask`;
    with `report_optimum=True` also `f_opt`, the certified optimum of the episode's budgets.

    ## Starting state

    Nothing is selected. Budgets are drawn anew for every episode (log-uniform energy; delays between a strict and a
    lenient vector), or fixed by `budgets`; `reset(options={"budgets": {"E_max": 1000.0, "tau": (1, 4, 10, 15)}})` sets
    those of one episode.

    ## Episode end

    Terminated by stopping, or when no further expert fits. Truncated after `horizon` decisions.

    ## Arguments

    `instance` (`synthetic:SEED`, a file, an `Instance`), `budgets`, `energy_range`, `delay_range`, `energy_model`,
    `reveal_gain`, `report_optimum`, `horizon`.

    ## Known optimum

    `env.unwrapped.optimum()` solves the current budgets exactly (`edgewise.envs.edge_experts.optimum`), at the first
    call.

    ## Version history

    - v0: first version.

    Args:
        instance: ``synthetic:SEED``, the path of an instance, or an `Instance`.
        budgets: the same in every episode: `Budgets` or a dict of its fields; None draws them.
        energy_range: (least, most) J for drawn budgets.
        delay_range: (strict, lenient) seconds of every category for drawn budgets.
        energy_model: ``"all"``: every selected expert runs on every prompt; ``"topk"``: the k costliest ones.
        reveal_gain: show in the observation what every expert would add.
        report_optimum: solve every episode's budgets and report ``info["f_opt"]``.
        horizon: decisions after which an episode is cut off.
        render_mode: must be None.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = False


class ExpertSelectVectorEnv(_Vector):
    """The vector twin of `ExpertSelectEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = False


class ExpertSelectOnceEnv(_Scalar):
    """A whole selection of experts is given at once, within energy and delay budgets.

    ## Description

    The one-shot form of `edgewise/ExpertSelect-v0`: an episode is one decision. (MoE², arXiv 2501.09410.)

    ## Action space

    `MultiBinary(n)`: the selection.

    ## Observation space

    As in `edgewise/ExpertSelect-v0`.

    ## Time and duration

    The decision lasts 1.

    ## Rewards and the ratio objective

    The value f(S) if the selection keeps every budget, otherwise minus the sum of its relative excesses. `cost` is the
    negative reward.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `refused`: the violation), `value`, `action_mask` (out and in
    of every expert, all allowed), with `report_optimum=True` also `f_opt`.

    ## Starting state

    Budgets are drawn anew for every episode, or fixed by `budgets`.

    ## Episode end

    Terminated after the decision.

    ## Arguments

    As of `edgewise/ExpertSelect-v0`.

    ## Known optimum

    `env.unwrapped.optimum()`, as in `edgewise/ExpertSelect-v0`.

    ## Version history

    - v0: first version.

    Args:
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        render_mode: must be None.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = True


class ExpertSelectOnceVectorEnv(_Vector):
    """The vector twin of `ExpertSelectOnceEnv`.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = True
