"""One device (or a few) does something else while the others keep to their policy, and what age it gets.

A profile is either a pair of scripted rules, run by the compiled simulator, or a policy that every device follows, run
by `play`. Both are asked the same question: the age of a group of devices under a deviation, per seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...envs.aoi_offload.policies import ScriptedPolicy
from ...envs.aoi_offload.simulate import simulate
from ...envs.aoi_offload.state import DELAY, QUEUES, STREAM_OFFSET
from .baselines import Rule, wait_grid
from .metrics import device_ages
from .play import everyone, play

if TYPE_CHECKING:
    from ...envs.aoi_offload.params import AoIParams
    from ...train.learners import Policy

Kind = Literal["fixed", "threshold", "scaled", "learned"]
SCALES = (0.0, 0.5, 2.0)
LANES = 1024
"""Lanes that play at a time: more do not fit the caches."""


@dataclass(frozen=True)
class Deviation:
    """What a deviating device does.

    Attributes:
        kind: ``fixed`` and ``threshold``: the shortest edge queue with this wait rule; ``scaled``: the own policy with
            its wait multiplied; ``learned``: a policy trained against the others.
        number: the wait, the threshold (s) or the factor; 0 for a learned one.
        policy: acts on plain observations (n, 4 + N); of a learned deviation only.
    """

    kind: Kind
    number: float
    policy: Policy | None = None

    @property
    def label(self) -> str:
        """Name for tables."""
        return {
            "fixed": f"JSQ, wait {self.number:g} s",
            "threshold": f"JSQ, threshold {self.number:g} s",
            "scaled": f"own policy, wait × {self.number:g}",
            "learned": "learned against the others",
        }[self.kind]


def candidates(params: AoIParams) -> list[Deviation]:
    """Deviations that need no training: both wait rules on the grid, and the own wait scaled."""
    grid = wait_grid(params)
    fixed = [Deviation("fixed", wait) for wait in grid]
    thresholds = [Deviation("threshold", wait) for wait in grid]
    return [*fixed, *thresholds, *(Deviation("scaled", scale) for scale in SCALES)]


@dataclass(frozen=True)
class Job:
    """A group of devices and what it does; None: it keeps to the profile."""

    group: tuple[int, ...]
    deviation: Deviation | None


class Arena(Protocol):
    """A profile in which some devices may deviate."""

    params: AoIParams

    def ages(
        self, jobs: Sequence[Job], seeds: Sequence[int], horizon: float, warmup: float = 0.0
    ) -> NDArray[np.float64]:
        """Mean age of each job's group on each seed, s, shape (jobs, seeds)."""


class ScriptedArena:
    """Every device follows the same scripted rules.

    Args:
        params: the physics.
        rules: server rule and wait rule of the profile.
    """

    def __init__(self, params: AoIParams, rules: Rule) -> None:
        self.params, self.rules = params, rules

    def ages(
        self, jobs: Sequence[Job], seeds: Sequence[int], horizon: float, warmup: float = 0.0
    ) -> NDArray[np.float64]:
        """See `Arena.ages`."""
        alike: NDArray[np.float64] | None = None  # one run serves all groups that conform
        rows = []
        for job in jobs:
            if job.deviation is None and alike is None:
                alike = simulate(self.params, *self.rules, horizon=horizon, seeds=seeds, warmup=warmup).ages
            ages = alike if job.deviation is None else self._deviating(job.group, job.deviation, seeds, horizon, warmup)
            assert ages is not None
            rows.append(ages[:, list(job.group)].mean(axis=1))
        return np.array(rows)

    def _deviating(
        self, group: tuple[int, ...], deviation: Deviation, seeds: Sequence[int], horizon: float, warmup: float
    ) -> NDArray[np.float64]:
        rule = self._rule(deviation)
        if rule is not None:
            each = [(device, *rule) for device in group]
            found = simulate(self.params, *self.rules, horizon=horizon, seeds=seeds, warmup=warmup, deviator=each)
            return found.ages
        own = _Plain(ScriptedPolicy(*self.rules, params=self.params, seed=int(seeds[0]) % 2**32))
        decide = Deviants(self.params, own, [deviation] * len(seeds), [group] * len(seeds))
        counters = play(self.params, decide, seeds, horizon, agents=group, others=self.rules, warmup=warmup)
        return device_ages(counters)

    def _rule(self, deviation: Deviation) -> Rule | None:
        """The deviation as scripted rules, where it is one."""
        if deviation.kind in ("fixed", "threshold"):
            return "jsq", f"{deviation.kind}:{deviation.number:g}"
        if deviation.kind != "scaled":
            return None
        server, wait = self.rules
        name, *numbers = wait.split(":")
        if deviation.number == 0.0:
            return server, "fixed:0"
        if name == "threshold":
            return None  # scaling changes its slope
        scaled = [deviation.number * float(number) for number in numbers]
        if name == "uniform" and max(scaled) > self.params.z_max:
            return None  # a longer draw is cut, not drawn again
        scaled = [min(number, self.params.z_max) for number in scaled]
        return server, ":".join([name, *map(str, scaled)])


