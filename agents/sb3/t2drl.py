"""T2DRL: proximal policy optimisation on a backbone that keeps adapting, and its neighbours of equal size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from ...envs.core.errors import InvalidInputError
from ..memory_bids import payments
from ..networks.cache_law import MOST_SCORE
from .policies import check_policy
from .t2drl_buffer import ChunkRolloutBuffer, Chunks
from .t2drl_policy import T2DRLPolicy
from .vec_env import step_arrays


class T2DRL(PPO):
    """Test-time deep reinforcement learning: PPO whose features come from weights that adapt to every observation.

    The backbone's state (differences of the inner weights from W_0, gradients of the running mini-batch) restarts with
    every episode and moves by one self-supervised step per slot, in training and in deployment. Updates run over chunks
    of successive slots, each from the state that was stored when it was passed; gradients go back through the inner
    steps of a chunk and reach W_0 in every one. With ``backbone`` ``mlp``, ``lstm`` or ``gru`` the same class is PPO on
    a network of equal size without inner steps; ``pad`` adapts its encoder in deployment only.

    The first rollout only calibrates: it standardises observations and sets the scale of the values.

    **Can I use?**

    | Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | ❌ | ❌ | ✔️ (bits and shares) | ❌ | ✔️ | ❌ | ❌ | ✔️ |

    Args:
        policy: `T2DRLPolicy` (or the name ``"T2DRLPolicy"``); its settings are `policy_kwargs`.
        env: an SB3 `VecEnv` with the carrier of `VectorFlatCacheAction`, best a `SemiMarkovVecEnv`; slots of equal
            length.
        chunk: slots that gradients go back through; chunks start where this divides the slot's number in its episode,
            and where a rollout does.
        batch_size: least slots in a minibatch of whole chunks.
        aux_coef: weight of the self-supervised loss of the outer weights.
        own_credit: whether every item has a ratio, a value and an advantage of its own, from its own cost; the
            environment must tell ``info["cost_by_agent"]``. Else there is one of each for all items together.
        bid_value: what a unit of score bids for the whole memory, in costs that a slot had in the first rollout. In
            training, items pay for the memory they hold, see `memory_bids`: own costs do not say what an item takes
            from the others. 0: memory is free.
        own_price: weight of an item's own bid in its price.
        last_noise: scale of the noise of the scores in the second half of training; it falls linearly from 1. A policy
            that learns under noise keeps what is cached more firmly than is best without. 1: the noise stays.
        value_memory: rollouts that the scale of the values remembers.
        **kwargs: the rest of SB3's PPO arguments.

    Raises:
        InvalidInputError: another policy, or a value outside its range.

    *Source*: Xu, Niyato, Brinton, arXiv 2501.14205; Sun et al., arXiv 2407.04620 (layers); Schulman et al. 2017 (PPO).
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"T2DRLPolicy": T2DRLPolicy}
    policy: T2DRLPolicy
    rollout_buffer: ChunkRolloutBuffer

    def __init__(
        self,
        policy: str | type[T2DRLPolicy],
        env: VecEnv | None,
        chunk: int = 20,
        batch_size: int = 128,
        aux_coef: float = 0.1,
        own_credit: bool = False,
        bid_value: float = 0.0,
        own_price: float = 0.3,
        last_noise: float = 1.0,
        value_memory: float = 10.0,
        n_steps: int = 100,
        **kwargs: Any,
    ) -> None:
        check_policy(policy, "T2DRLPolicy", T2DRLPolicy)
        least_of = {"chunk": (chunk, 1), "value_memory": (value_memory, 1), "aux_coef": (aux_coef, 0)}
        for name, (value, least) in (least_of | {"bid_value": (bid_value, 0)}).items():
            if not least <= value < np.inf:
                raise InvalidInputError.of(name, f"a finite number >= {least}", value)
        if not 0.0 < last_noise <= 1.0:
            raise InvalidInputError.of("last_noise", "in (0, 1]", last_noise)
        if not 0.0 <= own_price <= 1.0:
            raise InvalidInputError.of("own_price", "in [0, 1]", own_price)
        self.chunk, self.aux_coef, self.value_memory = chunk, aux_coef, value_memory
        self.own_credit, self.bid_value, self.own_price = own_credit, bid_value, own_price
        self.last_noise = last_noise
        kwargs.setdefault("rollout_buffer_class", ChunkRolloutBuffer)
        # SB3 gets one batch for all, of whose size it does not warn: minibatches are ours. Its `load` gives no env.
        whole = n_steps * (1 if env is None else env.num_envs)
        super().__init__(policy, env, n_steps=n_steps, batch_size=whole, **kwargs)  # type: ignore[arg-type]
        self.batch_size = batch_size

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.own_credit:
            if self.policy.network.parts == 1:
                raise InvalidInputError.of("own_credit", "false for a network without item_head", self.own_credit)
            self.rollout_buffer.parts = self.policy.network.parts
        if self.bid_value and not (self.own_credit and self.policy.network.fill):
            raise InvalidInputError.of("bid_value", "0 without own_credit and fill", self.bid_value)
        self._state = self.policy.initial_state(self.n_envs)
        self._slot = np.zeros(self.n_envs, np.int64)  # of its episode, per lane

    @property
    def calibrated(self) -> bool:
        """Whether the first rollout is over."""
        return bool(self.policy.network.calibrated)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer, with states where chunks start.

        Returns:
            False if a callback stopped the training.
        """
        assert isinstance(rollout_buffer, ChunkRolloutBuffer)
        assert isinstance(self._last_obs, np.ndarray)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        cost = duration = total_paid = 0.0
        for step in range(n_rollout_steps):
            starts = np.asarray(self._last_episode_starts, np.bool_)
            self._restart(starts)
            rollout_buffer.start_chunks(step, (self._slot % self.chunk == 0) | (step == 0), self._state)
            with torch.no_grad():
                decided = self.policy(self._tensor(self._last_obs), self._state)
            carrier, requested, values, log_probs, self._state = decided
            new_obs, rewards, dones, infos = env.step(np.clip(requested.cpu().numpy(), -1.0, 1.0))
            assert isinstance(new_obs, np.ndarray)
            self.num_timesteps += env.num_envs
            self._slot += 1
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            arrays = step_arrays(env, infos, dones, new_obs.shape[-1])
            credits = self._credits(rewards, arrays.parts)
            if self.bid_value and self.calibrated:
                paid = self._payments(carrier, requested)
                credits, total_paid = credits - paid, total_paid + float(paid.sum())
            cost, duration = cost + float(arrays.cost.sum()), duration + float(arrays.duration.sum())
            ended = np.flatnonzero(dones)
            if (alive := ~arrays.terminated[ended]).any():  # a time limit: the value of what would have followed
                lanes = ended[alive]
                credits[lanes] += self.gamma * self._values(arrays.final_obs[alive], self._state[lanes])
            rollout_buffer.add(
                self._last_obs, carrier.cpu().numpy(), credits, starts, self._parts(values), self._parts(log_probs)
            )
            self._last_obs, self._last_episode_starts = new_obs, dones
        state = torch.where(self._tensor(dones).bool().view(-1, 1), torch.zeros_like(self._state), self._state)
        last = torch.as_tensor(self._values(self._last_obs, state))
        rollout_buffer.compute_returns_and_advantage(last, dones)
        self.logger.record("rollout/cost_per_slot", cost / duration if duration else 0.0)
        if self.bid_value:
            self.logger.record("rollout/paid_per_slot", total_paid / duration if duration else 0.0)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _restart(self, starts: NDArray[np.bool_]) -> None:
        """Zero the states of lanes whose episode begins."""
        if starts.any():
            self._slot[starts] = 0
            self._state = torch.where(
                torch.as_tensor(~starts, device=self._state.device).view(-1, 1),
                self._state,
                torch.zeros_like(self._state),
            )

    def _values(self, observations: NDArray[Any], state: Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            values = self._parts(self.policy.values_of(self._tensor(observations), state))
        return np.asarray(values.cpu().numpy())

    def _parts(self, values: Tensor) -> Tensor:
        """Item by item (m, I), or the sum (m, 1) where all items are credited together."""
        return values if self.own_credit else values.sum(-1, keepdim=True)

    def _credits(self, rewards: NDArray[Any], costs: NDArray[np.float64]) -> NDArray[np.float32]:
        """Rewards (n, P): those (n,) of the environment, or from the items' costs (n, I)."""
        if not self.own_credit:
            return np.array(rewards, np.float32)[:, None]
        if costs.shape[1] != self.rollout_buffer.parts:
            raise InvalidInputError('own_credit needs an environment that tells info["cost_by_agent"]')
        return -costs.astype(np.float32)

    def _payments(self, carrier: Tensor, requested: Tensor) -> NDArray[np.float32]:
        """What the items (n, I) pay for the memory that they got, `requested` being what fitted of `carrier`."""
        assert isinstance(self._last_obs, np.ndarray)
        network = self.policy.network
        shares_of_memory = network.sizes(self._tensor(self._last_obs)).cpu().numpy()
        scores = MOST_SCORE * carrier.chunk(2, dim=-1)[1].cpu().numpy()
        held = requested.chunk(2, dim=-1)[1].cpu().numpy() > 0.0
        unit = self.bid_value * float(network.usual_cost)
        return payments(unit * scores, shares_of_memory, held, self.own_price)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        tensor = obs_as_tensor(values, self.device)
        assert isinstance(tensor, Tensor)
        return tensor.float()

    def train(self) -> None:
        """Update the policy with the rollout; the first one only calibrates."""
        buffer, network = self.rollout_buffer, self.policy.network
        if not self.calibrated:
            rewards = self._tensor(buffer.rewards).sum(-1).flatten()
            network.calibrate(self._tensor(buffer.observations).flatten(0, 1), rewards, self.gamma)
            return
        network.follow(self._tensor(buffer.returns).sum(-1), 1.0 / self.value_memory)
        # Every part has a mean of its own; what is worth more to one item than to another stays so.
        centred = buffer.advantages - buffer.advantages.mean((0, 1))
        buffer.advantages = centred / (centred.std() + 1e-8)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        logs: list[dict[str, float]] = []
        for _ in range(self.n_epochs):
            logs += [self._update(chunks) for chunks in buffer.minibatches(self.batch_size)]
            self._n_updates += 1
        self._quieten()
        for name in logs[0]:
            self.logger.record(f"train/{name}", float(np.mean([row[name] for row in logs])))
        self.logger.record("train/value_scale", float(network.value_scale))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _quieten(self) -> None:
        """Let the noise of the scores fall until half of the training is over; it never rises again."""
        passed = min(2.0 * (1.0 - self._current_progress_remaining), 1.0)
        noise = 1.0 - (1.0 - self.last_noise) * passed
        self.policy.network.noise.clamp_(max=noise)

    def _update(self, chunks: Chunks) -> dict[str, float]:
        """One gradient step; what there is to log."""
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        network, valid = self.policy.network, chunks.valid.flatten()
        # Backbones read what was requested, as they did while it was collected; probabilities are of what was drawn.
        requested = network.requested(chunks.actions.flatten(0, 1), chunks.observations.flatten(0, 1))
        inputs = (chunks.observations, chunks.state, requested.view_as(chunks.actions))
        if self.aux_coef > 0.0:
            law, values, auxiliary = network.supervised_sequence(*inputs, chunks.valid)
        else:
            (law, values), auxiliary = network.sequence(*inputs), torch.zeros(())
        log_ratio = self._parts(law.log_probs(chunks.actions.flatten(0, 1)))[valid] - chunks.log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
        policy_loss = -torch.min(chunks.advantages * ratio, chunks.advantages * clipped).sum(-1).mean()
        # In units of the spread of a part, as P independent parts have it.
        error = (self._parts(values)[valid] - chunks.returns) / network.value_scale
        value_loss = error.shape[-1] * error.square().sum(-1).mean()
        loss = policy_loss + self.vf_coef * value_loss + self.aux_coef * auxiliary
        logs = {"policy_loss": policy_loss, "value_loss": value_loss, "self_supervised_loss": auxiliary}
        if self.ent_coef > 0.0:
            entropy = law.entropy()[valid].mean()
            loss, logs["entropy"] = loss - self.ent_coef * entropy, entropy
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        with torch.no_grad():
            logs |= {"approx_kl": (ratio - 1.0 - log_ratio).mean(), "gradient_norm": norm}
            logs["clip_fraction"] = ((ratio - 1.0).abs() > clip).float().mean()
        return {name: float(value.detach()) for name, value in logs.items()}

    def extra_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What a snapshot needs beyond SB3's own state: arrays, and plain JSON values."""
        return {"state": self._state.cpu().numpy().copy(), "slot": self._slot.copy()}, {}

    def load_extra_state(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Continue from what `extra_state` returned."""
        state = torch.as_tensor(np.array(arrays["state"]), device=self.device)
        if state.shape != self._state.shape:
            raise ValueError(f"states of shape {tuple(state.shape)}, not {tuple(self._state.shape)}")
        self._state, self._slot = state, np.array(arrays["slot"])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_state", "_slot"]
