"""Sampling from a compiled event stream inside RLlib: thousands of systems, a few Python calls per decision of each."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np
import ray
import torch
from gymnasium.vector import AutoresetMode
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_AGENT_ID, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils import force_list
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
    SAMPLE_TIMER,
    WEIGHTS_SEQ_NO,
)
from ray.tune.registry import ENV_CREATOR, _global_registry

from ...envs.core.errors import InvalidInputError
from ...envs.core.seeding import RUN_SEED_LIMIT, Role, SeedTree
from .acting import Acting, with_device
from .module import game_shape
from .recording import Lanes, Recording, Totals

STREAM = "stream"
"""Component of an env runner's state: simulators, pending observations, recent events, generators."""


class EventStreamEnvRunner(EnvRunner, Checkpointable):
    """Samples a vector environment with staged decisions and returns one episode chunk per lane.

    An episode is the *global* event sequence of one system: decisions of all its devices, in order. Its observations
    have the device's index in column 0 (0 throughout in a single-device environment), its actions are
    ``{"server": int, "wait": [-1, 1]}``, and the info of observation t holds ``cost``, ``duration`` and ``time`` of the
    device that decides at t, spanning the time since *its* previous decision. The last info of a truncated episode also
    holds ``agents_cost`` and ``agents_duration`` (M,), the open intervals. A chunk carries
    ``config.episode_lookback_horizon`` earlier events of its episode as lookback.

    The environment is ``config.env``: a registered vector id with ``config.env_config`` as keyword arguments, or a
    creator that takes the configuration plus ``num_envs`` and returns a vector environment in SAME_STEP mode. Lane
    seeds come from the run's seed (``config.seed``), lanes of different workers never share one. `get_state` is
    complete: a runner that gets it back continues bit for bit. Of RLlib's callbacks it calls ``on_environment_created``
    and ``on_sample_end``; those of single steps would take longer than the steps.

    Args:
        config: the algorithm's configuration, see `AsyncFractionalAlgorithmConfig`.
        **kwargs: ``worker_index``, ``num_workers``, ``spaces``: as RLlib gives them.
    """

    config: Any
    env: Any  # a VectorEnv, or None where remote workers sample
    module: Any

    def __init__(self, *, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.spaces: dict[str, Any] = kwargs.get("spaces") or {}
        self._callbacks = [cls() for cls in force_list(config.callbacks_class)]
        self._weights_seq_no = 0
        seed = self.config.seed
        self._seeds = SeedTree(_any_seed() if seed is None else seed)
        self.env = None
        self.num_envs = 0
        self._lanes: Lanes | None = None
        remote = self.worker_index is not None and self.worker_index > 0
        if remote or self.config.num_env_runners == 0 or self.config.create_env_on_local_worker:
            self.make_env()
        self.make_module()

    def make_env(self) -> None:
        """Build the vector environment; its lanes start afresh."""
        self.stop()
        env, keywords = self.config.env, dict(self.config.env_config)
        wanted = {"num_envs": self.config.num_envs_per_env_runner, "autoreset_mode": AutoresetMode.SAME_STEP.name}
        context = EnvContext({**keywords, **wanted}, worker_index=self.worker_index or 0, num_workers=self.num_workers)
        if isinstance(env, str) and not _global_registry.contains(ENV_CREATOR, env):
            made: Any = gymnasium.make_vec(env, vectorization_mode="vector_entry_point", **context)
        else:
            made = (_global_registry.get(ENV_CREATOR, env) if isinstance(env, str) else env)(context)
        mode = made.metadata.get("autoreset_mode")
        if mode is not None and AutoresetMode(mode) is not AutoresetMode.SAME_STEP:
            raise InvalidInputError.of("autoreset_mode", "SAME_STEP for the event stream", mode)
        self.env, self.num_envs, self._lanes = made, made.num_envs, None
        edges, self._n_devices, first = game_shape(made.single_observation_space, made.single_action_space, None)
        self._width = made.single_observation_space.shape[0] + 1 - first
        worker = self.worker_index or 0
        self._acting = Acting(
            edges,
            float(made.single_action_space["wait"].high[0]),
            self.config.learn,
            self.config.fixed_wait,
            self.config.server_rule,
            self._seeds.generator(f"scripted/{worker}"),
        )
        seed = int(self._seeds.generator(f"sampling/{worker}").integers(1 << 62))
        self._torch_state = torch.Generator().manual_seed(seed).get_state()
        make_callback(
            "on_environment_created",
            callbacks_objects=self._callbacks,
            callbacks_functions=self.config.callbacks_on_environment_created,
            kwargs={"env_runner": self, "metrics_logger": self.metrics, "env": made, "env_context": context},
        )

    def make_module(self) -> None:
        """Build the module that acts."""
        self.module = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True).build()

    def _start(self) -> Lanes:
        """The first episodes of all lanes."""
        first = max((self.worker_index or 0) - 1, 0) * self.num_envs
        role = Role.EVALUATE if self.config.in_evaluation else Role.TRAIN
        seeds = self._seeds.lanes(role, self.num_envs, first)
        observation, info = self.env.reset(seed=[int(seed) for seed in seeds])
        return Lanes(with_device(observation, self._width), info, self._n_devices)

    def sample(  # type: ignore[override]  # RLlib's runners narrow the keywords in the same way
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        """Advance all lanes together.

        Args:
            num_timesteps: at least so many decisions; by default one rollout fragment per lane.
            num_episodes: instead, go on until so many episodes have ended.
            explore: draw actions (default: as configured) or take the greedy ones.
            random_actions: draw them uniformly instead.
            force_reset: start the first episodes of all lanes again.

        Returns:
            Chunks of episodes: one per lane, and one more for every episode that ended on the way.

        Raises:
            InvalidInputError: this runner has no environment.
        """
        if self.env is None:
            raise InvalidInputError("this env runner has no environment: the remote ones sample")
        if self._lanes is None or force_reset:
            self._lanes = self._start()
        explore = self.config.explore if explore is None else explore
        fragment = self.config.get_rollout_fragment_length(self.worker_index)
        steps = fragment if num_timesteps is None else math.ceil(num_timesteps / self.num_envs)
        episodes: list[SingleAgentEpisode] = []
        with self.metrics.log_time(SAMPLE_TIMER):
            while not episodes or sum(episode.is_done for episode in episodes) < (num_episodes or 0):
                episodes += self._roll(steps, explore, random_actions)
        make_callback(
            "on_sample_end",
            callbacks_objects=self._callbacks,
            callbacks_functions=self.config.callbacks_on_sample_end,
            kwargs={"env_runner": self, "metrics_logger": self.metrics, "samples": episodes},
        )
        return episodes

    def _roll(self, steps: int, explore: bool, random_actions: bool) -> list[SingleAgentEpisode]:
        assert self._lanes is not None
        acting, actor = self._acting, self.module.actor
        observation = self._lanes.observation
        recording = Recording(steps, observation.shape)
        self.module.eval()
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.set_rng_state(self._torch_state)
            for _ in range(steps):
                decision = acting.decide(actor, observation, explore, random_actions)
                after, reward, terminated, truncated, info = self.env.step(decision.to_env)
                recording.add(observation, decision, reward, terminated, truncated, info)
                observation = with_device(after, self._width)
            self._torch_state = torch.get_rng_state()
        self._lanes.observation = observation
        chunks = self._lanes.cut(recording, self.config.episode_lookback_horizon, self._weights_seq_no)
        self._log(steps * self.num_envs, [totals for chunk, totals in chunks if chunk.is_done])
        return [chunk for chunk, _ in chunks]

    def _log(self, steps: int, finished: list[Totals]) -> None:
        for name, lifetime in (
            (NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME),
            ((NUM_AGENT_STEPS_SAMPLED, DEFAULT_AGENT_ID), (NUM_AGENT_STEPS_SAMPLED_LIFETIME, DEFAULT_AGENT_ID)),
            ((NUM_MODULE_STEPS_SAMPLED, DEFAULT_MODULE_ID), (NUM_MODULE_STEPS_SAMPLED_LIFETIME, DEFAULT_MODULE_ID)),
        ):
            self.metrics.log_value(name, steps, reduce="sum")
            throughput = name == NUM_ENV_STEPS_SAMPLED
            self.metrics.log_value(lifetime, steps, reduce="lifetime_sum", with_throughput=throughput)
        self.metrics.log_value(NUM_EPISODES, len(finished), reduce="sum")
        self.metrics.log_value(NUM_EPISODES_LIFETIME, len(finished), reduce="lifetime_sum")
        window = max(1, self.config.metrics_num_episodes_for_smoothing // (self.config.num_env_runners or 1))
        for totals in finished:
            self.metrics.log_value(EPISODE_LEN_MEAN, totals.events, window=window)
            self.metrics.log_value(EPISODE_RETURN_MEAN, totals.reward, window=window)
            self.metrics.log_value("episode_ratio_mean", totals.cost / totals.duration, window=window)

    def get_metrics(self) -> Any:
        """What was logged since the last call."""
        return self.metrics.reduce()

    def get_spaces(self) -> dict[str, Any]:
        """Spaces of the environment and of the module."""
        if self.env is None:
            return self.spaces
        single = self.env.single_observation_space, self.env.single_action_space
        return {
            INPUT_ENV_SPACES: (self.env.observation_space, self.env.action_space),
            INPUT_ENV_SINGLE_SPACES: single,
            DEFAULT_MODULE_ID: single,
        }

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Weights, and under ``stream`` everything else that sampling depends on, as arrays and plain values."""
        state: dict[str, Any] = {NUM_ENV_STEPS_SAMPLED_LIFETIME: self.num_env_steps_sampled_lifetime}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            inner = self._get_subcomponents(COMPONENT_RL_MODULE, components)  # type: ignore[no-untyped-call]
            state[COMPONENT_RL_MODULE] = self.module.get_state(components=inner, **kwargs)
            state[WEIGHTS_SEQ_NO] = self._weights_seq_no
        if self._lanes is not None and self._check_component(STREAM, components, not_components):
            state[STREAM] = {
                "lanes": self._lanes.get_state(),
                "simulator": self.env.unwrapped.get_state(),
                "torch": self._torch_state.numpy().copy(),
                "scripted": self._acting.rng.bit_generator.state,
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over weights, and the stream where the state holds one."""
        if COMPONENT_RL_MODULE in state:
            number = state.get(WEIGHTS_SEQ_NO, 0)
            if number == 0 or self._weights_seq_no < number:
                weights = state[COMPONENT_RL_MODULE]
                weights = ray.get(weights) if isinstance(weights, ray.ObjectRef) else weights
                self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
            self._weights_seq_no = number or self._weights_seq_no
        if NUM_ENV_STEPS_SAMPLED_LIFETIME in state:
            self.num_env_steps_sampled_lifetime = state[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        if STREAM in state and self.env is not None:
            stream = state[STREAM]
            self.env.unwrapped.set_state(stream["simulator"])
            self._lanes = Lanes.from_state(stream["lanes"])
            self._torch_state = torch.from_numpy(np.array(stream["torch"], np.uint8))
            self._acting.rng.bit_generator.state = stream["scripted"]

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What `from_checkpoint` calls the class with."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        """The module."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def assert_healthy(self) -> None:
        """Fail if this runner was not built."""
        assert self.env is not None
        assert self.module is not None

    def stop(self) -> None:
        """Close the environment."""
        if self.env is not None:
            self.env.close()


def _any_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0]) % RUN_SEED_LIMIT
