"""Proximal policy optimisation for ratio objectives with semi-Markov steps."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from ...envs.core.errors import InvalidInputError
from ..fractional.critic import FractionalLSTD
from ..fractional.returns import Advantages, differential_advantages, discounted_advantages, standardise, time_discount
from .callbacks import DinkelbachCallback, with_outer_loop
from .policies import HybridActorCriticPolicy, check_policy
from .vec_env import step_arrays

FloatArray = NDArray[np.float64]

# Compressed features are nearly collinear with raw ones; shrinking them makes the critic linear in ages and queues
# unless the data insist, which keeps the slope (what a waiting decision depends on) free of noise.
_RIDGE, _RIDGE_COMPRESSED = 1e-4, 1.0


class FractionalRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer plus what pricing needs.

    Attributes:
        costs: raw cost of each step, shape (steps, lanes).
        durations: its duration, shape (steps, lanes).
        next_observations: observation at the end of each step, the final one where the lane was reset.
        cuts: steps after which the lane was reset.
        terminations: steps with a true end.
    """

    costs: FloatArray
    durations: FloatArray
    next_observations: NDArray[np.float32]
    cuts: NDArray[np.bool_]
    terminations: NDArray[np.bool_]

    def reset(self) -> None:
        """Empty the buffer."""
        shape = (self.buffer_size, self.n_envs)
        self.costs, self.durations = np.zeros(shape), np.zeros(shape)
        self.next_observations = np.zeros((*shape, *self.obs_shape), np.float32)
        self.cuts, self.terminations = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        super().reset()


