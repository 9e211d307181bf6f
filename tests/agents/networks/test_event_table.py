"""Features of the event table against a slow version with dictionaries."""

import math
from typing import Any

import numpy as np
import pytest

from edgewise.agents.networks.event_table import advance, table_features, table_width, unknown_table
from edgewise.envs.aoi_offload.state import AGE, JOINT, KIND, OFFLOAD, QUEUES, UPDATE

DEVICES, LONGEST = 4, 3.0


def history(events: int, edges: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    observation = np.zeros((events, QUEUES + edges), np.float32)
    observation[:, KIND] = rng.choice([UPDATE, OFFLOAD, JOINT], events)
    observation[:, AGE] = rng.exponential(2.0, events)
    observation[:, QUEUES:] = rng.integers(0, 5, (events, edges))
    return {
        "observation": observation,
        "device": rng.integers(0, DEVICES, events),
        "time": np.cumsum(rng.exponential(0.2, events)),
        "server": rng.integers(0, edges + 1, events),
        "wait": rng.random(events),
    }


def features(told: dict[str, Any], table: np.ndarray | None = None) -> np.ndarray:
    table = unknown_table(DEVICES) if table is None else table
    return table_features(table[None], *(column[None] for column in told.values()), longest=LONGEST)[0]


def slow(told: dict[str, Any], edges: int) -> np.ndarray:
    """The same, feature by feature, from dictionaries of what each device did last."""
    last: dict[int, dict[str, float]] = {}
    result = []
    for seen, device, now, server, wait in zip(*told.values(), strict=True):
        last.pop(device, None)
        age, kind = float(seen[AGE]), int(seen[KIND])
        ages = {m: row["age"] + now - row["time"] for m, row in last.items()}
        waiting = [m for m, row in last.items() if row["place"] == 0]
        rest = {m: max(last[m]["wait"] - (now - last[m]["time"]) / LONGEST, 0.0) for m in waiting}
        row: list[float] = []
        total_age = sum(ages.values()) + age
        row += [total_age, total_age**2 / DEVICES, len(waiting), sum(ages[m] for m in waiting)]
        row += [sum(rest.values()), sum(r * r for r in rest.values()), sum(rest[m] * ages[m] for m in waiting)]
        soon = {}
        for scale in (1 / 30, 1 / 10, 1 / 3):
            soon[scale] = sum(math.exp(-rest[m] / scale) for m in waiting)
            row += [soon[scale], sum(ages[m] * math.exp(-rest[m] / scale) for m in waiting)]
        for place in range(1, edges + 2):
            there = [m for m, entry in last.items() if entry["place"] == place]
            row += [len(there), sum(ages[m] for m in there), sum(now - last[m]["time"] for m in there)]
        queues = [float(q) for q in seen[QUEUES:]]
        for q in queues:
            row += [q, q * q]
        low, high, total = min(queues, default=0.0), max(queues, default=0.0), sum(queues)
        first, second, third = soon.values()
        row += [low * high, high - low, total * total_age, total * first, total * second, total * third]
        row += [third**2, second**2, second * total_age, third * total_age]
        own = [1.0, age, age * age, age * total]
        row += [0.0] * 4 + own + [low, age * low] if kind == OFFLOAD else own + [0.0] * 6
        result.append([*row, 1.0])
        place = 1.0 + server if kind == OFFLOAD else 0.0
        last[device] = {"age": age, "time": now, "place": place, "wait": wait}
    return np.array(result)


@pytest.mark.parametrize("edges", [0, 1, 2, 5])
def test_features_equal_those_of_the_slow_version(edges: int) -> None:
    told = history(80, edges)
    found = features(told)
    assert found.shape == (80, table_width(edges))
    assert found == pytest.approx(slow(told, edges), rel=1e-9, abs=1e-9)


def test_a_table_carried_over_a_cut_changes_nothing() -> None:
    told = history(60, 2)
    whole = features(told)
    for cut in (0, 1, 23, 59):
        before = {name: column[:cut] for name, column in told.items()}
        after = {name: column[cut:] for name, column in told.items()}
        table = advance(unknown_table(DEVICES), *before.values())
        assert np.array_equal(features(after, table), whole[cut:])


def test_the_table_that_is_given_stays_as_it_is() -> None:
    table = unknown_table(DEVICES)
    features(history(20, 2), table)
    assert np.array_equal(table, unknown_table(DEVICES))


def test_padding_gives_zeros_and_is_no_event() -> None:
    told = history(10, 2)
    told["device"][4:] = -1
    found = features(told)
    assert not found[4:].any()
    assert np.array_equal(found[:4], features(history(10, 2))[:4])


def test_the_own_decision_is_not_part_of_its_value() -> None:
    one, two = history(30, 2), history(30, 2)
    two["wait"][12], two["server"][12] = 0.5 * one["wait"][12], (one["server"][12] + 1) % 3
    assert np.array_equal(features(one)[:13], features(two)[:13])
    assert not np.array_equal(features(one)[13:], features(two)[13:])
