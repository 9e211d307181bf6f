"""Wrappers every learner goes through: what a step is worth, and how hybrid actions fit a Box.

Each has a vector twin in `vector_wrappers`. None of them changes `info`: learners and evaluation always find the raw
cost and duration there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from .errors import InvalidInputError

RatioLike = float | npt.ArrayLike


def checked_ratio(ratio: RatioLike) -> npt.NDArray[np.float64]:
    """Read a ratio: one finite number, or one per agent.

    Args:
        ratio: scalar or sequence, in units of cost per duration (age of information: s).

    Returns:
        A fresh, read-only float64 array of shape () or (agents,).

    Raises:
        InvalidInputError: not numeric, not finite, empty, or more than one-dimensional.
    """
    allowed = "a finite number or a non-empty sequence of finite numbers, one per agent"
    try:
        array = np.asarray(ratio, dtype=np.float64).copy()  # in two steps: torch warns when asked for a copy
    except (TypeError, ValueError):
        raise InvalidInputError.of("ratio", allowed, ratio) from None
    if array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise InvalidInputError.of("ratio", allowed, ratio)
    array.setflags(write=False)
    return array


def missing_key(key: str) -> InvalidInputError:
    """The error for an environment whose info lacks a key of the schema."""
    return InvalidInputError(f"info must hold {key!r} after every step (see edgewise.envs.core.info.StepInfo)")


def _read(info: Mapping[str, Any], key: str) -> Any:
    try:
        return info[key]
    except KeyError:
        raise missing_key(key) from None


class RatioReward(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Reward = -(cost - ratio * duration): what Dinkelbach's method maximises at a given ratio.

    With ``ratio`` at the smallest reachable Σcost / Σduration, the best long-run average of this reward is 0; an outer
    loop (`edgewise.agents.fractional.Dinkelbach`) moves it there.

    Args:
        env: a semi-Markov environment: its info holds `cost` and `duration` (and `device` where agents share it).
        ratio: one number, or one per agent. The value of agent ``info["device"]`` is used: the agent that receives the
            observation and whose interval cost and duration price. Unit: cost per duration (age of information: s).

    Raises:
        InvalidInputError: `ratio` is not finite; or, in `step`, it has one value per agent and info names no such
            agent.

    *Source*: Dinkelbach, *On nonlinear fractional programming*, Management Science 13(7), 1967; Jin et al., AAAI-24,
    arXiv 2312.10418.
    """

    def __init__(self, env: gym.Env[Any, Any], ratio: RatioLike = 0.0) -> None:
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

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, with the priced reward; the reward of the environment itself is ignored."""
        obs, _, terminated, truncated, info = self.env.step(action)
        ratio = self._ratio
        if ratio.ndim:
            device = _read(info, "device")
            if not 0 <= device < ratio.size:
                raise InvalidInputError.of("ratio", f"a number or one value per agent (device {device} acts)", ratio)
            ratio = ratio[device]
        reward = -(_read(info, "cost") - float(ratio) * _read(info, "duration"))
        return obs, float(reward), terminated, truncated, info


class RateReward(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Reward = -cost / duration: the non-fractional baseline.

    It minimises the mean of per-step ratios, which is not the ratio of means; it is here to be compared with.

    Args:
        env: a semi-Markov environment whose steps all last longer than 0: with the age-of-information environments,
            ``decision="joint"``.

    Raises:
        InvalidInputError: in `step`, a duration of 0.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, with the rate as reward."""
        obs, _, terminated, truncated, info = self.env.step(action)
        cost, duration = _read(info, "cost"), _read(info, "duration")
        if not duration > 0:
            raise zero_duration(duration)
        return obs, -float(cost) / float(duration), terminated, truncated, info


def zero_duration(duration: object) -> InvalidInputError:
    """The error of the rate rewards for a step without length."""
    return InvalidInputError(
        f"duration must be > 0 for a rate reward, got {duration!r}: two decisions share an instant; "
        'use joint decisions (decision="joint")'
    )


