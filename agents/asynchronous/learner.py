"""The asynchronous learner on the event stream: acting, training, the outer loop, and its whole state as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from pydantic import ValidationError

from ...envs.aoi_offload.state import KIND, STREAM_OFFSET, UPDATE
from ...envs.core.errors import CheckpointError, InvalidInputError
from ...envs.core.seeding import SeedTree
from ..config import RecurrentD3QNPPOConfig
from ..fractional.dinkelbach import Dinkelbach
from ..snapshot import Snapshot
from .offloading import RecurrentD3QN
from .records import Closed, Features, Floats, Lanes, Recorder, initial_servers
from .waiting import RecurrentCriticPPO

_PAUSE = 1000  # decisions between two calls of the training loop's boundary
_CHUNK = 256  # observations that the greedy policy answers in one pass


class RecurrentD3QNPPO:
    """The published asynchronous multi-agent algorithm on `AoIOffloadGameEnv`'s event stream.

    Each device has a dueling double DQN with a recurrent value head for the server (`RecurrentD3QN`) and a PPO with a
    recurrent critic for the wait (`RecurrentCriticPPO`). Both learn from raw costs and durations, priced at their
    device's ratio when they are used: cost - ratio * duration from one own decision to the next of the same kind, which
    is the area between two completions (for a wait) or two generations (for a server). Targets are bootstrapped and
    discounted per decision. The outer loop moves each device's ratio towards its Σcost / Σduration over the cycles
    completed since its last step, exploration included.

    The corrected learner trains all devices at once and advances many lanes. Where the published method and its code
    leave a choice, it takes: replayed sequences of a device's own decisions with stored states for the DQN; the global
    sequence of waiting decisions, unrolled with gradient through every device's recurrent weights, for the critic.

    | defect (``defects=``; all of them with ``fidelity="paper"``) | what the released code does | effect |
    | --- | --- | --- |
    | ``cumulative_absolute_cost`` | cost = absolute value of (area - ratio * time), both since the episode began | \
the clock drives the reward; below the ratio, more age is rewarded |
    | ``doubled_area`` | the area counts twice, time once | time is priced at half the ratio: waits are too short |
    | ``dropped_tasks_unrecorded`` | a dropped attempt leaves no record; its time is charged to the server that \
accepted the task, from completion to completion | no device learns which server drops |
    | ``initial_placement_recorded`` | the servers of an episode's first tasks, which the environment places, are \
learned as if they had been chosen | with cumulative costs the first tasks look best, most of them local |
    | ``stale_queues`` | servers are chosen on the queues at the last completion of any device, and learned on those \
at the device's own | the network is trained on other inputs than it acts on |
    | ``shared_ratio`` | one ratio for all devices | no device solves its own fractional problem |
    | ``last_episode_ratio`` | the ratio moves towards the mean age of a single episode, by an estimator that is \
biased low | a noisy ratio |
    | ``no_exploration`` | no random servers (and, were there any, none but the first two) | the servers of the first \
network are hardly ever left |
    | ``no_bootstrap`` | the DQN's bootstrap is multiplied by done, which is always 0 | a contextual bandit |
    | ``single_q`` | the maximum of the target network instead of double Q-learning | overestimated values |
    | ``no_replay`` | each sequence is used once | noisier steps, forgetting |
    | ``untrained_memory`` | the value head's recurrent state is detached | its recurrent unit stays random |
    | ``batch_returns`` | discounted sums inside the batch, without bootstrap, standardised | the last decisions of a \
batch look cheap |
    | ``joined_episodes`` | returns, and the DQN's states, run on over the end of an episode | costs of the next \
episode are credited to the last |
    | ``mixed_memory`` | the critic's state is handed from device to device in acting and for baselines, but unrolled \
over the device's own decisions in training, from whatever state the last update left | baselines are off: they are \
values of states that the critic was not trained on |
    | ``crossed_log_probs`` | shapes (n, 1) and (n, 1, 1) are broadcast: every action is scored under every state | \
the policy cannot depend on the state |
    | ``clamped_actions_scored`` | actions are clamped after their log-probability was taken | importance ratios \
