"""Servers that trade reasoning paths: what is traded, what it changes, who pays, and what stays as it was."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import market as clocks
from oracles.model_caching import Reference
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.model_caching import MarketParams, aec_env, parallel_env
from edgewise.envs.model_caching.catalogue import FITS, MODELS
from edgewise.envs.model_caching.instance import draw_instance
from edgewise.envs.model_caching.params import MODES, WINDOW_RULES
from edgewise.envs.model_caching.path_market import NO_SELLER
from edgewise.envs.model_caching.state import FIGURES
from edgewise.envs.testing import Actor, digest

MARKET_KEYS = {"bought", "seller", "payments", "sold", "receipts", "surplus"}
DEAR = {"utilisation": (1e6, 1e6)}  # no unit slot is worth its price


def choose(rng, game, full=0.7):
    """A random action for every server; many shares are 1."""
    count = game.params.n_agents
    return {
        agent: {
            "cache": (rng.random(count) < 0.6).astype(np.int8),
            "local_share": np.where(rng.random(count) < full, 1.0, rng.random(count)).astype(np.float32),
        }
        for agent in game.agents
    }


def column(infos, key):
    return np.array([info[key] for info in infos.values()])


def cleared(game, oracles, served):
    """Buyer (server, agent) to seller and price, by the tick-by-tick market in plain Python; prices (paid, received).

    Everything is derived from the reference servers' state: who bids, at which value, who sells at which cost.
    """
    p, held, rules = game.params, game._market, game.market
    tiers = [MODELS[name].tier for name in p.models]
    fits = [FITS[tiers[m]][k] for m, k in zip(held.static["model"], held.static["dataset"], strict=True)]

    def gain(i):
        start, limit, tau = fits[i]
        return p.weight_accuracy * (limit - start) * math.exp(-p.paths / tau) * (1.0 - math.exp(-1.0 / tau))

    size, slot = len(oracles) * p.n_agents, oracles[0].time
    agents = sorted(range(size), key=lambda b: (b - slot) % size)
    buyers = []
    for b in agents:
        n, i = divmod(b, p.n_agents)
        here = served[n][i] * oracles[n].demand[i]
        thought = oracles[n].context[i] + (here * oracles[n].growth_now[i] + oracles[n].thought_now[i])
        if here > 0 and (p.window_rule in ("none", "slide") or thought <= oracles[n].window[i]):
            buyers.append((n, i))
    unit = max(oracle.path_joules(i) for oracle in oracles for i in oracle.ids)
    sellers = []
    for u in range(len(buyers) + 1):
        for n, oracle in enumerate(oracles):
            energy = sum(b * oracle.joules(i) for i, b in enumerate(served[n]))
            if u < math.floor(max(p.energy_budget - energy, 0.0) / unit):
                first = p.weight_compute * unit / p.gpu_gflops
                sellers.append((n, held.utilisation[n] * first + held.utilisation[n] * rules.congestion * u))
    high = rules.quality[1] * max(gain(i) for i in range(p.n_agents))
    values = [held.quality[n, i] * gain(i) for n, i in buyers]
    pair = clocks.Clock(high / rules.ticks, 0.0, high)
    bids, asks, *_ = clocks.synchronized(values, [cost for _, cost in sellers], pair)
    pairs, paid, received, _ = clocks.mcafee(bids, asks)
    return {buyers[b]: sellers[s][0] for b, s in pairs}, paid, received


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", WINDOW_RULES)
def test_every_slot_is_the_reference_with_the_reference_markets_trades(mode, rule):
    """Bit for bit: observation, cost, terms, figures, given trades that a market in plain Python arrives at too."""
    rules = {"congestion": 1e-5}
    more = {"context_windows": (8192, 32768)}
    if mode == "modern":  # decoding takes much energy: sellers need more of it, and must sell below its cost
        rules, more = rules | {"utilisation": (0.005, 0.01)}, {"n_gpus": 8}
    game = parallel_env(3, "stationary", market=rules, horizon=12, mode=mode, window_rule=rule, **more)
    game.reset(seed=7)
    instance = draw_instance(game.params)
    oracles = [Reference(game.params, instance, 7 + n, horizon=12.0) for n in range(3)]
    rng, traded = np.random.default_rng(3), 0
    while game.agents:
        actions = choose(rng, game)
        plain = [(a["cache"].tolist(), a["local_share"].astype(float).tolist()) for a in actions.values()]
        matches, paid, received = cleared(
            game, oracles, [o.project(*a)[1] for o, a in zip(oracles, plain, strict=True)]
        )
        joules = {buyer: oracles[buyer[0]].path_joules(buyer[1]) for buyer in matches}
        observations, rewards, _, _, infos = game.step(actions)
        for n, (oracle, info) in enumerate(zip(oracles, infos.values(), strict=True)):
            bought = [int((n, i) in matches) for i in range(10)]
            assert info["bought"].tolist() == bought
            assert info["seller"].tolist() == [matches.get((n, i), NO_SELLER) for i in range(10)]
            assert info["payments"] == pytest.approx(np.array(bought) * (paid or 0.0))
            assert info["sold"] == list(matches.values()).count(n)
            assert info["receipts"] == pytest.approx(info["sold"] * (received or 0.0))
            spent = sum(e for _, e in sorted((b, e) for b, e in joules.items() if matches[b] == n))
            cost, terms, figures, plan, served = oracle.step(*plain[n], bought, spent)
            assert (info["cost"], tuple(info["cost_terms"].values())) == (cost, terms)
            assert tuple(info[key] for key in FIGURES) == figures
            assert (info["cache"].tolist(), info["local_share"].tolist()) == (plan, served)
            assert observations[f"server_{n}"].tobytes() == np.array(oracle.observation(), np.float32).tobytes()
            assert rewards[f"server_{n}"] == -cost
            if rule in ("evict_on_overflow", "clip"):
                assert all(k <= w for k, w in zip(oracle.context, oracle.window, strict=True))
        traded += len(matches)
    assert traded > 20


@given(
    seed=st.integers(0, 2**32),
    servers=st.integers(1, 4),
    mode=st.sampled_from(list(MODES)),
    value=st.sampled_from(["paths", "saving"]),
    variant=st.sampled_from(["sweep", "crossing", "alternating"]),
    congestion=st.sampled_from([0.0, 1e-4, 1e-2]),
    watt=st.sampled_from([0.02, 0.2, 300.0]),
)
@settings(max_examples=25)
def test_paths_are_conserved_payments_are_transfers_and_nobody_loses(
    seed, servers, mode, value, variant, congestion, watt
):
    rules = MarketParams(value=value, variant=variant, congestion=congestion)
    game = parallel_env(servers, "stationary", market=rules, mode=mode, gpu_watt=watt, horizon=4)
    game.reset(seed=seed)
    rng, held = np.random.default_rng(seed), []
    hold = game._market.hold
    game._market.hold = lambda *state: held.append(hold(*state)) or held[-1]
    while game.agents:
        *_, infos = game.step(choose(rng, game))
        bought, seller, payments = (column(infos, key) for key in ("bought", "seller", "payments"))
        served, receipts, sold = (column(infos, key) for key in ("local_share", "receipts", "sold"))
        assert bought.sum() == sold.sum()
        assert (np.bincount(seller[bought > 0], minlength=servers) == sold).all()
        assert not bought[served == 0].any()
        assert not payments[bought == 0].any()
        assert payments.sum() - receipts.sum() == pytest.approx(infos["server_0"]["surplus"], abs=1e-12)
        assert infos["server_0"]["surplus"] >= -1e-12
        assert (payments[bought > 0] <= held[-1].bids[bought > 0] + 1e-12).all()
        for n, info in enumerate(infos.values()):
            assert info["receipts"] >= held[-1].asks[n, : info["sold"]].sum() - 1e-12
            assert info["energy"] <= game.params.energy_budget * (1 + 1e-9)
            assert info["memory"] <= game.params.capacity_gb * (1 + 1e-12)
            assert sum(info["cost_terms"].values()) == pytest.approx(info["cost"], rel=1e-9)


@pytest.mark.parametrize("shared", [False, True])
def test_traded_thoughts_never_overflow_the_memory(shared):
    """Key-value caches so large that the projection fills the memory: with less room fewer agents bid."""
    cheap, fields = {"utilisation": (0.0, 0.0), "congestion": 0.0}, {"mode": "modern", "weights_shared": shared}
    game = parallel_env(2, "stationary", market=cheap, n_gpus=8, gpu_gb=5.0, window_rule="none", horizon=60, **fields)
    game.reset(seed=1)
    rng, fullest, bought = np.random.default_rng(1), 0.0, 0
    while game.agents:
        *_, infos = game.step(choose(rng, game, full=1.0))
        for info in infos.values():
            assert info["memory"] <= game.params.capacity_gb
            fullest, bought = max(fullest, info["memory"] / game.params.capacity_gb), bought + info["bought"].sum()
    assert fullest > 0.9
    assert bought > 20


def test_trades_on_what_is_saved_never_raise_the_servers_costs():
    """With values and costs as they are (Q = G = 1) every trade saves the buyer more than it costs the seller."""
    rules = {"value": "saving", "quality": (1, 1), "utilisation": (1, 1), "congestion": 0.0}
    on, off = (parallel_env(4, "section14", market=market, horizon=25) for market in (rules, DEAR))
    on.reset(seed=2)
    off.reset(seed=2)
    rng, saved = np.random.default_rng(0), []
    while on.agents:
        off._simulator.set_state(on._simulator.get_state())
        actions = choose(rng, on)
        *_, traded = on.step(actions)
        *_, alone = off.step(actions)
        saved.append(column(alone, "cost").sum() - column(traded, "cost").sum())
        surplus = column(traded, "payments").sum() - column(traded, "receipts").sum()
        assert saved[-1] >= surplus - 1e-9
        others = ("switching", "communication", "cloud")
        for a, b in zip(traded.values(), alone.values(), strict=True):
            assert all(a["cost_terms"][key] == b["cost_terms"][key] for key in others)
            assert a["cost_terms"]["accuracy"] <= b["cost_terms"]["accuracy"]
            assert a["cost_terms"]["compute"] >= b["cost_terms"]["compute"]
    assert sum(saved) > 0.01


def test_a_market_without_a_trade_changes_nothing():
    game = parallel_env(3, market=DEAR, horizon=8)
    alone = [gymnasium.make("edgewise/ModelCaching-v0", horizon=8) for _ in range(3)]
    observations, infos = game.reset(seed=4)
    for n, (agent, env) in enumerate(zip(game.agents, alone, strict=True)):
        observation, info = env.reset(seed=4 + n)
        kept = {k: v for k, v in infos[agent].items() if k in info}
        assert digest(observations[agent], kept) == digest(observation, info)
        assert infos[agent].keys() - info.keys() == MARKET_KEYS
    actors = [Actor(env.action_space, n) for n, env in enumerate(alone)]
    while game.agents:
        actions = {agent: actor(None, {}) for agent, actor in zip(game.agents, actors, strict=True)}
        *outcome, infos = game.step(actions)
        for agent, env in zip(actions, alone, strict=True):
            *expected, info = env.step(actions[agent])
            assert not infos[agent]["bought"].any()
            kept = {k: v for k, v in infos[agent].items() if k in info}
            assert digest(*(part[agent] for part in outcome), kept) == digest(*expected, info)


def test_coefficients_belong_to_the_instance_and_turns_move_on():
    one, other, seeded = (parallel_env(2, market=True, instance_seed=k)._market for k in (0, 0, 1))
    assert (one.quality == other.quality).all()
    assert (one.quality != seeded.quality).all()
    assert one.quality.shape == (2, 20)
    assert 0.5 <= one.quality.min() < one.quality.max() <= 1.5
    # two equal agents; of equal bids the last one is left out, and whose it is changes from slot to slot
    equal = {"quality": (1, 1), "utilisation": (1, 1)}
    alike = {"n_agents": 1, "models": ("lamda-137b",), "alpha": (0.4,), "context_windows": None, "agent_demand": 50.0}
    game = parallel_env(2, "section14", market=equal, horizon=40, **alike)
    game.reset(seed=0)
    everything = {agent: {"cache": [1], "local_share": [1.0]} for agent in game.agents}
    winners = []
    while game.agents:
        *_, infos = game.step(everything)
        winners.append([agent for agent, info in infos.items() if info["bought"].any()])
    assert ["server_0"] in winners
    assert ["server_1"] in winners


def test_pettingzoos_tests_pass_with_a_market():
    parallel_api_test(parallel_env(2, market=True, horizon=6), num_cycles=20)
    parallel_seed_test(lambda: parallel_env(2, market=True, horizon=6), num_cycles=12)
    api_test(aec_env(2, market=True, horizon=6), num_cycles=20)


BAD = {
    "market": "yes",
    "value": {"value": "money"},
    "prices": {"prices": 3},
    "quality must be": {"quality": (2.0, 1.0)},
    "quality must end": {"quality": (0.0, 0.0)},
    "ticks": {"ticks": 0},
    "congestion": {"congestion": float("nan")},
}


@pytest.mark.parametrize("message", BAD)
def test_a_malformed_market_names_the_field(message):
    with pytest.raises(InvalidInputError, match=message):
        parallel_env(2, market=BAD[message])


def test_accuracy_that_is_worth_nothing_has_no_market():
    with pytest.raises(InvalidInputError, match="market"):
        parallel_env(2, market=True, weight_accuracy=0.0)
    assert parallel_env(2, market=False, weight_accuracy=0.0).market is None
