"""Independent fractional D3QN + DDPG learners in the asynchronous game, from one replay of its event stream."""

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from ...envs.core.errors import InvalidInputError
from .d3qn_ddpg import GAIN_STEP, FaithfulReplay, FractionalD3QNDDPG

DEVICE_COLUMN = 0  # of an event stream's observations


class EventStreamReplay(FaithfulReplay):
    """Turns the event stream of a game into transitions of single devices.

    A step carries out one device's decision and reports the cost and duration that *another* device has accrued since
    its own last decision. So a decision waits, by (lane, device), until its device is observed again: then observation,
    action, cost, duration and the new observation are one transition. At a truncation the pending device's transition
    is complete; the intervals of the others end at no decision of theirs, have no value to bootstrap from, and are left
    out (the outer loop counts them). Transitions of all lanes share one ring.

    Args:
        buffer_size: transitions kept, over all lanes.
        observation_space: of the event stream: the device's index in column 0.
        *args: as for SB3's `ReplayBuffer`.
        n_envs: lanes of the stream.
        **kwargs: as for `SMDPReplayBuffer`.
    """

    def __init__(
        self, buffer_size: int, observation_space: spaces.Space[Any], *args: Any, n_envs: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(buffer_size, observation_space, *args, n_envs=1, **kwargs)
        assert isinstance(observation_space, spaces.Box)
        devices = int(observation_space.high[DEVICE_COLUMN]) + 1
        self.pending_obs = np.zeros((n_envs, devices, *self.obs_shape), np.float32)
        self.pending_actions = np.zeros((n_envs, devices, self.action_dim), np.float32)
        self.pending = np.zeros((n_envs, devices), np.bool_)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Take in one step of every lane: keep its decision, store the transition that it completes, if any."""
        lanes = np.arange(len(obs))
        decided = obs[:, DEVICE_COLUMN].astype(np.int64)
        self.pending_obs[lanes, decided] = obs
        self.pending_actions[lanes, decided] = action
        self.pending[lanes, decided] = True
        observed = next_obs[:, DEVICE_COLUMN].astype(np.int64)
        rows = np.flatnonzero(self.pending[lanes, observed])
        columns = observed[rows]
        places = (self.pos + np.arange(len(rows))) % self.buffer_size
        self.observations[places, 0] = self.pending_obs[rows, columns]
        self.actions[places, 0] = self.pending_actions[rows, columns]
        self.next_observations[places, 0] = next_obs[rows]
        self.costs[places, 0] = [infos[row]["cost"] for row in rows]
        self.durations[places, 0] = [infos[row]["duration"] for row in rows]
        self.rewards[places, 0] = reward[rows]
        self.pending[rows, columns] = False
        self.pending[np.asarray(done, np.bool_)] = False
        self.full = self.full or self.pos + len(rows) >= self.buffer_size
        self.pos = (self.pos + len(rows)) % self.buffer_size

    def ratios(self, rows: NDArray[Any], lanes: NDArray[Any]) -> float | NDArray[np.float64]:
        """The ratio of each transition's device, where every device has its own."""
        devices = self.observations[rows, lanes, DEVICE_COLUMN].astype(np.int64)
        return self.ratio[devices] if isinstance(self.ratio, np.ndarray) and self.ratio.ndim else self.ratio


class FractionalGameD3QNDDPG(FractionalD3QNDDPG):
    """The AAAI-24 algorithm in the asynchronous game: every device learns by itself, none sees the others' decisions.

    The learner is `FractionalD3QNDDPG` on transitions regrouped by (lane, device), see `EventStreamReplay`. With a
    policy whose `device_column` is set, every device has networks, targets and a gain of its own (evaluated together;
    only the input scales are common); otherwise all share them, still trained on single devices' transitions. The
    outer loop gives each device its own ratio, or all the pooled one (``DinkelbachCallback(agents=...)``).

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ❌ | ❌ | ✔️ | ❌ | ❌ | ✔️ | ✔️ | ✔️ |

    Args:
        *args: as for `FractionalD3QNDDPG`; the environment is an event stream.
        **kwargs: as for `FractionalD3QNDDPG`, with ``fidelity="corrected"`` and no defect but ``offload_only``: the
            others are those of the single-device release.

    Raises:
        InvalidInputError: another defect or fidelity, and as for `FractionalD3QNDDPG`.
    """

    replay_class: ClassVar[type[FaithfulReplay]] = EventStreamReplay

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        defects = set(kwargs.get("defects", ()))
        if not defects <= {"offload_only"}:
            raise InvalidInputError.of("defects", "offload_only or none in a game", sorted(defects))
        if kwargs.get("fidelity", "corrected") != "corrected":
            raise InvalidInputError.of("fidelity", "corrected in a game", kwargs["fidelity"])
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._gains = np.zeros(self.policy.n_devices)

    def _follow_gain(self, after: tuple[Tensor, Tensor], observations: Tensor) -> float | Tensor:
        devices = len(self._gains)
        if devices == 1:
            return super()._follow_gain(after, observations)
        device = observations[:, DEVICE_COLUMN].long()
        counts = torch.bincount(device, minlength=devices).numpy(force=True)
        sums = torch.bincount(device, (after[0] + after[1]) / 2.0, devices).numpy(force=True)
        self._gains += GAIN_STEP * np.where(counts > 0, sums / np.maximum(counts, 1) - self._gains, 0.0)
        self.gain = float(self._gains.mean())
        return torch.as_tensor(self._gains, dtype=torch.float32, device=device.device)[device]

    def extra_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What a snapshot needs beyond SB3's own state: arrays, and plain JSON values."""
        arrays, meta = super().extra_state()
        buffer = self.replay_buffer
        assert isinstance(buffer, EventStreamReplay)
        meta["ratio"] = np.asarray(self.ratio).tolist() if self.ratio is not None else None
        pending = {name: getattr(buffer, name) for name in ("pending", "pending_obs", "pending_actions")}
        return arrays | pending | {"gains": self._gains}, meta

    def load_extra_state(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Continue from what `extra_state` returned."""
        super().load_extra_state(arrays, meta)
        buffer = self.replay_buffer
        assert isinstance(buffer, EventStreamReplay)
        if meta["ratio"] is not None:
            ratio = np.array(meta["ratio"], np.float64)
            self.ratio = ratio if ratio.ndim else float(ratio)
        for name in ("pending", "pending_obs", "pending_actions"):
            getattr(buffer, name)[...] = arrays[name]
        self._gains = np.array(arrays["gains"])
