"""The whole state of an SB3 learner as plain data, and back: training continues bit for bit."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import recursive_getattr

from ...envs.core.errors import CheckpointError
from ..generators import get_generators, set_generators
from ..snapshot import Snapshot
from .vec_env import SemiMarkovVecEnv

_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "_total_timesteps",
    "exploration_rate",
)
_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "costs", "durations")


def snapshot(model: BaseAlgorithm) -> Snapshot:
    """Copy everything that later training depends on.

    Take it between an update and the next rollout (a callback's `_on_rollout_start`): the rollout buffer of on-policy
    learners is empty then and not part of the state.

    Args:
        model: a learner whose environment is a `SemiMarkovVecEnv`; own learners add what their `extra_state` returns.
    """
    tensors: dict[str, torch.Tensor] = {}
    meta: dict[str, Any] = {"class": type(model).__name__, "counters": {}, "optimizers": {}}
    modules, variables = model._get_torch_save_params()
    for name in modules:
        state = recursive_getattr(model, name).state_dict()
        if "param_groups" in state:
            meta["optimizers"][name] = state["param_groups"]
            state = {f"{index}/{key}": value for index, slot in state["state"].items() for key, value in slot.items()}
        tensors |= {f"{name}:{key}": torch.as_tensor(value).detach().clone() for key, value in state.items()}
    for name in variables:
        tensors[f"variable:{name}"] = recursive_getattr(model, name).detach().clone()
    for name in _COUNTERS:
        if hasattr(model, name):
            meta["counters"][name] = getattr(model, name)
    arrays = _arrays(model, meta)
    _save_generators(model, arrays, meta)
    if hasattr(model, "extra_state"):
        extra, meta["extra"] = model.extra_state()
        arrays |= {f"extra:{name}": np.array(value) for name, value in extra.items()}
    return Snapshot(tensors=tensors, arrays=arrays, meta=meta)


def restore(model: BaseAlgorithm, state: Snapshot) -> None:
    """Put a freshly built model into a saved state; continue with ``learn(..., reset_num_timesteps=False)``.

    Args:
        model: a model built with the same arguments as the saved one.
        state: what `snapshot` returned.

    Raises:
        CheckpointError: the snapshot is of another learner or does not fit this one.
    """
    if state.meta.get("class") != type(model).__name__:
        raise CheckpointError(f"the snapshot is of {state.meta.get('class')!r}, not of {type(model).__name__}")
    try:
        _restore(model, state)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the snapshot does not fit this {type(model).__name__}: {reason}") from error


def _restore(model: BaseAlgorithm, state: Snapshot) -> None:
    modules, variables = model._get_torch_save_params()
    for name in modules:
        prefix = f"{name}:"
        given = {key.removeprefix(prefix): value for key, value in state.tensors.items() if key.startswith(prefix)}
        target = recursive_getattr(model, name)
        if name in state.meta["optimizers"]:
            slots: dict[int, dict[str, Any]] = {}
            for key, value in given.items():
                index, _, slot = key.partition("/")
                slots.setdefault(int(index), {})[slot] = value.clone()
            target.load_state_dict({"state": slots, "param_groups": state.meta["optimizers"][name]})
        else:
            target.load_state_dict(given)
    for name in variables:
        recursive_getattr(model, name).data.copy_(state.tensors[f"variable:{name}"])
    for name, value in state.meta["counters"].items():
        setattr(model, name, value)
    _restore_arrays(model, state)
    _restore_generators(model, state)
    if hasattr(model, "load_extra_state"):
        extra = {key.removeprefix("extra:"): v for key, v in state.arrays.items() if key.startswith("extra:")}
        model.load_extra_state(extra, state.meta["extra"])


def _environment(model: BaseAlgorithm) -> SemiMarkovVecEnv:
    env = model.get_env()
    inner = None if env is None else env.unwrapped
    if not isinstance(inner, SemiMarkovVecEnv):
        raise CheckpointError("only learners on a SemiMarkovVecEnv can be saved: others cannot return their state")
    return inner


def _arrays(model: BaseAlgorithm, meta: dict[str, Any]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    if model._last_obs is not None:
        arrays |= {f"env:{name}": value for name, value in _environment(model).get_state().items()}
        arrays["last_obs"] = np.array(model._last_obs)
        arrays["last_episode_starts"] = np.array(model._last_episode_starts)
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, ReplayBuffer):
        meta["replay"] = {"pos": buffer.pos, "full": buffer.full}
        for name in _REPLAY:
            if hasattr(buffer, name):
                arrays[f"replay:{name}"] = getattr(buffer, name)[: buffer.size()].copy()
        for name in ("ratio", "reward_scale"):
            if hasattr(buffer, name):
                value = getattr(buffer, name)
                meta["replay"][name] = value.tolist() if isinstance(value, np.ndarray) else value
    return arrays


def _restore_arrays(model: BaseAlgorithm, state: Snapshot) -> None:
    if "last_obs" in state.arrays:
        prefix = "env:"
        inner = {name.removeprefix(prefix): v for name, v in state.arrays.items() if name.startswith(prefix)}
        _environment(model).set_state(inner)
        model._last_obs = np.array(state.arrays["last_obs"])
        model._last_episode_starts = np.array(state.arrays["last_episode_starts"])
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, ReplayBuffer):
        saved = dict(state.meta["replay"])
        for name in _REPLAY:
            if hasattr(buffer, name):
                rows = state.arrays[f"replay:{name}"]
                getattr(buffer, name)[: len(rows)] = rows
        for name, value in saved.items():
            setattr(buffer, name, np.array(value, np.float64) if isinstance(value, list) else value)


def _save_generators(model: BaseAlgorithm, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
    state = get_generators()
    version, arrays["generator:python"], gauss = state["python"]
    name, arrays["generator:numpy"], *rest = state["numpy"]
    arrays["generator:torch"] = state["torch"]
    meta["generators"] = {
        "python": [version, gauss],
        "numpy": [name, *rest],
        "actions": model.action_space.np_random.bit_generator.state,
    }


def _restore_generators(model: BaseAlgorithm, state: Snapshot) -> None:
    saved = state.meta["generators"]
    version, gauss = saved["python"]
    name, *rest = saved["numpy"]
    set_generators(
        {
            "python": [version, state.arrays["generator:python"], gauss],
            "numpy": [name, state.arrays["generator:numpy"], *rest],
            "torch": state.arrays["generator:torch"],
        }
    )
    model.action_space.np_random.bit_generator.state = saved["actions"]
