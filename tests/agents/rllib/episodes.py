"""Episodes written by hand."""

from typing import Any

import numpy as np
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

UPDATE, OFFLOAD = 0, 1


def event(
    device: int, time: float, cost: float, duration: float, kind: int = UPDATE, delay: float = 1.0
) -> list[float]:
    """Device, kind, delay, age, time since completion, two queues; and cost, duration, time."""
    return [device, kind, delay, delay + 0.5, 0.5, 1.0, 2.0, cost, duration, time]


def stream(
    events: list[list[float]], lookback: int = 0, t_started: int = 0, id_: str = "a", **kwargs: Any
) -> SingleAgentEpisode:
    """A chunk of an event stream; the last event is pending. Action t: server t % 3, wait t / 10."""
    table = np.array(events)
    count = len(events) - 1
    result = SingleAgentEpisode(
        id_=id_,
        observations=[np.array(row, np.float32) for row in table[:, :7]],
        actions=[{"server": t % 3, "wait": np.array([t / 10.0], np.float32)} for t in range(count)],
        rewards=[-row[7] for row in events[1:]],
        infos=[
            {"cost": row[7], "duration": row[8], "time": row[9], "total_cost": total}
            for row, total in zip(events, _totals(events), strict=True)
        ],
        extra_model_outputs={Columns.ACTION_LOGP: [np.float32(-t) for t in range(count)]},
        len_lookback_buffer=lookback,
        t_started=t_started,
        **kwargs,
    )
    return result.to_numpy()


def _totals(events: list[list[float]]) -> list[float]:
    """Sum of each device's costs so far."""
    sums: dict[float, float] = {}
    found = []
    for row in events:
        sums[row[0]] = sums.get(row[0], 0.0) + row[7]
        found.append(sums[row[0]])
    return found
