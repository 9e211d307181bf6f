"""Semi-Markov advantages by hand, regrouping, exactly once, and episodes that must not be written to."""

from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.evaluation.postprocessing import Postprocessing

from edgewise.agents.networks.event_table import advance, table_width, unknown_table
from edgewise.agents.rllib.connectors import SemiMarkovAdvantages
from edgewise.agents.rllib.events import events_of
from edgewise.agents.rllib.module import DEVICE, ROWS, AsyncFractionalModule
from edgewise.agents.rllib.pricing import CriticScale, Pricing, PricingSettings
from edgewise.envs.core.errors import InvalidInputError

from .episodes import OFFLOAD, UPDATE, event, stream

DEVICES = 2


def modules(names: tuple[str, ...] = ("default_policy",), **config: Any) -> MultiRLModule:
    env = gymnasium.make_vec("edgewise/AoIOffloadGame-v0", num_envs=1, preset="paper", n_devices=DEVICES)
    spec = RLModuleSpec(
        module_class=AsyncFractionalModule,
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        model_config={"critic": "memoryless", "n_devices": DEVICES, **config},
    )
    return MultiRLModule(rl_module_specs=dict.fromkeys(names, spec))


def priced(
    episodes: list[Any], ratio: float = 2.0, module: MultiRLModule | None = None, calls: int = 2, **settings: Any
) -> tuple[dict[str, Any], Pricing]:
    """The last of some batches: the first one only calibrates. Critics say 0, so advantages are returns."""
    module = modules() if module is None else module
    chosen = {"ratio": ratio, "lam": 1.0, "winsorise": 0.0, "shared_ratio": True} | settings
    pricing = Pricing(PricingSettings(**chosen), DEVICES, {name: CriticScale(10.0) for name, _ in module.items()})
    connector = SemiMarkovAdvantages(pricing)
    for _ in range(calls):
        batch = connector(rl_module=module, batch={}, episodes=episodes, shared_data={})
    return batch, pricing


def rows(batch: dict[str, Any], column: str, name: str = "default_policy") -> np.ndarray:
    values = batch[name][column][batch[name][ROWS]]
    return values.numpy()


THREE = [  # device 0 decides at 0, 0.5, 2.5 and 9.5 s; device 1 in between
    event(0, 0.0, 0.0, 0.0),
    event(1, 0.25, 0.0, 0.0),
    event(0, 0.5, 1.0, 0.5),
    event(0, 2.5, 6.0, 2.0),
    event(1, 5.0, 50.0, 4.75),
    event(0, 9.5, 20.0, 7.0),
]


def returns_of(batch: dict[str, Any], pricing: Pricing, ratio: float) -> np.ndarray:
    """Returns in rewards' units from the targets of cost and duration."""
    scale = pricing.critics["default_policy"]
    targets = rows(batch, Postprocessing.VALUE_TARGETS) * scale.scale + scale.centre
    return -(targets[:, 0] - ratio * targets[:, 1])


def test_discounted_returns_with_durations_half_two_and_seven_by_hand() -> None:
    batch, pricing = priced([stream(THREE)], horizon=10.0)
    r1, r2, r3, other = (-(c - 2.0 * d) for c, d in ((1.0, 0.5), (6.0, 2.0), (20.0, 7.0), (50.0, 4.75)))
    g1, g2 = np.exp(-0.05), np.exp(-0.2)
    by_event = [r1 + g1 * (r2 + g2 * r3), other, r2 + g2 * r3, r3]
    assert returns_of(batch, pricing, 2.0) == pytest.approx(by_event, rel=1e-5)


def test_discount_per_decision() -> None:
    batch, pricing = priced([stream(THREE)], gamma=0.9)
    r1, r2, r3, other = (-(c - 2.0 * d) for c, d in ((1.0, 0.5), (6.0, 2.0), (20.0, 7.0), (50.0, 4.75)))
    expected = [r1 + 0.9 * (r2 + 0.9 * r3), other, r2 + 0.9 * r3, r3]
    assert returns_of(batch, pricing, 2.0) == pytest.approx(expected, rel=1e-5)


def test_average_criterion_subtracts_the_mean_reward_and_centres() -> None:
    batch, pricing = priced([stream(THREE)])
    rewards = np.array([-(c - 2.0 * d) for c, d in ((1.0, 0.5), (6.0, 2.0), (20.0, 7.0), (50.0, 4.75))])
    r1, r2, r3, other = rewards - rewards.mean()
    expected = np.array([r1 + r2 + r3, other, r2 + r3, r3])
    assert returns_of(batch, pricing, 2.0) == pytest.approx(expected - expected.mean(), rel=1e-5)
    advantage = rows(batch, Postprocessing.ADVANTAGES)
    assert advantage == pytest.approx((expected - expected.mean()) / expected.std(), rel=1e-5)


