"""Where policies meet: the same episodes for all, and a row of the table for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...envs.model_caching.params import CachingParams
from ...envs.model_caching.simulate import EpisodePolicy, play_slots, run_policy
from ...envs.model_caching.state import ACCURACY_COST, COST, LOADS, LOCAL, REQUESTS, SWITCHING, TERMS
from ..estimates import estimate
from ..statistics import difference, relative_difference
from .results import Kind, Row


@dataclass(frozen=True)
class Field:
    """The episodes on which policies meet.

    Attributes:
        params: the system.
        horizon: slots.
        first: seed of the first episode; the others follow.
        count: number of episodes.
        block: of one long episode the slots are the sample, resampled in blocks of so many; 0: episodes are.
    """

    params: CachingParams
    horizon: float
    first: int
    count: int
    block: int = 0

    @property
    def episodes(self) -> list[tuple[int, int]]:
        """(Seed, number) of every episode."""
        return [(self.first + lane, 0) for lane in range(self.count)]

    def play(self, policy: EpisodePolicy) -> NDArray[np.float64]:
        """All rows of the simulator's output: means over the slots of each episode (OUT_ROWS, n), or every slot's."""
        if self.block:
            slots = play_slots(self.params, policy, self.episodes, self.horizon)
            return np.concatenate([out.copy() for out in slots], axis=1)
        return run_policy(self.params, policy, self.episodes, self.horizon) / self.horizon

    def row(
        self,
        label: str,
        kind: Kind,
        rule: str,
        policy: EpisodePolicy,
        ours: NDArray[np.float64] | None = None,
        tried: int = 1,
    ) -> Row:
        """Play a policy and compare the learner, whose costs per slot are `ours`, with it."""
        means, block = self.play(policy), max(self.block, 1)
        cost = means[COST]
        local, requests = float(means[LOCAL].sum()), float(means[REQUESTS].sum())
        weight = self.params.weight_accuracy
        lost = float(means[ACCURACY_COST].sum()) / weight if weight else 0.0
        return Row(
            label=label,
            kind=kind,
            rule=rule,
            tuned=tried,
            cost=estimate([cost], block=block),
            per_seed=cost.tolist(),
            terms={name: float(means[SWITCHING + k].mean()) for k, name in enumerate(TERMS)},
            loads=float(means[LOADS].mean()),
            local_ratio=local / requests if requests else 0.0,
            accuracy=1.0 - lost / local if local and weight else None,
            difference=None if ours is None else estimate([ours, cost], difference, block),
            relative=None if ours is None else estimate([ours, cost], relative_difference, block),
        )
