"""D3QN + DDPG in the asynchronous game: regrouped transitions, a ratio and networks per device, and learning."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from edgewise.agents.sb3.build import build, policy_of
from edgewise.agents.sb3.callbacks import DinkelbachCallback
from edgewise.agents.sb3.game_d3qn_ddpg import EventStreamReplay, FractionalGameD3QNDDPG
from edgewise.agents.sb3.vec_env import SemiMarkovVecEnv
from edgewise.envs.aoi_offload import AoIParams, aec_env
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.aoi_offload.state import IDLE
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.vector_wrappers import VectorFlatHybridAction

GAME = "edgewise/AoIOffloadGame-v0"
LANES, SEED = 3, 11
SMALL: dict[str, Any] = {
    "buffer_size": 4000,
    "learning_starts": 400,
    "batch_size": 32,
    "gradient_steps": 2,
    "period": 256,
    "hidden": (8,),
}


def make(lanes: int = 4, env: dict[str, Any] | None = None, **changes: Any) -> FractionalGameD3QNDDPG:
    settings = {"preset": "small", "horizon": 40.0} | (env or {})
    model = build("fractional_d3qn_ddpg", GAME, settings, num_envs=lanes, seed=2, **(SMALL | changes))
    assert isinstance(model, FractionalGameD3QNDDPG)
    return model


def carriers(obs: NDArray[np.float32]) -> NDArray[np.float32]:
    """An exploring rule that depends on nothing but the device's own observation: carriers (n, 3), one edge."""
    seen = obs.astype(np.float64)  # remainders are exact, alone and in a batch
    noise = 2.0 * np.remainder(1e3 * (seen[:, 3] + seen[:, 4]), 1.0) - 1.0
    edge = np.remainder(7e2 * seen[:, 3], 1.0) > 0.4
    return np.stack([noise, np.where(edge, -1.0, 1.0), np.where(edge, 1.0, -1.0)], axis=1).astype(np.float32)


def stream(settings: dict[str, Any]) -> SemiMarkovVecEnv:
    venv = gymnasium.make_vec(GAME, num_envs=LANES, autoreset_mode="SAME_STEP", **settings)
    env = SemiMarkovVecEnv(VectorFlatHybridAction(venv))
    env.seed(SEED)
    return env


def replayed(settings: dict[str, Any], steps: int) -> EventStreamReplay:
    """The replay after some steps of the rule above, filled through the learner's own path."""
    model = make(LANES, settings, buffer_size=10_000)
    model.set_env(stream(settings))
    assert model.env is not None
    model._last_obs = model.env.reset()
    buffer = model.replay_buffer
    assert isinstance(buffer, EventStreamReplay)
    for _ in range(steps):
        assert isinstance(model._last_obs, np.ndarray)
        action = carriers(model._last_obs)
        new_obs, rewards, dones, infos = model.env.step(action)
        model._store_transition(buffer, action, new_obs, rewards, dones, infos)
    return buffer


def table(buffer: EventStreamReplay) -> NDArray[np.float64]:
    """All stored transitions as rows."""
    n = buffer.size()
    parts = (buffer.observations, buffer.actions, buffer.next_observations, buffer.costs, buffer.durations)
    return np.concatenate([part[:n].reshape(n, -1).astype(np.float64) for part in parts], axis=1)


def aec_transitions(settings: dict[str, Any], episodes: int) -> NDArray[np.float64]:
    """What every device sees of the same episodes in the AEC game, between two decisions of its own."""
    rows = []
    for lane in range(LANES):
        env = aec_env(**settings)
        for episode in range(episodes):
            env.reset(seed=SEED + lane if episode == 0 else None)
            decided: dict[str, NDArray[np.float64]] = {}
            for agent in env.agent_iter():
                obs, _, _, truncated, info = env.last()
                assert obs is not None
                seen = np.concatenate([[env.possible_agents.index(agent)], obs]).astype(np.float32)
                if agent in decided and obs[0] != IDLE:
                    rows.append(np.concatenate([decided[agent], seen, [info["cost"], info["duration"]]]))
                if truncated:
                    env.step(None)
                    continue
                carrier = carriers(seen[None])[0]
                decided[agent] = np.concatenate([seen, carrier]).astype(np.float64)
                wait = np.clip(1.5 * (np.float64(carrier[0]) + 1.0), 0.0, 3.0).astype(np.float32)
                env.step({"server": int(np.argmax(carrier[1:])), "wait": wait[None]})
    return np.array(rows)


