"""Actors of many devices in one call, and what critics may and may not know."""

import pytest
import torch
from torch import Tensor

from edgewise.agents.networks.asynchronous import CRITICS, EventCritic, HybridActor, Window, last_events
from edgewise.envs.aoi_offload.state import JOINT, KIND, OFFLOAD, UPDATE
from edgewise.envs.core.errors import InvalidInputError

DEVICES, EDGES = 5, 2


def observations(rows: int, kind: int | None = None) -> Tensor:
    values = 3.0 * torch.rand(rows, 4 + EDGES)
    values[:, KIND] = torch.randint(0, 2, (rows,)) if kind is None else kind
    return values


def window(systems: int = 3, events: int = 12) -> Window:
    observation = observations(systems * events).unflatten(0, (systems, events))
    device = torch.randint(0, DEVICES, (systems, events))
    return Window(observation, device, torch.randn(systems, events, EDGES + 2), torch.rand(systems, events))


def values(critic: EventCritic, events: Window) -> Tensor:
    rows = torch.ones_like(events.device, dtype=torch.bool)
    with torch.no_grad():
        return critic(events, critic.contexts(events), rows).unflatten(0, events.device.shape)


def critic_of(kind: str) -> EventCritic:
    torch.manual_seed(0)
    critic = EventCritic(kind, EDGES, DEVICES, state=16)  # type: ignore[arg-type]
    torch.nn.init.normal_(critic.head.weight)
    return critic


@pytest.mark.parametrize("rows", [3, 64])  # few rows fetch weights one by one, many are grouped
def test_one_call_for_all_devices_equals_a_loop_over_devices(rows: int) -> None:
    torch.manual_seed(0)
    actor = HybridActor(EDGES, DEVICES, "per_device", init_scale=0.7)
    with torch.no_grad():
        actor.log_scale.normal_()
    observation, device = observations(rows), torch.randint(0, DEVICES, (rows,))
    features = actor.features(observation)
    together = actor.parameters_of(features, device)
    for row, member in enumerate(device.tolist()):
        latent = features[row]
        for layer in actor.trunk:
            latent = torch.tanh(latent @ layer.weight[member] + layer.bias[member, 0])
        logits = latent @ actor.choice.weight[member] + actor.choice.bias[member, 0]
        location = latent @ actor.location.weight[member] + actor.location.bias[member, 0]
        torch.testing.assert_close(together.logits[row], logits)
        torch.testing.assert_close(together.location[row], location)
        torch.testing.assert_close(together.log_scale[row], actor.log_scale[member])


def test_a_device_with_its_own_parameters_moves_only_them() -> None:
    torch.manual_seed(0)
    actor = HybridActor(EDGES, DEVICES, "per_device")
    observation, device = observations(40), torch.full((40,), 3)
    law = actor(observation, device)
    law.log_prob(law.sample()).sum().backward()
    for parameter in actor.parameters():
        assert parameter.grad is not None
        moved = parameter.grad.flatten(1).abs().sum(1) > 0
        assert moved.tolist() == [False, False, False, True, False]


def test_devices_that_share_parameters_act_alike_and_others_do_not() -> None:
    observation = observations(1).expand(DEVICES, -1)
    device = torch.arange(DEVICES)
    shared = HybridActor(EDGES, DEVICES, "shared")(observation, device).log_probs
    own = HybridActor(EDGES, DEVICES, "per_device")(observation, device).log_probs
    assert shared is not None
    assert own is not None
    assert torch.allclose(shared[0], shared[1:])
    assert not torch.allclose(own[0], own[1:], atol=1e-6)


