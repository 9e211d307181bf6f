"""Rollouts of T2DRL in chunks: probabilities, values, states, gradients and advantages are those of the rollout."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback

from .t2drl_models import CASES, HORIZON, LANES, ROLLOUT, STEPS, make, rollout


@pytest.mark.parametrize("case", CASES)
def test_chunks_give_the_probabilities_and_values_of_the_rollout(case: str) -> None:
    model = make(case)
    model.learn(2 * ROLLOUT)  # weights that are not those of the start
    rollout(model)  # begins in the middle of episodes and of chunks
    buffer, network = model.rollout_buffer, model.policy.network
    seen = 0
    for chunks in buffer.minibatches(32):
        valid = chunks.valid.flatten()
        with torch.no_grad():
            law, values = network.sequence(chunks.observations, chunks.state, chunks.actions)
            log_probs = law.log_probs(chunks.actions.flatten(0, 1))[valid]
            if not model.own_credit:
                log_probs, values = log_probs.sum(-1, keepdim=True), values.sum(-1, keepdim=True)
        torch.testing.assert_close(log_probs, chunks.log_probs, rtol=1e-4, atol=1e-4)
        expected = chunks.returns - chunks.advantages
        torch.testing.assert_close(values[valid], expected, rtol=1e-3, atol=1e-3)
        seen += int(valid.sum())
    assert seen == ROLLOUT


def test_minibatches_hold_every_slot_once() -> None:
    model = make()
    rollout(model)
    buffer = model.rollout_buffer
    buffer.returns[:] = np.arange(ROLLOUT).reshape(STEPS, LANES, 1)  # names of the slots
    sizes, names = [], []
    for chunks in buffer.minibatches(32):
        sizes.append(len(chunks.returns))
        names += chunks.returns.flatten().tolist()
        assert chunks.valid.sum(1).max() <= model.chunk
        assert chunks.valid.shape == chunks.observations.shape[:2]
    assert sorted(names) == list(range(ROLLOUT))
    assert min(sizes) >= 32
    starts = {slot for slot, _ in buffer._first}
    assert starts == {0, 8, 12}  # slots 0 and 8 of the first episode, and 0 of the second
    rollout(model)  # goes on at slot 8 of the second episode
    assert {slot for slot, _ in model.rollout_buffer._first} == {0, 4, 12, 16}


def test_states_restart_with_episodes_and_only_there() -> None:
    model = make()
    rollout(model)
    buffer = model.rollout_buffer
    states = {slot: states for (slot, _), states in zip(buffer._first, buffer._states, strict=True)}
    assert not states[0].any()
    assert not states[12].any()
    assert (states[8].abs().amax(1) > 1e-4).all()
    assert (states[8][:, -1] == 0).all()  # a multiple of the mini-batch


@pytest.mark.parametrize("layer", ["linear", "mlp"])
def test_a_later_chunk_sends_gradient_to_the_first_weights(layer: str) -> None:
    model = make(layer=layer)
    model.learn(2 * ROLLOUT)
    rollout(model)
    weights = model.policy.network.backbone.blocks[0].layer.weights  # type: ignore[union-attr, index]
    for chunks in model.rollout_buffer.minibatches(10**6):
        later = chunks.state.abs().amax(1) > 0.0
        assert later.any()
        law, _ = model.policy.network.sequence(chunks.observations[later], chunks.state[later], chunks.actions[later])
        law.log_prob(chunks.actions[later].flatten(0, 1)).sum().backward()
        assert not chunks.state.requires_grad
    assert all(weight.grad is not None and weight.grad.abs().max() > 0.0 for weight in weights)  # type: ignore[union-attr]


@pytest.mark.parametrize("case", ["ttt", "lstm"])
def test_a_time_limit_is_bootstrapped_with_the_state_it_found(case: str) -> None:
    model = make(case)
    model.learn(3 * ROLLOUT)
    model._last_obs = None  # begin episodes
    rewards: list[np.ndarray] = []
    finals: list[np.ndarray] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            rewards.append(self.locals["rewards"].copy())
            if self.locals["dones"].all():
                finals.append(np.stack([info["terminal_observation"] for info in self.locals["infos"]]))
            return True

    _, callback = model._setup_learn(10**6, Watch(), reset_num_timesteps=True)
    assert model.env is not None
    model.collect_rollouts(model.env, callback, model.rollout_buffer, STEPS)
    buffer, policy = model.rollout_buffer, model.policy
    episode = torch.as_tensor(np.concatenate([buffer.observations[:HORIZON], finals[0][None]])).transpose(0, 1)
    actions = torch.as_tensor(buffer.actions[: HORIZON + 1]).transpose(0, 1)
    with torch.no_grad():
        _, values = policy.network.sequence(episode, policy.initial_state(LANES), actions)
    expected = rewards[HORIZON - 1] + model.gamma * values.view(LANES, HORIZON + 1)[:, -1].numpy()
    np.testing.assert_allclose(buffer.rewards[HORIZON - 1, :, 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffer.rewards[HORIZON - 2, :, 0], rewards[HORIZON - 2])
    # Generalised advantage estimation stops at the end of the episode.
    advantage = buffer.rewards[HORIZON - 1] - buffer.values[HORIZON - 1]
    np.testing.assert_allclose(buffer.advantages[HORIZON - 1], advantage, rtol=1e-4, atol=1e-5)


def test_advantages_are_those_of_sb3() -> None:
    model = make()
    model.learn(2 * ROLLOUT)
    rollout(model)
    ours = model.rollout_buffer
    theirs = RolloutBuffer(STEPS, ours.observation_space, ours.action_space, "cpu", 0.95, 0.95, LANES)
    for name in ("rewards", "values"):
        setattr(theirs, name, getattr(ours, name)[..., 0])
    theirs.episode_starts = ours.episode_starts
    assert model._last_episode_starts is not None
    last = torch.as_tensor(model._values(model._last_obs, model._state))  # type: ignore[arg-type]
    theirs.compute_returns_and_advantage(last, model._last_episode_starts)
    ours.compute_returns_and_advantage(last, model._last_episode_starts)
    np.testing.assert_allclose(ours.advantages[..., 0], theirs.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.returns[..., 0], theirs.returns, rtol=1e-5, atol=1e-6)
