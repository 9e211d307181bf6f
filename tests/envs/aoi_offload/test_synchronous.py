"""The synchronous clock: generations fall on ticks in every face, waits never exceed Z_max, raw keys stay."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.aoi_offload import AoIParams, aec_env, parallel_env
from edgewise.envs.aoi_offload.state import AGE, OFFLOAD, STREAM_OFFSET, UPDATE
from edgewise.envs.aoi_offload.synchronous import CommonClock, common_clock
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import (
    check_event_clock,
    check_parallel_equals_aec,
    check_smdp,
    check_vector_equals_scalar,
    trajectory_hash,
)

GAME = "edgewise/AoIOffloadGame-v0"
SLOT = 1.3
SETTINGS = {"preset": "paper", "n_devices": 6, "horizon": 60.0, "sync_slot": SLOT}


def clock(slot, z_max=3.0):
    return CommonClock(slot, AoIParams(z_max=z_max))


@pytest.mark.parametrize(
    ("time", "wait", "carried_out"),
    [
        (0.5, 0.0, 1.5),  # up to the tick at 2
        (0.5, 1.5, 1.5),  # already there
        (2.0, 0.0, 0.0),  # a completion on a tick may generate at once
        (2.0, 0.1, 2.0),
        (0.5, 3.0, 1.5),  # the tick at 4 lies beyond Z_max: back to 2
        (1.0, 3.0, 3.0),
    ],
)
def test_waits_end_on_ticks_within_reach(time, wait, carried_out):
    assert float(clock(2.0).lengthened(time, wait)) == pytest.approx(carried_out, abs=1e-12)


@given(st.floats(0.05, 3.0), st.floats(0, 1e5), st.floats(0, 3.0))
def test_every_wait_ends_on_a_tick_and_none_moves_twice(slot, time, wait):
    shared = clock(slot)
    moved = float(shared.lengthened(time, wait))
    ticks = (time + moved) / slot
    assert abs(ticks - round(ticks)) * slot < 1e-8
    assert 0.0 <= moved <= 3.0
    assert moved >= wait - 1e-8 or time + wait > np.floor((time + 3.0) / slot) * slot - 1e-8
    assert float(shared.lengthened(time, moved)) == pytest.approx(moved, abs=1e-8)


def test_a_vector_of_waits_is_the_waits_one_by_one():
    rng = np.random.default_rng(0)
    times, waits = rng.uniform(0, 100, 50), rng.uniform(-0.5, 3.5, 50)
    waits[3] = np.nan
    together = clock(0.7).lengthened(times, waits)
    assert np.array_equal(together, [clock(0.7).lengthened(*pair) for pair in zip(times, waits, strict=True)], True)
    outside = ~((waits >= 0) & (waits <= 3))
    assert outside.sum() > 5
    assert np.array_equal(together[outside], waits[outside], True)  # for the simulator to refuse


def test_every_generation_is_on_a_tick():
    envs = gymnasium.make_vec(GAME, num_envs=4, **(SETTINGS | {"horizon": 1e4, "drop": "none"}))
    obs, info = envs.reset(seed=3)
    rng = np.random.default_rng(1)
    asked = np.full((4, 6), np.nan)
    offloads, lengthened = 0, 0
    for _ in range(1500):
        lanes, device = np.arange(4), info["device"]
        wait = rng.uniform(0, 3, 4)
        asked[lanes, device] = np.where(info["kind"] == UPDATE, wait, np.nan)
        obs, _, _, _, info = envs.step({"server": rng.integers(0, 3, 4), "wait": wait[:, None]})
        now = info["kind"] == OFFLOAD
        ticks = info["time"][now] / SLOT
        assert np.abs(ticks - np.round(ticks)).max(initial=0.0) < 1e-8
        chosen = asked[np.flatnonzero(now), info["device"][now]]
        # The interval from the update to here is the wait that was carried out.
        lengthened += (info["duration"][now] > chosen + 1e-9).sum()
        assert (info["duration"][now] <= 3.0 + 1e-9).all()
        offloads += now.sum()
    assert offloads > 1000
    assert lengthened > 0.5 * offloads
    assert obs[:, STREAM_OFFSET + AGE].min() > 0


def test_ticks_are_shared_instants():
    """All devices that generate at a tick do so at the same time, in the order of their indices."""
    env = gymnasium.make(GAME, **(SETTINGS | {"drop": "none"}))
    _, info = env.reset(seed=0)
    shared, last = 0, (-1.0, -1)
    truncated = False
    while not truncated:
        _, _, _, truncated, info = env.step({"server": 1, "wait": [0.2]})
        if info["kind"] == OFFLOAD:
            if info["time"] == last[0]:
                assert info["device"] > last[1]
                shared += 1
            last = (info["time"], info["device"])
    assert shared > 20


@pytest.mark.parametrize("objective", ["selfish", "team"])
def test_faces_agree_and_keep_the_contract(objective):
    settings = SETTINGS | {"objective": objective}
    check_smdp(gymnasium.make(GAME, **settings))
    check_vector_equals_scalar(
        lambda lanes, mode: gymnasium.make_vec(GAME, num_envs=lanes, autoreset_mode=mode, **settings),
        partial(gymnasium.make, GAME, **settings),
    )
    check_event_clock(aec_env(**settings))
    check_parallel_equals_aec(partial(parallel_env, **settings), partial(aec_env, **settings))


def test_the_aec_game_has_the_same_clock():
    stream = gymnasium.make(GAME, **SETTINGS)
    game = aec_env(**SETTINGS)
    obs, info = stream.reset(seed=9)
    game.reset(seed=9)
    for _ in range(200):
        assert np.array_equal(game.last()[0], obs[STREAM_OFFSET:])
        action = {"server": 1, "wait": [0.4]}
        obs, _, _, _, info = stream.step(action)
        game.step(action)
    assert game.last()[4]["time"] == info["time"]


def test_no_clock_is_the_asynchronous_game():
    plain = {key: value for key, value in SETTINGS.items() if key != "sync_slot"}
    hashes = [trajectory_hash(gymnasium.make(GAME, **s)) for s in (plain, plain | {"sync_slot": None}, SETTINGS)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert common_clock(None, AoIParams()) is None


def test_invalid_waits_are_refused_and_nothing_moves():
    env = gymnasium.make(GAME, **SETTINGS).unwrapped
    _, info = env.reset(seed=0)
    while info["kind"] != UPDATE:
        _, _, _, _, info = env.step({"server": 1, "wait": [0.0]})
    before = env.get_state()
    for bad in (-0.1, 3.1, float("nan")):
        with pytest.raises(InvalidInputError, match=r"^wait"):
            env.step({"server": 1, "wait": [bad]})
    after = env.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("slot", [0.0, -1.0, 3.1, float("nan"), "1", True])
def test_impossible_slots_are_refused(slot):
    for make in (
        partial(gymnasium.make, GAME),
        partial(gymnasium.make_vec, GAME, num_envs=2),
        aec_env,
        parallel_env,
    ):
        with pytest.raises(InvalidInputError, match=r"^sync_slot must be None or in"):
            make(sync_slot=slot)
