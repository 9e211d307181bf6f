"""Masked PPO under constraints on expected sums: prices that rise while a constraint is exceeded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from ...envs.core.errors import InvalidInputError
from ...envs.core.vector_wrappers import columns
from .callbacks import with_first
from .vec_env import MaskedVecEnv, StepArrays

FloatArray = NDArray[np.float64]


class ConstrainedVecEnv(MaskedVecEnv):
    """A `MaskedVecEnv` whose rewards pay for what ``info["constraint_costs"]`` reports.

    A step's use of a constraint is its cost over the share of ``info["constraint_limits"]`` that falls to one step, so
    that 1 is what may be used on average.

    Args:
        venv: a vector environment that reports constraints.
        steps: decisions of an episode, over which the limits are meant.

    Raises:
        InvalidInputError: the environment reports no constraints, or resets in another mode than SAME_STEP.

    Attributes:
        names: of the constraints, in order.
        prices: of one unit of use, (constraints,); whoever trains sets them.
        use: sums over the steps since `restart`, (constraints,).
        steps_counted: steps of all lanes since then.
    """

    def __init__(self, venv: Any, steps: float) -> None:
        super().__init__(venv)
        _, info = venv.reset(seed=0)
        if "constraint_limits" not in info:
            raise InvalidInputError("venv: must report constraint_limits in its infos")
        self.names = tuple(info["constraint_limits"])
        limits = np.array([float(np.max(info["constraint_limits"][name])) for name in self.names])
        self._share = np.maximum(limits / steps, 1e-12)
        self.prices = np.zeros(len(self.names))
        self._charge = np.zeros(self.num_envs)
        self.restart()

    def restart(self) -> None:
        """Begin to measure anew."""
        self.use, self.steps_counted = np.zeros(len(self.names)), 0

    def step_wait(self) -> VecEnvStepReturn:
        """Advance every lane; the reward is priced, ``info["episode"]`` is not."""
        observation, reward, ended, infos = super().step_wait()
        return observation, np.asarray(reward - self._charge, np.float32), ended, infos

    def _arrays(self, info: dict[str, Any], *ends: NDArray[np.bool_]) -> StepArrays:
        costs = columns(info, "constraint_costs")
        use = np.stack([costs[name] for name in self.names], axis=1) / self._share
        self.use += use.sum(axis=0)
        self.steps_counted += len(use)
        self._charge = use @ self.prices
        return super()._arrays(info, *ends)


class _Multipliers(BaseCallback):
    """Moves the prices after every rollout."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, LagrangianPPO)
        self.model.move_prices()


class LagrangianPPO(MaskablePPO):
    """PPO for constraints on expected sums, by dual ascent: masked actions, and a price per constraint.

    After every rollout the price of a constraint moves by ``multiplier_rate`` times (mean use - 1), and never falls
    below 0. What a rollout used estimates what the present policy uses, so price and policy approach a saddle point of
    the Lagrangian.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ✔️ | ❌ | ❌ | ✔️ | ❌ | ❌ | ❌ | ✔️ |

    Args:
        *args: as for sb3-contrib's ``MaskablePPO``; the environment is a `ConstrainedVecEnv`.
        multiplier_rate: step of the prices, in units of the reward.
        **kwargs: as for ``MaskablePPO``.

    Raises:
        InvalidInputError: another environment.

    *Source*: Altman, Constrained Markov Decision Processes, 1999, chapter 3; Tessler, Mankowitz, Mannor, Reward
    Constrained Policy Optimization, 2019.
    """

    def __init__(self, *args: Any, multiplier_rate: float = 0.01, **kwargs: Any) -> None:
        self.multiplier_rate = multiplier_rate
        super().__init__(*args, **kwargs)

    def _constrained(self) -> ConstrainedVecEnv:
        env = self.get_env()
        inner = None if env is None else env.unwrapped
        if not isinstance(inner, ConstrainedVecEnv):
            raise InvalidInputError.of("env", "a ConstrainedVecEnv", inner)
        return inner

    def learn(  # type: ignore[override]  # sb3-contrib's own signature differs from SB3's
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "LagrangianPPO",
        reset_num_timesteps: bool = True,
        use_masking: bool = True,
        progress_bar: bool = False,
    ) -> "LagrangianPPO":
        """Train, see SB3; the prices move first of all callbacks."""
        self._constrained().restart()
        callbacks: Any = with_first(_Multipliers(), callback)
        super().learn(
            total_timesteps, callbacks, log_interval, tb_log_name, reset_num_timesteps, use_masking, progress_bar
        )
        return self

    def move_prices(self) -> None:
        """One step of dual ascent by what was used since the last one."""
        env = self._constrained()
        use = env.use / max(env.steps_counted, 1)
        env.prices = np.maximum(env.prices + self.multiplier_rate * (use - 1.0), 0.0)
        for name, used, price in zip(env.names, use.tolist(), env.prices.tolist(), strict=True):
            self.logger.record(f"constraints/{name}_use", used)
            self.logger.record(f"constraints/{name}_price", price)
        env.restart()

    def extra_state(self) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """What a snapshot needs beyond SB3's own state."""
        return {"prices": self._constrained().prices}, {}

    def load_extra_state(self, arrays: dict[str, FloatArray], meta: dict[str, Any]) -> None:
        """Continue from what `extra_state` returned."""
        self._constrained().prices = np.array(arrays["prices"])
