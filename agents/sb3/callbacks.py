"""The outer loop of fractional learning as a Stable-Baselines3 callback."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from ...envs.core.vector_wrappers import VectorRatioReward
from ...envs.core.wrappers import RatioReward
from ..fractional.dinkelbach import Dinkelbach
from .buffers import SMDPReplayBuffer
from .vec_env import StepArrays, step_arrays


class DinkelbachCallback(BaseCallback):
    """Measures sum(cost) / sum(duration) of the training rollouts and moves the ratio towards it.

    The ratio goes to every place that prices: the model's own `ratio`, its replay buffer's, and those of
    `RatioReward` wrappers around the environment.

    Args:
        ratio: first ratio; None: the first measured one (that of the untrained policy, above any ratio of interest).
        omega: step length in (0, 1]; 1 is Dinkelbach's exact step, less averages over rollouts.
        period: decisions between two updates at least; updates happen at the end of a rollout.
        first_lane: lanes before this one do not count (they explore).
        agents: None for one ratio, measured over all agents; or their number: each gets its own, from its own
            intervals, those that were open when an episode ended included.
    """

    def __init__(
        self,
        ratio: float | None = None,
        omega: float = 1.0,
        period: int = 0,
        first_lane: int = 0,
        agents: int | None = None,
    ) -> None:
        super().__init__()
        self.dinkelbach = None if ratio is None else Dinkelbach(ratio, omega=omega, agents=agents)
        self.omega, self.period, self.first_lane, self.agents = omega, period, first_lane, agents
        self._sums = np.zeros((2, agents or 1))
        self.decisions = 0

    @property
    def cost(self) -> float:
        """Sum of the costs since the last update, over all agents."""
        return float(self._sums[0].sum())

    @property
    def duration(self) -> float:
        """Sum of the durations since the last update, over all agents."""
        return float(self._sums[1].sum())

    def _on_training_start(self) -> None:
        if self.dinkelbach is not None:
            self._publish(self.dinkelbach.ratio)

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        arrays = step_arrays(self.training_env, infos, self.locals["dones"], self.locals["new_obs"].shape[-1])
        self._add(arrays)
        self.decisions += arrays.cost.size
        return True

    def _add(self, arrays: StepArrays) -> None:
        """Count a step of the lanes that measure."""
        first = self.first_lane
        cost, duration = arrays.cost[first:], arrays.duration[first:]
        if self.agents is None:
            self._sums[:, 0] += cost.sum(), duration.sum()
        else:
            np.add.at(self._sums[0], arrays.device[first:], cost)
            np.add.at(self._sums[1], arrays.device[first:], duration)
        for row, lane in enumerate(np.flatnonzero(arrays.terminated | arrays.truncated)):
            if lane >= first and arrays.open_cost.size:
                others = np.arange(arrays.open_cost.shape[1]) != arrays.device[lane]
                still_open = np.stack([arrays.open_cost[row], arrays.open_duration[row]]) * others
                self._sums += still_open.sum(axis=1, keepdims=True) if self.agents is None else still_open

    def _on_rollout_end(self) -> None:
        if self.decisions < max(self.period, 1) or (self._sums[1] <= 0.0).any():
            return
        sums: list[Any] = self._sums[:, 0].tolist() if self.agents is None else list(self._sums)
        if self.dinkelbach is None:
            self.dinkelbach = Dinkelbach(sums[0] / sums[1], omega=self.omega, agents=self.agents)
        ratio = self.dinkelbach.update(*sums)
        self.logger.record("fractional/measured_ratio", self.cost / self.duration)
        self.logger.record("fractional/ratio", float(np.mean(ratio)))
        self._sums = np.zeros_like(self._sums)
        self.decisions = 0
        self._publish(ratio)

    def _publish(self, ratio: float | NDArray[np.float64]) -> None:
        if hasattr(self.model, "ratio"):
            setattr(self.model, "ratio", ratio)  # noqa: B010  # not an attribute of all of SB3's models
        buffer = getattr(self.model, "replay_buffer", None)
        if isinstance(buffer, SMDPReplayBuffer):
            buffer.ratio = ratio
        for layer in _layers(self.training_env):
            if isinstance(layer, RatioReward | VectorRatioReward):
                layer.ratio = ratio

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on, as plain JSON types."""
        inner = None if self.dinkelbach is None else self.dinkelbach.state_dict()
        cost, duration = self._sums.tolist()
        return {"dinkelbach": inner, "cost": cost, "duration": duration, "decisions": self.decisions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._sums = np.reshape(np.array([state["cost"], state["duration"]], np.float64), self._sums.shape)
        self.decisions = int(state["decisions"])
        if state["dinkelbach"] is not None:
            self.dinkelbach = self.dinkelbach or Dinkelbach(omega=self.omega, agents=self.agents)
            self.dinkelbach.load_state_dict(state["dinkelbach"])


def with_outer_loop(outer_loop: DinkelbachCallback | None, callback: MaybeCallback) -> MaybeCallback:
    """Put a learner's own outer loop before the callbacks given to ``learn``."""
    return callback if outer_loop is None else with_first(outer_loop, callback)


def with_first(first: BaseCallback, callback: MaybeCallback) -> list[BaseCallback]:
    """A callback before those given to ``learn``."""
    given = callback if isinstance(callback, list) else [] if callback is None else [callback]
    return [first, *(each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in given)]


def _layers(env: Any) -> Iterator[Any]:
    """Every wrapper from an SB3 `VecEnv` down to the environments."""
    pending = [env]
    while pending:
        layer = pending.pop()
        yield layer
        pending += [inner for inner in (getattr(layer, "venv", None), getattr(layer, "env", None)) if inner is not None]
        pending += list(getattr(layer, "envs", ()))