class FractionalPPO(PPO):
    """PPO that minimises sum(cost) / sum(duration) over decisions that take time.

    Rollouts keep raw costs and durations. When the policy is updated they are priced with the current ratio, reward =
    -(cost - ratio * duration), and advantages are computed for the average criterion (default) or with the discount
    exp(-duration / horizon). The outer loop (`DinkelbachCallback`) moves `ratio`; without it the ratio stays as given.
    The first rollout only calibrates: statistics of the observation, value scale, and the ratio if none was given.

    The default critic is linear in compressed and raw observation features, one model per kind of decision, and solved
    by least squares: waiting leads to a known state, so a small lambda with an accurate value of that state gives
    advantages with hardly any noise, even where service times are heavy-tailed. ``critic="network"`` trains SB3's value
    network by gradient instead.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ✔️ | ✔️ | ✔️ | ✔️ | ❌ | ❌ | ✔️ | ✔️ |

    Args:
        policy: `HybridActorCriticPolicy` (or the name ``"HybridPolicy"``).
        env: an SB3 `VecEnv` whose infos hold `cost` and `duration`, best a `SemiMarkovVecEnv`.
        ratio: first ratio (cost per unit of time); None: that of the untrained policy.
        horizon: None for the average criterion; otherwise the discounting horizon in units of time.
        winsorise: share of costs (least-squares critic) and of temporal differences pulled in to that quantile. The
            ratio itself is measured on raw costs.
        critic: ``lstd`` or ``network``.
        critic_memory: number of past rollouts that the least-squares critic or the value scale remembers.
        fidelity: ``corrected``; or ``paper``: the papers' discount of `gamma` per decision whatever its duration.
        **kwargs: the rest of SB3's PPO arguments; `gamma` is only used with ``fidelity="paper"``.

    Raises:
        InvalidInputError: another policy, `critic` or `fidelity`.

    *Source*: Dinkelbach (1967) for the pricing; Schulman et al. 2017 for PPO; Jin et al., arXiv 2409.16832, for PPO on
    fractional age objectives.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"HybridPolicy": HybridActorCriticPolicy}
    rollout_buffer: FractionalRolloutBuffer
    policy: HybridActorCriticPolicy
    outer_loop: DinkelbachCallback | None = None

    def __init__(
        self,
        policy: str | type[HybridActorCriticPolicy],
        env: VecEnv,
        ratio: float | None = None,
        horizon: float | None = None,
        winsorise: float = 0.001,
        critic: Literal["lstd", "network"] = "lstd",
        critic_memory: float = 10.0,
        fidelity: Literal["corrected", "paper"] = "corrected",
        **kwargs: Any,
    ) -> None:
        check_policy(policy, "HybridPolicy", HybridActorCriticPolicy)
        if critic not in ("lstd", "network"):
            raise InvalidInputError.of("critic", "lstd or network", critic)
        if fidelity not in ("corrected", "paper"):
            raise InvalidInputError.of("fidelity", "corrected or paper", fidelity)
        self.ratio = ratio
        self.horizon, self.winsorise, self.fidelity = horizon, winsorise, fidelity
        self.critic_kind, self.critic_memory = critic, critic_memory
        self.value_scale, self.gain = 1.0, 0.0
        self.calibrated = False
        kwargs.setdefault("rollout_buffer_class", FractionalRolloutBuffer)
        if critic == "lstd":
            kwargs["vf_coef"] = 0.0
        super().__init__(policy, env, normalize_advantage=False, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.policy.with_entropy = self.ent_coef > 0.0
        ridge = self.policy.feature_layer.per_linear(_RIDGE, _RIDGE_COMPRESSED, _RIDGE)
        self.lstd = FractionalLSTD(ridge.size, self.critic_memory, ridge)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        return super()._init_callback(with_outer_loop(self.outer_loop, callback), progress_bar)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with raw costs and durations.

        Returns:
            False if a callback stopped the training.
        """
        assert isinstance(rollout_buffer, FractionalRolloutBuffer)
        assert isinstance(self._last_obs, np.ndarray)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        for step in range(n_rollout_steps):
            with torch.no_grad():
                actions, values, log_probs = self.policy(obs_as_tensor(self._last_obs, self.device))
            chosen = actions.cpu().numpy()
            new_obs, rewards, dones, infos = env.step(self._to_env(chosen))
            assert isinstance(new_obs, np.ndarray)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            arrays = step_arrays(env, infos, dones, new_obs.shape[-1])
            rollout_buffer.costs[step], rollout_buffer.durations[step] = arrays.cost, arrays.duration
            rollout_buffer.cuts[step], rollout_buffer.terminations[step] = dones, arrays.terminated
            rollout_buffer.next_observations[step] = new_obs
            rollout_buffer.next_observations[step, dones] = arrays.final_obs
            rollout_buffer.add(self._last_obs, chosen, rewards, self._last_episode_starts, values, log_probs)  # type: ignore[arg-type]
            self._last_obs, self._last_episode_starts = new_obs, dones
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Price the rollout with the current ratio, compute advantages, and update the policy."""
        buffer = self.rollout_buffer
        if self.ratio is None:
            self.ratio = float(buffer.costs.sum() / buffer.durations.sum())
        if self.calibrated:
            result = self._advantages(*self._evaluate())
            self._fill(result)
            super().train()
        else:
            reward = -(buffer.costs - self.ratio * buffer.durations)
            self.value_scale = max(float(np.abs(reward).mean()), 1e-12)
            self.policy.feature_layer.fit(self._tensor(buffer.observations))
            self.calibrated = True
        for name, value in (("ratio", self.ratio), ("gain", self.gain), ("value_scale", self.value_scale)):
            self.logger.record(f"fractional/{name}", value)

    def _discount(self) -> FloatArray | None:
        """Weight of what follows each step; None for the average criterion."""
        durations = self.rollout_buffer.durations
        if self.fidelity == "paper":
            return np.full_like(durations, self.gamma)
        return None if self.horizon is None else time_discount(durations, self.horizon)

    def _evaluate(self) -> tuple[FloatArray, FloatArray]:
        """Values at the start and at the end of every step, shape (steps, lanes)."""
        assert self.ratio is not None
        buffer = self.rollout_buffer
        shape, alive = buffer.costs.shape, ~buffer.terminations
        if self.critic_kind == "network":
            with torch.no_grad():
                ends = self.policy.predict_values(self._tensor(buffer.next_observations))
            after = ends.double().cpu().numpy().reshape(shape) * alive
            return buffer.values.astype(np.float64) * self.value_scale, after * self.value_scale
        features, leverage = self._linear_features(buffer.observations)
        after = self._linear_features(buffer.next_observations)[0] * alive.reshape(-1, 1)
        cost, discount = buffer.costs.ravel(), self._discount()
        if self.winsorise > 0.0:
            cost = np.clip(cost, *np.quantile(cost, [self.winsorise, 1.0 - self.winsorise]))
        flat = None if discount is None else discount.ravel()
        self.lstd.update(features, after, cost, buffer.durations.ravel(), leverage, flat)
        return (self.lstd.values(x, self.ratio).reshape(shape) for x in (features, after))  # type: ignore[return-value]

    def _advantages(self, value: FloatArray, next_value: FloatArray) -> Advantages:
        assert self.ratio is not None
        buffer, discount = self.rollout_buffer, self._discount()
        reward = -(buffer.costs - self.ratio * buffer.durations)
        if discount is None:
            return differential_advantages(reward, value, next_value, buffer.cuts, self.gae_lambda, self.winsorise)
        return discounted_advantages(reward, discount, value, next_value, buffer.cuts, self.gae_lambda)

    def _fill(self, result: Advantages) -> None:
        """Hand normalised advantages and value targets to SB3's update."""
        buffer, old = self.rollout_buffer, self.value_scale
        self.gain = result.gain
        spread = max(float(result.target.std()), 1e-12)
        self.value_scale = old + (spread - old) / self.critic_memory
        if self.critic_kind == "network":  # follow the scale without changing what the critic predicts
            with torch.no_grad():
                self.policy.value_net.weight.mul_(old / self.value_scale)
                self.policy.value_net.bias.mul_(old / self.value_scale)
        buffer.returns = (result.target / self.value_scale).astype(np.float32)
        buffer.values = ((result.target - result.advantage) / self.value_scale).astype(np.float32)
        buffer.advantages = standardise(result.advantage, self._groups()).astype(np.float32)

    def _groups(self) -> NDArray[np.int64]:
        column = self.policy.feature_layer.kind_column
        if column is None:
            return np.zeros(self.rollout_buffer.costs.shape, np.int64)
        return self.rollout_buffer.observations[..., column].astype(np.int64)

    def _linear_features(self, observations: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        with torch.no_grad():
            features, leverage = self.policy.feature_layer.linear(self._tensor(observations))
        return features.cpu().numpy(), leverage.cpu().numpy()

    def _tensor(self, observations: NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(observations, device=self.device).flatten(0, 1).float()

    def _to_env(self, actions: NDArray[Any]) -> NDArray[Any]:
        if isinstance(self.action_space, spaces.Box):
            return np.asarray(self.policy.unscale_action(actions), np.float32)
        return actions

    def extra_state(self) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """What a snapshot needs beyond SB3's own state: arrays, and plain JSON values."""
        meta = {name: getattr(self, name) for name in ("ratio", "value_scale", "gain", "calibrated")}
        if self.outer_loop is not None:
            meta["outer_loop"] = self.outer_loop.state_dict()
        return self.lstd.state(), meta

    def load_extra_state(self, arrays: dict[str, FloatArray], meta: dict[str, Any]) -> None:
        """Continue from what `extra_state` returned."""
        self.lstd.load(arrays)
        for name in ("ratio", "value_scale", "gain", "calibrated"):
            setattr(self, name, meta[name])
        if self.outer_loop is not None:
            self.outer_loop.load_state_dict(meta["outer_loop"])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "outer_loop"]