def test_lambda_zero_is_the_reward_alone_while_the_critic_says_nothing() -> None:
    batch, pricing = priced([stream(THREE)], lam=0.0, horizon=10.0)
    expected = [-(c - 2.0 * d) for c, d in ((1.0, 0.5), (50.0, 4.75), (6.0, 2.0), (20.0, 7.0))]
    assert returns_of(batch, pricing, 2.0) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_each_device_is_priced_with_its_own_ratio() -> None:
    settings = {"horizon": 1e9, "lam": 0.0, "shared_ratio": False}
    module = modules()
    _, pricing = priced([stream(THREE)], module=module, **settings)
    pricing.outer.load_state_dict(pricing.outer.state_dict() | {"ratio": [2.0, 10.0]})  # type: ignore[union-attr]
    batch = SemiMarkovAdvantages(pricing)(rl_module=module, batch={}, episodes=[stream(THREE)])
    advantage = rows(batch, Postprocessing.ADVANTAGES)
    expected = np.array([-(1.0 - 2 * 0.5), -(50.0 - 10 * 4.75), -(6.0 - 2 * 2.0), -(20.0 - 2 * 7.0)])
    assert advantage == pytest.approx((expected - expected.mean()) / expected.std(), rel=1e-5)


def test_kinds_are_standardised_apart() -> None:
    kinds = [UPDATE, OFFLOAD] * 6
    events = [event(0, float(t), (1.0 + kind * 1e4) * (1 + t % 5), 1.0, kind) for t, kind in enumerate(kinds)]
    batch, _ = priced([stream(events)], lam=0.0)
    advantage = rows(batch, Postprocessing.ADVANTAGES)
    kind = rows(batch, Columns.OBS)[:, 0]
    for label in (UPDATE, OFFLOAD):
        assert advantage[kind == label].mean() == pytest.approx(0.0, abs=1e-5)
        assert advantage[kind == label].std() == pytest.approx(1.0, rel=1e-4)


def test_without_regrouping_the_returns_are_wrong() -> None:
    """The stream as it is would credit device 0 with device 1's costs."""
    regrouped, pricing = priced([stream(THREE)], horizon=1e9)
    as_it_is, _ = priced([stream([[0.0, *row[1:]] for row in THREE])], horizon=1e9)
    assert returns_of(regrouped, pricing, 2.0)[0] == pytest.approx(-(27.0 - 2 * 9.5), rel=1e-5)
    assert len(rows(as_it_is, DEVICE)) == 5
    assert returns_of(as_it_is, pricing, 2.0)[0] != pytest.approx(-(27.0 - 2 * 9.5), rel=0.1)


