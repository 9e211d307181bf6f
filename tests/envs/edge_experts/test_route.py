"""Routing: the kernel against plain Python bit for bit, conservation, queues, bounds (tests E1 to E3 and E8 to E10)."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import edgewise  # noqa: F401  # registers the ids
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.edge_experts.costs import costs
from edgewise.envs.edge_experts.fluid import dual_prices, fluid
from edgewise.envs.edge_experts.instance import Instance, Link, Prompts
from edgewise.envs.edge_experts.params import RouteParams
from edgewise.envs.edge_experts.route_system import RouteSystem
from edgewise.envs.edge_experts.synthetic import DELAY_BUDGETS, synthetic
from edgewise.eval.bench.plain import route_reference

ID = "edgewise/ExpertRoute-v0"
MID = DELAY_BUDGETS["mid"]


def random_instance(rng, n=5, prompts=40):
    """A few experts that share devices, idle power, a gate with scores, unequal prompts."""
    base = synthetic(int(rng.integers(1000)), prompts=prompts).subset(rng.choice(12, n, replace=False))
    experts = tuple(
        expert.model_copy(
            update={
                "device": f"d{rng.integers(3)}",
                "P_idle": float(rng.integers(0, 9)),
                "link": Link(rtt=float(rng.uniform(0.005, 0.1))),
            }
        )
        for expert in base.experts
    )
    p = base.prompts
    table = Prompts.make(
        category=p.category,
        Q=p.Q,
        I=p.I,
        O=p.O,
        phi=p.phi,
        n_categories=4,
        weight=rng.dirichlet(np.ones(prompts)) if rng.random() < 0.5 else None,
        scores=rng.normal(size=p.Q.shape),
    )
    return Instance(experts, base.categories, table, base.budgets.changed(t_gate=float(rng.choice([0.0, 0.01]))))


SETTINGS = (
    {},
    {"k": 2, "dynamic": True, "p_fail": 0.2, "tau": MID},
    {"k": 3, "aggregation": "best", "quality": "bernoulli", "objective": "per_joule"},
    {"k": 3, "aggregation": "best", "quality": "bernoulli", "constraints": "cmdp"},
    {"objective": "per_second", "k": 2, "dynamic": True, "p_fail": 0.3},
    {"hard_budget": True, "energy_budget": 3000.0, "constraints": "cmdp", "tau": MID, "rate": 0.2},
    {"queues": False, "quality": "bernoulli", "dynamic": True, "p_fail": 1.0, "p_repair": 0.5},
)


@pytest.mark.parametrize("fields", SETTINGS, ids=[" ".join(map(str, s)) or "defaults" for s in SETTINGS])
def test_the_kernel_equals_plain_python_bit_for_bit(fields):
    rng = np.random.default_rng(len(str(fields)))
    for seed in range(2):
        instance = random_instance(rng)
        horizon = {"per_joule": 2e4, "per_second": 300.0}.get(fields.get("objective"), 60.0)
        system = RouteSystem(instance, RouteParams.make(**fields), 2, horizon)
        seeds = [seed, 2**64 - 1 - seed]
        system.seed(np.array(seeds, np.uint64))
        lanes = [route_reference(system, s) for s in seeds]
        k, nobody = system.params.k, np.zeros(2, bool)
        for _ in range(2):  # episodes
            batch = system.reset(np.ones(2, bool))
            for i, lane in enumerate(lanes):
                assert batch.obs[i].tolist() == np.array(lane.reset(), np.float32).tolist()
            over = nobody
            while not over.any():
                actions = rng.integers(0, 6, (2, k))
                actions[:, 0] %= 5
                batch = system.step(actions, nobody)
                for i, lane in enumerate(lanes):
                    obs, numbers, truncated = lane.step(actions[i].tolist())
                    cost, duration, time, value, priced, late, total, excess, clock, delay = numbers
                    expected = [cost, duration, time, -value, priced, late, total, excess]
                    assert batch.out[:8, i].tolist() == expected
                    assert batch.out[10:14, i].tolist() == [clock, value, delay, total]
                    assert batch.obs[i].tolist() == np.array(obs, np.float32).tolist()
                    assert batch.mask[i, :5].tolist() == lane.masks()
                    assert bool(batch.truncated[i]) == truncated
                over = batch.truncated


def play(env, policy, seed=0):
    """All infos of an episode."""
    obs, info = env.reset(seed=seed)
    found, over = [], False
    while not over:
        obs, _, terminated, over, info = env.step(policy(obs, info))
        assert not terminated
        found.append(info)
    return found


def test_the_energy_ledger_adds_up():
    """E3: what the steps used is what the observation says is gone."""
    env = gymnasium.make(ID, dynamic=True, energy_budget=5e4)
    rng = np.random.default_rng(0)
    env.reset(seed=1)
    used = 0.0
    for _ in range(150):
        obs, *_, info = env.step(int(rng.integers(12)))
        used += info["energy_J"]
        left = float(obs[env.unwrapped.layout["energy_left"]][0])
        assert left == pytest.approx(1.0 - used / 5e4, rel=1e-6, abs=1e-6)
        assert info["constraint_costs"]["energy"] == info["energy_J"]


def test_the_oracle_policy_reaches_the_value_of_all_experts():
    """E8: no penalties, no queues, expected quality."""
    instance = synthetic(0)
    env = gymnasium.make(ID, constraints="none", queues=False, horizon=400)
    prompts = {tuple(row): x for x, row in enumerate(instance.prompts.phi.astype(np.float32).tolist())}
    obs, _ = env.reset(seed=0)
    rewards, best, over = [], [], False
    while not over:
        x = prompts[tuple(obs[env.unwrapped.layout["phi"]].tolist())]
        obs, reward, _, over, _ = env.step(int(instance.prompts.Q[x].argmax()))
        rewards.append(reward)
        best.append(instance.prompts.Q[x].max())
    assert rewards == pytest.approx(best, abs=0)
    assert np.mean(rewards) == pytest.approx(0.857936, abs=4 * np.std(best) / 20)


def test_without_load_the_delay_is_the_model_s():
    """E9: arrivals far apart."""
    instance = synthetic(0)
    env = gymnasium.make(ID, rate=1e-6, horizon=50)
    table = costs(instance).delay + 0.02
    prompts = {tuple(row): x for x, row in enumerate(instance.prompts.phi.astype(np.float32).tolist())}
    obs, _ = env.reset(seed=0)
    for action in np.arange(50) % 12:
        x = prompts[tuple(obs[env.unwrapped.layout["phi"]].tolist())]
        obs, *_, info = env.step(int(action))
        assert info["delay_s"] == pytest.approx(table[x, action], rel=1e-6)
        assert not obs[env.unwrapped.layout["backlog_s"]].any()


def test_an_overloaded_expert_s_backlog_grows_linearly():
    """E9: one expert at a load above 1; the backlog grows by service minus gap per prompt."""
    instance = synthetic(0).subset([4])
    service = float(costs(instance).compute.mean())
    env = gymnasium.make(ID, instance=instance, rate=4.0 / service, horizon=1500)
    obs, _ = env.reset(seed=0)
    backlog, over = [], False
    while not over:
        obs, _, _, over, _ = env.step(0)
        backlog.append(float(obs[env.unwrapped.layout["backlog_s"]][0]))
    slope = np.polyfit(np.arange(len(backlog)), backlog, 1)
    assert slope[0] == pytest.approx(service * 0.75, rel=0.1)
    assert backlog[-1] == pytest.approx(1500 * 0.75 * service, rel=0.1)


def test_constrained_rewards_hold_no_penalty_and_a_spent_budget_ends_the_scores():
    """E10."""
    env = gymnasium.make(ID, constraints="cmdp", hard_budget=True, energy_budget=5000.0, tau=DELAY_BUDGETS["tight"])
    infos = play(env, lambda obs, info: 5)
    spent, used = False, 0.0
    for info in infos:
        assert info["cost"] == -info["quality"]
        assert info["cost_terms"]["energy"] == info["cost_terms"]["delay"] == 0
        assert min(info["constraint_costs"].values()) >= 0
        assert info["constraint_limits"] == {"energy": 5000.0, "delay": 20.0}
        assert (info["quality"] == 0) == spent
        used += info["energy_J"]
        spent = used >= 5000.0
    assert spent
    assert any(info["constraint_costs"]["delay"] > 0 for info in infos)
    soft = play(gymnasium.make(ID, constraints="cmdp", energy_budget=5000.0), lambda obs, info: 5)
    assert all(info["quality"] > 0 for info in soft)


def test_experts_that_are_down_are_masked_and_refuse():
    env = gymnasium.make(ID, dynamic=True, p_fail=0.5, p_repair=0.3)
    obs, info = env.reset(seed=0)
    refused = 0
    for _ in range(100):
        mask = info["action_mask"]
        assert (mask == env.unwrapped.action_masks()).all()
        available = obs[env.unwrapped.layout["available"]] > 0
        assert (mask == (available if available.any() else True)).all()
        down = np.flatnonzero(~available)
        action = int(down[0]) if len(down) else 0
        obs, *_, info = env.step(action)
        if len(down):
            refused += 1
            assert info["quality"] == 0
            assert info["delay_s"] == 0.010
            assert info["energy_J"] == 0.1
    assert refused > 50


@pytest.mark.parametrize("objective", ["sum", "per_joule", "per_second"])
def test_the_fluid_bound_is_reached_by_its_policy_and_beaten_by_none(objective):
    system = RouteSystem(synthetic(0), RouteParams.make(objective=objective, queues=False, tau=MID), 1, None)
    env = gymnasium.make(ID, objective=objective, queues=False, tau=MID)
    optimum = env.unwrapped.optimum()
    assert optimum.value == optimum.bound < 0
    found = fluid(system)
    best = (found.cost - optimum.bound * found.duration).argmin(axis=1)
    for policy, slack in ((best, 0.0), (found.duration.argmin(axis=1), None), (np.full(2000, 9), None)):
        rows = np.arange(2000)
        ratio = found.weight @ found.cost[rows, policy] / (found.weight @ found.duration[rows, policy])
        assert ratio >= optimum.bound - 1e-12
        if slack is not None:
            assert ratio == pytest.approx(optimum.bound, rel=1e-9)
    vec = gymnasium.make_vec(ID, num_envs=64, objective=objective, queues=False, tau=MID, autoreset_mode="SAME_STEP")
    phi = {tuple(row): x for x, row in enumerate(synthetic(0).prompts.phi.astype(np.float32).tolist())}
    obs, _ = vec.reset(seed=0)
    cost = duration = 0.0
    for _ in range(60):
        rows = [phi[tuple(row)] for row in obs[:, vec.unwrapped.layout["phi"]].tolist()]
        obs, _, _, _, info = vec.step(best[rows])
        cost, duration = cost + info["cost"].sum(), duration + info["duration"].sum()
    assert cost / duration == pytest.approx(optimum.bound, rel=0.06)


def test_constrained_bounds_respect_the_limits_and_are_tight():
    """The dual's prices route pointwise; mixing neighbours meets the budget, so the gap is one prompt's worth."""
    params = RouteParams.make(constraints="cmdp", queues=False, energy_budget=200 * 200.0, tau=MID, delay_budget=1e9)
    system = RouteSystem(synthetic(0), params, 1, 200.0)
    optimum = gymnasium.make(ID, params=params, horizon=200).unwrapped.optimum()
    assert optimum.value is None
    energy, _ = dual_prices(system)
    assert energy > 0
    found, rows = fluid(system), np.arange(2000)
    reached = []
    for price in (energy * 1.001, energy * 0.999):
        choice = (found.cost + price * found.energy).argmin(axis=1)
        mean = (float(found.weight @ table[rows, choice]) for table in (found.energy, found.cost))
        reached.append(tuple(mean))
    (low, cost_low), (high, cost_high) = reached
    assert low <= 200.0 * 1.01
    assert high >= 200.0 * 0.99
    share = 0.0 if high == low else min(max((200.0 - low) / (high - low), 0.0), 1.0)
    assert cost_low + share * (cost_high - cost_low) == pytest.approx(optimum.bound, abs=2e-3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rate": 0}, "rate"),
        ({"k": 99}, "k"),
        ({"instance": "synthetic:0", "k": 3, "p_fail": 2}, "p_fail"),
        ({"colour": 1}, "colour"),
        ({"objectve": "sum"}, "did you mean 'objective'"),
        ({"objective": "speed"}, "objective"),
        ({"horizon": -1}, "horizon"),
        ({"horizon": float("nan")}, "horizon"),
        ({"tau": (1, 2)}, "tau"),
        ({"tau": (0, 1, 1, 1)}, "tau"),
        ({"instance": 7}, "instance"),
        ({"instance": "missing.json"}, "missing.json"),
        ({"render_mode": "human"}, "unexpected keyword argument 'render_mode'"),
        ({"objective": "per_joule", "gate_energy": 0}, "gate_energy"),
        ({"params": RouteParams.make(), "rate": 1.0}, "params excludes"),
        ({"params": 3}, "RouteParams"),
    ],
)
def test_bad_arguments_are_refused_with_the_field_named(fields, words):
    with pytest.raises(InvalidInputError, match=words):
        gymnasium.make(ID, disable_env_checker=True, **fields)


@pytest.mark.parametrize("action", [-1, 12, 1.0, "0", None, [0], np.float64(2), np.array([1])])
def test_bad_actions_are_refused_and_nothing_moves(action):
    env = gymnasium.make(ID, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InvalidInputError, match="action"):
        env.step(action)
    for name, array in env.get_state().items():
        assert (array == before[name]).all()


def test_groups_need_a_first_expert():
    env = gymnasium.make(ID, k=2, disable_env_checker=True).unwrapped
    _, info = env.reset(seed=0)
    assert info["action_mask"].shape == (12 + 13,)
    for action in ([12, 0], [0, 13], [0], 0):
        with pytest.raises(InvalidInputError, match="action"):
            env.step(action)
    env.step(np.array([0, 12]))


def test_damaged_states_are_refused():
    env = gymnasium.make(ID).unwrapped
    env.reset(seed=0)
    good = env.get_state()
    for name in good:
        with pytest.raises(InvalidInputError, match="state"):
            env.set_state({key: value for key, value in good.items() if key != name})
    lane = good["lane"].copy()
    lane["prompt"] = 10**9
    with pytest.raises(InvalidInputError, match="prompt"):
        env.set_state(good | {"lane": lane})
    lane = good["lane"].copy()
    lane["clock"] = np.inf
    with pytest.raises(InvalidInputError, match="clocks"):
        env.set_state(good | {"lane": lane})


def test_a_reset_step_of_next_step_shows_the_new_episode_s_limits_and_first_prompt():
    vec = gymnasium.make_vec(ID, num_envs=3, horizon=2.0, constraints="cmdp", tau=MID, energy_budget=2000.0)
    vec.reset(seed=0)
    actions = np.zeros(3, np.int64)
    while not vec.step(actions)[3].any():
        pass
    *_, info = vec.step(actions)
    assert (info["constraint_limits"]["energy"] == 2000.0).all()
    assert (info["category"] == info["reset_info"]["category"]).all()
    assert (info["cost"] == 0.0).all()