@pytest.mark.parametrize(
    ("learn", "kind", "choice", "wait"),
    [
        ("both", UPDATE, False, True),
        ("both", OFFLOAD, True, False),
        ("both", JOINT, True, True),
        ("wait", UPDATE, False, True),
        ("wait", OFFLOAD, False, False),
        ("wait", JOINT, False, True),
        ("server", UPDATE, False, False),
        ("server", JOINT, True, False),
    ],
)
def test_only_learned_parts_that_the_decision_uses_count(learn: str, kind: int, choice: bool, wait: bool) -> None:
    torch.manual_seed(0)
    actor = HybridActor(EDGES, DEVICES, learn=learn)  # type: ignore[arg-type]
    law = actor(observations(4, kind), torch.zeros(4, dtype=torch.long))
    carrier = law.sample()
    other_server, other_wait = carrier.clone(), carrier.clone()
    other_server[:, 1:] = carrier[:, 1:].roll(1, dims=1)
    other_wait[:, 0] = -carrier[:, 0]
    logp = law.log_prob(carrier)
    assert bool((law.log_prob(other_server) != logp).any()) is choice
    assert bool((law.log_prob(other_wait) != logp).any()) is wait
    if not (choice or wait):
        assert law.entropy().abs().max() == 0.0


def test_ignored_columns_change_nothing() -> None:
    actor = HybridActor(EDGES, ignored=(1, 3))
    first = observations(6)
    second = first.clone()
    second[:, [1, 3]] += 1.0
    device = torch.zeros(6, dtype=torch.long)
    one, two = (actor.parameters_of(actor.features(x), device) for x in (first, second))
    assert torch.equal(one.location, two.location)


@pytest.mark.parametrize("kind", CRITICS)
def test_a_value_does_not_depend_on_its_own_action_nor_on_what_follows(kind: str) -> None:
    critic, events = critic_of(kind), window()
    before = values(critic, events)
    changed = Window(*(column.clone() for column in events))
    changed.action[:, 6] += 1.0
    for column in changed[:1]:
        column[:, 7:, 1:] += 1.0
    after = values(critic, changed)
    assert torch.equal(after[:, :7], before[:, :7])
    assert not torch.allclose(after[:, 7:], before[:, 7:])  # the own observation counts


@pytest.mark.parametrize(("kind", "sees"), [("recurrent", True), ("centralised", True), ("memoryless", False)])
def test_earlier_actions_of_other_devices_count_where_the_critic_is_global(kind: str, sees: bool) -> None:
    critic, events = critic_of(kind), window()
    events.device[:, 3], events.device[:, 4:] = 0, 1
    before = values(critic, events)
    events.action[:, 3] += 1.0  # of device 0; the events behind it are device 1's
    after = values(critic, events)
    assert torch.equal(after[:, :4], before[:, :4])
    assert bool((after[:, 4:] != before[:, 4:]).any()) is sees


def test_the_part_of_an_action_that_its_kind_does_not_use_tells_nothing() -> None:
    critic, events = critic_of("recurrent"), window()
    events.observation[:, 3, KIND] = OFFLOAD
    before = values(critic, events)
    events.action[:, 3, 0] += 1.0  # a wait, at an offloading decision
    assert torch.equal(values(critic, events), before)


def test_segments_with_the_states_of_the_window_give_the_values_of_the_window() -> None:
    critic, events = critic_of("recurrent"), window(2, 12)
    whole = values(critic, events)
    context = critic.contexts(events)
    cut = Window(*(column.reshape(6, 4, *column.shape[2:]) for column in events))
    with torch.no_grad():
        parts = critic(cut, context.reshape(6, 4, -1), torch.ones(6, 4, dtype=torch.bool))
    torch.testing.assert_close(parts.reshape(whole.shape), whole)


def test_only_the_marked_rows_are_valued() -> None:
    critic, events = critic_of("recurrent"), window()
    rows = torch.rand(events.device.shape) < 0.3
    with torch.no_grad():
        some = critic(events, critic.contexts(events), rows)
    torch.testing.assert_close(some, values(critic, events)[rows])


def test_last_events_by_hand() -> None:
    device = torch.tensor([[1, 0, 1, 1, 2]])
    expected = [[-1, -1, -1], [-1, 0, -1], [1, 0, -1], [1, 2, -1], [1, 3, -1]]
    assert last_events(device, 3).tolist() == [expected]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="parameters must be shared or per_device"):
        HybridActor(EDGES, parameters="own")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="critic must be recurrent"):
        EventCritic("lstm", EDGES)  # type: ignore[arg-type]
