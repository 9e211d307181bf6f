"""What an asynchronous fractional learner knows beside its weights: ratios, the outer loop, scales, a linear critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch.distributed
from numpy.typing import NDArray

from ...envs.core.errors import InvalidInputError
from ..fractional.critic import FractionalLSTD
from ..fractional.dinkelbach import Dinkelbach

Floats = NDArray[np.float64]

# Compressed features are nearly collinear with raw ones; shrinking them makes the critic linear in ages and queues
# unless the data insist, which keeps the slope (what a waiting decision depends on) free of noise.
RIDGE, RIDGE_COMPRESSED = 1e-4, 1.0


Chain = Literal["device", "system"]


@dataclass(frozen=True)
class PricingSettings:
    """How decisions are priced.

    Attributes:
        chain: whose decisions follow each other: those of each ``device`` (each minimises its own cost), or those of
            the whole ``system``, for which all devices' costs must be the same function of time (team objective).
        fractional: price cost - ratio * duration; else the cost per time of each completed cycle.
        trapezoid: what a non-fractional learner's cycle costs, see `cycle_rates`.
        ratio: first ratio; None: that of the first batch.
        shared_ratio: one ratio for all devices.
        omega: step of the outer loop.
        horizon: discounting horizon in seconds; None: not discounted by time.
        gamma: discount per decision; None: not used. Without both: the average criterion.
        lam: lambda per decision of the chain, at the beginning.
        critic_lam: lambda of a linear critic's eligibility traces, per decision of the chain; 0: none.
        winsorise: share of costs and of temporal differences pulled in to that quantile on either side.
        per_device_gain: subtract each device's own mean reward (devices with parameters of their own).
    """

    chain: Chain = "device"
    fractional: bool = True
    trapezoid: bool = True
    ratio: float | None = None
    shared_ratio: bool = False
    omega: float = 0.1
    horizon: float | None = None
    gamma: float | None = None
    lam: float = 0.9
    critic_lam: float = 0.0
    winsorise: float = 0.001
    per_device_gain: bool = False

    def __post_init__(self) -> None:
        """Refuse two criteria at once, and an unknown chain."""
        if self.chain not in get_args(Chain):
            raise InvalidInputError.of("chain", "device or system", self.chain)
        if self.horizon is not None and self.gamma is not None:
            raise InvalidInputError("horizon and gamma exclude each other: discount by time or per decision")

    @property
    def average(self) -> bool:
        """Whether the criterion is the long-run average."""
        return self.horizon is None and self.gamma is None

    def discount(self, duration: Floats) -> Floats:
        """Weight of what follows transitions of these durations."""
        if self.horizon is not None:
            return np.exp(-duration / self.horizon)
        return np.full_like(duration, 1.0 if self.gamma is None else self.gamma)


class CriticScale:
    """Units of a module's critic, and its linear critic where it has no network.

    Args:
        memory: number of batches that it remembers.
        ridge: ridge of a linear critic's features, shape (width,); None: no linear critic.

    Attributes:
        calibrated: whether a batch has been seen.
        centre: of the values of cost and duration, shape (2,).
        scale: their deviation, shape (2,).
        lstd: the linear critic.
        moments: mean and deviation of its features in the first batch, shape (2, width).
    """

    def __init__(self, memory: float, ridge: Floats | None = None) -> None:
        self.memory, self.calibrated = memory, False
        self.centre, self.scale = np.zeros(2), np.ones(2)
        self.lstd = None if ridge is None else FractionalLSTD(ridge.size, memory, ridge)
        self.moments = None if ridge is None else np.stack([np.zeros(ridge.size), np.ones(ridge.size)])

    def fit(self, features: Floats) -> None:
        """Set the units of the features to the moments of a batch (R, width) over all learners; a constant stays."""
        sums = pooled(np.stack([features.sum(0), (features**2).sum(0), np.full(features.shape[1], len(features))]))
        mean = sums[0] / sums[2]
        spread = np.sqrt(np.maximum(sums[1] / sums[2] - mean**2, 0.0))
        varies = spread > 1e-9 * np.maximum(np.abs(mean), 1.0)
        self.moments = np.where(varies, [mean, spread], [[0.0], [1.0]])

    def standardised(self, features: Floats) -> Floats:
        """Features (R, width) in those units."""
        assert self.moments is not None
        result: Floats = (features - self.moments[0]) / self.moments[1]
        return result

    def get_state(self) -> dict[str, Any]:
        """Arrays and plain JSON values."""
        state = {"calibrated": self.calibrated, "centre": self.centre.copy(), "scale": self.scale.copy()}
        if self.lstd is None or self.moments is None:
            return state
        return state | {"lstd": self.lstd.state(), "moments": self.moments.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.calibrated = bool(state["calibrated"])
        self.centre, self.scale = np.array(state["centre"]), np.array(state["scale"])
        if self.lstd is not None:
            self.lstd.load(state["lstd"])
            self.moments = np.array(state["moments"])


class Pricing:
    """Ratios and their outer loop, lambda, and the critics' scales; equal in all learners of a group.

    Args:
        settings: how decisions are priced.
        n_devices: number of devices M.
        critics: scales by module.
    """

    def __init__(self, settings: PricingSettings, n_devices: int, critics: Mapping[str, CriticScale]) -> None:
        self.settings, self.n_devices, self.critics = settings, n_devices, dict(critics)
        self.outer: Dinkelbach | None = None
        if settings.ratio is not None:
            self.outer = self._loop(settings.ratio)
        self.lam = settings.lam
        self.sums = np.zeros((2, n_devices))

    @property
    def ratio(self) -> Floats:
        """Ratio of every device, shape (M,); zeros while unknown."""
        if self.outer is None:
            return np.zeros(self.n_devices)
        return np.asarray(self.outer.ratio, np.float64)

    def _loop(self, ratio: float | Floats) -> Dinkelbach:
        settings = self.settings
        return Dinkelbach(ratio, agents=self.n_devices, shared=settings.shared_ratio, omega=settings.omega)

    def observe(self, cost: Floats, duration: Floats) -> None:
        """Add sums (M,) measured under the present policy; the first ones set the ratio if none was given."""
        if self.outer is None:
            totals = pooled(np.stack([cost, duration]))
            total = totals.sum(1)
            own = totals[0] / np.where(totals[1] > 0, totals[1], 1.0)
            use_own = (totals[1] > 0) & (not self.settings.shared_ratio)
            self.outer = self._loop(np.where(use_own, own, total[0] / total[1]))
        self.sums += np.stack([cost, duration])

    def take_sums(self) -> Floats:
        """Cost and duration (2, M) since the last call."""
        sums, self.sums = self.sums, np.zeros_like(self.sums)
        return sums

    def move(self, cost: Floats, duration: Floats) -> None:
        """One step of the outer loop with sums (M,) pooled over all learners."""
        if self.outer is None or not duration.sum() > 0:
            return
        if self.settings.shared_ratio:
            self.outer.update(cost, duration)
            return
        idle = duration <= 0  # a device without a finished interval keeps its ratio
        self.outer.update(np.where(idle, self.ratio, cost), np.where(idle, 1.0, duration))

    def get_state(self) -> dict[str, Any]:
        """Arrays and plain JSON values."""
        return {
            "outer": None if self.outer is None else self.outer.state_dict(),
            "sums": self.sums.copy(),
            "critics": {name: critic.get_state() for name, critic in self.critics.items()},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.outer = None
        if state["outer"] is not None:
            self.outer = self._loop(1.0)
            self.outer.load_state_dict(state["outer"])
        self.sums = np.array(state["sums"])
        for name, critic in self.critics.items():
            critic.set_state(state["critics"][name])


def pooled(values: Floats) -> Floats:
    """Sum over all learners of a distributed group; the values themselves where there is one learner."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    if torch.distributed.get_world_size() == 1:
        return values
    tensor = torch.from_numpy(np.array(values, np.float64))
    if torch.distributed.get_backend() == "nccl":
        tensor = tensor.cuda()
    torch.distributed.all_reduce(tensor)
    return tensor.cpu().numpy()