@pytest.mark.parametrize("objective", ["selfish", "team"])
def test_regrouped_transitions_are_those_of_the_aec_game(objective: str) -> None:
    settings = {"preset": "small", "horizon": 15.0, "objective": objective}
    mine = [row.tobytes() for row in table(replayed(settings, 500))]
    # Lanes stand in the middle of some episode: what they have is a part of what happens in the first twenty.
    known = {row.tobytes() for row in aec_transitions(settings, episodes=20)}
    assert len(mine) > 1000
    assert known.issuperset(mine)
    assert len(set(mine)) == len(mine)  # nothing twice
    # Of the first ten nothing is missing.
    first = [row.tobytes() for row in aec_transitions(settings, episodes=10)]
    assert len(first) > 700
    assert set(mine).issuperset(first)


def test_what_is_open_when_an_episode_ends_is_not_replayed_but_measured() -> None:
    env = stream({"preset": "small", "horizon": 15.0})
    obs = env.reset()
    first_device, before_it = int(obs[-1, 0]), float(obs[-1, 3])  # nothing has completed: its age is its time so far
    buffer = EventStreamReplay(1000, env.observation_space, env.action_space, n_envs=LANES, horizon=None)
    outer, done = DinkelbachCallback(first_lane=LANES - 1, agents=3), False
    while not done:
        new_obs, rewards, dones, infos = env.step(action := carriers(obs))
        arrays = env.last_arrays
        assert arrays is not None
        following = new_obs.copy()
        following[dones] = arrays.final_obs
        buffer.add(obs, following, action, rewards, dones, infos)
        outer._add(arrays)
        assert not buffer.pending[dones].any()
        obs, done = new_obs, bool(dones[-1])
    assert (buffer.next_observations[: buffer.pos, 0, 1] != IDLE).all()
    assert arrays.open_duration.shape == (dones.sum(), 3)
    # No device's time is lost to the outer loop: but for what the first one had before its first decision, it is the
    # clock, though two of the three end with an open interval.
    missing = before_it * (np.arange(3) == first_device)
    assert outer._sums[1] + missing == pytest.approx(arrays.time[-1], rel=1e-6)
    assert (arrays.open_duration[-1] > 0).sum() >= 2
    # One ratio for all is measured over the same time.
    pooled = DinkelbachCallback(first_lane=LANES - 1)
    pooled._add(arrays)
    assert pooled.duration == pytest.approx(arrays.open_duration[-1].sum())


def test_ratios_price_by_device_when_samples_are_drawn() -> None:
    buffer = replayed({"preset": "small", "horizon": 15.0}, 300)
    buffer.horizon = None
    for ratio in (2.0, np.array([1.0, 5.0, -3.0])):
        buffer.ratio = ratio
        rows = np.arange(200)
        batch = buffer._get_samples(rows)
        device = batch.observations[:, 0].long().numpy()
        each = np.broadcast_to(ratio, 3)[device]
        expected = -(buffer.costs[rows, 0] - each * buffer.durations[rows, 0])
        assert batch.rewards[:, 0].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert (batch.dones == 0).all()
        assert torch.equal(batch.next_observations[:, 0], batch.observations[:, 0])  # the same device decides again


def test_the_ring_wraps_between_two_lanes() -> None:
    env = stream({"preset": "small", "horizon": 1e3})
    obs = env.reset()
    small, large = (
        EventStreamReplay(size, env.observation_space, env.action_space, n_envs=LANES, horizon=None)
        for size in (100, 1000)
    )
    for _ in range(90):
        action = carriers(obs)
        new_obs, rewards, dones, infos = env.step(action)
        assert not dones.any()
        for buffer in (small, large):
            buffer.add(obs, new_obs, action, rewards, dones, infos)
        obs = new_obs
    assert small.full
    assert not large.full
    assert 200 < large.pos < 300
    newest = np.arange(large.pos - 100, large.pos)
    for name in ("observations", "next_observations", "actions", "costs", "durations"):
        kept, whole = getattr(small, name), getattr(large, name)
        assert np.array_equal(kept[newest % 100], whole[newest]), name


def test_independent_devices_have_ratios_gains_and_networks_of_their_own() -> None:
    model = make(parameters="per_device", anneal=False)
    model.learn(2000)
    assert isinstance(model.ratio, np.ndarray)
    assert model.ratio.shape == (3,)
    assert len(set(model.ratio.tolist())) == 3
    assert len(set(model._gains.tolist())) == 3
    assert model.gain == pytest.approx(model._gains.mean())
    # An update on one device's transitions moves its networks only.
    buffer = model.replay_buffer
    assert buffer is not None
    rows = np.flatnonzero(buffer.observations[: buffer.size(), 0, 0] == 1.0)[:64]
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    for optimizer in (model.policy.q_optimizer, model.policy.critic_optimizer, model.policy.actor_optimizer):
        optimizer.state.clear()  # no momentum
    gains = model._gains.copy()
    model._update(buffer._get_samples(rows))
    for name, value in model.policy.state_dict().items():
        if name.startswith(("q.weights", "critic.weights", "actor.weights")):
            moved = (value != before[name]).flatten(1).any(1)
            assert moved.tolist() == [False, True, False], name
    assert (model._gains != gains).tolist() == [False, True, False]


