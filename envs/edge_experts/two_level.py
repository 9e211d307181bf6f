"""Both time scales of expert selection, as a Gymnasium environment and its vector twin."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from ..core.errors import InvalidInputError
from ..core.lanes import check_draws_nothing, check_lanes
from ..core.optimum import Optimum
from .constraints import EnergyModel
from .faces import ScalarFace, VectorFace
from .instance import Budgets, Instance
from .optimum import Selection
from .sources import open_instance
from .synthetic import CATEGORIES, DELAY_BUDGETS
from .two_level_system import TwoLevelSystem

DEFAULT_ENERGY = 1000.0
"""Joules around which the budget drifts where the instance has none."""


def _system(
    lanes: int,
    instance: Instance | str,
    budgets: Budgets | dict[str, Any] | None,
    epoch_prompts: int,
    drift: str,
    amplitude: float,
    period: float,
    loading_price: float,
    energy_model: EnergyModel,
    routing: str,
    horizon: float,
) -> TwoLevelSystem:
    found = open_instance(instance)
    if budgets is None and found.budgets.E_max is None:
        delays = DELAY_BUDGETS["mid"] if found.categories == CATEGORIES else None
        budgets = found.budgets.changed(E_max=DEFAULT_ENERGY, tau=delays)
    elif budgets is None:
        budgets = found.budgets
    elif isinstance(budgets, dict):
        budgets = found.budgets.changed(**budgets)
    elif not isinstance(budgets, Budgets):
        raise InvalidInputError.of("budgets", "None, Budgets or a dict of its fields", budgets)
    return TwoLevelSystem(
        found,
        lanes,
        budgets=budgets,
        epoch_prompts=epoch_prompts,
        drift=drift,
        amplitude=amplitude,
        period=period,
        loading_price=loading_price,
        energy_model=energy_model,
        routing=routing,
        horizon=horizon,
    )


def _spaces(system: TwoLevelSystem) -> tuple[spaces.Box, spaces.Space[Any]]:
    low, high = np.zeros(system.width, np.float32), np.full(system.width, np.inf, np.float32)
    for name in ("loaded", "steps_left", "selecting", "category"):
        if name in system.layout:
            high[system.layout[name]] = 1.0
    for name in ("budget", "phi", "score"):
        if name in system.layout:
            low[system.layout[name]] = -np.inf
    n = system.instance.n
    actions = spaces.MultiDiscrete([2] * n + [n]) if system.agent_routes else spaces.MultiBinary(n)
    return spaces.Box(low, high, dtype=np.float32), actions


class ExpertTwoLevelEnv(ScalarFace):
    """Experts are loaded for epochs while the energy budget drifts; a gate or the agent routes each epoch's prompts.

    ## Description

    At the start of an epoch the agent says which experts run during it. Newly loaded ones take energy; load times,
    `loading_s`, are reported, but hold no prompt up (they load during the epoch before). Then the instance's gate (its
    scores; without them the mean quality in a prompt's category) sends every prompt of the epoch to its favourite among
    the loaded experts; with `routing="agent"` the agent itself then says of one prompt after the other which expert
    answers. The energy budget drifts, so the selection must follow it. (MoE², Jin et al., arXiv 2501.09410: two-level
    selection; drift and loading costs are our choice.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/ExpertTwoLevel-v0")
    >>> obs, info = env.reset(seed=0)
    >>> best = env.unwrapped.selection().solution  # under the current budgets
    >>> action = [int(i in best.subset) for i in range(12)]
    >>> obs, reward, terminated, truncated, info = env.step(action)
    >>> bool(0 < info["quality"] <= 1), bool(info["cost_terms"]["violation"] == 0)
    (True, True)

    ## Action space

    `MultiBinary(n)`: the experts to run. A selection that exceeds a budget is refused: nothing is loaded, the epoch's
    quality is 0, and the relative excess is added to the cost.

    With `routing="agent"` it is `MultiDiscrete([2] * n + [n])`: the experts to run, then the expert for the prompt. The
    first decision of an epoch uses the former, the others the latter; `info["action_mask"]` leaves one value of what a
    decision does not use. An expert that does not run answers nothing (quality 0).

    ## Observation space

    A float32 Box in named parts, `env.unwrapped.layout`:

    | part | meaning |
    | --- | --- |
    | `experts` | for each expert: quality and delay over budget of every category, energy over budget, W, GB, size |
    | `loaded` | 1 for experts that ran in the last epoch |
    | `budget` | logarithm of the energy budget over its base |
    | `steps_left` | unused share of the horizon |

    With `routing="agent"` also `selecting` (1 if a selection is due) and of the prompt that waits `phi`, `category`,
    `tokens` and `score`, as in `edgewise/ExpertRoute-v0`; zeros while there is none.

    ## Time and duration

    Slotted: every epoch lasts 1. Where the agent routes, its 1 + `epoch_prompts` decisions share that equally.

    ## Rewards and the ratio objective

    The reward is the epoch's mean quality, less the price of loading and of exceeded budgets; `cost` is its negative.
    Where the agent routes, every prompt brings its part of that mean. The goal is the mean over epochs.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `loading`, `violation`), `quality`, `loading_J`, `loading_s`,
    `energy_budget` (of the epoch that ended; after a reset of the first), `action_mask`. Where the agent routes,
    `quality` is that of the answered prompt and `energy_budget` that of the decision's epoch.

    ## Starting state

    Nothing is loaded; the drift starts at a random phase.

    ## Episode end

    Truncated after `horizon` epochs; never terminated.

    ## Arguments

    `instance`, `budgets`, `epoch_prompts`, `drift` (`sinusoid`, `walk`, `none`), `amplitude`, `period`,
    `loading_price`, `energy_model`, `routing`, `horizon`.

    ## Known optimum

    `env.unwrapped.optimum()`: no policy's expected cost per epoch is below minus the certified value under the drift's
    most lenient budgets. `env.unwrapped.selection()` solves the current ones.

    ## Version history

    - v0: first version.

    Args:
        instance: ``synthetic:SEED``, the path of an instance, or an `Instance`.
        budgets: around which the energy drifts: `Budgets` or a dict of its fields; None takes the instance's, or
            1000 J and, for the synthetic categories, their middle delays.
        epoch_prompts: prompts per epoch.
        drift: of the energy budget.
        amplitude: largest drift on a logarithmic scale.
        period: epochs of a sinusoid's period.
        loading_price: price of an epoch's loading energy, per energy of its prompts at the median expert.
        energy_model: ``"all"`` or ``"topk"``.
        routing: who sends an epoch's prompts to experts: ``"gate"`` or ``"agent"``.
        horizon: epochs.
        render_mode: must be None.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _system: TwoLevelSystem

    def __init__(
        self,
        instance: Instance | str = "synthetic:0",
        *,
        budgets: Budgets | dict[str, Any] | None = None,
        epoch_prompts: int = 50,
        drift: str = "sinusoid",
        amplitude: float = 1.0,
        period: float = 20.0,
        loading_price: float = 0.1,
        energy_model: EnergyModel = "all",
        routing: str = "gate",
        horizon: float = 50.0,
        render_mode: str | None = None,
    ) -> None:
        check_draws_nothing(render_mode)
        system = _system(
            *(1, instance, budgets, epoch_prompts, drift, amplitude, period, loading_price),
            *(energy_model, routing, horizon),
        )
        super().__init__(system, *_spaces(system))

    def selection(self) -> Selection:
        """The certified best subset under the current budgets; solved when they are new."""
        return self._system.selection()

    def optimum(self) -> Optimum:
        """A bound below every policy's expected cost per epoch."""
        found = self._system.most_lenient().solution
        method = f"{found.method}, under the most lenient budgets of the drift"
        return Optimum.bound_only(-found.bound, method, found.seconds)


