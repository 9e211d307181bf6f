"""The event-stream env runner against the environment itself: same events, nothing lost, resumable, speed aside."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from edgewise.agents.rllib import AsyncFractionalAlgorithmConfig, EventStreamEnvRunner
from edgewise.envs.aoi_offload.state import OFFLOAD, UPDATE
from edgewise.envs.core.errors import InvalidInputError
from edgewise.envs.core.seeding import Role, SeedTree

GAME, SINGLE = "edgewise/AoIOffloadGame-v0", "edgewise/AoIOffload-v0"
LANES, STEPS = 3, 40


def config(env: Any = GAME, steps: int = STEPS, lookback: int = 8, **training: Any) -> AsyncFractionalAlgorithmConfig:
    keywords: dict[str, Any] = {"preset": "paper", "n_devices": 4} if env != SINGLE else {"preset": "single"}
    result = AsyncFractionalAlgorithmConfig().environment(env, env_config=keywords | {"horizon": 6.0})
    result.env_runners(
        num_envs_per_env_runner=LANES, rollout_fragment_length=steps, episode_lookback_horizon=lookback
    ).debugging(seed=7)
    return result.training(**training)


def runner(index: int = 0, **kwargs: Any) -> EventStreamEnvRunner:
    torch.manual_seed(0)  # of the weights
    return EventStreamEnvRunner(config=config(**kwargs), worker_index=index)


def events(chunks: list[Any], lookback: bool = False) -> dict[str, list[list[float]]]:
    """Per episode: device, kind, time, cost, duration, server, wait of every decision in the chunks."""
    found: dict[str, list[list[float]]] = {}
    for chunk in chunks:
        skip = 0 if lookback else chunk.observations.lookback
        own = found.setdefault(chunk.id_, [])
        for t in range(skip, len(chunk.rewards.data)):
            obs, info = chunk.observations.data[t], chunk.infos.data[t]
            action = chunk.actions.data["server"][t], chunk.actions.data["wait"][t, 0]
            own.append([*obs[:2], info["time"], info["cost"], info["duration"], *map(float, action)])
    return found


def test_episodes_repeat_the_environment_event_by_event() -> None:
    sampler = runner()
    chunks = [chunk for _ in range(4) for chunk in sampler.sample()]
    env = gymnasium.make(GAME, preset="paper", n_devices=4, horizon=6.0)
    for lane in range(LANES):
        obs, info = env.reset(seed=int(SeedTree(7).lanes(Role.TRAIN, LANES)[lane]))
        started = [c for c in chunks if c.t_started == 0]
        own = next(c for c in started if np.array_equal(c.observations.data[0], obs))
        for chunk in [own, *(c for c in chunks if c.id_ == own.id_ and c is not own)]:
            skip, count = chunk.observations.lookback, len(chunk.rewards.data)
            for t in range(skip, count):
                assert np.array_equal(chunk.observations.data[t], obs)
                wait = (chunk.actions.data["wait"][t] + 1.0) * np.float32(1.5)
                obs, reward, _, truncated, info = env.step({"server": chunk.actions.data["server"][t], "wait": wait})
                assert chunk.rewards.data[t] == reward
                told = chunk.infos.data[t + 1]
                assert [told[name] for name in ("cost", "duration", "time")] == [
                    info[name] for name in ("cost", "duration", "time")
                ]
            assert np.array_equal(chunk.observations.data[-1], obs)
            assert chunk.is_truncated == truncated
            if truncated:
                assert np.array_equal(chunk.infos.data[-1]["agents_cost"], info["agents_cost"])
        assert truncated


def test_chunks_join_without_gap_and_carry_their_lookback() -> None:
    sampler = runner(steps=15)
    calls = [sampler.sample() for _ in range(5)]
    seen: dict[str, int] = {}
    joined: dict[str, list[list[float]]] = {}
    for chunks in calls:
        for chunk in chunks:
            assert chunk.t_started == seen.get(chunk.id_, 0)
            lookback = chunk.observations.lookback
            assert lookback == min(8, chunk.t_started)
            before = events([chunk], lookback=True)[chunk.id_][:lookback]
            assert before == joined.get(chunk.id_, [])[len(joined.get(chunk.id_, [])) - lookback :]
            joined.setdefault(chunk.id_, []).extend(events([chunk])[chunk.id_])
            seen[chunk.id_] = chunk.t_started + len(chunk)
    assert sum(seen.values()) == 5 * 15 * LANES
    for own in joined.values():
        times = [row[2] for row in own]
        assert times == sorted(times)


def test_log_probabilities_are_those_of_the_stored_actions() -> None:
    sampler = runner()
    for chunk in sampler.sample():
        wait, server = chunk.actions.data["wait"], chunk.actions.data["server"]
        carrier = np.concatenate([wait, 2.0 * np.eye(3)[server] - 1.0], axis=1).astype(np.float32)
        seen = torch.from_numpy(chunk.observations.data[:-1])
        with torch.no_grad():
            law = sampler.module.actor(seen[:, 1:], seen[:, 0].long())
            logp = law.log_prob(torch.from_numpy(carrier)).numpy()
        assert logp == pytest.approx(chunk.extra_model_outputs[Columns.ACTION_LOGP].data, abs=1e-5)


@pytest.mark.parametrize("env", [GAME, SINGLE])
def test_a_restored_runner_continues_bit_for_bit(env: str) -> None:
    first = runner(env=env)
    first.sample()
    state = first.get_state()
    expected = [events(first.sample(), lookback=True) for _ in range(3)]
    second = EventStreamEnvRunner(config=config(env=env), worker_index=0)
    second.sample()  # somewhere else
    second.set_state(state)
    torch.rand(5)  # what the process draws elsewhere does not matter
    for call, chunks in enumerate(expected):
        again = events(second.sample(), lookback=True)
        assert list(again.values()) == list(chunks.values())
        if call == 0:  # the running episodes keep their ids
            assert next(iter(again)) == next(iter(chunks))


def test_sampling_leaves_the_process_generator_alone() -> None:
    sampler = runner()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    sampler.sample()
    assert torch.equal(torch.rand(4), expected)


def test_workers_and_lanes_never_share_draws() -> None:
    firsts = [chunk.observations.data[0][2:].tolist() for index in (1, 2) for chunk in runner(index).sample()[:LANES]]
    assert len({tuple(first) for first in firsts}) == 2 * LANES
    again = [chunk.observations.data[0][2:].tolist() for chunk in runner(2).sample()[:LANES]]
    assert firsts[LANES:] == again


def test_a_single_device_gets_the_index_zero() -> None:
    chunks = runner(env=SINGLE).sample()
    assert chunks[0].observations.data.shape[1] == 5
    assert all((chunk.observations.data[:, 0] == 0).all() for chunk in chunks)


@pytest.mark.parametrize("learn", ["wait", "server"])
def test_the_part_that_is_not_learned_follows_its_rule(learn: str) -> None:
    chunks = runner(learn=learn, fixed_wait="fixed:0.75", server_rule="jsq").sample()
    obs = np.concatenate([chunk.observations.data[:-1] for chunk in chunks])
    server = np.concatenate([chunk.actions.data["server"] for chunk in chunks])
    wait = np.concatenate([chunk.actions.data["wait"][:, 0] for chunk in chunks])
    update, offload = obs[:, 1] == UPDATE, obs[:, 1] == OFFLOAD
    shortest = obs[:, 5:].argmin(1) + 1
    jsq = server[offload] == shortest[offload]
    tie = (obs[:, 5] == obs[:, 6])[offload]
    logp = np.concatenate([chunk.extra_model_outputs[Columns.ACTION_LOGP].data for chunk in chunks])
    if learn == "wait":
        assert jsq[~tie].all()
        assert (server[offload] > 0).all()
        assert len(np.unique(wait[update])) > 10
        assert not logp[offload].any()
    else:
        assert wait[update] == pytest.approx(np.full(update.sum(), 2 * 0.75 / 3.0 - 1.0), abs=1e-6)
        assert not jsq[~tie].all()
        assert not logp[update].any()


def test_greedy_sampling_is_deterministic_and_random_sampling_is_not_the_policy() -> None:
    greedy = [events(runner().sample(explore=False)) for _ in range(2)]
    assert list(greedy[0].values()) == list(greedy[1].values())
    waits = np.array([row[6] for own in events(runner().sample(random_actions=True)).values() for row in own])
    assert -1.0 <= waits.min() < -0.8
    assert 0.8 < waits.max() <= 1.0


def test_sampling_by_episodes_goes_on_until_they_have_ended() -> None:
    chunks = runner(steps=10).sample(num_episodes=4)
    assert sum(chunk.is_done for chunk in chunks) >= 4


def test_metrics_hold_episodes_and_steps() -> None:
    sampler = runner()
    chunks = [*sampler.sample(), *sampler.sample()]
    metrics = sampler.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == 2 * STEPS * LANES
    ended = [chunk.id_ for chunk in chunks if chunk.is_done]
    assert metrics["num_episodes"].peek() == len(ended) > 0
    cost, duration = np.array(
        [
            [info[name] for chunk in chunks if chunk.id_ == ended[0] for info in chunk.infos.data[1:]]
            for name in ("cost", "duration")
        ]
    ).sum(1)
    assert 0.2 < metrics["episode_ratio_mean"].peek() < 20.0
    assert cost / duration > 0.0


def test_weights_are_taken_over_and_older_ones_are_not() -> None:
    sampler, other = runner(), runner(steps=5)
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.add_(1.0)
    newer = other.get_state(components="rl_module") | {"weights_seq_no": 5}
    sampler.set_state(newer)
    assert torch.equal(sampler.module.actor.log_scale, other.module.actor.log_scale)
    sampler.set_state(runner().get_state(components="rl_module") | {"weights_seq_no": 4})
    assert torch.equal(sampler.module.actor.log_scale, other.module.actor.log_scale)


def test_environments_that_reset_late_are_refused() -> None:
    def late(context: dict[str, Any]) -> Any:
        return gymnasium.make_vec(GAME, num_envs=context["num_envs"], autoreset_mode="NEXT_STEP")

    with pytest.raises(InvalidInputError, match="autoreset_mode must be SAME_STEP"):
        EventStreamEnvRunner(config=config(env=late), worker_index=0)


def test_a_local_runner_without_environment_says_so() -> None:
    remote = config().env_runners(num_env_runners=2)
    sampler = EventStreamEnvRunner(config=remote, worker_index=0, spaces=runner().get_spaces())
    with pytest.raises(InvalidInputError, match="the remote ones sample"):
        sampler.sample()


def test_rules_that_remember_devices_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="server_rule must be a rule without memory"):
        runner(learn="wait", server_rule="pgoa")
