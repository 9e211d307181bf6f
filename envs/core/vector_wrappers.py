"""Vector twins of the wrappers in `wrappers`: the same rewards and actions, one per lane.

They work over the suite's own vector environments and over Gymnasium's `SyncVectorEnv` and `AsyncVectorEnv`, in every
autoreset mode. The reward of a NEXT_STEP reset step stays 0. In SAME_STEP the reward belongs to the transition that
ended the episode: where `final_info` holds its cost and duration they are used, and `info` is left as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from .errors import InvalidInputError
from .wrappers import HybridCarrier, RatioLike, checked_ratio, missing_key, zero_duration

Step = tuple[Any, Any, Any, Any, dict[str, Any]]


def column(infos: Mapping[str, Any], key: str) -> npt.NDArray[Any]:
    """One value, or row of values, per lane, of the transition whose reward this step returns.

    Raises:
        InvalidInputError: the key is missing.
    """
    if key not in infos:
        raise missing_key(key)
    values = np.asarray(infos[key])
    final = infos.get("final_info")
    if isinstance(final, dict) and key in final:
        ended = np.asarray(final.get(f"_{key}", infos.get("_final_info", False)))
        values = np.where(ended.reshape(ended.shape + (1,) * (values.ndim - ended.ndim)), final[key], values)
    return values


def columns(infos: Mapping[str, Any], key: str) -> dict[str, npt.NDArray[Any]]:
    """The values of an info's inner dict by name, each as `column` finds it.

    Raises:
        InvalidInputError: the key is missing.
    """
    if key not in infos:
        raise missing_key(key)
    final = infos.get("final_info")
    ends = {
        "final_info": final.get(key) if isinstance(final, dict) else None,
        "_final_info": infos.get("_final_info", False),
    }
    names = [name for name in infos[key] if not name.startswith("_")]
    return {name: column({name: infos[key][name]} | ends, name) for name in names}


class _PricedVector(VectorWrapper, gym.utils.RecordConstructorArgs):
    """Follows which lanes reset in this step, and replaces the rewards of the others."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self._next_step = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP) == AutoresetMode.NEXT_STEP
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all lanes, or those of ``options["reset_mask"]``."""
        mask = None if options is None else options.get("reset_mask")
        self._resetting = np.zeros_like(self._resetting) if mask is None else self._resetting & ~np.asarray(mask)
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Step:
        """Step all lanes; the rewards of the environment itself are ignored."""
        if self._next_step:  # the suite's own environments know, after `set_state` too
            self._resetting = getattr(self.unwrapped, "waiting", self._resetting)
        obs, _, terminated, truncated, infos = self.env.step(actions)
        rewards = np.where(self._resetting, 0.0, self._price(infos, ~self._resetting))
        if self._next_step:
            self._resetting = np.logical_or(terminated, truncated)
        return obs, rewards, terminated, truncated, infos

    def _price(self, infos: Mapping[str, Any], live: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        raise NotImplementedError


class VectorRatioReward(_PricedVector):
    """Reward = -(cost - ratio * duration) per lane: the vector twin of `RatioReward`.

    Args:
        env: a semi-Markov vector environment.
        ratio: one number, or one per agent (indexed by ``info["device"]`` of each lane).

    Raises:
        InvalidInputError: as in `RatioReward`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], ratio: RatioLike = 0.0) -> None:
        self._ratio = checked_ratio(ratio)
        gym.utils.RecordConstructorArgs.__init__(self, ratio=self._ratio.tolist())
        super().__init__(env)

    @property
    def ratio(self) -> float | npt.NDArray[np.float64]:
        """The current ratio: a float, or a read-only array (agents,). Assign to change it from the next step on."""
        return self._ratio if self._ratio.ndim else float(self._ratio)

    @ratio.setter
    def ratio(self, value: RatioLike) -> None:
        self._ratio = checked_ratio(value)

    def _price(self, infos: Mapping[str, Any], live: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        ratio = self._ratio
        if ratio.ndim:
            device = np.where(live, column(infos, "device"), 0)
            if ((device < 0) | (device >= ratio.size)).any():
                acts = f"device {int(device.max())} acts"
                raise InvalidInputError.of("ratio", f"a number or one value per agent ({acts})", ratio.tolist())
            ratio = ratio[device]
        price: npt.NDArray[np.float64] = -(column(infos, "cost") - ratio * column(infos, "duration"))
        return price


class VectorRateReward(_PricedVector):
    """Reward = -cost / duration per lane: the vector twin of `RateReward`.

    Args:
        env: a semi-Markov vector environment with joint decisions.

    Raises:
        InvalidInputError: in `step`, a duration of 0 outside a reset step.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def _price(self, infos: Mapping[str, Any], live: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        duration = np.where(live, column(infos, "duration"), 1.0)
        if not (duration > 0).all():
            raise zero_duration(float(duration.min()))
        rate: npt.NDArray[np.float64] = -column(infos, "cost") / duration
        return rate


class VectorFlatHybridAction(VectorWrapper, gym.utils.RecordConstructorArgs):
    """Carry hybrid actions in one Box in [-1, 1] per lane: the vector twin of `FlatHybridAction`.

    Args:
        env: a vector environment whose single action space is ``Dict(server: Discrete(K), wait: Box)``.

    Raises:
        InvalidInputError: as in `FlatHybridAction`, for shape (lanes, 1 + K).
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.carrier = HybridCarrier(env.single_action_space)
        self.single_action_space = self.carrier.space
        self.action_space = batch_space(self.carrier.space, env.num_envs)

    def step(self, actions: Any) -> Step:
        """Decode the carriers and step."""
        return self.env.step(self.decode(actions))

    def decode(self, actions: npt.ArrayLike) -> dict[str, Any]:
        """Carriers, shape (lanes, 1 + K), to ``{"server": int64 (lanes,), "wait": float32 (lanes, 1)}``."""
        servers, waits = self.carrier.decode(self.carrier.checked(actions, (self.num_envs,)))
        return {"server": servers, "wait": waits}

    def encode(self, actions: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """``{"server": (lanes,), "wait": (lanes, 1)}`` to carriers, float32, shape (lanes, 1 + K)."""
        return self.carrier.encode(actions, (self.num_envs,))
