"""T2DRL on SB3: rollouts in chunks, updates, prediction with states, exact continuation, deployment."""

import json
import random
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorWrapper
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

from edgewise.agents.cache_actions import VectorFlatCacheAction
from edgewise.agents.config import BACKBONES, CacheNetworkFields
from edgewise.agents.sb3.state import restore, snapshot
from edgewise.agents.sb3.t2drl import T2DRL
from edgewise.agents.sb3.t2drl_deploy import deploy, online_ppo
from edgewise.agents.sb3.t2drl_learner import AdaptivePolicy, T2DRLLearner, build_t2drl
from edgewise.agents.sb3.t2drl_policy import T2DRLPolicy
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError, InvalidInputError

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
    "ttt copies": SMALL | {"item_head": 6, "per_item": True, "own_credit": 0.7},
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


# --- rollouts and updates ---------------------------------------------------------------------------------------------


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


def test_own_costs_of_the_items_sum_to_the_reward() -> None:
    together = make("ttt items")
    rollout(together)
    apart = make("ttt items", own_credit=0.7)  # starts from the same seed
    rollout(apart)
    ended = (HORIZON - 1) % STEPS  # a time limit adds what follows
    for step in set(range(STEPS)) - {ended}:
        np.testing.assert_allclose(
            apart.rollout_buffer.rewards[step].sum(-1), together.rollout_buffer.rewards[step, :, 0], rtol=1e-5
        )
    assert apart.rollout_buffer.advantages.shape == (STEPS, LANES, 3)


def test_own_credit_needs_costs_by_item() -> None:
    env = SemiMarkovVecEnv(_Silent(VectorFlatCacheAction(vector())))
    network = CacheNetworkFields(item_head=4, width=8, intermediate=8)
    model = T2DRL(T2DRLPolicy, env, n_steps=4, own_credit=0.5, policy_kwargs={"network": network})
    with pytest.raises(InvalidInputError, match="own_credit needs an environment that tells"):
        model.learn(4 * LANES)
    with pytest.raises(InvalidInputError, match="own_credit must be 0 for a network without item_head"):
        T2DRL(T2DRLPolicy, env, own_credit=0.5)
    with pytest.raises(InvalidInputError, match="own_credit must be in"):
        T2DRL(T2DRLPolicy, env, own_credit=1.5)


class _Silent(VectorWrapper):
    """Does not tell the costs of the items."""

    def step(self, actions: Any) -> Any:
        *rest, info = self.env.step(actions)
        del info["cost_by_agent"]
        return *rest, info


def test_a_full_cache_is_filled_in_the_policys_order() -> None:
    hyper = SMALL | {"fill": True, "item_head": 6, "per_item": True, "own_credit": 0.7, "init_cache": 0.9}
    model = build_t2drl("edgewise/ModelCaching-v0", {"n_gpus": 20}, num_envs=LANES, seed=0, **hyper)
    model.learn(2 * STEPS * LANES)
    policy = AdaptivePolicy(model)
    env = gymnasium.make_vec("edgewise/ModelCaching-v0", num_envs=2, n_gpus=20)
    obs, _ = env.reset(seed=5)
    for _ in range(20):
        action = policy.act(obs)
        obs, _, _, _, info = env.step(action)
        np.testing.assert_array_equal(info["cache"], action["cache"])  # nothing was left for the projection to drop
    assert (info["memory"] > 0.5 * 20 * 80.0).all()


def test_the_first_rollout_only_calibrates() -> None:
    model = make()
    before = {name: value.clone() for name, value in model.policy.network.backbone.state_dict().items()}
    model.learn(ROLLOUT)
    assert model.calibrated
    network = model.policy.network
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    observations = model.rollout_buffer.observations.reshape(-1, 3)
    np.testing.assert_allclose(network.obs_mean, observations.mean(0), rtol=1e-5)
    assert float(network.value_mean) == pytest.approx(model.rollout_buffer.rewards.mean() / 0.05, rel=1e-4)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert any(not torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    states = []
    for seed in (3, 3, 4):
        model = make(seed=seed)
        model.learn(3 * ROLLOUT)
        states.append(snapshot(model).tensors)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())


# --- prediction -------------------------------------------------------------------------------------------------------


def observations(n: int = 4, slots: int = 9) -> np.ndarray:
    return np.random.default_rng(0).random((slots, n, 3), np.float32)


