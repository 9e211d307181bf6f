"""The scripted policies: what to do without learning, by name, for anybody's loop.

============================ =========================================================================================
policy                       what it does
============================ =========================================================================================
``cloud``                    nothing is resident
``fifo``                     loads on demand; evicts what was loaded first
``lfu``                      loads on demand; evicts what was requested least, ties by recency
``lru``                      loads on demand; evicts what was used longest ago
``laot``                     loads on demand; evicts the smallest age of thoughts (arXiv 2403.05826, alg. 1, repaired)
``random``                   loads on demand; evicts at random
``static``                   one set for the whole episode, by its demand in hindsight per GB
``admission_lfu[:H]``        as ``lfu``, but loads only what saves its reload cost within H slots
``gdsf[:H]``                 as ``admission_lfu``, evicting by greedy dual size with frequency
``lookahead:H``              knapsack by density on the savings of the next H slots, demand known
``lookahead_mean:H``         the same with the slot's demand and, behind it, the running mean
``density_ewma[:H:D]``       the same with an exponential mean of decay D: causal, tuned on the drifting preset
``density_memoryless[:C:M]`` density knapsack on C times the slot's demand plus M requests: causal and memoryless
============================ =========================================================================================

On-demand policies take the agents with demand in descending order of demand, and serve whatever is resident here; the
others serve all or nothing of an agent, whichever is cheaper in this slot. Numbers that are left out are those of
`DEFAULTS`. The first five are those of arXiv 2501.14205 and 2403.05826.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError
from .economics import Economics, Floats
from .params import CachingParams
from .state import CACHE, INPUT, INPUT_SCALE, KAPPA, SEEN
from .workload import Demand, stacked

ON_DEMAND = ("fifo", "lfu", "lru", "laot", "random", "admission_lfu", "gdsf")
DEFAULTS: dict[str, tuple[float, ...]] = {
    "cloud": (),
    "fifo": (),
    "lfu": (),
    "lru": (),
    "laot": (),
    "random": (),
    "static": (),
    "admission_lfu": (3.0,),
    "gdsf": (3.0,),
    "lookahead": (10.0,),
    "lookahead_mean": (10.0,),
    "density_ewma": (2.0, 0.8),
    "density_memoryless": (1.0, 0.0),
}
"""Numbers of every policy where none are given; the causal ones are the best of a grid on the drifting preset."""
POLICIES = tuple(name for name in DEFAULTS if name != "lookahead_mean")
LOOKAHEAD_SLOTS = (1, 2, 3, 5, 10, 20)
NEED_FUTURE = ("static", "lookahead")
"""Policies that are told the episode's demand."""
MAX_HORIZON = 10_000.0


def parse_policy(text: Any) -> tuple[str, tuple[float, ...]]:
    """Name and numbers of a policy.

    Raises:
        InvalidInputError: unknown policy, or its numbers are out of range.
    """
    name, *rest = text.strip().split(":") if isinstance(text, str) else [""]
    if name not in DEFAULTS:
        raise InvalidInputError.of("policy", f"one of {', '.join(DEFAULTS)}", text)
    try:
        numbers = tuple(map(float, rest)) or DEFAULTS[name]
    except ValueError:
        numbers = (math.nan,)
    if len(numbers) != len(DEFAULTS[name]) or not all(0 <= number <= MAX_HORIZON for number in numbers):
        shape = ":".join([name, *["NUMBER"] * len(DEFAULTS[name])])
        raise InvalidInputError.of("policy", f"{shape} with numbers in [0, {MAX_HORIZON:g}]", text)
    if name == "density_ewma" and numbers[1] >= 1:
        raise InvalidInputError.of("policy", "density_ewma:H:D with a decay D in [0, 1)", text)
    return name, numbers