class FlatHybridAction(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Carry a hybrid action ``Dict(server: Discrete(K), wait: Box(low, high, (1,)))`` in one Box in [-1, 1].

    For libraries without Dict actions. Layout ``(1 + K,)``: element 0 is the wait, mapped linearly from [-1, 1] to
    [low, high]; the others are one score per server, and the server with the largest score is chosen (ties: the lowest
    index). `encode` is an inverse: ``decode(encode(action))`` gives the action back (wait to float32 rounding).

    What is lost: a policy over the Box is a density over scores, not a probability over servers. Its log-probability
    and entropy are not those of the decision, exploration noise on the scores shows only when it changes the arg-max,
    the gradient sees no difference between scores with the same arg-max, and in staged decisions the half of the action
    that the environment ignores still enters the loss. A policy with a hybrid head
    (`edgewise.agents.sb3.HybridActorCriticPolicy`) loses none of this.

    Args:
        env: an environment with such an action space.

    Raises:
        InvalidInputError: the action space is another one; or, in `step`, an action of the wrong shape, not finite, or
            outside [-1, 1].
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.carrier = HybridCarrier(env.action_space)
        self.action_space = self.carrier.space

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Decode the carrier and step."""
        return self.env.step(self.decode(action))

    def decode(self, action: npt.ArrayLike) -> dict[str, Any]:
        """Carrier, shape (1 + K,), to ``{"server": int64, "wait": float32 (1,)}``."""
        servers, waits = self.carrier.decode(self.carrier.checked(action, ()))
        return {"server": np.int64(servers), "wait": waits}

    def encode(self, action: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """``{"server": ..., "wait": ...}`` to a carrier, float32 (1 + K,): score 1 for the server, -1 elsewhere."""
        return self.carrier.encode(action, ())


class HybridCarrier:
    """The arithmetic behind `FlatHybridAction`, for any leading shape; float64 inside, float32 outside."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        server = space["server"] if isinstance(space, spaces.Dict) and "server" in space.spaces else None
        wait = space["wait"] if isinstance(space, spaces.Dict) and "wait" in space.spaces else None
        if not (
            isinstance(space, spaces.Dict)
            and len(space.spaces) == 2
            and isinstance(server, spaces.Discrete)
            and isinstance(wait, spaces.Box)
            and wait.shape == (1,)
            and wait.is_bounded()
        ):
            raise InvalidInputError.of("action_space", "Dict(server: Discrete, wait: bounded Box of shape (1,))", space)
        self.servers = int(server.n)
        self.start = int(server.start)
        self.low, self.high = float(wait.low[0]), float(wait.high[0])
        self.space = spaces.Box(-1.0, 1.0, (1 + self.servers,), np.float32)

    def checked(self, action: npt.ArrayLike, leading: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """The carrier as float64, shape ``leading + (1 + K,)``.

        Raises:
            InvalidInputError: another shape, or a value that is NaN or outside [-1, 1].
        """
        shape = (*leading, 1 + self.servers)
        try:
            array = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidInputError.of("action", f"numbers in [-1, 1] of shape {shape}", action) from None
        if array.shape != shape:
            raise InvalidInputError.of("action", f"numbers in [-1, 1] of shape {shape}", f"shape {array.shape}")
        if not (np.abs(array) <= 1.0).all():
            raise InvalidInputError.of("action", f"finite numbers in [-1, 1] of shape {shape}", array.tolist())
        return array

    def decode(self, array: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Servers, shape ``leading``, and waits, shape ``leading + (1,)``."""
        servers = np.argmax(array[..., 1:], axis=-1) + self.start
        waits = self.low + 0.5 * (array[..., :1] + 1.0) * (self.high - self.low)
        return servers, np.clip(waits, self.low, self.high).astype(np.float32)

    def encode(self, action: Mapping[str, Any], leading: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The carrier of a hybrid action, shape ``leading + (1 + K,)``.

        Raises:
            InvalidInputError: a server or a wait (s) that the space does not hold.
        """
        server = np.asarray(action["server"], dtype=np.int64).reshape(leading) - self.start
        wait = np.asarray(action["wait"], dtype=np.float64).reshape((*leading, 1))
        if not ((server >= 0) & (server < self.servers)).all():
            allowed = f"an integer in [{self.start}, {self.start + self.servers - 1}]"
            raise InvalidInputError.of("server", allowed, action["server"])
        if not ((wait >= self.low) & (wait <= self.high)).all():
            raise InvalidInputError.of("wait", f"a finite number in [{self.low:g}, {self.high:g}]", action["wait"])
        span = self.high - self.low
        carrier = np.full((*leading, 1 + self.servers), -1.0)
        if span > 0:
            carrier[..., :1] = 2.0 * (wait - self.low) / span - 1.0
        np.put_along_axis(carrier, server[..., None] + 1, 1.0, axis=-1)
        return carrier.astype(np.float32)
