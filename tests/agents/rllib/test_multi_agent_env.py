"""The game in RLlib's multi-agent API: who appears when, whose cost it is, and how an episode ends."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from edgewise.agents.rllib.cluster import without_daemons
from edgewise.agents.rllib.multi_agent_env import AsyncMultiAgentEnv
from edgewise.envs.aoi_offload import aec_env
from edgewise.envs.core.errors import InvalidInputError

pytestmark = pytest.mark.ray

DEVICES = 4
SETTINGS = {"preset": "small", "n_devices": DEVICES, "drop": "authors:1.5", "horizon": 30.0}
AGENTS = [f"device_{m}" for m in range(DEVICES)]


def decision(count: int) -> dict:
    return {"server": count % 2, "wait": [0.1 * (count % 7)]}


def play(env: AsyncMultiAgentEnv, seed: int) -> list[tuple]:
    """All steps of an episode as (actor, observations, rewards, terminateds, truncateds, infos)."""
    observations, infos = env.reset(seed=seed)
    steps = [(None, observations, {}, {}, {"__all__": False}, infos)]
    while not steps[-1][4]["__all__"]:
        (actor,) = steps[-1][1]
        steps.append((actor, *env.step({actor: decision(len(steps))})))
    return steps


def sums(infos: list[tuple[str, dict]]) -> dict[str, tuple[float, float]]:
    return {
        agent: (
            sum(info["cost"] for name, info in infos if name == agent),
            sum(info["duration"] for name, info in infos if name == agent),
        )
        for agent in AGENTS
    }


@pytest.mark.parametrize("objective", ["selfish", "team"])
def test_costs_and_durations_of_a_device_are_those_of_the_aec_environment(objective):
    steps = play(AsyncMultiAgentEnv({**SETTINGS, "objective": objective}), 5)
    ours = sums([item for step in steps for item in step[5].items()])
    aec = aec_env(**SETTINGS, objective=objective)
    aec.reset(seed=5)
    told, count = [], 0
    for agent in aec.agent_iter():
        _, _, _, truncated, info = aec.last()
        told.append((agent, info))
        count += not truncated
        aec.step(None if truncated else decision(count))
    theirs = sums(told)
    assert count > 50
    for agent in AGENTS:
        assert ours[agent] == pytest.approx(theirs[agent], rel=1e-12)
        assert ours[agent][1] == pytest.approx(steps[-1][5][agent]["time"])


def test_every_decision_is_that_of_the_event_stream():
    stream = gymnasium.make("edgewise/AoIOffloadGame-v0", **SETTINGS)
    obs, info = stream.reset(seed=2)
    for count, (_, observations, _, _, truncateds, infos) in enumerate(play(AsyncMultiAgentEnv(SETTINGS), 2), 1):
        if truncateds["__all__"]:
            assert np.array_equal([observations[agent] for agent in AGENTS], info["agents_obs"])
            assert [infos[agent]["cost"] for agent in AGENTS] == pytest.approx(info["agents_cost"])
            assert [infos[agent]["duration"] for agent in AGENTS] == pytest.approx(info["agents_duration"])
            break
        agent = AGENTS[int(obs[0])]
        assert observations.keys() == infos.keys() == {agent}
        assert np.array_equal(observations[agent], obs[1:])
        assert {name: infos[agent][name] for name in ("cost", "duration", "time")} == {
            name: info[name] for name in ("cost", "duration", "time")
        }
        obs, _, _, _, info = stream.step(decision(count))
    else:
        pytest.fail("the episode did not end")


def test_rewards_are_costs_since_the_own_previous_decision():
    steps = play(AsyncMultiAgentEnv(SETTINGS), 3)
    decided = set()
    for actor, observations, rewards, terminateds, truncateds, infos in steps[1:]:
        decided.add(actor)
        assert rewards == {agent: -infos[agent]["cost"] for agent in observations if agent in decided}
        assert terminateds == {"__all__": False}
        assert truncateds.keys() == {"__all__"}
        assert len(observations) == (DEVICES if truncateds["__all__"] else 1)
    assert decided == set(AGENTS)


def test_the_next_episode_differs_and_a_seed_repeats_it():
    env = AsyncMultiAgentEnv(SETTINGS)
    first, _ = env.reset(seed=1)
    second, _ = env.reset()
    again, _ = env.reset(seed=1)
    assert str(first) == str(again) != str(second)


def test_bad_actions_and_steps_out_of_order_are_refused():
    env = AsyncMultiAgentEnv(SETTINGS)
    with pytest.raises(ResetNeeded):
        env.step({})
    observations, _ = env.reset(seed=0)
    (actor,) = observations
    other = next(agent for agent in AGENTS if agent != actor)
    for actions in ({}, {other: decision(0)}, {actor: decision(0), other: decision(0)}):
        with pytest.raises(InvalidInputError, match=f"actions must be one, of {actor}"):
            env.step(actions)
    with pytest.raises(InvalidInputError, match="wait"):
        env.step({actor: {"server": 0, "wait": [np.nan]} | ({"server": 9} if observations[actor][0] == 1 else {})})
    with pytest.raises(InvalidInputError, match="n_device"):
        AsyncMultiAgentEnv({"n_device": 3})
    play(env, 0)
    with pytest.raises(ResetNeeded):
        env.step({actor: decision(0)})


def ppo(shared: bool) -> PPOConfig:
    """RLlib's own PPO, as small as it gets."""
    return (
        PPOConfig()
        .environment(AsyncMultiAgentEnv, env_config={**SETTINGS, "horizon": 10.0})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .learners(num_learners=0)
        .multi_agent(
            policies={"shared"} if shared else set(AGENTS),
            policy_mapping_fn=lambda agent, *_, **__: "shared" if shared else agent,
        )
        .training(train_batch_size_per_learner=200, minibatch_size=64, num_epochs=1)
        .debugging(seed=0)
    )