class ExpertTwoLevelVectorEnv(VectorFace):
    """The vector twin of `ExpertTwoLevelEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertTwoLevelEnv`.
        budgets: see `ExpertTwoLevelEnv`.
        epoch_prompts: see `ExpertTwoLevelEnv`.
        drift: see `ExpertTwoLevelEnv`.
        amplitude: see `ExpertTwoLevelEnv`.
        period: see `ExpertTwoLevelEnv`.
        loading_price: see `ExpertTwoLevelEnv`.
        energy_model: see `ExpertTwoLevelEnv`.
        routing: see `ExpertTwoLevelEnv`.
        horizon: see `ExpertTwoLevelEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    def __init__(
        self,
        num_envs: int = 1,
        instance: Instance | str = "synthetic:0",
        *,
        budgets: Budgets | dict[str, Any] | None = None,
        epoch_prompts: int = 50,
        drift: str = "sinusoid",
        amplitude: float = 1.0,
        period: float = 20.0,
        loading_price: float = 0.1,
        energy_model: EnergyModel = "all",
        routing: str = "gate",
        horizon: float = 50.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        lanes = check_lanes(num_envs, max_episode_steps)
        system = _system(
            *(lanes, instance, budgets, epoch_prompts, drift, amplitude, period, loading_price),
            *(energy_model, routing, horizon),
        )
        super().__init__(system, *_spaces(system), autoreset_mode)
