"""What other libraries do to an environment before they use it, beyond the tutorials."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.fractional import Dinkelbach
from edgewise.envs.aoi_offload import AoIParams
from edgewise.envs.core import RatioReward
from edgewise.envs.core.errors import InvalidInputError

IDS = ("edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("arguments", [{}, {"params": AoIParams.make("small")}])
def test_an_unknown_keyword_is_a_type_error_as_in_any_constructor(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'") as error:
        gymnasium.make(name, frameskip=1, **arguments)
    assert isinstance(error.value, InvalidInputError)


@pytest.mark.parametrize("name", IDS)
def test_torchrl_specs_hold_on_both_ids(name: str) -> None:
    from torchrl.envs import GymEnv, check_env_specs

    env = GymEnv(name, preset="small")
    check_env_specs(env)
    env.set_seed(3)
    first = env.rollout(20)
    assert first["next", "observation"].shape == (20, 5 if name == IDS[0] else 6)


def test_torch_numbers_are_numbers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer = Dinkelbach(ratio=torch.tensor(3.0))
        outer.update(torch.tensor(20.0, dtype=torch.float64), torch.tensor(8.0))
        env = RatioReward(gymnasium.make(IDS[0], preset="single"), torch.tensor(2.5))
    assert outer.ratio == env.ratio == 2.5
    assert isinstance(outer.ratio, float)
    assert np.isfinite(env.reset(seed=0)[0]).all()