def predictions(policy: T2DRLPolicy, starts_at: int | None = None, state: Any = None) -> tuple[np.ndarray, Any]:
    found = []
    for slot, batch in enumerate(observations()):
        starts = np.full(4, slot == starts_at)
        carrier, state = policy.predict(batch, state, starts, deterministic=True)
        found.append(carrier)
    return np.stack(found), state


@pytest.fixture(scope="module")
def trained() -> T2DRL:
    model = make(learning_rate=0.01, eta_base=4.0)
    model.learn(10 * ROLLOUT)
    return model


def test_predictions_carry_the_state(trained: T2DRL) -> None:
    trained.policy.set_test_time("episodic")
    found, state = predictions(trained.policy)
    assert found.shape == (9, 4, 6)
    assert state[0].shape == (4, trained.policy.network.state_width)
    again, _ = predictions(trained.policy, starts_at=5)
    np.testing.assert_array_equal(found[:5], again[:5])
    fresh, _ = trained.policy.predict(observations()[5], None, None, deterministic=True)
    np.testing.assert_array_equal(again[5], fresh)
    assert not np.array_equal(found[5], fresh)
    one, alone = trained.policy.predict(observations()[0, 2], deterministic=True)
    assert one.shape == (6,)
    np.testing.assert_allclose(one, found[0, 2], atol=1e-6)
    assert alone[0].shape[0] == 1  # type: ignore[index]


def test_lifelong_does_not_restart(trained: T2DRL) -> None:
    trained.policy.set_test_time("episodic")
    found, _ = predictions(trained.policy)
    trained.policy.set_test_time("lifelong")
    lifelong, _ = predictions(trained.policy, starts_at=5)
    np.testing.assert_array_equal(lifelong, found)


def test_frozen_is_the_network_without_inner_steps_bit_for_bit(trained: T2DRL) -> None:
    trained.policy.set_test_time("frozen")
    frozen, state = predictions(trained.policy)
    assert not state[0][:, :-1].any()
    static = make(learning_rate=0.01, eta_base=0.0)
    static.policy.load_state_dict(trained.policy.state_dict())
    np.testing.assert_array_equal(frozen, predictions(static.policy)[0])
    trained.policy.set_test_time("episodic")
    assert not np.array_equal(frozen, predictions(trained.policy)[0])


def test_held_weights_stay_at_what_was_learned(trained: T2DRL) -> None:
    trained.policy.set_test_time("episodic")
    _, state = predictions(trained.policy)
    held = trained.policy.hold(state)
    trained.policy.set_test_time("held")
    with pytest.raises(InvalidInputError, match="state must be given"):
        trained.policy.predict(observations()[0])
    found, after = predictions(trained.policy, starts_at=3, state=held)
    np.testing.assert_array_equal(after[0][:, :-1], held[0][:, :-1])
    trained.policy.set_test_time("frozen")
    assert not np.array_equal(found, predictions(trained.policy)[0])


def test_states_that_do_not_fit_are_refused(trained: T2DRL) -> None:
    trained.policy.set_test_time("episodic")
    with pytest.raises(InvalidInputError, match="state must be of shape"):
        trained.policy.predict(observations()[0], (np.zeros((2, 3), np.float32),))
    with pytest.raises(InvalidInputError, match="test_time must be one of episodic, lifelong, frozen, held"):
        trained.policy.set_test_time("sometimes")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_sb3_evaluates_and_stores_it(trained: T2DRL, tmp_path: Path) -> None:
    trained.policy.set_test_time("episodic")
    env = SemiMarkovVecEnv(VectorFlatCacheAction(vector(4)))
    env.seed(5)
    returns, lengths = evaluate_policy(trained, env, n_eval_episodes=8, return_episode_rewards=True)
    assert lengths == [40] * 8
    ours = deploy(trained, vector(4), 2, 5)
    np.testing.assert_allclose(sorted(returns), sorted(-ours.cost.ravel()), rtol=1e-5)
    trained.save(tmp_path / "model.zip")
    loaded = T2DRL.load(tmp_path / "model.zip", device="cpu")
    assert loaded.batch_size == trained.batch_size
    np.testing.assert_array_equal(predictions(loaded.policy)[0], predictions(trained.policy)[0])


# --- continuation -----------------------------------------------------------------------------------------------------


def through_json(state: Snapshot) -> Snapshot:
    meta = json.loads(json.dumps(state.meta, allow_nan=False))
    return Snapshot(tensors=state.tensors, arrays=state.arrays, meta=meta)


