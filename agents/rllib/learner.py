"""`AsyncFractional` as a training loop sees it: watched, saved and continued between two iterations."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME, NUM_EPISODES
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from ...envs.core.errors import CheckpointError
from ..config import AsyncFractionalConfig, ClusterConfig
from ..generators import get_generators, set_generators
from ..snapshot import Snapshot
from ..trees import join, split
from .algorithm import AsyncFractional, AsyncFractionalAlgorithmConfig
from .build import algorithm_config
from .cluster import ClusterSession, without_daemons
from .env_runner import STREAM
from .module import AsyncFractionalModule
from .policy import AsyncFractionalPolicy
from .torch_learner import PRICING

_EPISODES = ("episode_return_mean", "episode_ratio_mean")
_LEARNING = (
    *("policy_loss", "value_loss_cost", "value_loss_duration", "entropy", "kl", "clip_fraction"),
    *("actor_learning_rate", "gradients_actor_global_norm", "gradients_critic_global_norm"),
)
_KEPT = (COMPONENT_OPTIMIZER, PRICING)  # of a learner's state, beside the weights
_WEIGHTS = "module"


class _InRunFolder(AsyncFractional):
    """Without a folder of its own in the home directory: the suite's run folder holds everything."""

    def _setup_logdir(self) -> None:
        self._logdir = None