def random_events(count: int, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    time, last = 0.0, np.zeros(DEVICES)
    events = []
    for _ in range(count):
        device = int(rng.integers(DEVICES))
        time += float(rng.exponential())
        events.append(event(device, time, float(rng.exponential()), time - last[device], int(rng.integers(2))))
        last[device] = time
    return events


def test_every_decision_is_trained_on_once_whatever_the_chunks() -> None:
    events, lookback = random_events(61), 12
    expected = Counter()
    for device in range(DEVICES):
        times = [row[9] for row in events if row[0] == device]
        expected.update(np.float32(time).item() for time in times[:-1])  # the last one has no outcome
    assert max(expected.values()) == 1
    found: Counter[float] = Counter()
    for first, last in ((0, 7), (7, 8), (8, 30), (30, 60)):
        kept = min(lookback, first)
        chunk = stream(events[first - kept : last + 1], lookback=kept, t_started=first)
        window = events_of([chunk], 2, DEVICES)
        batch, _ = priced([chunk])
        marked = batch["default_policy"][ROWS].flatten().numpy().nonzero()[0]
        found.update(np.float32(window.time[0, row]).item() for row in marked)
    assert found == expected


def test_costs_are_counted_once_and_open_intervals_too() -> None:
    events = random_events(40)
    last = stream(events[20:], lookback=0, t_started=20, truncated=True)
    (deciding, cost, duration), other = (events[-1][column] for column in (0, 7, 8)), 1 - int(events[-1][0])
    still_open = np.zeros((2, DEVICES))  # as the environment tells it: of the device that decides, the step's own
    still_open[:, int(deciding)], still_open[:, other] = (cost, duration), (5.0, 0.25)
    last.infos.data[-1].update(agents_cost=still_open[0], agents_duration=still_open[1])
    _, pricing = priced([stream(events[:21]), last], calls=1)
    table = np.array(events)
    expected = np.array([[table[table[:, 0] == d, column].sum() for d in range(DEVICES)] for column in (7, 8)])
    expected[:, other] += 5.0, 0.25
    assert pricing.take_sums() == pytest.approx(expected, rel=1e-12)


def test_the_first_batch_gives_the_ratio_and_lets_the_actor_rest() -> None:
    batch, pricing = priced([stream(THREE)], ratio=None, calls=1, shared_ratio=False)  # type: ignore[arg-type]
    assert pricing.ratio == pytest.approx([27.0 / 9.5, 50.0 / 4.75])
    assert not rows(batch, Postprocessing.ADVANTAGES).any()


def test_a_true_end_has_no_value_behind_it_and_a_truncation_does() -> None:
    module = modules(n_devices=DEVICES)
    head = module["default_policy"].critic.head
    ended, _ = priced([stream(THREE, terminated=True)], module=module, horizon=1e9, lam=0.0)
    head.bias.data[:] = 1.0  # every value is 1 now, in units of the scale
    settings, values = PricingSettings(ratio=0.0, lam=0.0, horizon=1e9, winsorise=0.0), {}
    for name, flags in (("terminated", {"terminated": True}), ("truncated", {"truncated": True})):
        scales = CriticScale(1e12)
        scales.calibrated = True
        pricing = Pricing(settings, DEVICES, {"default_policy": scales})
        head.bias.data[:] = 1.0
        batch = SemiMarkovAdvantages(pricing)(rl_module=module, batch={}, episodes=[stream(THREE, **flags)])
        values[name] = rows(batch, Postprocessing.VALUE_TARGETS)[:, 0]
    # cost 20 to the end; the other transitions end before it
    assert values["terminated"] == pytest.approx([2.0, 51.0, 7.0, 20.0], rel=1e-6)
    assert values["truncated"] == pytest.approx([2.0, 51.0, 7.0, 21.0], rel=1e-6)
    assert rows(ended, DEVICE).tolist() == [0, 1, 0, 0]


def test_non_fractional_cost_is_the_rate_of_each_completed_cycle() -> None:
    events = [
        event(0, 0.0, 0.0, 0.0, UPDATE, delay=1.0),
        event(0, 2.0, 4.0, 2.0, OFFLOAD, delay=1.0),
        event(0, 5.0, 13.5, 3.0, UPDATE, delay=3.0),
    ]
    batch, pricing = priced([stream(events)], fractional=False, horizon=1e12)
    expected = -(0.5 * 9 + 3 * 3) / 3.0
    assert returns_of(batch, pricing, 0.0) == pytest.approx([expected, expected], rel=1e-5)
    assert pricing.take_sums()[:, 0] == pytest.approx([35.0, 10.0])  # raw sums all the same (two batches)


def test_read_only_episodes_are_not_written_to() -> None:
    episode = stream(THREE)
    for buffer in (episode.observations, episode.rewards, episode.extra_model_outputs[Columns.ACTION_LOGP]):
        buffer.data.flags.writeable = False
    for array in episode.actions.data.values():
        array.flags.writeable = False
    batch, _ = priced([episode])
    assert len(rows(batch, DEVICE)) == 4


def multi_agent() -> MultiAgentEpisode:
    """The same three-transition stream as RLlib's own multi-agent sampling delivers it."""
    agents = {}
    for device in range(DEVICES):
        own = [row for row in THREE if row[0] == device]
        single = stream(own)
        agents[f"device_{device}"] = SingleAgentEpisode(
            observations=[row[1:] for row in single.observations.data],
            actions=[{"server": 0, "wait": np.zeros(1, np.float32)} for _ in own[1:]],
            rewards=list(single.rewards.data),
            infos=single.infos.data,
            extra_model_outputs={Columns.ACTION_LOGP: [0.0] * (len(own) - 1)},
            len_lookback_buffer=0,
            agent_id=f"device_{device}",
            module_id=f"module_{device}",
        ).to_numpy()
    episode = MultiAgentEpisode()
    episode.agent_episodes = agents
    return episode


def test_multi_agent_episodes_give_the_same_returns() -> None:
    names = ("module_0", "module_1")
    batch, _ = priced([multi_agent()], module=modules(names), horizon=1e9, lam=0.0)
    assert [rows(batch, DEVICE, name).tolist() for name in names] == [[0, 0, 0], [1]]
    events = events_of([multi_agent()], 2, DEVICES)
    assert events.time[0].tolist() == [0.0, 0.25, 0.5, 2.5, 5.0, 9.5]
    assert events.device[0].tolist() == [0, 1, 0, 0, 1, 0]
    assert events.acted[0].tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize("critic", ["recurrent", "centralised", "lstd", "table"])
def test_global_critics_take_any_episodes(critic: str) -> None:
    module = modules(critic=critic)
    layer = module["default_policy"].actor.features
    ridge = {"lstd": layer.per_linear(1e-4, 1.0, 1e-4), "table": np.full(table_width(2), 1e-4)}.get(critic)
    scales = {"default_policy": CriticScale(10.0, ridge)}
    connector = SemiMarkovAdvantages(Pricing(PricingSettings(), DEVICES, scales), segment=16)
    for seed in range(3):
        episodes = [stream(random_events(60, seed), 20), stream(random_events(33, seed + 9), 0, id_="b")]
        batch = connector(rl_module=module, batch={}, episodes=episodes)
    assert batch["default_policy"][ROWS].shape[1] == 16
    assert np.isfinite(rows(batch, Postprocessing.ADVANTAGES)).all()
    assert rows(batch, Postprocessing.ADVANTAGES).std() > 0.5


# A team of two: both pay the same integral of 1, 10, 2, 3, 4 per second on the five stretches between events.
TEAM = [
    event(0, 0.0, 0.0, 0.0),
    event(1, 0.5, 0.5, 0.5),
    event(0, 2.5, 20.5, 2.5),
    event(0, 3.0, 1.0, 0.5),
    event(1, 5.0, 20.0 + 1.0 + 6.0, 4.5),
    event(0, 12.0, 6.0 + 28.0, 9.0),
]
STRETCHES = [(0.5, 0.5), (20.0, 2.0), (1.0, 0.5), (6.0, 2.0), (28.0, 7.0)]


def test_the_system_chain_credits_every_decision_with_what_accrues_until_the_next_event() -> None:
    batch, pricing = priced([stream(TEAM)], chain="system", horizon=10.0, lam=0.0)
    assert returns_of(batch, pricing, 2.0) == pytest.approx([-(c - 2.0 * d) for c, d in STRETCHES], rel=1e-5, abs=1e-5)
    batch, pricing = priced([stream(TEAM)], chain="system", horizon=10.0, lam=0.5)
    carried, expected = 0.0, []
    for cost, duration in STRETCHES[::-1]:
        carried = -(cost - 2.0 * duration) + 0.5 * np.exp(-duration / 10.0) * carried
        expected.append(carried)
    assert returns_of(batch, pricing, 2.0) == pytest.approx(expected[::-1], rel=1e-5, abs=1e-5)
    assert rows(batch, DEVICE).tolist() == [0, 1, 0, 0, 1]


def test_the_system_chain_uses_every_event_once_and_needs_no_lookback() -> None:
    events = random_events(61)
    found = []
    for first, last in ((0, 7), (7, 8), (8, 30), (30, 60)):
        batch, _ = priced([stream(events[first : last + 1], t_started=first)], chain="system")
        found += rows(batch, DEVICE).tolist()
    assert found == [int(row[0]) for row in events[:-1]]


def test_the_system_chain_needs_what_only_our_env_runner_tells() -> None:
    episode = stream(TEAM)
    for info in episode.infos.data:
        del info["total_cost"]
    with pytest.raises(InvalidInputError, match="chain: system needs the sums of costs"):
        priced([episode], chain="system")


def test_the_table_critic_values_by_what_the_lookback_and_the_carried_table_tell() -> None:
    width = table_width(2)
    events = random_events(400)
    whole, cut = stream(events), [stream(events[:201]), stream(events[200:], t_started=200)]
    lanes = events_of([whole], 2, DEVICES)
    table = advance(
        unknown_table(DEVICES),
        lanes.observation[0, :200],
        lanes.device[0, :200],
        lanes.time[0, :200],
        lanes.carrier[0, :200, 1:].argmax(-1),
        0.5 * (lanes.carrier[0, :200, 0].astype(float) + 1.0),
    )
    for told, same in zip(cut[1].infos.data, whole.infos.data[200:], strict=True):
        told.update(same)
    cut[1].infos.data[0]["table"] = table
    cut[1].actions.data["wait"][:] = whole.actions.data["wait"][200:]
    cut[1].actions.data["server"][:] = whole.actions.data["server"][200:]
    values = []
    for episodes in ([whole], cut):
        scales = {"default_policy": CriticScale(1e9, np.full(width, 1e-3))}
        pricing = Pricing(PricingSettings(ratio=2.0, chain="system"), DEVICES, scales)
        connector = SemiMarkovAdvantages(pricing)
        batch = connector(rl_module=modules(critic="table"), batch={}, episodes=episodes)
        values.append((scales["default_policy"].lstd.solution, rows(batch, DEVICE)))  # type: ignore[union-attr]
    assert values[0][1].tolist() == values[1][1].tolist()
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-3, abs=1e-6)


def test_two_criteria_exclude_each_other() -> None:
    with pytest.raises(InvalidInputError, match="horizon and gamma exclude each other"):
        PricingSettings(horizon=1.0, gamma=0.9)