class ScriptedPolicy:
    """A scripted policy that acts on observations, one or a batch at a time.

    It sees what a learner sees; ``static`` and ``lookahead`` are told the future too. Call `reset` when an episode
    starts: counts, load times and means are those of the episode.

    Args:
        policy: a name of the module's table, numbers after colons.
        params: the system; None means the default preset.
        seed: of its own generator (``random``).

    Raises:
        InvalidInputError: unknown policy, or a number is out of range.
    """

    def __init__(self, policy: str = "lfu", params: CachingParams | None = None, seed: int = 0) -> None:
        self.params = params or CachingParams.make()
        self.policy = policy
        self.name, self.numbers = parse_policy(policy)
        self.economics = Economics(self.params)
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self, demands: Sequence[Demand] | None = None) -> None:
        """Begin an episode in every row.

        Args:
            demands: each row's demand, for the policies that know it (`NEED_FUTURE`).
        """
        self._time, self._demands = 0, None if demands is None else list(demands)
        self._rows: list[_OnDemand] = []
        self._mean = np.zeros((0, self.params.n_agents))
        self._fixed: NDArray[np.bool_] | None = None
        self._future: Demand | None = None  # of all rows, arrays (T, n, I)

    def __call__(self, obs: NDArray[np.float32]) -> dict[str, Any]:
        """Choose an action.

        Args:
            obs: (D,) observation, or (n, D) for a batch; a row must stay the same server.

        Returns:
            ``{"cache": (I,) int8, "local_share": (I,) float32}``, with a leading axis for a batch.

        Raises:
            InvalidInputError: the policy knows the future and was not told it, or for another number of rows.
        """
        batch = np.atleast_2d(np.asarray(obs, np.float64))
        blocks = batch[:, : (INPUT + 1) * self.params.n_agents].reshape(len(batch), INPUT + 1, -1)
        resident, requests = blocks[:, CACHE] > 0.5, blocks[:, SEEN]
        kappa = self.params.kappa_half * blocks[:, KAPPA] / np.maximum(1.0 - blocks[:, KAPPA], 1e-7)
        tokens = blocks[:, INPUT] / INPUT_SCALE
        if self.name in NEED_FUTURE and (self._demands is None or len(self._demands) != len(batch)):
            raise InvalidInputError(f"{self.name} needs reset(demands) with one demand for each of {len(batch)} rows")
        cache = self._choose(resident, requests, kappa, tokens)
        share = np.ones(cache.shape, bool) if self.name in ON_DEMAND else self._worth(requests, tokens, kappa) > 0.0
        self._time += 1
        action: dict[str, Any] = {"cache": cache.astype(np.int8), "local_share": share.astype(np.float32)}
        return action if np.ndim(obs) == 2 else {key: value[0] for key, value in action.items()}

    act = __call__

    def _worth(self, requests: Floats, tokens: Floats, kappa: Floats) -> Floats:
        """(n, I) saving of one request here at the age of thoughts that serving the slot's demand leaves."""
        thought = self.economics.static["thought"]
        return self.economics.saving(
            np.ones_like(requests), tokens, thought, self.economics.aged(kappa, requests, thought)
        )

    def _choose(
        self, resident: NDArray[np.bool_], requests: Floats, kappa: Floats, tokens: Floats
    ) -> NDArray[np.bool_]:
        if self.name == "cloud":
            return np.zeros_like(resident)
        if self.name in ON_DEMAND:
            if len(self._rows) != len(resident):
                self._rows = [_OnDemand(self) for _ in resident]
            worth = self._worth(requests, tokens, kappa)
            rows = zip(self._rows, resident, requests, kappa, worth, strict=True)
            return np.array([row.choose(self._time, *state) for row, *state in rows])
        if self.name == "static":
            if self._fixed is None:
                assert self._demands is not None
                total = np.array([self.economics.savings(demand).sum(axis=0) for demand in self._demands])
                self._fixed = self.economics.fill(total, resident)
            return self._fixed
        if self.name == "lookahead":
            return self.economics.fill(self._ahead(kappa, int(self.numbers[0])), resident)
        return self.economics.fill(self._expected(requests) * self._worth(requests, tokens, kappa), resident)

    def _ahead(self, kappa: Floats, slots: int) -> Floats:
        """(n, I) savings of the next slots of agents that serve all their demand, which is known."""
        assert self._demands is not None
        if self._future is None:
            self._future = stacked(self._demands)
        ahead = Demand._make(column[self._time : self._time + slots] for column in self._future)
        return np.asarray(self.economics.savings(ahead, kappa).sum(axis=0))

    def _expected(self, requests: Floats) -> Floats:
        """(n, I) requests that a resident model is credited with."""
        if len(self._mean) != len(requests):
            self._mean = np.zeros_like(requests)
        if self.name == "density_memoryless":
            factor, constant = self.numbers
            return factor * requests + constant
        hidden = self.params.hide_demand
        if hidden and self._time == 0:
            return self._mean  # nothing has been shown yet
        before = self._time - hidden  # slots that were shown earlier
        if self.name == "density_ewma":
            slots, decay = self.numbers
            decay = min(decay, before / (before + 1.0))  # the plain mean until there is more than the decay
        else:
            slots, decay = self.numbers[0] - 1.0, before / (before + 1.0)
        self._mean = decay * self._mean + (1.0 - decay) * requests
        now = self._mean if hidden else requests  # what is shown is over already
        return now + slots * self._mean


