"""What the environments that select experts share: arguments, spaces, budgets of an episode, the optimum."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from ..core.errors import InvalidInputError
from ..core.lane_system import Info, Obs
from ..core.lanes import check_draws_nothing, check_lanes, check_options
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


class SelectionFace(ScalarFace):
    """What both scalar environments share; their classes say what the arguments mean."""

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
        check_draws_nothing(render_mode)
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
        """The certified best subset under the current budgets; solved at the first call, then remembered.

        Before the first reset the budgets are those of seed 0's first episode.
        """
        return self._system.optimum()

    def optimum(self) -> Optimum:
        """Least cost of the current episode, minus the best value f*, with its certificate; see `selection`."""
        solution = self._system.optimum().solution
        certificate = -solution.value, -solution.bound, solution.method, solution.seconds
        return Optimum.certified(*certificate, subset=solution.subset, status=solution.status)


class SelectionVectorFace(VectorFace):
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