def assert_equal(left: Snapshot, right: Snapshot) -> None:
    assert left.tensors.keys() == right.tensors.keys()
    assert left.arrays.keys() == right.arrays.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name]), name
    for name, array in left.arrays.items():
        assert array.dtype != object
        assert array.tobytes() == right.arrays[name].tobytes(), name
    assert through_json(left).meta == through_json(right).meta


@pytest.mark.parametrize("case", CASES)
def test_continues_bit_for_bit(case: str) -> None:
    total, part = 3 * ROLLOUT, 2 * ROLLOUT  # calibrated, trained once, in the middle of episodes and chunks

    def learner(seed: int = 3) -> T2DRLLearner:
        return T2DRLLearner(ID, {"horizon": HORIZON}, num_envs=LANES, seed=seed, anneal=True, **CASES[case])

    whole = learner()
    saved: list[Snapshot] = []

    def boundary() -> None:
        if whole.steps == part:
            saved.append(through_json(whole.snapshot()))

    whole.learn(total, boundary)
    assert len(saved) == 1
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    resumed = learner(seed=4)
    resumed.restore(saved[0])
    resumed.learn(total, lambda: None)
    assert resumed.steps == total
    assert_equal(whole.snapshot(), resumed.snapshot())
    for made in (whole, resumed):
        made.close()


def test_a_learner_reports_metrics_and_a_policy_with_a_state() -> None:
    learner = T2DRLLearner(ID, {}, num_envs=LANES, seed=0, **SMALL)
    learner.learn(2 * ROLLOUT, lambda: None)
    metrics = learner.metrics()
    assert {"train/policy_loss", "train/self_supervised_loss", "rollout/cost_per_slot"} <= metrics.keys()
    assert learner.metrics() == {}
    policy = learner.policy()
    with pytest.raises(InvalidInputError, match="nothing was seen"):
        policy.hold()
    batch = policy.act(observations()[0])
    assert batch["cache"].shape == batch["local_share"].shape == (4, 3)
    with pytest.raises(InvalidInputError, match="state must be of shape"):
        policy.act(observations()[0, 0])
    policy.reset()
    space = learner.model.get_env().unwrapped.venv.env.single_action_space  # type: ignore[union-attr]
    assert space.contains(policy.act(observations()[0, 0]))
    assert policy.hold()[0].shape[0] == 1


def test_snapshots_that_do_not_fit_are_refused() -> None:
    model = make()
    model.learn(ROLLOUT)
    state = snapshot(model)
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make(width=16), state)
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make("gru"), state)
    short = {name: value for name, value in state.arrays.items() if name != "extra:state"}
    with pytest.raises(CheckpointError, match="does not fit this T2DRL"):
        restore(make(), Snapshot(state.tensors, short, state.meta))
    bent = state.arrays | {"extra:state": np.zeros((2, 2), np.float32)}
    with pytest.raises(CheckpointError, match="states of shape"):
        restore(make(), Snapshot(state.tensors, bent, state.meta))


# --- deployment -------------------------------------------------------------------------------------------------------


def test_deployments_are_paired_and_leave_the_model_alone(trained: T2DRL) -> None:
    before = {name: value.clone() for name, value in trained.policy.state_dict().items()}
    runs = {mode: deploy(trained, vector(5), 3, 11, mode) for mode in ("episodic", "lifelong", "frozen")}  # type: ignore[arg-type]
    again = deploy(trained, vector(5), 3, 11)
    np.testing.assert_array_equal(runs["episodic"].cost, again.cost)
    np.testing.assert_array_equal(runs["episodic"].cost[:, 0], runs["lifelong"].cost[:, 0])  # until the first restart
    assert (runs["episodic"].cost != runs["frozen"].cost).any()
    assert (runs["episodic"].duration == 40.0).all()
    assert runs["episodic"].rates.shape == (5, 3)
    assert runs["episodic"].milliseconds > 0.0
    assert all(torch.equal(value, before[name]) for name, value in trained.policy.state_dict().items())
    first = deploy(trained, vector(1), 1, 77).state  # one episode of training's distribution
    assert first is not None
    held = deploy(trained, vector(5), 1, 11, "held", trained.policy.hold(first))
    assert held.cost.shape == (5, 1)