class _OnDemand:
    """One server under an on-demand policy: its counts and times, in plain Python."""

    def __init__(self, policy: ScriptedPolicy) -> None:
        self.name, self.numbers, self.rng = policy.name, policy.numbers, policy.rng
        economics = policy.economics
        self.size: list[float] = (economics.size + economics.reserve).tolist()
        self.weights: list[float] = economics.size.tolist()
        self.model: list[int] = economics.model.tolist()
        self.reload: list[float] = economics.reload.tolist()
        self.capacity = economics.capacity
        self.shared, self.hidden = policy.params.weights_shared, policy.params.hide_demand
        count = len(self.size)
        self.loaded, self.used, self.requested = [0] * count, [0] * count, [0.0] * count
        self.priority, self.inflation = [0.0] * count, 0.0
        self.order = 0

    def choose(
        self, time: int, resident: NDArray[np.bool_], requests: Floats, kappa: Floats, worth: Floats
    ) -> list[bool]:
        """The set to hold in this slot."""
        held: set[int] = set(np.flatnonzero(resident).tolist())
        demand, age, saving = requests.tolist(), kappa.tolist(), worth.tolist()
        active = sorted((i for i, r in enumerate(demand) if r > 0), key=lambda i: (-demand[i], i))
        for i in active:
            self.requested[i] += demand[i]
            self.used[i] = time + 1
            # greedy dual size: what losing the agent costs per GB, on the level of the last eviction
            self.priority[i] = self.inflation + self.requested[i] * saving[i] / self.size[i]
        protected: set[int] = set()
        for i in active:
            if i in held:
                protected.add(i)
            elif self.size[i] <= self.capacity and self._admits(i, time, demand[i], saving[i]):
                kept = self._make_room(i, held, protected, age)
                if kept is not None:
                    held = kept | {i}
                    protected.add(i)
                    self.order += 1
                    self.loaded[i] = self.order
        return [i in held for i in range(len(demand))]

    def _admits(self, i: int, time: int, demand: float, saving: float) -> bool:
        """Whether loading pays: always on demand, with admission within H slots of the running mean."""
        if self.name not in ("admission_lfu", "gdsf"):
            return True
        mean = self.requested[i] / (time + (not self.hidden))  # hidden demand is shown a slot later
        return (demand + (self.numbers[0] - 1.0) * mean) * saving > self.reload[i]

    def _make_room(self, i: int, held: set[int], protected: set[int], age: list[float]) -> set[int] | None:
        """What stays when agent i is loaded, or None if it does not fit."""
        kept = set(held)
        victims = sorted(held - protected, key=lambda v: self._key(v, age))
        while self._memory(kept | {i}) > self.capacity:
            if not victims:
                return None
            victim = victims.pop(0)
            kept.remove(victim)
            self.inflation = max(self.inflation, self.priority[victim] if self.name == "gdsf" else 0.0)
        return kept

    def _key(self, i: int, age: list[float]) -> tuple[float, float, int]:
        """Evict the smallest."""
        match self.name:
            case "fifo":
                return self.loaded[i], 0.0, i
            case "lru":
                return self.used[i], 0.0, i
            case "laot":
                return age[i], 0.0, i
            case "random":
                return float(self.rng.random()), 0.0, i
            case "gdsf":
                return self.priority[i], 0.0, i
        return self.requested[i], self.used[i], i

    def _memory(self, agents: set[int]) -> float:
        if not self.shared:
            return sum(self.size[i] for i in agents)
        reserves = sum(self.size[i] - self.weights[i] for i in agents)
        return reserves + sum({self.model[i]: self.weights[i] for i in agents}.values())
