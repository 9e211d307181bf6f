"""The outer loop of fractional learning as a Stable-Baselines3 callback."""

from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from ...envs.core.vector_wrappers import VectorRatioReward
from ...envs.core.wrappers import RatioReward
from ..fractional.dinkelbach import Dinkelbach
from .buffers import SMDPReplayBuffer
from .vec_env import step_arrays


class DinkelbachCallback(BaseCallback):
    """Measures sum(cost) / sum(duration) of the training rollouts and moves the ratio towards it.

    The ratio goes to every place that prices: the model's own `ratio`, its replay buffer's, and those of
    `RatioReward` wrappers around the environment.

    Args:
        ratio: first ratio; None: the first measured one (that of the untrained policy, above any ratio of interest).
        omega: step length in (0, 1]; 1 is Dinkelbach's exact step, less averages over rollouts.
        period: decisions between two updates at least; updates happen at the end of a rollout.
        first_lane: lanes before this one do not count (they explore).
    """

    def __init__(self, ratio: float | None = None, omega: float = 1.0, period: int = 0, first_lane: int = 0) -> None:
        super().__init__()
        self.dinkelbach = None if ratio is None else Dinkelbach(ratio, omega=omega)
        self.omega, self.period, self.first_lane = omega, period, first_lane
        self.cost = self.duration = 0.0
        self.decisions = 0

    def _on_training_start(self) -> None:
        if self.dinkelbach is not None:
            self._publish(float(self.dinkelbach.ratio))

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        arrays = step_arrays(self.training_env, infos, self.locals["dones"], self.locals["new_obs"].shape[-1])
        self.cost += float(arrays.cost[self.first_lane :].sum())
        self.duration += float(arrays.duration[self.first_lane :].sum())
        self.decisions += arrays.cost.size
        return True

    def _on_rollout_end(self) -> None:
        if self.decisions < max(self.period, 1) or self.duration <= 0.0:
            return
        if self.dinkelbach is None:
            self.dinkelbach = Dinkelbach(self.cost / self.duration, omega=self.omega)
        ratio = float(self.dinkelbach.update(self.cost, self.duration))
        self.logger.record("fractional/measured_ratio", self.cost / self.duration)
        self.logger.record("fractional/ratio", ratio)
        self.cost = self.duration = 0.0
        self.decisions = 0
        self._publish(ratio)

    def _publish(self, ratio: float) -> None:
        if hasattr(self.model, "ratio"):
            self.model.ratio = ratio
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, SMDPReplayBuffer):
            buffer.ratio = ratio
        for layer in _layers(self.training_env):
            if isinstance(layer, RatioReward | VectorRatioReward):
                layer.ratio = ratio

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on, as plain JSON types."""
        inner = None if self.dinkelbach is None else self.dinkelbach.state_dict()
        return {"dinkelbach": inner, "cost": self.cost, "duration": self.duration, "decisions": self.decisions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.cost, self.duration = float(state["cost"]), float(state["duration"])
        self.decisions = int(state["decisions"])
        if state["dinkelbach"] is not None:
            self.dinkelbach = self.dinkelbach or Dinkelbach(omega=self.omega)
            self.dinkelbach.load_state_dict(state["dinkelbach"])


def with_outer_loop(outer_loop: DinkelbachCallback | None, callback: MaybeCallback) -> MaybeCallback:
    """Put a learner's own outer loop before the callbacks given to ``learn``."""
    if outer_loop is None:
        return callback
    given = callback if isinstance(callback, list) else [] if callback is None else [callback]
    return [outer_loop, *(each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in given)]


def _layers(env: Any) -> Iterator[Any]:
    """Every wrapper from an SB3 `VecEnv` down to the environments."""
    pending = [env]
    while pending:
        layer = pending.pop()
        yield layer
        pending += [inner for inner in (getattr(layer, "venv", None), getattr(layer, "env", None)) if inner is not None]
        pending += list(getattr(layer, "envs", ()))