differ from 1 from the first epoch on |

    Oddities of the environment are options of the environment (drop modes); stale inputs and unrecorded drops do not
    reach `policy`, which sees the observation that it is given.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ❌ | ❌ | ✔️ | ❌ | ✔️ | ✔️ | ❌ | ✔️ |

    Args:
        env_id: an event stream with the age-of-information layout.
        env_kwargs: its keyword arguments.
        num_envs: lanes L; the released code plays one system.
        seed: the run's seed.
        threads: torch threads; sums depend on their number.
        **hyper: fields of `RecurrentD3QNPPOConfig`.

    Raises:
        InvalidInputError: the environment is no event stream, or a hyper-parameter is unknown or out of range.

    *Source*: Jin, Tang, Pan, Zhang, Wang, arXiv 2409.16832, and its released code.
    """

    def __init__(
        self,
        env_id: str = "edgewise/AoIOffloadGame-v0",
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        num_envs: int = 16,
        seed: int = 0,
        threads: int = 1,
        **hyper: Any,
    ) -> None:
        torch.set_num_threads(threads)
        try:
            self.config = config = RecurrentD3QNPPOConfig(**hyper)
        except ValidationError as error:
            raise InvalidInputError.from_validation(error, RecurrentD3QNPPOConfig) from None
        self.env: Any = gymnasium.make_vec(
            env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **(env_kwargs or {})
        )
        params = getattr(self.env.unwrapped, "params", None)
        shape = self.env.single_observation_space.shape
        if params is None or shape != (params.n_edges + 4 + STREAM_OFFSET,):
            raise InvalidInputError.of("env.id", "an event stream, such as edgewise/AoIOffloadGame-v0", env_id)
        self.lanes, self.devices, self._z_max = num_envs, params.n_devices, params.z_max
        defects = frozenset(config.defects)
        features = Features(params.n_edges, config.observations == "published")
        self.records = Recorder(
            num_envs,
            self.devices,
            features,
            config.memory,
            drops_unrecorded="dropped_tasks_unrecorded" in defects,
            stale_queues="stale_queues" in defects,
            joined_episodes="joined_episodes" in defects,
            placed=initial_servers(self.devices, params.n_edges, params.initial_queue_limit)
            if "initial_placement_recorded" in defects
            else None,
        )
        tree = SeedTree(seed)
        generator = torch.Generator().manual_seed(tree.libraries)
        self.offloading = RecurrentD3QN(
            config, num_envs, self.devices, features.server_width, params.n_edges + 1, generator
        )
        self.waiting = RecurrentCriticPPO(config, num_envs, self.devices, features.wait_width, generator)
        self.outer_loop = Dinkelbach(
            config.ratio, agents=self.devices, shared="shared_ratio" in defects, omega=config.omega
        )
        self._random = tree.generator("exploration")
        self._steps = self._episodes = self._priced = 0  # decisions; episodes ended; of those, when the ratio moved
        self._total = 1
        self._metrics: dict[str, tuple[float, int]] = {}  # sums and counts since `metrics`
        self._everyone = np.arange(num_envs)
        self._obs, info = self.env.reset(seed=tree.train)
        self._observe(self._everyone, self._obs, info)

    # --- the training loop's view -------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Decisions taken so far, over all lanes."""
        return self._steps

    @property
    def ratio(self) -> NDArray[np.float64]:
        """The ratio of every device, in seconds, shape (M,)."""
        return np.asarray(self.outer_loop.ratio)

    @property
    def epsilon(self) -> float:
        """Probability of a random server at present."""
        if "no_exploration" in self.config.defects:
            return 0.0
        left = max(0.0, 1.0 - self._steps / (self._total * self.config.explore_share))
        return self.config.epsilon + (1.0 - self.config.epsilon) * left

    def learn(self, total: int, boundary: Callable[[], None]) -> None:
        """Train until `total` decisions, calling `boundary` about every thousand of them."""
        self._total = total
        while self._steps < total:
            before = self._steps // _PAUSE
            self._advance()
            if self._steps // _PAUSE > before and self._steps < total:
                boundary()

    def metrics(self) -> dict[str, float]:
        """Means since the last call, and the present ratios."""
        values = {name: total / count for name, (total, count) in self._metrics.items()}
        self._metrics = {}
        ratio = self.ratio
        values |= {"ratio": float(ratio.mean()), "ratio/least": float(ratio.min()), "ratio/most": float(ratio.max())}
        return values | {"epsilon": self.epsilon}

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    # --- one decision per lane ----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Decide in every lane, carry it out, and train where a batch is full."""
        obs = self._obs
        updating = obs[:, STREAM_OFFSET + KIND] == UPDATE
        server, wait = np.zeros(self.lanes, np.int64), np.zeros((self.lanes, 1), np.float32)
        for which, decide in ((updating, self._decide_wait), (~updating, self._decide_server)):
            lanes = np.flatnonzero(which)
            if len(lanes):
                decide(lanes, obs[lanes], server, wait)
        self._obs, _, _, truncated, info = self.env.step({"server": server, "wait": wait})
        self._steps += self.lanes
        if not truncated.any():
            self._train(*self._observe(self._everyone, self._obs, info))
            return
        observed = self._obs.copy()
        ended = np.flatnonzero(truncated)
        observed[ended] = np.stack([info["final_obs"][lane] for lane in ended])
        closed = self._observe(self._everyone, observed, info)
        self._note("episode/age", float(self.records.end_episode(ended).sum()), len(ended))
        self.waiting.end_episode(ended)
        self._episodes += len(ended)
        fresh = {name: info["reset_info"][name][ended] for name in ("cost", "duration", "time")}
        self._observe(ended, self._obs[ended], fresh)
        self._train(*closed)

    def _observe(self, lanes: Lanes, obs: Floats, info: Mapping[str, Any]) -> tuple[Closed, Closed]:
        waits, servers = self.records.observe(lanes, obs, info["cost"], info["duration"], info["time"])
        self.waiting.add(waits)
        return waits, servers

    def _decide_wait(self, lanes: Lanes, obs: Floats, server: NDArray[np.int64], wait: Floats) -> None:
        devices = obs[:, 0].astype(np.int64)
        action, fields = self.waiting.act(lanes, devices, self.records.features.wait(obs), self._random)
        self.records.decide_wait(lanes, obs, **fields)
        wait[lanes, 0] = 0.5 * (action + 1.0) * self._z_max
        self._note("decision/wait", float(wait[lanes].sum()), len(lanes))

    def _decide_server(self, lanes: Lanes, obs: Floats, server: NDArray[np.int64], wait: Floats) -> None:
        devices = obs[:, 0].astype(np.int64)
        seen = self.records.server_features(lanes, obs, recorded=False)
        server[lanes] = self.offloading.act(devices, seen, self.epsilon, self._random)
        self.records.decide_server(lanes, obs, server[lanes])
        self._note("decision/local", len(lanes) - int(np.count_nonzero(server[lanes])), len(lanes))

    # --- learning -----------------------------------------------------------------------------------------------------

    def _train(self, waits: Closed, servers: Closed) -> None:
        """Take closed records, and train the devices whose batches are full."""
        single = self.config.updates == "single"
        for device in dict.fromkeys(self.offloading.add(servers).tolist()):
            if single:
                self._train_servers(slice(device, device + 1))
        due = self.waiting.due(waits)
        if due and not self.config.period:
            self._move_ratio()  # before the batch is priced: mean costs near 0 keep values small
        for rows in due:
            losses = self.waiting.train(rows, self.ratio)
            for name, loss in losses._asdict().items():
                self._note(f"loss/{name}", loss)
            if not single:
                self._train_servers(rows)
        if self.config.period and self._episodes >= self._priced + self.config.period:
            self._move_ratio()

    def _train_servers(self, rows: slice) -> None:
        loss = self.offloading.train(rows, self.ratio, self.config.server_steps, self._random)
        if loss is not None:
            self._note("loss/server", loss)

    def _move_ratio(self) -> None:
        """A step of the outer loop."""
        records = self.records
        if "last_episode_ratio" in self.config.defects:
            cost, duration = records.episode_age, np.ones(self.devices)
            known = cost > 0.0
        else:
            cost, duration = records.measured
            known = duration > 0.0
        if not known.any():
            return
        if not self.outer_loop.shared:  # a device without a completed cycle keeps its ratio
            cost, duration = np.where(known, cost, self.ratio), np.where(known, duration, 1.0)
        self.outer_loop.update(cost, duration)
        records.measured[...] = 0.0
        self._priced = self._episodes

    def _note(self, name: str, total: float, count: int = 1) -> None:
        """Add to the mean of a metric."""
        before = self._metrics.get(name, (0.0, 0))
        self._metrics[name] = (before[0] + total, before[1] + count)

    # --- state --------------------------------------------------------------------------------------------------------

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, NDArray[Any]]]:
        """Live tensors and arrays, by name."""
        tensors: dict[str, torch.Tensor] = {}
        arrays = {f"records.{name}": value for name, value in self.records.state().items()}
        parts: dict[str, RecurrentD3QN | RecurrentCriticPPO] = {"offloading": self.offloading, "waiting": self.waiting}
        for name, part in parts.items():
            own, more = part.state()
            tensors |= {f"{name}.{key}": value for key, value in own.items()}
            arrays |= {f"{name}.{key}": value for key, value in more.items()}
        return tensors, arrays

    def snapshot(self) -> Snapshot:
        """The whole state, generators included."""
        tensors, arrays = self._state()
        world = {f"env.{name}": value for name, value in self.env.unwrapped.get_state().items()}
        return Snapshot(
            tensors={name: value.clone() for name, value in tensors.items()},
            arrays={**{name: value.copy() for name, value in arrays.items()}, **world, "obs": self._obs.copy()},
            meta={
                "steps": self._steps,
                "episodes": self._episodes,
                "priced": self._priced,
                "scales": [self.offloading.scale, self.waiting.scale],
                "outer_loop": self.outer_loop.state_dict(),
                "random": self._random.bit_generator.state,
                "metrics": self._metrics,
            },
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot.

        Raises:
            CheckpointError: the snapshot does not fit this learner.
        """
        tensors, arrays = self._state()
        meta = snapshot.meta
        try:
            for name, tensor in tensors.items():
                if snapshot.tensors[name].shape != tensor.shape:
                    raise ValueError(f"{name} has another shape")
                tensor.copy_(snapshot.tensors[name])
            for name, array in arrays.items():
                if snapshot.arrays[name].shape != array.shape or snapshot.arrays[name].dtype != array.dtype:
                    raise ValueError(f"{name} has another shape or type")
                array[...] = snapshot.arrays[name]
            prefix = "env."
            world = {name.removeprefix(prefix): v for name, v in snapshot.arrays.items() if name.startswith(prefix)}
            self.env.unwrapped.set_state(world)
            self._obs = np.array(snapshot.arrays["obs"])
            self._steps, self._episodes, self._priced = meta["steps"], meta["episodes"], meta["priced"]
            self.offloading.scale, self.waiting.scale = meta["scales"]
            self.outer_loop.load_state_dict(meta["outer_loop"])
            self._random.bit_generator.state = meta["random"]
            self._metrics = {name: (total, count) for name, (total, count) in meta["metrics"].items()}
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"the snapshot does not fit this RecurrentD3QNPPO: {reason}") from error

    def policy(self) -> GreedyStreamPolicy:
        """The deterministic policy of the present weights; later training changes it."""
        return GreedyStreamPolicy(self)


class GreedyStreamPolicy:
    """Best servers and mean waits of a learner, on observations of the event stream.

    Args:
        learner: whose weights to use.
    """

    def __init__(self, learner: RecurrentD3QNPPO) -> None:
        self._learner = learner

    def act(self, observation: Floats) -> dict[str, Any]:
        """Decide for one observation (5 + N,) or a batch (n, 5 + N): ``{"server", "wait"}``, wait in seconds."""
        batch = np.atleast_2d(np.asarray(observation, np.float32))
        server, wait = np.zeros(len(batch), np.int64), np.zeros((len(batch), 1), np.float32)
        for begin in range(0, len(batch), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            server[part], wait[part, 0] = self._decide(batch[part])
        if np.ndim(observation) == 1:
            return {"server": int(server[0]), "wait": wait[0]}
        return {"server": server, "wait": wait}

    def _decide(self, obs: Floats) -> tuple[NDArray[np.int64], Floats]:
        learner, features = self._learner, self._learner.records.features
        devices = obs[:, 0].astype(np.int64)
        server = learner.offloading.greedy(devices, features.server(obs))
        mean = learner.waiting.mean(devices, features.wait(obs))
        return server, 0.5 * (mean + 1.0) * np.float32(learner._z_max)
