"""Fractional D3QN + DDPG: a dueling double DQN chooses the server, a deterministic actor the wait."""

from collections.abc import Collection
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, ReplayBufferSamples, Schedule
from stable_baselines3.common.utils import polyak_update, update_learning_rate
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from ...envs.aoi_offload.state import OFFLOAD, UPDATE
from ...envs.core.errors import InvalidInputError
from .buffers import SMDPReplayBuffer
from .callbacks import DinkelbachCallback, with_outer_loop
from .d3qn_ddpg_policy import D3QNDDPGPolicy
from .policies import check_policy

PAPER_DEFECTS = frozenset(
    {"cumulative_absolute_cost", "doubled_area", "exploration_collapse", "wait_in_seconds", "batch_norm"}
)
"""Defects of the released code that ``fidelity="paper"`` turns on; see `FractionalD3QNDDPG`."""
DEFECTS = PAPER_DEFECTS | {"offload_only"}
_PAPER_DISCOUNTS = (0.9, 0.99)  # per decision: offloading, waiting
GAIN_STEP = 0.01
_ACTOR_PACE = 0.1  # learning rate of the actor over that of the critics (as published: 3e-4 and 3e-3)
_COLLAPSE = 20  # decisions of an episode after which the released code stops exploring


class FaithfulReplay(SMDPReplayBuffer):
    """The released code's pricing: area doubled, or the absolute value of sums since the episode began."""

    area_factor = 1.0
    absolute = False

    def price(
        self,
        cost: NDArray[np.float64],
        duration: NDArray[np.float64],
        ratio: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Rewards at a ratio, by default the present one."""
        priced = super().price(self.area_factor * cost, duration, ratio)
        return -np.abs(priced) if self.absolute else priced


class FractionalD3QNDDPG(OffPolicyAlgorithm):
    """The AAAI-24 algorithm on replayed raw costs and durations.

    At an offload (and joint) decision a dueling double DQN chooses the server; at an update (and joint) decision a DDPG
    actor chooses the wait. Where a decision is a choice alone (``Discrete``), the DQN is all there is. Both learn from
    one replay that holds raw (cost, duration); the ratio prices a sample when it is drawn. Targets are differential
    (average criterion, by relative value iteration) or discounted by exp(-duration / horizon), and pass from an update
    to the offload that follows it and back. Half of the lanes act greedily: the outer loop measures its ratio on them,
    without exploration.

    | defect (``defects=`` or ``fidelity="paper"``) | what the released code does |
    | --- | --- |
    | ``cumulative_absolute_cost`` | cost = absolute value of (area - ratio * time), summed since the episode began |
    | ``doubled_area`` | the area is counted twice, time once |
    | ``exploration_collapse`` | random servers end after the 20th decision of each episode |
    | ``wait_in_seconds`` | the wait is stored in seconds, while the networks work in carrier units |
    | ``batch_norm`` | batch normalisation whose statistics are never updated |
    | ``offload_only`` (the released default command, not part of ``paper``) | no waiting agent: the wait is 0 |

    ``fidelity="paper"`` also uses the published discounts per decision, 0.9 for offloading and 0.99 for waiting.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ✔️ | ❌ | ✔️ | ✔️ | ❌ | ❌ | ✔️ | ✔️ |

    Args:
        policy: `D3QNDDPGPolicy`.
        env: an SB3 `VecEnv` on the Box carrier, or with ``Discrete`` actions, whose infos hold `cost` and `duration`.
        ratio: first ratio; None: the first measured one.
        horizon: None for the average criterion; otherwise the discounting horizon in units of time.
        epsilon: final probability of a random server.
        noise: final standard deviation added to the wait's logit.
        explore_share: share of training until both are final.
        winsorise: share of replayed costs pulled in to that quantile on either side.
        defects: names from the table.
        fidelity: ``corrected`` or ``paper``.
        **kwargs: the rest of SB3's off-policy arguments.

    Raises:
        InvalidInputError: another policy or `fidelity`, an unknown defect, `horizon` not above 0, or the
            released code's ways where a decision is a choice alone.

    *Source*: Jin, Tang, Zhang, Wang, AAAI-24, arXiv 2312.10418; relative values: Abounadi, Bertsekas,
    Borkar, SIAM J. Control Optim. 40, 2001.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"D3QNDDPGPolicy": D3QNDDPGPolicy}
    replay_class: ClassVar[type[FaithfulReplay]] = FaithfulReplay
    policy: D3QNDDPGPolicy
    replay_buffer: FaithfulReplay | None
    _sums: NDArray[np.float64]
    outer_loop: DinkelbachCallback | None = None

    def __init__(
        self,
        policy: str | type[D3QNDDPGPolicy],
        env: VecEnv,
        learning_rate: float | Schedule = 3e-3,
        ratio: float | NDArray[np.float64] | None = None,
        horizon: float | None = None,
        epsilon: float = 0.05,
        noise: float = 0.5,
        explore_share: float = 0.2,
        winsorise: float = 0.001,
        defects: Collection[str] = (),
        fidelity: Literal["corrected", "paper"] = "corrected",
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        check_policy(policy, "D3QNDDPGPolicy", D3QNDDPGPolicy)
        if fidelity not in ("corrected", "paper"):
            raise InvalidInputError.of("fidelity", "corrected or paper", fidelity)
        self.defects = frozenset(defects) | (PAPER_DEFECTS if fidelity == "paper" else frozenset())
        if not self.defects <= DEFECTS:
            raise InvalidInputError.of("defects", f"among {', '.join(sorted(DEFECTS))}", sorted(self.defects - DEFECTS))
        self.ratio, self.horizon, self.fidelity = ratio, horizon, fidelity
        self.epsilon, self.noise, self.explore_share, self.winsorise = epsilon, noise, explore_share, winsorise
        self.scale, self.gain, self.calibrated = 1.0, 0.0, False
        super().__init__(
            policy,
            env,
            learning_rate,
            replay_buffer_class=self.replay_class,
            replay_buffer_kwargs={"horizon": horizon},
            policy_kwargs={**(policy_kwargs or {}), "batch_moments": "batch_norm" in self.defects},
            supported_action_spaces=(spaces.Box, spaces.Discrete),
            support_multi_env=True,
            sde_support=False,
            **kwargs,
        )
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        if not self.policy.waits and (self.defects or self.fidelity == "paper"):
            raise InvalidInputError("defects and fidelity=paper: the released code has no decision without a wait")
        assert self.replay_buffer is not None
        self.replay_buffer.area_factor = 2.0 if "doubled_area" in self.defects else 1.0
        self.replay_buffer.absolute = "cumulative_absolute_cost" in self.defects
        self._sums = np.zeros((2, self.n_envs))  # cost and duration since the episode began
        self._ages = np.zeros(self.n_envs, np.int64)  # decisions since the episode began

    @property
    def first_measuring_lane(self) -> int:
        """Lanes from here on act greedily once learning has begun."""
        return self.n_envs // 2

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        return super()._init_callback(with_outer_loop(self.outer_loop, callback), progress_bar)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Actions for the environment, and the form in which they are stored."""
        assert isinstance(self._last_obs, np.ndarray)
        if self.num_timesteps < learning_starts:
            epsilon: NDArray[Any] = np.ones(n_envs)
            noise: NDArray[Any] = np.full(n_envs, max(self.noise, 1.0))
        else:
            left = max(0.0, 1.0 - (1.0 - self._current_progress_remaining) / self.explore_share)
            exploring = np.arange(n_envs) < max(self.first_measuring_lane, 1)
            epsilon = exploring * (self.epsilon + (1.0 - self.epsilon) * left)
            noise = exploring * (self.noise + max(0.0, 1.0 - self.noise) * left)
        if "exploration_collapse" in self.defects:
            epsilon = np.where(self._ages < _COLLAPSE, epsilon, 0.0)
        self.policy.set_training_mode(False)
        observation = torch.as_tensor(self._last_obs, device=self.device)
        with torch.no_grad():
            if not self.policy.waits:
                chosen = self.policy.choices(observation, torch.as_tensor(epsilon, device=self.device)).cpu().numpy()
                return chosen, chosen
            carrier = self.policy.carrier(
                observation,
                torch.as_tensor(epsilon, device=self.device),
                torch.as_tensor(noise, dtype=torch.float32, device=self.device),
            )
        actions = carrier.cpu().numpy().astype(np.float32)
        if "offload_only" in self.defects:
            actions[:, 0] = -1.0
        stored = actions.copy()
        if "wait_in_seconds" in self.defects:
            stored[:, 0] = 0.5 * (actions[:, 0] + 1.0) * self._wait_range()
        return actions, stored

    def _wait_range(self) -> float:
        """Longest wait in seconds, from the environment behind the carrier."""
        assert self.env is not None
        return float(self.env.get_attr("carrier")[0].high)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: NDArray[Any],
        new_obs: NDArray[Any] | dict[str, NDArray[Any]],
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        self._ages += 1
        if "cumulative_absolute_cost" in self.defects:
            self._sums[0] += [info["cost"] for info in infos]
            self._sums[1] += [info["duration"] for info in infos]
            totals = zip(infos, *self._sums, strict=True)
            infos = [info | {"cost": cost, "duration": duration} for info, cost, duration in totals]
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._ages[dones] = 0
        self._sums[:, dones] = 0.0

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Draw samples, price them, and update every network once per gradient step."""
        buffer = self.replay_buffer
        assert buffer is not None
        if self.ratio is None:
            return  # the outer loop has not measured one yet
        buffer.ratio = self.ratio
        if not self.calibrated:
            self._calibrate(buffer)
        self.policy.set_training_mode(True)
        policy = self.policy
        self._update_learning_rate(
            [policy.q_optimizer, policy.critic_optimizer] if policy.waits else policy.q_optimizer
        )
        if policy.waits:
            pace = _ACTOR_PACE * self.lr_schedule(self._current_progress_remaining)
            update_learning_rate(policy.actor_optimizer, pace)
        losses = np.zeros(3)
        for _ in range(gradient_steps):
            losses = losses + self._update(buffer.sample(batch_size))
            for online, target in policy.pairs():
                polyak_update(online.parameters(), target.parameters(), self.tau)
        self._n_updates += gradient_steps
        for name, value in zip(("q_loss", "critic_loss", "actor_loss"), losses / gradient_steps, strict=True):
            self.logger.record(f"train/{name}", float(value))
        self.logger.record("fractional/ratio", float(np.mean(self.ratio)))
        self.logger.record("fractional/gain", float(np.mean(self.gain)) * self.scale)

    def _calibrate(self, buffer: FaithfulReplay) -> None:
        """Observation statistics, reward scale and cost limits from the warm-up's transitions."""
        rows = buffer.size()
        observations = torch.as_tensor(buffer.observations[:rows], device=self.device).flatten(0, 1)
        self.policy.extractor.layer.fit(observations)
        if self.policy.waits:
            waits = torch.as_tensor(buffer.actions[:rows, :, 0], device=self.device)
            for critic in (self.policy.critic, self.policy.critic_target):
                critic.fit(self._stored_wait(waits))
        costs, durations = buffer.costs[:rows], buffer.durations[:rows]
        if self.winsorise > 0.0 and not buffer.absolute:  # sums since the episode began outgrow those of the warm-up
            low, high = buffer.area_factor * np.quantile(costs, [self.winsorise, 1.0 - self.winsorise])
            buffer.cost_limits = (float(low), float(high))
        self.scale = max(float(np.abs(buffer.price(costs, durations, float(np.mean(buffer.ratio)))).mean()), 1e-12)
        self.calibrated = True

    def _update(self, batch: ReplayBufferSamples) -> NDArray[np.float64]:
        policy = self.policy
        features, following = (policy.extractor(x.float()) for x in (batch.observations, batch.next_observations))
        if not policy.waits:
            with torch.no_grad():
                target, _ = self._targets(batch, following)
            error = target - policy.q(features).gather(-1, batch.actions).squeeze(-1)
            _step(policy.q_optimizer, loss := (error * error).mean())
            return np.array([loss.item(), 0.0, 0.0])
        wait = self._stored_wait(batch.actions[:, :1])
        server = batch.actions[:, 1:].argmax(-1, keepdim=True)
        kinds = policy.kinds(batch.observations)
        offloads, updates = (kinds != UPDATE).float(), (kinds != OFFLOAD).float()
        with torch.no_grad():
            targets = self._targets(batch, following)
        q = policy.q(features).gather(-1, server).squeeze(-1)
        value = policy.critic(features, wait)
        errors = (targets[0] - q, targets[1] - value)
        losses = [_masked_mean(e * e, use) for e, use in zip(errors, (offloads, updates), strict=True)]
        _step(policy.q_optimizer, losses[0])
        if "offload_only" not in self.defects:
            _step(policy.critic_optimizer, losses[1])
            losses.append(_masked_mean(-policy.critic(features, self._acted(policy.actor, features)), updates))
            _step(policy.actor_optimizer, losses[2])
        return np.array([loss.item() for loss in losses] + [0.0] * (3 - len(losses)))

    def _stored_wait(self, wait: Tensor) -> Tensor:
        """A replayed wait as a share of its range; with the defect, the seconds that were stored."""
        return wait if "wait_in_seconds" in self.defects else 0.5 * (wait + 1.0)

    def _acted(self, actor: nn.Module, features: Tensor) -> Tensor:
        """The actor's wait in the units in which the critic is queried: a share, or [-1, 1] with the stored seconds."""
        share: Tensor = torch.sigmoid(actor(features))
        return 2.0 * share - 1.0 if "wait_in_seconds" in self.defects else share

    def _targets(self, batch: ReplayBufferSamples, following: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (n,) of the D3QN and of the wait's critic."""
        policy = self.policy
        # Double Q-learning: chosen online, valued by the target.
        best = policy.best(policy.q(following), batch.next_observations).unsqueeze(-1)
        server_value = policy.q_target(following).gather(-1, best).squeeze(-1)
        wait_value = server_value  # read by no decision where nothing waits
        if policy.waits:
            wait_value = policy.critic_target(following, self._acted(policy.actor_target, following))
        kinds = policy.kinds(batch.next_observations)
        after = (
            torch.where(kinds == UPDATE, wait_value, server_value),
            torch.where(kinds == OFFLOAD, server_value, wait_value),
        )
        gain: float | Tensor = self.gain
        if self.horizon is None and self.fidelity == "corrected":
            # Relative value iteration: with the mean value as the gain, values cannot drift.
            gain = self._follow_gain(after, batch.observations)
        reward = batch.rewards.squeeze(-1) / self.scale
        alive = 1.0 - batch.dones.squeeze(-1)
        if self.fidelity == "paper":
            first, second = (reward + g * alive * v for g, v in zip(_PAPER_DISCOUNTS, after, strict=True))
            return first, second
        assert batch.discounts is not None
        discount = batch.discounts.squeeze(-1) * alive
        return reward - gain + discount * after[0], reward - gain + discount * after[1]

    def _follow_gain(self, after: tuple[Tensor, Tensor], observations: Tensor) -> float | Tensor:
        """Move the gain towards the mean value (n,) after observations (n, columns); what to subtract from rewards."""
        self.gain += GAIN_STEP * (float(after[0].mean() + after[1].mean()) / 2.0 - self.gain)
        return self.gain

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        waiting = ["policy.critic_optimizer", "policy.actor_optimizer"] if self.policy.waits else []
        return ["policy", "policy.q_optimizer", *waiting], []

    def extra_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What a snapshot needs beyond SB3's own state: arrays, and plain JSON values."""
        assert self.replay_buffer is not None
        meta: dict[str, Any] = {name: getattr(self, name) for name in ("ratio", "scale", "gain", "calibrated")}
        meta["cost_limits"] = self.replay_buffer.cost_limits
        if self.outer_loop is not None:
            meta["outer_loop"] = self.outer_loop.state_dict()
        return {"sums": self._sums, "ages": self._ages}, meta

    def load_extra_state(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Continue from what `extra_state` returned."""
        assert self.replay_buffer is not None
        for name in ("ratio", "scale", "gain", "calibrated"):
            setattr(self, name, meta[name])
        limits = meta["cost_limits"]
        self.replay_buffer.cost_limits = None if limits is None else (limits[0], limits[1])
        self._sums, self._ages = np.array(arrays["sums"]), np.array(arrays["ages"])
        if self.outer_loop is not None:
            self.outer_loop.load_state_dict(meta["outer_loop"])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "outer_loop"]


def _masked_mean(values: Tensor, use: Tensor) -> Tensor:
    return (values * use).sum() / use.sum().clamp(min=1.0)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
