"""Rollouts cut into chunks that start from stored states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor


class Chunks(NamedTuple):
    """Sequences of one minibatch, padded on the right to the longest.

    Attributes:
        observations: shape (n, T, D).
        actions: carriers, shape (n, T, 2 I).
        state: state before the first slot, shape (n, S).
        valid: which slots are data, boolean (n, T).
        log_probs: of the actions when they were taken, shape (slots of data, P), like the rest.
        advantages: normalised over the rollout.
        returns: targets of the values, or of their parts.
    """

    observations: Tensor
    actions: Tensor
    state: Tensor
    valid: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class ChunkRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer that also remembers where chunks start, and the states there.

    Rewards, values, log-probabilities, advantages and returns have a last axis of P parts: 1, or one per item.

    Args:
        *args: those of SB3's buffer.
        parts: P.
        **kwargs: those of SB3's buffer.
    """

    def __init__(self, *args: Any, parts: int = 1, **kwargs: Any) -> None:
        self.parts = parts
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty the buffer."""
        self._first: list[tuple[int, NDArray[np.int64]]] = []  # slot of the rollout, lanes whose chunk starts there
        self._states: list[Tensor] = []
        super().reset()
        for name in ("rewards", "returns", "values", "log_probs", "advantages"):
            setattr(self, name, np.zeros((self.buffer_size, self.n_envs, self.parts), np.float32))

    def add(
        self,
        obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """Add a slot of all lanes.

        Args:
            obs: observations (n, D).
            action: carriers (n, 2 I).
            reward: rewards (n, P).
            episode_start: where an episode begins, (n,).
            value: values (n, P).
            log_prob: log-probabilities (n, P).
        """
        columns = {"observations": obs, "actions": action, "rewards": reward, "episode_starts": episode_start}
        columns |= {"values": value.cpu().numpy(), "log_probs": log_prob.cpu().numpy()}
        for name, column in columns.items():
            getattr(self, name)[self.pos] = column
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Generalised advantage estimation, part by part.

        Args:
            last_values: values (n, P) of what follows the last slot.
            dones: whether that is another episode, (n,).
        """
        following, over = last_values.cpu().numpy(), np.asarray(dones, np.bool_)
        running = np.zeros_like(following)
        for step in reversed(range(self.buffer_size)):
            goes_on = 1.0 - np.asarray(over, np.float32)[:, None]
            error = self.rewards[step] + self.gamma * goes_on * following - self.values[step]
            running = error + self.gamma * self.gae_lambda * goes_on * running
            self.advantages[step] = running
            following, over = self.values[step], self.episode_starts[step]
        self.returns = self.advantages + self.values

    def start_chunks(self, slot: int, lanes: NDArray[np.bool_], states: Tensor) -> None:
        """Note that chunks start.

        Args:
            slot: slot of the rollout.
            lanes: which lanes start one, shape (n,).
            states: states of all lanes before the slot, shape (n, S).
        """
        if lanes.any():
            self._first.append((slot, np.flatnonzero(lanes)))
            self._states.append(states[torch.as_tensor(lanes, device=states.device)])

    def minibatches(self, least: int) -> Iterator[Chunks]:
        """All chunks in random order, in minibatches of at least `least` slots.

        Args:
            least: slots; what is left over at the end joins the last minibatch.
        """
        slots = np.concatenate([np.full(len(lanes), slot) for slot, lanes in self._first])
        lanes = np.concatenate([lanes for _, lanes in self._first])
        states = torch.cat(self._states)
        lengths = self._lengths(slots, lanes)
        order = np.random.permutation(len(slots))  # noqa: NPY002  # as SB3's buffers do: the run's seed is in it
        filled = np.cumsum(lengths[order])
        parts: list[NDArray[np.int64]] = []
        begin, before = 0, 0
        for end, total in enumerate(filled, start=1):
            if (total - before >= least and filled[-1] - total >= least) or end == len(order):
                parts.append(order[begin:end])
                begin, before = end, total
        for part in parts:
            yield self._chunks(slots[part], lanes[part], lengths[part], states[torch.as_tensor(part)])

    def _lengths(self, slots: NDArray[np.int64], lanes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots from every start to the next one in the same lane, or to the end."""
        lengths = np.empty_like(slots)
        following = np.full(self.n_envs, self.pos)
        for index in range(len(slots) - 1, -1, -1):
            lengths[index] = following[lanes[index]] - slots[index]
            following[lanes[index]] = slots[index]
        return lengths

    def _chunks(
        self, slots: NDArray[np.int64], lanes: NDArray[np.int64], lengths: NDArray[np.int64], state: Tensor
    ) -> Chunks:
        steps = np.arange(lengths.max())
        valid = steps < lengths[:, None]
        rows = np.minimum(slots[:, None] + steps, self.pos - 1)  # what lies beyond a chunk is masked
        columns = np.broadcast_to(lanes[:, None], rows.shape)

        def tensor(values: NDArray[Any]) -> Tensor:
            return torch.as_tensor(values, device=self.device)

        return Chunks(
            tensor(self.observations[rows, columns]).float(),
            tensor(self.actions[rows, columns]).float(),
            state,
            tensor(valid),
            *(tensor(v[rows, columns][valid]) for v in (self.log_probs, self.advantages, self.returns)),
        )
