"""Learners on masked choices: no masked action is taken, training continues bit for bit, and it learns."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the [sb3] extra")
pytest.importorskip("sb3_contrib", reason="needs the [sb3] extra")

import torch
from stable_baselines3.common.utils import configure_logger

from edgewise.agents.sb3.experts import ExpertLearner, ExpertPolicy, build_experts
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.fluid import dual_prices

SELECT, ROUTE, TWO_LEVEL = "edgewise/ExpertSelect-v0", "edgewise/ExpertRoute-v0", "edgewise/ExpertTwoLevel-v0"
D3QN = "fractional_d3qn_ddpg"
SMALL = {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "hidden": (16,)}
CASES = [
    ("masked_ppo", SELECT, {}),
    ("masked_ppo", ROUTE, {"queues": False, "dynamic": True, "p_fail": 0.3}),
    ("masked_ppo", ROUTE, {"k": 2}),
    ("masked_ppo", TWO_LEVEL, {"epoch_prompts": 5, "horizon": 10.0}),
    ("lagrangian_ppo", ROUTE, {"constraints": "cmdp", "tau": (1.0, 4.0, 10.0, 15.0), "horizon": 20.0}),
    ("fractional_ppo", ROUTE, {"objective": "per_joule", "queues": False, "dynamic": True, "p_fail": 0.3}),
    ("fractional_ppo", ROUTE, {"objective": "per_second"}),
    (D3QN, ROUTE, {"objective": "per_joule", "queues": False, "dynamic": True, "p_fail": 0.3}),
    (D3QN, ROUTE, {"objective": "per_second"}),
]
HYPER = {D3QN: {"learning_starts": 100, "batch_size": 16, "critic_hidden": (16,), "buffer_size": 1000}}


def hyper(algorithm):
    return HYPER.get(algorithm, SMALL)


@pytest.mark.parametrize(("algorithm", "env_id", "kwargs"), CASES)
def test_training_continues_bit_for_bit(algorithm, env_id, kwargs):
    def learner():
        return ExpertLearner(algorithm, env_id, kwargs, num_envs=4, seed=3, **hyper(algorithm))

    whole = learner()  # the libraries' generators are global: one learner at a time
    whole.learn(160, lambda: None)
    one = whole.snapshot()

    class Stop(Exception):
        pass

    def leave():
        if first.steps >= 96:
            raise Stop

    first = learner()
    with pytest.raises(Stop):
        first.learn(160, leave)
    saved = first.snapshot()
    second = learner()
    second.restore(saved)
    second.learn(160, lambda: None)
    other = second.snapshot()
    assert one.tensors.keys() == other.tensors.keys()
    assert all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    for each in (whole, first, second):
        each.close()


@pytest.mark.parametrize(("algorithm", "env_id", "kwargs"), [*CASES[:2], CASES[5], CASES[7]])
def test_masked_actions_are_never_taken(algorithm, env_id, kwargs):
    model = build_experts(algorithm, env_id, kwargs, num_envs=8, seed=1, **hyper(algorithm))
    env = model.get_env()
    inner, taken, closed = env.unwrapped.venv, [], []
    step = inner.step

    def watched(actions):
        allowed = inner.action_masks()
        closed.append((~allowed).sum())
        taken.append(allowed[np.arange(8), actions])
        return step(actions)

    inner.step = watched
    model.learn(256)
    assert np.all(taken)
    assert np.sum(closed) > 0
    policy, obs = ExpertPolicy(model), env.reset()
    mask = inner.action_masks()
    assert mask[np.arange(8), policy.act(obs, mask)["action"]].all()
    assert policy.act(obs[0], mask[0])["action"] == policy.act(obs, mask)["action"][0]


def test_the_ratio_goes_towards_the_certified_optimum():
    kwargs = {"objective": "per_joule", "queues": False, "constraints": "none"}
    model = build_experts(
        "fractional_ppo", ROUTE, kwargs, num_envs=32, seed=0, n_steps=16, batch_size=512, learning_rate=3e-3, hidden=()
    )
    best = model.get_env().unwrapped.venv.optimum().bound
    model.learn(512)
    before = model.ratio
    model.learn(12 * 512, reset_num_timesteps=False)
    assert best < model.ratio < before < 0.0


@pytest.mark.parametrize(
    ("algorithm", "env_id", "kwargs", "changes", "message"),
    [
        ("ppo", ROUTE, {}, {}, "algorithm"),
        ("fractional_ppo", ROUTE, {"k": 2}, {}, "k: must be 1"),
        ("fractional_ppo", SELECT, {}, {}, "mask in the observation"),
        (D3QN, ROUTE, {"k": 2}, {}, "k: must be 1"),
        (D3QN, SELECT, {}, {}, "mask in the observation"),
        (D3QN, ROUTE, {}, {"defects": ("batch_norm",)}, "defects"),
        (D3QN, ROUTE, {}, {"shared_ratio": True}, "shared_ratio"),
        ("lagrangian_ppo", ROUTE, {}, {}, "constraints must be cmdp"),
        ("lagrangian_ppo", SELECT, {}, {}, "constraints must be cmdp"),
    ],
)
def test_what_does_not_fit_is_refused(algorithm, env_id, kwargs, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        build_experts(algorithm, env_id, kwargs, num_envs=2, **{**hyper(algorithm), **changes})


def test_d3qn_without_a_wait_learns_the_priced_worth_of_every_choice():
    kwargs = {"objective": "per_joule", "queues": False, "constraints": "none"}
    settings = {"learning_starts": 1000, "period": 512, "critic_hidden": (), "horizon": 10.0, "learning_rate": 1e-2}
    model = build_experts(D3QN, ROUTE, kwargs, num_envs=32, seed=0, batch_size=128, gradient_steps=4, **settings)
    best = model.get_env().unwrapped.venv.optimum().bound  # negative: quality is a negative cost
    model.learn(1024)
    before = model.ratio
    model.learn(6000, reset_num_timesteps=False)
    assert best < model.ratio < 0.5 * best < 0.2 * best < before


def test_double_q_learning_values_only_choices_that_the_next_mask_allows():
    model = build_experts(D3QN, ROUTE, {"dynamic": True}, num_envs=2, seed=0, **HYPER[D3QN])
    policy, layout = model.policy, model.get_env().unwrapped.venv.layout["available"]
    observation = torch.rand(5, model.observation_space.shape[0])
    observation[:, layout] = 0.0
    observation[:4, layout] = torch.eye(12)[[3, 0, 11, 7]]
    values = torch.rand(5, 12)
    assert policy.best(values, observation)[:4].tolist() == [3, 0, 11, 7]
    assert policy.best(values, observation)[4] == values[4].argmax()  # nothing works: any choice is refused
    drawn = policy.choices(observation[:4].repeat(50, 1), torch.ones(200))
    assert drawn.tolist() == [3, 0, 11, 7] * 50


CMDP = {"constraints": "cmdp", "queues": False, "tau": (1.0, 4.0, 10.0, 15.0), "horizon": 50.0}


def test_rewards_pay_the_prices_of_what_a_step_uses():
    model = build_experts(
        "lagrangian_ppo", ROUTE, {**CMDP, "energy_budget": 9000.0, "delay_budget": 5.0}, num_envs=4, **SMALL
    )
    env = model.get_env().unwrapped
    env.prices = np.array([0.3, 0.02])
    env.seed(7)
    env.reset()
    inner, told = env.venv.step, []
    env.venv.step = lambda actions: told.append(inner(actions)) or told[-1]
    for action in range(5):
        _, reward, _, infos = env.step(np.full(4, action))
        _, unpriced, _, _, info = told[-1]
        energy, delay = (info["constraint_costs"][name] for name in ("energy", "delay"))
        paid = 0.3 * energy / (9000.0 / 50.0) + 0.02 * delay / (5.0 / 50.0)
        assert reward == pytest.approx(unpriced - paid, rel=1e-5)
        assert [one["cost"] for one in infos] == pytest.approx(-unpriced)  # what is reported stays unpriced


def test_prices_move_with_the_use_and_stay_at_least_zero():
    model = build_experts("lagrangian_ppo", ROUTE, CMDP, num_envs=4, multiplier_rate=0.1, **SMALL)
    env = model.get_env().unwrapped
    env.use, env.steps_counted = np.array([26.0, 4.0]), 20
    model.set_logger(configure_logger(0))
    model.move_prices()
    assert env.prices == pytest.approx([0.1 * 0.3, 0.0])
    env.use, env.steps_counted = np.array([10.0, 50.0]), 20
    model.move_prices()
    assert env.prices == pytest.approx([0.0, 0.15])
    assert (env.use == 0.0).all()


def test_prices_approach_those_of_the_linear_programme():
    """One binding constraint: the learner comes to meet it, at about the dual price."""
    kwargs = {**CMDP, "energy_budget": 50 * 300.0, "delay_budget": 1e6}
    settings = {"n_steps": 32, "batch_size": 512, "n_epochs": 5, "gamma": 0.0, "gae_lambda": 0.0, "hidden": (64,)}
    model = build_experts("lagrangian_ppo", ROUTE, kwargs, num_envs=64, multiplier_rate=0.005, **settings)
    env = model.get_env().unwrapped
    price = dual_prices(env.venv._system)[0] * 300.0
    used = []
    move = model.move_prices
    model.move_prices = lambda: (used.append(env.use[0] / env.steps_counted), move())
    model.learn(120_000)
    assert used[0] > 1.4
    assert np.mean(used[-10:]) == pytest.approx(1.0, abs=0.1)
    assert 0.5 * price < env.prices[0] < 2.0 * price
    assert env.prices[1] == 0.0


def test_unknown_hyper_parameters_are_refused():
    with pytest.raises(InvalidInputError, match="clip"):
        build_experts("masked_ppo", SELECT, num_envs=2, clip=0.1)
