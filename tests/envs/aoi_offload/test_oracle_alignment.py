"""The compiled kernel and the plain-Python reference give the same bits on whole episodes of random instances."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.simulator import Simulator
from edgewise.envs.aoi_offload.state import (
    COST,
    DURATION,
    JOINT_AGENT,
    KIND,
    OUT_DEVICE,
    OUT_KIND,
    RULE,
    STAGED_AGENT,
    TERM_0,
    TIME,
)


def load_reference() -> ModuleType:
    path = Path(__file__).parents[2] / "oracles" / "aoi_offload.py"
    spec = importlib.util.spec_from_file_location("oracle_aoi_offload", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Reference = load_reference().Reference


def reference(params: AoIParams, **more):
    fields = params.model_dump(exclude={"z_max"})
    return Reference(**fields, **more)


def bits(*values):
    """Doubles that compare equal only if every bit is."""
    return [float(v).hex() for v in values]


def play(params, *, seed=0, lanes=2, horizon=30.0, joint=(), team=False, actions=None, limit=400):
    """Play the same random actions in kernel and reference and compare every decision; returns their number."""
    rules = np.zeros(params.n_devices, RULE)
    rules["agent"] = STAGED_AGENT
    rules["agent"][list(joint)] = JOINT_AGENT
    objective = "team" if team else "selfish"
    kernel = Simulator(params, rules, lanes, horizon=horizon, objective=objective, stream=True)
    kernel.seed(np.arange(seed, seed + lanes, dtype=np.uint64))
    results = kernel.reset()
    oracles = [reference(params, horizon=horizon, seed=seed + i, joint=joint, team=team) for i in range(lanes)]
    rng = np.random.default_rng(seed)
    done = np.zeros(lanes, bool)
    decisions = 0
    for i, oracle in enumerate(oracles):
        compare(oracle, kernel, results, i, team)
    while not done.all() and decisions < limit:
        server = rng.integers(0, params.n_edges + 1, lanes)
        wait = (actions or random_waits)(rng, params.z_max, lanes)
        skip = done.copy()
        results, truncated = kernel.step(server, wait, skip, results)
        for i, oracle in enumerate(oracles):
            if skip[i]:
                continue
            oracle.decide(int(server[i]), min(float(wait[i]), params.z_max))
            compare(oracle, kernel, results, i, team)
            assert bool(truncated[i]) == oracle.truncated
        done |= truncated
        decisions += 1
    for i, oracle in enumerate(oracles):
        compare_statistics(oracle, kernel, i)
        if done[i]:
            compare_open_intervals(oracle, kernel, results, i, team)
    return decisions


def random_waits(rng, z_max, lanes):
    """Zero, the maximum, multiples of 1/4 (ties with deterministic service) and anything in between."""
    choice = rng.integers(0, 4, lanes)
    quarter = 0.25 * rng.integers(0, 5, lanes)
    return np.minimum(
        np.select([choice == 0, choice == 1, choice == 2], [0.0, quarter, z_max], rng.uniform(0, z_max, lanes)), z_max
    ).astype(np.float32)


def compare(oracle, kernel, results, i, team):
    m = int(results.ints[OUT_DEVICE, i])
    assert (m, int(results.ints[OUT_KIND, i])) == (oracle.device, oracle.kind)
    out = results.out[:, i]
    assert bits(out[TIME], out[DURATION]) == bits(oracle.time, oracle.duration)
    if team:
        assert out[COST] == pytest.approx(oracle.cost, rel=1e-9, abs=1e-9)
    else:
        assert bits(out[COST]) == bits(oracle.cost)
    terms = out[TERM_0 : TERM_0 + (2 if team else 3)]
    assert terms.sum() == pytest.approx(out[COST], rel=1e-9, abs=1e-12)
    assert terms.min() >= -1e-9
    expected = np.array([m, oracle.kind, *oracle.observation(m)], np.float32)
    assert results.obs[i].tobytes() == expected.tobytes()


def compare_statistics(oracle, kernel, i):
    found = {name: values[i] for name, values in kernel.statistics().items()}
    for m, d in enumerate(oracle.devices):
        # a wait is counted when its cycle completes; the reference counts decisions
        counts = [found[name][m] for name in ("completions", "drops")]
        assert counts == [d.completions, d.drops]
        assert found["servers"][m].tolist() == d.servers
        assert found["attempts"][m] == sum(d.servers)
        assert 0 <= d.waits - found["waits"][m] <= 1
        assert bits(*(found[name][m] for name in ("area", "time", "peak", "last_done"))) == bits(
            d.area, d.time, d.peak, d.last_done
        )
        assert found["paper_area"][m] == pytest.approx(d.paper_area, rel=1e-9, abs=1e-9)


def compare_open_intervals(oracle, kernel, results, i, team):
    obs, out = kernel.open_intervals(i, results)
    for m in range(len(oracle.devices)):
        cost, duration = (oracle.cost, oracle.duration) if m == oracle.device else oracle.interval(m)
        assert bits(out[DURATION, m]) == bits(duration)
        if team:
            cost = oracle.cost if m == oracle.device else oracle.devices[m].team_area / len(oracle.devices)
            assert out[COST, m] == pytest.approx(cost, rel=1e-9, abs=1e-9)
        else:
            assert bits(out[COST, m]) == bits(cost)
        expected = np.array(oracle.observation(m), np.float32)
        assert obs[m][KIND + 1 :].tobytes() == expected.tobytes()


LAWS = ("exponential", "lognormal:1", "deterministic", "hyperexp:4")
DROPS = ("none", "authors:1.5", "cutoff:0.8", "deadline:1.5", "deadline:4")
BELOW_MEAN = ("cutoff:0.8", "authors:0.3", "deadline:0.5")  # refused where every service time is the mean


@pytest.mark.parametrize("service", LAWS)
@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("transmission", ["none", "fixed:0.25", "shannon:10:12"])
def test_random_instances(service, drop, transmission):
    if service == "deterministic" and drop in BELOW_MEAN:
        drop = "cutoff:1.25"
    rng = np.random.default_rng([*map(ord, service + drop + transmission)])
    for seed in range(6):
        n = int(rng.integers(0, 4))
        params = AoIParams(
            n_devices=int(rng.integers(1, 7)),
            edge_ghz=tuple(rng.uniform(0.5, 8.0, n)),
            local_ghz=float(rng.uniform(0.5, 3.0)),
            task_mbit=1.0,
            density=1.0,
            service=service,
            drop=drop,
            transmission=transmission,
            initial_queue_limit=int(rng.integers(0, 5)),
        )
        assert play(params, seed=seed) > 5


TIES = {"edge_ghz": (1.0, 2.0, 4.0), "local_ghz": 1.0, "task_mbit": 1.0, "density": 1.0, "service": "deterministic"}


@given(
    n_devices=st.integers(1, 6),
    n_edges=st.integers(0, 3),
    drop=st.sampled_from(
        ["none", "authors:1.25", "cutoff:1.25", "deadline:1", "deadline:1.25", "deadline:2", "cutoff:2"]
    ),
    drop_mean=st.sampled_from(["true", "running"]),
    transmission=st.sampled_from(["none", "fixed:0.25", "fixed:0.5"]),
    seed=st.integers(0, 2**63),
    team=st.booleans(),
    joint=st.sets(st.integers(0, 5)),
)
@settings(max_examples=150, deadline=None)
def test_ties(n_devices, n_edges, drop, drop_mean, transmission, seed, team, joint):
    """All times are multiples of 1/4: many events share an instant and the tie order decides."""
    fields = TIES | {"edge_ghz": TIES["edge_ghz"][:n_edges]}
    params = AoIParams(
        n_devices=n_devices, drop=drop, drop_mean=drop_mean, transmission=transmission, initial_queue_limit=2, **fields
    )
    joint = {m for m in joint if m < n_devices}
    quarters = lambda rng, z_max, lanes: (0.25 * rng.integers(0, 5, lanes)).astype(np.float32)  # noqa: E731
    play(params, seed=seed, horizon=12.0, joint=joint, team=team, actions=quarters, limit=150)


@given(
    data=st.data(),
    service=st.sampled_from([*LAWS, "lognormal:2.5", "hyperexp:100"]),
    drop=st.sampled_from([*DROPS, "authors:0.3", "deadline:0.5"]),
    drop_mean=st.sampled_from(["true", "running"]),
    transmission=st.sampled_from(["none", "fixed:0", "fixed:0.3", "shannon:2:5"]),
    seed=st.integers(0, 2**63),
    team=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_instance(data, service, drop, drop_mean, transmission, seed, team):
    assume(service != "deterministic" or drop not in BELOW_MEAN)
    n_devices = data.draw(st.integers(1, 6))
    params = AoIParams(
        n_devices=n_devices,
        edge_ghz=tuple(data.draw(st.lists(st.floats(0.2, 50.0), max_size=3))),
        local_ghz=tuple(data.draw(st.lists(st.floats(0.2, 5.0), min_size=n_devices, max_size=n_devices))),
        task_mbit=data.draw(st.floats(0.1, 40.0)),
        density=0.297,
        service=service,
        drop=drop,
        drop_mean=drop_mean,
        transmission=transmission,
        z_max=data.draw(st.floats(0.1, 20.0)),
        initial_queue_limit=data.draw(st.integers(0, 4)),
    )
    joint = data.draw(st.sets(st.integers(0, n_devices - 1)))
    play(params, seed=seed, horizon=data.draw(st.floats(0.5, 60.0)), joint=joint, team=team, limit=120)


def test_presets_at_full_length():
    for preset in ("paper", "heterogeneous", "single", "small"):
        params = AoIParams.make(preset)
        assert play(params, seed=7, lanes=1, horizon=300.0, limit=10**9) >= 50


# --- the public faces -----------------------------------------------------------------------------------------------


ROW = ("cost", "duration", "time", "device", "kind")


def same_info(info, oracle):
    found = (info["cost"], info["duration"], info["time"])
    assert (info["device"], info["kind"]) == (oracle.device, oracle.kind)
    assert bits(*found) == bits(oracle.cost, oracle.duration, oracle.time)


def policy_of(obs):
    """A rule whose actions depend on the observation only, for devices in the background."""
    queues = obs[4:]
    return {"server": int(np.argmin(queues)) + 1 if queues.min() < 3 else 0, "wait": obs[1:2] / 2 % 1.5}


@pytest.mark.parametrize("decision", ["staged", "joint"])
@pytest.mark.parametrize("drop", ["none", "authors:1.5", "deadline:1.5"])
def test_single_device_environment(decision, drop):
    fields = {"n_devices": 5, "edge_ghz": (20.0, 30.0), "drop": drop}
    env = gymnasium.make(
        "edgewise/AoIOffload-v0", decision=decision, background=policy_of, horizon=60.0, **fields
    ).unwrapped
    rng = np.random.default_rng(3)
    for episode in range(2):
        obs, info = env.reset(seed=11 if episode == 0 else None)
        oracle = reference(
            env.params, horizon=60.0, seed=11, episode=episode, joint=(0,) if decision == "joint" else (), agents=(0,)
        )
        truncated = False
        while True:
            while oracle.device != 0:
                seen = np.array([oracle.kind, *oracle.observation(oracle.device)], np.float32)
                chosen = policy_of(seen)
                oracle.decide(chosen["server"], float(chosen["wait"][0]))
            same_info(info, oracle)
            assert obs.tobytes() == np.array([oracle.kind, *oracle.observation(0)], np.float32).tobytes()
            assert truncated == (oracle.time >= 60.0)
            if truncated:
                break
            action = {"server": int(rng.integers(3)), "wait": rng.uniform(0.0, 2.0, 1).astype(np.float32)}
            obs, reward, _, truncated, info = env.step(action)
            assert reward == -info["cost"]
            oracle.decide(action["server"], float(action["wait"][0]))


def test_event_stream_over_several_episodes():
    lanes, horizon = 3, 8.0
    env = gymnasium.make_vec("edgewise/AoIOffloadGame-v0", lanes, preset="small", drop="cutoff:1", horizon=horizon)
    rng = np.random.default_rng(4)
    obs, info = env.reset(seed=21)

    def start(lane, episode):
        return reference(env.unwrapped.params, horizon=horizon, seed=21 + lane, episode=episode)

    episodes = [0] * lanes
    oracles = [start(i, 0) for i in range(lanes)]
    over = np.zeros(lanes, bool)
    for _ in range(400):
        server, wait = rng.integers(0, 2, lanes), rng.uniform(0.0, 1.0, (lanes, 1)).astype(np.float32)
        obs, _, _, truncated, info = env.step({"server": server, "wait": wait})
        for i in range(lanes):
            if over[i]:
                episodes[i] += 1
                oracles[i] = start(i, episodes[i])
                assert info["cost"][i] == info["duration"][i] == 0.0
                row = {
                    k: v[i]
                    for k, v in info["reset_info"].items()
                    if k in ("cost", "duration", "time", "device", "kind")
                }
            else:
                oracles[i].decide(int(server[i]), float(wait[i, 0]))
                row = {k: info[k][i] for k in ROW}
            oracle = oracles[i]
            same_info(row, oracle)
            seen = [oracle.device, oracle.kind, *oracle.observation(oracle.device)]
            assert obs[i].tobytes() == np.array(seen, np.float32).tobytes()
            assert truncated[i] == (oracle.truncated and not over[i])
        over = truncated
    assert min(episodes) >= 2
