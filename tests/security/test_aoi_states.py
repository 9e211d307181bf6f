"""Saved states of the age-minimal offloading environments: foreign and forged ones are refused whole."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.testing import Actor, digest
from edgewise.envs.testing.lanes import batch_actions

from .aoi_faces import GAME, SINGLE


@pytest.mark.parametrize("name", [SINGLE, GAME])
def test_foreign_states_are_refused_whole(name):
    env = gymnasium.make(name, preset="small").unwrapped
    env.reset(seed=0)
    before = digest(env.get_state())
    good = env.get_state()
    other = gymnasium.make(name, preset="paper").unwrapped
    other.reset(seed=0)
    for key in good:
        for broken in (
            {k: v for k, v in good.items() if k != key},
            good | {key: good[key][..., None]},
            good | {key: good[key].tobytes()},
            good | {key: np.zeros(good[key].shape, np.float16)},
            good | {key: None},
        ):
            with pytest.raises(InvalidInputError, match=key):
                env.set_state(broken)
    with pytest.raises(InvalidInputError, match="state"):
        env.set_state(other.get_state())
    assert digest(env.get_state()) == before


FORGERIES = """
import os, signal
import gymnasium, numpy as np, edgewise
from edgewise.envs.core.errors import InvalidInputError

good = {"server": 0, "wait": np.ones(1, np.float32)}
refused = 0
for name, devices in (("edgewise/AoIOffload-v0", 3), ("edgewise/AoIOffloadGame-v0", 40)):
    env = gymnasium.make(name, horizon=1e9, n_devices=devices).unwrapped
    env.reset(seed=0)
    env.step(good)
    start = env.get_state()
    for key, array in start.items():
        for field in array.dtype.names or [None]:
            for value in (-1, -7, 1 << 30, 77, float("nan"), float("inf")):
                forged = {k: v.copy() for k, v in start.items()}
                column = forged[key] if field is None else forged[key][field]
                if not np.isfinite(value) and column.dtype.kind != "f":
                    continue
                column[...] = np.array(value).astype(column.dtype)
                child = os.fork()
                if child == 0:
                    signal.alarm(10)
                    try:
                        env.set_state(forged)
                    except InvalidInputError:
                        os._exit(1)
                    for _ in range(30):
                        env.step(good)
                    os._exit(0)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if status not in (0, 1):
                    print(name, key, field, value, "exit status", status)
                refused += status == 1
print("refused", refused > 100)
"""


def test_states_with_garbage_inside_neither_crash_nor_hang_the_process():
    """Compiled code would follow forged indices without a bounds check, so they must not get there."""
    done = subprocess.run([sys.executable, "-c", FORGERIES], capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout.split("\n") == ["refused True", ""]


def test_every_state_of_a_run_is_accepted():
    """Also with more devices than one group of timers, queues that drop tasks, and lanes that are over."""
    for kwargs in (
        {"preset": "small", "drop": "deadline:1.5", "transmission": "fixed:0.3"},
        {"preset": "single"},
        {"n_devices": 70, "drop": "cutoff:1.5", "drop_mean": "running"},
        {"preset": "heterogeneous", "objective": "team"},
    ):
        vec = gymnasium.make_vec(GAME, num_envs=3, horizon=8.0, **kwargs)
        vec.reset(seed=0)
        actors = [Actor(vec.single_action_space, i) for i in range(3)]
        for _ in range(150):
            before = digest(vec.unwrapped.get_state())
            vec.unwrapped.set_state(vec.unwrapped.get_state())
            assert digest(vec.unwrapped.get_state()) == before
            vec.step(batch_actions(vec.single_action_space, [actor(None, {}) for actor in actors]))
