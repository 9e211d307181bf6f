"""Routing prompts online, as a Gymnasium environment and its vector twin."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from ..core.errors import InvalidInputError
from ..core.lanes import check_draws_nothing, check_lanes
from ..core.optimum import Optimum
from .faces import ScalarFace, VectorFace
from .fluid import route_optimum
from .instance import Instance
from .params import RouteParams
from .route_system import RouteSystem
from .sources import open_instance


def _system(
    lanes: int, instance: Instance | str, params: RouteParams | None, horizon: float | None, fields: dict[str, Any]
) -> RouteSystem:
    if params is not None and fields:
        raise InvalidInputError(f"params excludes single fields; got params and {', '.join(fields)}")
    if not (params is None or isinstance(params, RouteParams)):
        raise InvalidInputError.of("params", "a RouteParams", params)
    return RouteSystem(open_instance(instance), params or RouteParams.make(**fields), lanes, horizon)


def _spaces(system: RouteSystem) -> tuple[spaces.Box, spaces.Space[Any]]:
    low, high = np.full(system.width, -np.inf, np.float32), np.full(system.width, np.inf, np.float32)
    layout, n, k = system.layout, system.instance.n, system.params.k
    for name in ("category", "steps_left", "available"):
        low[layout[name]], high[layout[name]] = 0.0, 1.0
    for name in ("tokens", "backlog_s"):
        low[layout[name]] = 0.0
    high[layout["energy_left"]] = 1.0
    actions = spaces.Discrete(n) if k == 1 else spaces.MultiDiscrete([n, *[n + 1] * (k - 1)])
    return spaces.Box(low, high, dtype=np.float32), actions


class ExpertRouteEnv(ScalarFace):
    """Prompts arrive one by one and are sent to heterogeneous edge experts, under energy and delay budgets.

    ## Description

    A router sees a prompt (its features, category and length), the gate's scores and every expert's backlog, and picks
    the expert that answers, or up to k of them. Answers take upload, queueing, prefill, decoding and download, and cost
    joules; their quality is that of the prompt table. (MoE², Jin et al., arXiv 2501.09410: the fine level of its
    two-level selection. The paper's public parts have no online model: arrivals, queues and outages are our choice.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/ExpertRoute-v0", tau=(1, 4, 10, 15))
    >>> obs, info = env.reset(seed=0)
    >>> obs, reward, terminated, truncated, info = env.step(9)  # llama3-8b on the RTX 4090
    >>> print(info["duration"] == 1.0, info["delay_s"] > 0, reward == -info["cost"])
    True True True

    ## Action space

    `Discrete(n)` for k = 1, else `MultiDiscrete([n, n + 1, ...])`, where n after the first means no further expert and
    repeats count once. `info["action_mask"]` and `action_masks()` leave out experts that are down. A prompt for an
    expert that is down is refused: no answer, quality 0, the round trip as delay.

    ## Observation space

    A float32 Box in named parts, `env.unwrapped.layout`:

    | part | meaning | unit |
    | --- | --- | --- |
    | `phi` | features of the prompt | - |
    | `category` | one-hot | - |
    | `tokens` | log(1 + input tokens), expected log(1 + output tokens) of the category | - |
    | `score` | logits of the instance's gate, or zeros | - |
    | `backlog_s` | work that waits at every expert's device | s |
    | `energy_left` | unused share of the energy budget; below 0 where a soft budget is exceeded | - |
    | `steps_left` | unused share of the horizon | - |
    | `available` | 1 for experts that work | - |

    ## Time and duration

    `objective="sum"` (default): every prompt lasts 1, so `time` counts prompts. `"per_joule"`: a step lasts its energy,
    idle power included, so `time` is cumulative joules. `"per_second"`: a closed loop, in which the next prompt comes
    when the chosen experts have answered; a step lasts that sojourn. `info["clock_s"]` is the wall clock.

    ## Rewards and the ratio objective

    With `constraints="penalty"` (default) the cost is minus the quality, plus `energy_price` times the prompt's energy
    over a mean request's, plus `delay_price` times its relative excess delay. With `"cmdp"` it is minus the quality
    alone: `info["constraint_costs"]` holds the step's energy (J) and relative excess delay, and
    `info["constraint_limits"]` what an episode may use of them, in expectation. `"none"` ignores both. With
    `hard_budget=True` prompts are refused once the energy budget is spent. The goal is Σcost / Σduration, for the two
    ratio objectives (lost) quality per joule or per second of service: train on `RatioReward(env, ratio)`.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `energy`, `delay`), `constraint_costs`, `constraint_limits`,
    `clock_s`, `quality`, `delay_s`, `energy_J`, `category` (of the answered prompt; after a reset of the first one),
    `action_mask`.

    ## Starting state

    Empty queues, all experts up, the first prompt there.

    ## Episode end

    Truncated at the first prompt at or after `horizon`; never terminated.

    ## Arguments

    `instance` (`synthetic:SEED`, a file, an `Instance`), `horizon`, and every field of `RouteParams`.

    ## Known optimum

    `env.unwrapped.optimum()`: the fluid linear programme. Exact without queues, outages and constraints; otherwise a
    certified bound.

    ## Version history

    - v0: first version.

    Args:
        instance: ``synthetic:SEED``, the path of an instance, or an `Instance`.
        params: the parameters as a model; excludes single fields.
        horizon: in units of the objective's duration (prompts, J or s); None: about 200 prompts.
        render_mode: must be None.
        **fields: fields of `RouteParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _system: RouteSystem

    def __init__(
        self,
        instance: Instance | str = "synthetic:0",
        *,
        params: RouteParams | None = None,
        horizon: float | None = None,
        render_mode: str | None = None,
        **fields: Any,
    ) -> None:
        check_draws_nothing(render_mode)
        system = _system(1, instance, params, horizon, fields)
        super().__init__(system, *_spaces(system))

    @property
    def instance(self) -> Instance:
        """Experts and prompts."""
        return self._system.instance

    def optimum(self) -> Optimum:
        """Least Σcost / Σduration with its certificate; see `fluid`."""
        return route_optimum(self._system)


class ExpertRouteVectorEnv(VectorFace):
    """The vector twin of `ExpertRouteEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertRouteEnv`.
        params: see `ExpertRouteEnv`.
        horizon: see `ExpertRouteEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.
        **fields: fields of `RouteParams`.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _system: RouteSystem

    def __init__(
        self,
        num_envs: int = 1,
        instance: Instance | str = "synthetic:0",
        *,
        params: RouteParams | None = None,
        horizon: float | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **fields: Any,
    ) -> None:
        system = _system(check_lanes(num_envs, max_episode_steps), instance, params, horizon, fields)
        super().__init__(system, *_spaces(system), autoreset_mode)

    def optimum(self) -> Optimum:
        """Least Σcost / Σduration with its certificate; see `fluid`."""
        return route_optimum(self._system)