class RLlibLearner:
    """An `AsyncFractional` Algorithm that can be watched, saved and continued.

    Without remote env runners and learners a run that is continued from a snapshot is bit for bit the run that was not
    interrupted. With remote ones their states continue: weights, optimizers, ratios, simulators, generators.

    Args:
        section: the learner's hyper-parameters.
        env_id: the environment's id.
        env_kwargs: its keyword arguments.
        num_envs: lanes in all.
        seed: the run's seed.
        total_steps: decisions of the whole training.
        threads: torch threads; sums depend on their number.
        cluster: where it runs; None: in this process, without Ray's daemons.

    Raises:
        InvalidInputError: a setting does not fit the environment or the cluster.
        ClusterError: Ray cannot be started or reached.
    """

    def __init__(
        self,
        section: AsyncFractionalConfig,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        *,
        num_envs: int,
        seed: int,
        total_steps: int,
        threads: int = 1,
        cluster: ClusterConfig | None = None,
    ) -> None:
        torch.set_num_threads(threads)
        for name in ("ray", "ray.rllib", "ray.tune"):  # else every run begins with a page of deprecations
            logging.getLogger(name).setLevel(logging.ERROR)
        cluster = cluster or ClusterConfig()
        self._config = algorithm_config(
            section, env_id, env_kwargs, num_envs=num_envs, seed=seed, total_steps=total_steps, cluster=cluster
        )
        self._steps = 0
        self._gathered: defaultdict[str, list[float]] = defaultdict(list)
        self._session = ClusterSession(cluster)
        try:
            with self._in_place():
                self._algorithm = _InRunFolder(self._config)
        except BaseException:
            self._session.close()
            raise

    @property
    def algorithm(self) -> AsyncFractional:
        """The Algorithm."""
        return self._algorithm

    @property
    def steps(self) -> int:
        """Decisions taken so far."""
        return self._steps

    def learn(self, total: int, boundary: Callable[[], None]) -> None:
        """Run iterations until `total` decisions, calling `boundary` before each."""
        with self._in_place():
            while self._steps < total:
                boundary()
                self._note(self._algorithm.train())  # type: ignore[no-untyped-call]

    def metrics(self) -> dict[str, float]:
        """Means over the iterations since the last call, and the ratio after the last of them."""
        ratio = self._gathered.pop("ratio", [])
        values = {name: sum(values) / len(values) for name, values in self._gathered.items()}
        self._gathered.clear()
        return values | ({"ratio": ratio[-1]} if ratio else {})

    def snapshot(self) -> Snapshot:
        """The whole state, generators included."""
        kept = [f"{COMPONENT_LEARNER}/{name}" for name in _KEPT]
        learner = self._learners.get_state(components=kept)[COMPONENT_LEARNER]
        state = {
            "learner": {name: learner[name] for name in _KEPT},
            "runners": {str(index): state for index, state in self._over_runners(lambda _: _get_runner).items()},
            "counters": _lifetimes(self._algorithm),
            "generators": dict(result.get() for result in self._learners.foreach_learner(_get_generators)),
        }
        tensors = {f"{_WEIGHTS}:{name}": torch.tensor(value) for name, value in self._weights().items()}
        arrays: dict[str, Any] = {}
        rest = split(state, "state", tensors, arrays)
        return Snapshot(tensors=tensors, arrays=arrays, meta={"steps": self._steps, "state": rest})

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot.

        Raises:
            CheckpointError: it does not fit this configuration.
        """
        with _fitting(), self._in_place():
            state = join(snapshot.meta["state"], snapshot.tensors, snapshot.arrays)
            weights = module_weights(snapshot)
            self._learners.set_state({COMPONENT_LEARNER: {name: state["learner"][name] for name in _KEPT}})
            self._learners.foreach_learner(partial(_set_weights, weights))
            runners = state["runners"]  # one that was being replaced has no state here and starts afresh
            self._over_runners(lambda index: partial(_set_runner, runners.get(str(index), {}), weights))
            _logger(self._algorithm).set_state(state["counters"])
            self._learners.foreach_learner(partial(_set_generators, state["generators"]))
            self._steps = int(snapshot.meta["steps"])
            self._gathered.clear()

    def policy(self) -> AsyncFractionalPolicy:
        """The deterministic policy of the present weights; later training does not change it."""
        return AsyncFractionalPolicy(self._config, self._weights())

    def close(self) -> None:
        """Stop the workers, and Ray if it was started for them."""
        self._algorithm.stop()  # type: ignore[no-untyped-call]
        self._session.close()

    def _in_place(self) -> contextlib.AbstractContextManager[None]:
        return without_daemons() if self._session.in_process else contextlib.nullcontext()

    @property
    def _learners(self) -> LearnerGroup:
        assert self._algorithm.learner_group is not None
        return self._algorithm.learner_group

    @property
    def _group(self) -> EnvRunnerGroup:
        assert self._algorithm.env_runner_group is not None
        return self._algorithm.env_runner_group

    def _weights(self) -> dict[str, NDArray[Any]]:
        """The module's weights and statistics; those in RLlib's own states are rounded to single precision."""
        found: dict[str, NDArray[Any]] = next(iter(self._learners.foreach_learner(_get_weights))).get()
        return found

    def _note(self, result: dict[str, Any]) -> None:
        """Gather what an iteration reports."""
        sampled, learned = result[ENV_RUNNER_RESULTS], result[LEARNER_RESULTS]
        self._steps = int(sampled[NUM_ENV_STEPS_SAMPLED_LIFETIME])
        found = {name: learned[DEFAULT_MODULE_ID].get(name) for name in _LEARNING}
        found |= {"ratio": result["ratio"], "measured_ratio": learned.get("measured_ratio")}
        if sampled[NUM_EPISODES]:  # else these are of an earlier iteration
            found |= {name: sampled.get(name) for name in _EPISODES}
        for name, value in found.items():
            if value is not None and math.isfinite(value):
                self._gathered[name].append(float(value))

    def _over_runners(self, task: Callable[[int], Callable[[EnvRunner], Any]]) -> dict[int, Any]:
        """Run ``task(index)`` on every env runner that samples; index 0 is in this process."""
        group = self._group
        if not group.num_remote_env_runners():
            return {0: task(0)(group.local_env_runner)}
        return {
            index: group.foreach_env_runner(task(index), local_env_runner=False, remote_worker_ids=[index])[0]
            for index in group.healthy_env_runner_ids()
        }


def module_weights(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """The weights in a snapshot, by name."""
    prefix = f"{_WEIGHTS}:"
    return {
        name.removeprefix(prefix): tensor.numpy()
        for name, tensor in snapshot.tensors.items()
        if name.startswith(prefix)
    }


def policy_from_snapshot(config: AsyncFractionalAlgorithmConfig, snapshot: Snapshot) -> AsyncFractionalPolicy:
    """The deterministic policy in a snapshot, without an Algorithm and so without its workers.

    Raises:
        CheckpointError: the snapshot does not fit the configuration.
    """
    with _fitting():
        return AsyncFractionalPolicy(config, module_weights(snapshot))


def _module(learner: Learner) -> AsyncFractionalModule:
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    assert isinstance(module, AsyncFractionalModule)
    return module


def _get_weights(learner: Learner, *_: Any) -> dict[str, NDArray[Any]]:
    state = _module(learner).state_dict()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def _set_weights(weights: dict[str, NDArray[Any]], learner: Learner, *_: Any) -> None:
    _module(learner).load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def _get_generators(learner: Learner, *_: Any) -> tuple[str, dict[str, Any]]:
    return str(learner._learner_index), get_generators()


def _set_generators(states: dict[str, Any], learner: Learner, *_: Any) -> None:
    set_generators(states[str(learner._learner_index)])


def _get_runner(runner: EnvRunner) -> dict[str, Any]:
    state: dict[str, Any] = runner.get_state(components=STREAM)  # type: ignore[attr-defined]
    return state


def _set_runner(state: dict[str, Any], weights: dict[str, Any], runner: EnvRunner) -> None:
    # Without a number of the weights: RLlib would leave out those that are not newer than its own.
    runner.set_state({**state, COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: weights}})  # type: ignore[attr-defined]


def _logger(algorithm: AsyncFractional) -> MetricsLogger:
    assert algorithm.metrics is not None
    return algorithm.metrics


def _lifetimes(algorithm: AsyncFractional) -> dict[str, Any]:
    """Counters of the whole training; schedules follow them."""
    stats = _logger(algorithm).get_state()["stats"]
    return {"stats": {name: state for name, state in stats.items() if name.endswith("_lifetime")}}


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Say that a snapshot does not fit, whatever shows it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, AssertionError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the snapshot does not fit this AsyncFractional: {reason}") from error
