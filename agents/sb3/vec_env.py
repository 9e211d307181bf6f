"""Adapter from a Gymnasium vector environment to the vector interface of Stable-Baselines3."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from ...envs.core.errors import InvalidInputError
from ...envs.core.vector_wrappers import column

FloatArray = NDArray[np.float64]


class StepArrays(NamedTuple):
    """One vector step as arrays, what the list of info dictionaries holds lane by lane.

    Attributes:
        cost: numerator of the objective, per lane, shape (n,).
        duration: denominator of the objective, shape (n,).
        time: clock of the lane at the end of the step, shape (n,).
        device: index of the acting agent after the step, shape (n,); zeros when there is only one.
        terminated: true ends, shape (n,).
        truncated: time limits, shape (n,).
        final_obs: last observation of the lanes that ended, shape (number of ends, columns), in lane order.
        open_cost: in a game, the cost of every device's open interval in the lanes that ended, shape (number of ends,
            M); that of the device whose decision is pending is `cost` too. Without other agents M is 0.
        open_duration: likewise the duration.
        parts: what the cost is a sum of where the environment tells it (``info["cost_by_agent"]``), shape (n, I), else
            (n, 0).
    """

    cost: FloatArray
    duration: FloatArray
    time: FloatArray
    device: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_obs: NDArray[np.float32]
    open_cost: FloatArray
    open_duration: FloatArray
    parts: FloatArray


class SemiMarkovVecEnv(VecEnv):
    """A Gymnasium `VectorEnv` in SAME_STEP mode as an SB3 `VecEnv`, batched all the way.

    Every info holds `cost`, `duration` and `time` (and `device`, `kind` where the environment tells them); lanes that
    end also hold `terminal_observation`, `TimeLimit.truncated` and `episode`. The same data stand in `last_arrays`.

    Args:
        venv: the vector environment; its single action space must be Discrete or Box (wrap Dict actions first).

    Raises:
        InvalidInputError: the vector environment resets in another mode than SAME_STEP.
    """

    def __init__(self, venv: VectorEnv[Any, Any, Any]) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode is not None and AutoresetMode(mode) is not AutoresetMode.SAME_STEP:
            raise InvalidInputError.of("autoreset_mode", "SAME_STEP for Stable-Baselines3", mode)
        self.venv = venv
        self.last_arrays: StepArrays | None = None
        self._actions: NDArray[Any] | None = None
        self._returns = np.zeros(venv.num_envs)
        self._lengths = np.zeros(venv.num_envs, np.int64)
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Reset every lane with the seeds set by `seed`; lane i gets seed + i."""
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, _ = self.venv.reset(seed=seeds)  # type: ignore[arg-type]  # Gymnasium's hint lacks lists
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observation)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (n, ...) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Advance every lane to its next decision."""
        observation, reward, terminated, truncated, info = self.venv.step(self._actions)
        ended = np.logical_or(terminated, truncated)
        arrays = self._arrays(info, terminated, truncated, ended)
        self.last_arrays = arrays
        self._returns += reward
        self._lengths += 1
        columns = [arrays.cost.tolist(), arrays.duration.tolist(), arrays.time.tolist()]
        names = ["cost", "duration", "time"]
        for name in ("device", "kind"):
            if name in info:
                names.append(name)
                columns.append(np.asarray(info[name]).tolist())
        infos: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        for row, lane in enumerate(np.flatnonzero(ended).tolist()):
            infos[lane]["terminal_observation"] = arrays.final_obs[row]
            infos[lane]["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
            infos[lane]["episode"] = {
                "r": float(self._returns[lane]),
                "l": int(self._lengths[lane]),
                "t": float(arrays.time[lane]),
            }
        self._returns[ended] = 0.0
        self._lengths[ended] = 0
        return observation, np.asarray(reward, np.float32), ended, infos

    def _arrays(
        self,
        info: dict[str, Any],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        ended: NDArray[np.bool_],
    ) -> StepArrays:
        if ended.any():
            final = np.stack([np.asarray(info["final_obs"][lane], np.float32) for lane in np.flatnonzero(ended)])
        else:
            final = np.empty((0, *(self.observation_space.shape or ())), np.float32)
        device = np.asarray(info["device"], np.int64) if "device" in info else np.zeros(self.num_envs, np.int64)
        cost, duration, time = (column(info, name).astype(np.float64) for name in ("cost", "duration", "time"))
        lanes = np.flatnonzero(ended)
        nobody = np.empty((len(lanes), 0))
        open_cost, open_duration = (
            np.asarray(info[name], np.float64)[lanes] if ended.any() and name in info else nobody
            for name in ("agents_cost", "agents_duration")
        )
        parts = column(info, "cost_by_agent") if "cost_by_agent" in info else np.empty((self.num_envs, 0))
        return StepArrays(cost, duration, time, device, terminated, truncated, final, open_cost, open_duration, parts)

    def close(self) -> None:
        """Close the vector environment."""
        self.venv.close()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything needed to continue bit for bit: the simulator's state and the running episode sums."""
        own = {"adapter.returns": self._returns.copy(), "adapter.lengths": self._lengths.copy()}
        return dict(self.venv.unwrapped.get_state()) | own

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from what `get_state` returned."""
        self._returns = np.array(state["adapter.returns"])
        self._lengths = np.array(state["adapter.lengths"])
        inner = {name: value for name, value in state.items() if not name.startswith("adapter.")}
        self.venv.unwrapped.set_state(inner)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the vector environment, once per lane asked for."""
        if attr_name == "render_mode":
            return [None for _ in self._get_indices(indices)]
        return [getattr(self.venv, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment: the lanes share it."""
        setattr(self.venv, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment once; its result is repeated per lane asked for."""
        result = getattr(self.venv, method_name)(*method_args, **kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Env[Any, Any]], indices: VecEnvIndices = None) -> list[bool]:
        """No lane has wrappers of its own."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Nothing is drawn during training."""
        return [None] * self.num_envs

    def _get_indices(self, indices: VecEnvIndices) -> Iterable[int]:
        return super()._get_indices(indices)


class MaskedVecEnv(SemiMarkovVecEnv):
    """A `SemiMarkovVecEnv` whose lanes have action masks, in the form in which sb3-contrib asks for them."""

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment once; of ``action_masks`` every lane gets its own row."""
        if method_name != "action_masks":
            return super().env_method(method_name, *method_args, indices=indices, **kwargs)
        masks: NDArray[np.bool_] = self.venv.action_masks()  # type: ignore[attr-defined]  # the edge experts' twins
        return [masks[i] for i in self._get_indices(indices)]


def step_arrays(env: VecEnv, infos: list[dict[str, Any]], dones: NDArray[np.bool_], columns: int) -> StepArrays:
    """The step as arrays: taken from the adapter, or gathered from the infos of any other `VecEnv`.

    Args:
        env: the environment that has just stepped.
        infos: its infos, each with `cost` and `duration`.
        dones: which lanes ended.
        columns: width of an observation.
    """
    inner = env.unwrapped
    if isinstance(inner, SemiMarkovVecEnv) and inner.last_arrays is not None:
        return inner.last_arrays
    truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
    final = [infos[lane]["terminal_observation"] for lane in np.flatnonzero(dones)]
    nobody = np.empty((len(final), 0))
    return StepArrays(
        np.array([info["cost"] for info in infos], np.float64),
        np.array([info["duration"] for info in infos], np.float64),
        np.array([info.get("time", np.nan) for info in infos], np.float64),
        np.array([info.get("device", 0) for info in infos], np.int64),
        np.logical_and(dones, ~truncated),
        np.logical_and(dones, truncated),
        np.stack(final).astype(np.float32) if final else np.empty((0, columns), np.float32),
        nobody,
        nobody,
        np.array([info.get("cost_by_agent", ()) for info in infos], np.float64).reshape(len(infos), -1),
    )
