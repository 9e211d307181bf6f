"""`check_vector_equals_scalar` passes the good pair and names each difference between a lane and the scalar model."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from edgewise.envs.testing import ContractError, check_vector_equals_scalar


@pytest.mark.parametrize("agents", [1, 3])
def test_the_good_pair_passes_in_every_mode_and_its_episode_ends_are_counted(toys, agents):
    def make():
        return toys.Env(agents)

    assert check_vector_equals_scalar(lambda n, mode: toys.Vector(n, mode, make), make, steps=200) > 60


def differs(make_vec, make_env, sentence, **keywords):
    with pytest.raises(ContractError, match=sentence) as error:
        check_vector_equals_scalar(make_vec, make_env, steps=200, **keywords)
    assert str(error.value).endswith(".")


def test_lanes_that_share_a_seed_differ_from_the_scalar_model(toys):
    class OneSeed(toys.Vector):
        def lane_seed(self, seed, lane):
            return super().lane_seed(seed, 0)

    differs(OneSeed, toys.Env, "NEXT_STEP, lane 1, reset: the observation is .* seeded 1")


def test_lane_seeds_that_collide_in_both_are_found(toys):
    class Halves(toys.Env):
        """Drops the last bit of its seed, alone and in a lane."""

        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None if seed is None else seed // 2)

    differs(lambda n, mode: toys.Vector(n, mode, Halves), Halves, "lanes 0 and 1: both do the same after reset")
    check_vector_equals_scalar(lambda n, mode: toys.Vector(n, mode, Halves), Halves, steps=50, stochastic=False)


def test_a_list_of_seeds_must_reach_the_lanes(toys):
    class Ignores(toys.Vector):
        def lane_seed(self, seed, lane):
            return super().lane_seed(seed[0] if isinstance(seed, list) else seed, lane)

    differs(Ignores, toys.Env, "lane 1, reset: the observation is .* seeded 21")


def test_later_episodes_must_continue_the_seed(toys):
    class Restarts(toys.Vector):
        """Starts every episode of a lane with the draws of its first one."""

        def lane_step(self, i, action):
            if self.mode is AutoresetMode.NEXT_STEP and self.over[i]:
                self.envs[i].reset(seed=i)
            return super().lane_step(i, action)

    differs(Restarts, toys.Env, "NEXT_STEP, lane ., step .*: the reset observation is")


def test_stale_final_values_are_found(toys):
    class Stale(toys.Vector):
        def lane_step(self, i, action):
            before = self.rows[i]
            reward, terminated, truncated, info = super().lane_step(i, action)
            return reward, terminated, truncated, info | ({"final_obs": before} if truncated else {})

    differs(Stale, toys.Env, "SAME_STEP, lane ., step .*: final_obs is", modes=[AutoresetMode.SAME_STEP])


def test_a_single_digit_is_enough(toys):
    class Rounds(toys.Vector):
        def lane_step(self, i, action):
            reward, terminated, truncated, info = super().lane_step(i, action)
            return reward, terminated, truncated, info | {"cost": float(np.float32(info["cost"]))}

    differs(Rounds, toys.Env, r"info\['cost'\] is .* but .* in the scalar environment seeded 0")


def test_every_entry_of_the_scalar_info_must_be_there(toys):
    class Lacks(toys.Vector):
        def lane_step(self, i, action):
            reward, terminated, truncated, info = super().lane_step(i, action)
            return reward, terminated, truncated, {k: v for k, v in info.items() if k != "device"}

    differs(Lacks, toys.Env, r"the scalar environment has info\['device'\], the lane has not")


def test_lanes_that_swap_their_actions_are_found(toys):
    class Swaps(toys.Vector):
        def step(self, actions):
            return super().step({key: part[::-1] for key, part in actions.items()})

    differs(Swaps, toys.Env, "step .: ")


def test_rewards_and_ends_must_agree(toys):
    class Pays(toys.Vector):
        def lane_step(self, i, action):
            reward, *rest = super().lane_step(i, action)
            return reward + 1.0, *rest

    class Terminates(toys.Vector):
        def lane_step(self, i, action):
            reward, _, truncated, info = super().lane_step(i, action)
            return reward, truncated, truncated, info

    differs(Pays, toys.Env, "step 1: reward is")
    differs(Terminates, toys.Env, "terminated is True but False")


def test_the_mode_asked_for_must_be_declared(toys):
    differs(lambda n, mode: toys.Vector(n, AutoresetMode.DISABLED), toys.Env, "declares autoreset_mode")


def test_a_masked_reset_may_not_touch_the_others(toys):
    class Touches(toys.Vector):
        def reset(self, *, seed=None, options=None):
            observations, infos = super().reset(seed=seed, options=options)
            return (observations + np.float32(1) if options else observations), infos

    differs(Touches, toys.Env, "DISABLED, lane 0, reset after step", modes=[AutoresetMode.DISABLED])