def test_shared_networks_and_a_shared_ratio() -> None:
    model = make(shared_ratio=True)
    model.learn(1500)
    assert isinstance(model.ratio, float)
    assert model.policy.n_devices == 1
    own = make()
    own.learn(1500)
    assert np.shape(own.ratio) == (3,)
    # Shared networks do not see who decides.
    obs = np.tile(np.array([[0, 0, 1.0, 1.0, 0.0, 1.0]], np.float32), (3, 1))
    obs[:, 0] = [0, 1, 2]
    for greedy, alike in ((policy_of(own), True), (policy_of(make(parameters="per_device")), False)):
        waits = greedy.act(obs)["wait"]
        assert waits.shape == (3, 1)
        assert (np.ptp(waits) == 0.0) == alike
        one = greedy.act(obs[1])
        assert one["wait"] == pytest.approx(waits[1])
        assert one["server"] in (0, 1)


def test_targets_of_the_average_criterion_subtract_the_own_gain() -> None:
    model = make(parameters="per_device")
    model._gains[:] = [1.0, 2.0, 3.0]
    n = 6
    obs, after = (torch.rand(n, 6, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    obs[:, 0] = after[:, 0] = torch.tensor([0, 1, 2, 0, 1, 2])
    obs[:, 1], after[:, 1] = 0.0, 1.0
    batch = ReplayBufferSamples(obs, torch.zeros(n, 3), after, torch.zeros(n, 1), torch.ones(n, 1), torch.ones(n, 1))
    with torch.no_grad():
        first, second = model._targets(batch, model.policy.extractor(after))
    # Values are 0 before training, so gains have moved a hundredth of the way to 0.
    assert first.tolist() == pytest.approx((1.0 - 0.99 * torch.tensor([1.0, 2.0, 3.0] * 2)).tolist(), abs=1e-6)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("algorithm", "env_id", "hyper", "field"),
    [
        ("ppo", GAME, {}, "algorithm"),
        ("fractional_ppo", GAME, {}, "algorithm"),
        ("fractional_d3qn_ddpg", GAME, {"fidelity": "paper"}, "fidelity"),
        ("fractional_d3qn_ddpg", GAME, {"defects": ("doubled_area",)}, "defects"),
        ("fractional_d3qn_ddpg", "edgewise/AoIOffload-v0", {"parameters": "per_device"}, "parameters"),
        ("fractional_d3qn_ddpg", "edgewise/AoIOffload-v0", {"shared_ratio": True}, "shared_ratio"),
    ],
)
def test_what_does_not_fit_is_refused(algorithm: str, env_id: str, hyper: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{field} must be"):
        build(algorithm, env_id, {"preset": "small"}, num_envs=2, **hyper)


def test_offload_only_never_waits() -> None:
    model = make(defects=("offload_only",))
    model.learn(800)
    buffer = model.replay_buffer
    assert buffer is not None
    assert (buffer.actions[: buffer.size(), 0, 0] == -1.0).all()


def mean_age(model: FractionalGameD3QNDDPG, params: AoIParams, horizon: float = 600.0) -> float:
    """Mean age of all devices under the greedy policy, in seconds."""
    policy = policy_of(model)
    envs: Any = gymnasium.make_vec(GAME, num_envs=8, params=params, horizon=np.inf)
    obs, info = envs.reset(seed=777)
    while info["time"].min() < horizon:
        obs, _, _, _, info = envs.step(policy.act(obs))
    statistics = envs.statistics()
    return float((statistics["area"] / statistics["time"]).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "steps", "hyper"),
    [(20, 60_000, {"gradient_steps": 4}), (5, 40_000, {"gradient_steps": 4, "parameters": "per_device"})],
    ids=["shared", "per_device"],
)
def test_learns_where_to_send_tasks_and_how_long_to_wait(devices: int, steps: int, hyper: dict[str, Any]) -> None:
    params = AoIParams.make("paper", n_devices=devices)
    random = simulate(params, "uniform", "uniform:3", horizon=5000.0, seeds=4).mean_age.mean()
    impatient = simulate(params, "jsq", "fixed:0", horizon=5000.0, seeds=4).mean_age.mean()
    model = build("fractional_d3qn_ddpg", GAME, {"params": params}, num_envs=32, seed=0, **hyper)
    assert isinstance(model, FractionalGameD3QNDDPG)
    model.learn(steps)
    age = mean_age(model, params)
    assert age < 0.5 * random
    if devices == 20:
        assert age < impatient  # 1.752 s: joining the shorter queue without waiting