def test_online_ppo_goes_on_learning_on_real_costs() -> None:
    model = make()
    model.learn(2 * ROLLOUT)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    found = online_ppo(model, vector(LANES, horizon=15), 5, 11)
    assert found.cost.shape == (LANES, 5)
    assert (found.duration == 15.0).all()
    assert found.state is None
    assert any(not torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    with pytest.raises(InvalidInputError, match="env must be of 6 lanes"):
        online_ppo(model, vector(2), 1, 0)


def test_pad_adapts_in_deployment_only() -> None:
    model = make("pad", eta_base=0.5)
    model.learn(3 * ROLLOUT)
    assert not model._state[:, -8 * 3 - 8 :].any()  # encoder weights of the rollout: as trained
    adapted, frozen = (deploy(model, vector(5), 1, 11, mode) for mode in ("episodic", "frozen"))  # type: ignore[arg-type]
    assert adapted.state is not None
    assert adapted.state[0][:, -8 * 3 - 8 :].any()
    assert (adapted.cost != frozen.cost).any()


def test_deployments_refuse_what_they_cannot_run(trained: T2DRL) -> None:
    with pytest.raises(InvalidInputError, match="episodes must be at least 1"):
        deploy(trained, vector(), 0, 0)
    with pytest.raises(InvalidInputError, match="autoreset_mode must be SAME_STEP"):
        deploy(trained, vector(autoreset_mode=AutoresetMode.NEXT_STEP), 1, 0)
    with pytest.raises(InvalidInputError, match="state must be given"):
        deploy(trained, vector(), 1, 0, "held")
    assert trained.policy.test_time != "held"


# --- bad inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"chunk": 18}, "chunk: must be a multiple of minibatch = 4, got 18"),
        ({"heads": 3}, "heads: must divide width = 32, got 3"),
        ({"gamma": 1.0}, "gamma"),
        ({"test_time": "online"}, "test_time"),
        ({"own_credit": 0.5}, "item_head: must be at least 1 with own_credit, got 0"),
        ({"per_item": True}, "item_head: must be at least 1 with per_item, got 0"),
        ({"backbone": "lstm", "layers": 2, "hidden": 4}, "layers: is for the backbones ttt"),
    ],
)
def test_bad_hyper_parameters_are_named(hyper: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_t2drl(ID, **hyper)


def test_other_environments_and_policies_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="action_space must be Dict"):
        build_t2drl("edgewise/AoIOffload-v0")
    env = SemiMarkovVecEnv(VectorFlatCacheAction(vector()))
    with pytest.raises(InvalidInputError, match="policy must be T2DRLPolicy"):
        T2DRL("MlpPolicy", env)
    with pytest.raises(InvalidInputError, match="value_memory must be"):
        T2DRL(T2DRLPolicy, env, value_memory=0.5)
    with pytest.raises(InvalidInputError, match="aux_coef must be"):
        T2DRL(T2DRLPolicy, env, aux_coef=-1.0)
    box = spaces.Box(-1.0, 1.0, (6,))
    with pytest.raises(InvalidInputError, match="action_space must be the carrier"):
        T2DRLPolicy(box, spaces.Discrete(3), lambda _: 0.1)
    with pytest.raises(InvalidInputError, match="observation_space must be"):
        T2DRLPolicy(spaces.Discrete(3), box, lambda _: 0.1)
    policy = T2DRLPolicy(box, box, lambda _: 0.1, CacheNetworkFields(backbone="mlp", hidden=4))
    for method in (
        lambda: policy.evaluate_actions(torch.zeros(1, 6), torch.zeros(1, 6)),
        lambda: policy.get_distribution(torch.zeros(1, 6)),
    ):
        with pytest.raises(NotImplementedError, match="single rows have no state"):
            method()


# --- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_adapting_beats_the_frozen_self_on_drift() -> None:
    hyper = {"n_steps": 40, "learning_rate": 0.003, "batch_size": 320, "ent_coef": 0.005, "aux_coef": 0.0}
    model = build_t2drl(
        ID, num_envs=32, seed=0, **(SMALL | {"width": 16, "intermediate": 16, "n_epochs": 4, "chunk": 20} | hyper)
    )
    model.learn(60_000)
    adapted, frozen = (deploy(model, vector(300), 1, 10**6, mode) for mode in ("episodic", "frozen"))  # type: ignore[arg-type]
    gain = (frozen.rates - adapted.rates).ravel()
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0.0
    assert adapted.rates.mean() < 0.45  # keeping everything costs about 0.39, nothing 0.6, the hot item 0.22
    assert AdaptivePolicy(model).state is None
