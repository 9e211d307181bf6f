"""Small models of T2DRL, and what the tests do with them."""

from typing import Any

import gymnasium
import numpy as np

from edgewise.agents.config import BACKBONES
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_learner import build_t2drl

from ..drifting_caches import ID

LANES, STEPS, HORIZON = 6, 20, 12
ROLLOUT = STEPS * LANES
SMALL: dict[str, Any] = {
    "n_steps": STEPS,
    "chunk": 8,
    "batch_size": 32,
    "n_epochs": 2,
    "width": 8,
    "heads": 2,
    "intermediate": 8,
}
OTHERS = {"width": 8, "hidden": 6} | {name: SMALL[name] for name in ("n_steps", "chunk", "batch_size", "n_epochs")}
CASES: dict[str, dict[str, Any]] = {
    **{name: SMALL if name == "ttt" else OTHERS | {"backbone": name} for name in BACKBONES},
    "ttt items": SMALL | {"item_head": 6, "sticky": 2.0},
    "ttt copies": SMALL | {"item_head": 6, "per_item": True, "own_credit": True},
    "ttt mlp": SMALL | {"layer": "mlp", "separate_critic": True},
    "ttt inverse dynamics": SMALL | {"inner_loss": "inverse_dynamics", "aux_coef": 0.0, "ent_coef": 0.01},
}


def make(case: str = "ttt", seed: int = 3, horizon: int = HORIZON, **changes: Any) -> T2DRL:
    """Episodes of 12 slots, rollouts of 20 and chunks of 8: starts and ends fall on each other in all ways."""
    return build_t2drl(ID, {"horizon": horizon}, num_envs=LANES, seed=seed, **(CASES[case] | changes))


def vector(lanes: int = LANES, **kwargs: Any) -> Any:
    return gymnasium.make_vec(ID, num_envs=lanes, vectorization_mode="vector_entry_point", **kwargs)


def rollout(model: T2DRL) -> None:
    """Fill the buffer once more, without an update."""
    _, callback = model._setup_learn(10**6, None, reset_num_timesteps=model._last_obs is None)
    assert model.env is not None
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def observations(n: int = 4, slots: int = 9) -> np.ndarray:
    return np.random.default_rng(0).random((slots, n, 3), np.float32)