def weights(algorithm, module: str) -> np.ndarray:
    parameters = algorithm.learner_group._learner.module[module].parameters()
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in parameters])


@pytest.mark.parametrize("shared", [True, False])
def test_stock_ppo_learns_from_it(shared):
    modules = ["shared"] if shared else AGENTS
    with without_daemons():
        algorithm = ppo(shared).build_algo()
        try:
            for _ in range(2):
                before = {module: weights(algorithm, module) for module in modules}
                result = algorithm.train()
                assert result["env_runners"]["num_env_steps_sampled"] >= 200
                for module in modules:
                    assert np.isfinite(weights(algorithm, module)).all()
                    assert not np.array_equal(weights(algorithm, module), before[module])
        finally:
            algorithm.stop()


def test_an_episode_at_its_horizon_is_truncated_and_not_terminated():
    runner = MultiAgentEnvRunner(config=ppo(shared=False), worker_index=0)
    done: list[MultiAgentEpisode] = [episode for episode in runner.sample(num_episodes=4) if episode.is_done]
    assert len(done) >= 4
    for episode in done:
        assert (episode.is_terminated, episode.is_truncated) == (False, True)
        assert set(episode.agent_episodes) <= set(AGENTS)
        for own in episode.agent_episodes.values():
            assert (own.is_terminated, own.is_truncated) == (False, True)
            infos = own.get_infos()
            assert own.get_rewards() == pytest.approx([-info["cost"] for info in infos[1:]])
            assert infos[-1]["time"] == pytest.approx(sum(info["duration"] for info in infos))
    runner.stop()


def test_rllib_refuses_a_truncation_that_leaves_an_acting_device_out():
    """The rule that the final observation of every device satisfies."""
    env = AsyncMultiAgentEnv(SETTINGS)
    steps = play(env, 3)
    episode = MultiAgentEpisode(
        agent_to_module_mapping_fn=lambda agent, *_: agent,
        observation_space=env.observation_spaces,
        action_space=env.action_spaces,
    )
    episode.add_env_reset(observations=steps[0][1], infos=steps[0][5])
    for count, (actor, observations, rewards, terminateds, truncateds, infos) in enumerate(steps[1:], 1):
        if truncateds["__all__"]:
            left_out = next(agent for agent in AGENTS if agent != actor)
            observations = {agent: obs for agent, obs in observations.items() if agent != left_out}
            with pytest.raises(Exception, match=f"Agent {left_out} acted and then got truncated"):
                episode.add_env_step(observations, {actor: decision(count)}, rewards, infos, truncateds=truncateds)
            return
        episode.add_env_step(
            observations, {actor: decision(count)}, rewards, infos, terminateds=terminateds, truncateds=truncateds
        )