class PolicyArena:
    """Every device follows the policy of a game run.

    Args:
        params: the physics.
        policy: acts on event-stream observations (n, 5 + N).
        finite: a device that completes nothing is as old as the episode is long, for scores during training; otherwise
            its age is NaN.
    """

    def __init__(self, params: AoIParams, policy: Policy, finite: bool = False) -> None:
        self.params, self.policy, self.finite = params, policy, finite

    def ages(
        self, jobs: Sequence[Job], seeds: Sequence[int], horizon: float, warmup: float = 0.0
    ) -> NDArray[np.float64]:
        """See `Arena.ages`; a lane for every pair of deviation and seed, many at a time."""
        runs: dict[Job, int] = {}  # a run in which nobody deviates serves all groups
        rows = [runs.setdefault(job if job.deviation else Job((), None), len(runs)) for job in jobs]
        lanes = [(job, int(seed)) for job in runs for seed in seeds]
        found = []
        for first in range(0, len(lanes), LANES):
            part = lanes[first : first + LANES]
            decide = Deviants(
                self.params, self.policy, [job.deviation for job, _ in part], [job.group for job, _ in part]
            )
            counters = play(self.params, decide, [seed for _, seed in part], horizon, warmup=warmup)
            found.append(device_ages(counters, horizon if self.finite else np.nan))
        ages = np.concatenate(found).reshape(len(runs), len(seeds), -1)
        return np.array([ages[row][:, list(job.group)].mean(axis=1) for row, job in zip(rows, jobs, strict=True)])


class _Plain:
    """A policy on plain observations, asked with event-stream ones."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def act(self, observation: NDArray[np.float32]) -> dict[str, Any]:
        """Decide for a batch (n, 5 + N)."""
        return self._policy.act(observation[..., STREAM_OFFSET:])


class Deviants:
    """Decisions of lanes in which a group of devices deviates from a common policy (a `play.Decide`).

    Args:
        params: the physics.
        policy: the common policy, on event-stream observations.
        deviations: one per lane; None where nobody deviates.
        groups: the devices that deviate in each lane.
    """

    def __init__(
        self,
        params: AoIParams,
        policy: Policy,
        deviations: Sequence[Deviation | None],
        groups: Sequence[tuple[int, ...]],
    ) -> None:
        count = len(deviations)
        self._common = everyone(policy)
        self._z_max, self._edges = params.z_max, params.n_edges
        self._deviates = np.zeros((count, params.n_devices), bool)
        self._fixed = np.zeros(count)  # wait of a fixed rule
        self._threshold = np.full(count, -np.inf)
        self._scale = np.full(count, np.nan)  # not a number: the wait does not depend on the own policy's
        self._learned = np.full(count, -1)
        self._policies: list[Policy] = []
        self._rng = np.random.default_rng(0)  # for ties
        for lane, (deviation, group) in enumerate(zip(deviations, groups, strict=True)):
            if deviation is None:
                continue
            self._deviates[lane, list(group)] = True
            if deviation.kind == "fixed":
                self._fixed[lane] = deviation.number
            elif deviation.kind == "threshold":
                self._threshold[lane] = deviation.number
            elif deviation.kind == "scaled":
                self._scale[lane] = deviation.number
            else:
                assert deviation.policy is not None
                self._learned[lane] = self._index(deviation.policy)

    def _index(self, policy: Policy) -> int:
        """Position of a learned policy in the list, where it is put when it is new."""
        known = [index for index, other in enumerate(self._policies) if other is policy]
        if not known:
            self._policies.append(policy)
        return known[0] if known else len(self._policies) - 1

    def __call__(self, obs: NDArray[np.float32], lanes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Servers and waits of the pending decisions."""
        server, wait = self._common(obs, lanes)
        rows = np.flatnonzero(self._deviates[lanes, obs[:, 0].astype(np.int64)])
        if not len(rows):
            return server, wait
        server, wait = server.copy(), wait.astype(np.float64)
        mine, plain = lanes[rows], obs[rows][:, STREAM_OFFSET:]
        scale, threshold, learned = self._scale[mine], self._threshold[mine], self._learned[mine]
        scaled = ~np.isnan(scale)
        ruled = ~scaled & (learned < 0)
        wait[rows[scaled]] = np.minimum(scale[scaled] * wait[rows[scaled]], self._z_max)
        server[rows[ruled]] = self._shortest(plain[ruled])
        waits = np.where(np.isinf(threshold), self._fixed[mine], np.maximum(threshold - plain[:, DELAY], 0.0))
        wait[rows[ruled]] = waits[ruled]
        for index in np.unique(learned[learned >= 0]):
            asked = learned == index
            action = self._policies[index].act(plain[asked])
            server[rows[asked]] = action["server"]
            wait[rows[asked]] = np.asarray(action["wait"]).reshape(-1)
        return server, wait

    def _shortest(self, plain: NDArray[np.float32]) -> NDArray[np.int64]:
        """The shortest edge queue, ties at random; the device itself where there is no edge."""
        if self._edges == 0:
            return np.zeros(len(plain), np.int64)
        queues = plain[:, QUEUES:]
        return np.asarray(1 + np.argmin(queues + 0.5 * self._rng.random(queues.shape), axis=1))


def exchangeable(params: AoIParams, policy: Policy, devices: Sequence[int], seed: int) -> bool:
    """Whether the sampled devices are alike: the same physics, and a policy that does not look at the device's index.

    Args:
        params: the physics.
        policy: acts on event-stream observations.
        devices: the sampled devices.
        seed: of the short play whose observations are shown to the policy under every sampled index.
    """
    scales = params.scales()[list(devices)]
    if not (scales == scales[0]).all():
        return False
    seen: list[NDArray[np.float32]] = []
    common = everyone(policy)

    def watch(obs: NDArray[np.float32], lanes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        seen.append(obs.copy())
        return common(obs, lanes)

    play(params, watch, [seed + lane for lane in range(8)], 20.0 * float(params.law.mean * params.scales().max()))
    rows = np.concatenate(seen)[-4096:]
    answers = []
    for device in devices:
        rows[:, 0] = device
        answers.append(np.column_stack(common(rows, np.zeros(len(rows), np.int64))))
    return all(np.array_equal(answer, answers[0]) for answer in answers)


Progress = Callable[[str], None]
"""Told, in a few words, what is being computed."""
