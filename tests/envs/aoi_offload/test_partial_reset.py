"""Resetting some lanes of a vector environment leaves the others where they are."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import edgewise  # noqa: F401  # registers the environments
from edgewise.envs.testing import Actor
from edgewise.envs.testing.lanes import batch_actions

LANES = 4
ONE = np.arange(LANES) == 2


def played(name, mode):
    """A vector environment after some steps, and its last observations and infos; a lane may have ended."""
    vec = gymnasium.make_vec(name, num_envs=LANES, preset="small", horizon=20.0, autoreset_mode=mode).unwrapped
    _, info = vec.reset(seed=4)
    actors = [Actor(vec.single_action_space, i) for i in range(LANES)]
    for _ in range(100):
        obs, _, _, truncated, info = vec.step(batch_actions(vec.single_action_space, [a(None, {}) for a in actors]))
        if truncated.any() and mode is AutoresetMode.DISABLED:
            break
        if truncated.any() and mode is AutoresetMode.SAME_STEP and not truncated[ONE]:
            info = info | {key: np.where(truncated, info["reset_info"][key], info[key]) for key in ("time", "kind")}
            break
    return vec, obs, info


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", ["edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"])
@pytest.mark.parametrize("restored", [False, True])
def test_lanes_that_are_not_reset_report_where_they_are(name, mode, restored):
    vec, last, before = played(name, mode)
    if restored:
        state = vec.get_state()
        vec = gymnasium.make_vec(name, num_envs=LANES, preset="small", horizon=20.0, autoreset_mode=mode).unwrapped
        vec.set_state(state)
    obs, info = vec.reset(options={"reset_mask": ONE})
    assert obs[~ONE].tobytes() == last[~ONE].tobytes()
    assert (obs[ONE] != last[ONE]).any()
    for key in ("time", "kind"):
        np.testing.assert_array_equal(info[key][~ONE], before[key][~ONE])
    for key in ("cost", "duration"):
        assert not info[key][~ONE].any()
        assert info[key][ONE] > 0
