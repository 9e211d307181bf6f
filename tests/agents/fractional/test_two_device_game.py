"""The two-device game: the exact matrices, every equilibrium by name, and the simulator's own opinion (G1)."""

import gymnasium
import numpy as np
import pytest

import edgewise  # noqa: F401  # registers the ids
from edgewise.agents.fractional.two_device_game import POLICIES, STATES, TwoDeviceGame
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.aoi_offload.simulate import simulate
from edgewise.envs.core.errors import InvalidInputError

AGES = [[2, 2, 2, 2], [2, 2, 23 / 12, 1.75], [1, 17 / 12, 1.5, 2], [1, 1.75, 1, 1.75]]
CYCLES = [[1, 1, 1, 1], [1, 1, 1, 1], [1 / 2, 2 / 3, 2 / 3, 1], [1 / 2, 1, 1 / 2, 1]]
"""Of device 1, edge rate 2 and local rates 1; own policy down, the other's across."""


def physics(game):
    """The same system for the simulator; the first tasks start locally."""
    capacities = {"edge_ghz": (game.edge_rate,), "local_ghz": game.local_rates}
    return AoIParams(n_devices=2, **capacities, task_mbit=1.0, density=1.0, initial_queue_limit=0)


def play(game, profile, lanes=512, steps=2000):
    """Ages and cycles (2,) of a profile, measured on the event stream: independent of rules inside the kernel."""
    envs = gymnasium.make_vec(
        "edgewise/AoIOffloadGame-v0", num_envs=lanes, params=physics(game), horizon=np.inf, autoreset_mode="DISABLED"
    )
    rules = np.array([[letter == "E" for letter in policy] for policy in profile], np.int64)
    obs, _ = envs.reset(seed=5)
    sums = np.zeros((3, 2))
    no_wait = np.zeros((lanes, 1))
    for step in range(steps):
        device, holds_a_task = obs[:, 0].astype(int), (obs[:, 5] > 0).astype(int)
        obs, _, _, _, info = envs.step({"server": rules[device, holds_a_task], "wait": no_wait})
        if step >= 100:
            done = info["kind"] == 0
            for row, values in enumerate((info["cost"], info["duration"], done)):
                sums[row] += np.bincount(info["device"], values, 2)
    return sums[0] / sums[1], sums[1] / sums[2]


def test_ages_and_cycles_of_all_profiles():
    ages, cycles = TwoDeviceGame().matrices()
    for table, expected in ((ages, AGES), (cycles, CYCLES)):
        assert table[..., 0] == pytest.approx(np.array(expected), abs=1e-12)
        assert table[..., 1] == pytest.approx(np.array(expected).T, abs=1e-12)  # the devices are alike


def test_four_inner_equilibria_are_found_and_named():
    game = TwoDeviceGame()
    assert game.inner_equilibria((5, 5)) == (("LL", "LL"), ("LE", "EE"), ("EE", "LE"), ("EE", "EE"))
    assert game.inner_equilibria((2, 2)) == (("EE", "EE"),)
    assert game.equilibria() == (("EE", "EE"),)
    assert game.price_of_anarchy() == pytest.approx(7 / 6, abs=1e-12)
    profile, total = game.least_sum()
    assert (profile, total) == (("LL", "EL"), pytest.approx(3.0, abs=1e-12))


def test_fast_local_processors_split_the_devices():
    game = TwoDeviceGame(local_rates=(1.2, 1.2))
    found = {profile: game.outcome(profile).ages.round(6).tolist() for profile in game.equilibria()}
    alone, edge = 1.666667, 1.0
    assert found == {
        ("LL", "EE"): [alone, edge],
        ("EL", "EE"): [alone, edge],
        ("EE", "LL"): [edge, alone],
        ("EE", "EL"): [edge, alone],
    }
    assert game.price_of_anarchy() == pytest.approx(1.0, abs=1e-12)


def test_several_recurrent_classes_are_told_apart():
    both = TwoDeviceGame().outcome(("EL", "EL"))
    assert [(c.states, c.probability) for c in both.classes] == [(("edge-local",), 0.5), (("local-edge",), 0.5)]
    assert both.classes[0].ages.tolist() == pytest.approx([1.0, 2.0])
    assert both.classes[1].cycles.tolist() == pytest.approx([1.0, 0.5])
    # The faster device reaches the edge first more often.
    uneven = TwoDeviceGame(local_rates=(1.0, 3.0)).outcome(("EL", "EL"))
    assert [c.probability for c in uneven.classes] == pytest.approx([0.25, 0.75])
    # LE against LE stays wherever it starts: apart, or together at the edge.
    assert TwoDeviceGame().outcome(("LE", "LE")).classes[0].states == ("local-local",)
    together = TwoDeviceGame(initial={"edge:1,2": 1.0}).outcome(("LE", "LE"))
    assert together.classes[0].states == ("edge:1,2", "edge:2,1")
    assert together.ages.tolist() == pytest.approx([1.75, 1.75])
    mixed = TwoDeviceGame(initial={"edge:2,1": 0.5, "local-local": 0.5}).outcome(("LE", "LE"))
    assert mixed.ages.tolist() == pytest.approx([1.875, 1.875])
    assert len(mixed.classes) == 2


@pytest.mark.parametrize(
    "profile", [("LE", "EL"), ("EL", "EL"), ("EE", "EE"), ("LE", "EE"), ("EL", "EE"), ("EE", "LE")], ids="-".join
)
def test_event_stream_agrees(profile):
    game = TwoDeviceGame(edge_rate=1.7, local_rates=(1.0, 1.4))
    exact = game.outcome(profile)
    ages, cycles = play(game, profile)
    # Two classes: 512 lanes end in either at random, hence the wider band.
    band = 0.05 if len(exact.classes) > 1 else 0.015
    assert ages == pytest.approx(exact.ages, rel=band)
    assert cycles == pytest.approx(exact.cycles, rel=band)


@pytest.mark.parametrize(("one", "two"), [("EE", "EE"), ("EL", "EE"), ("LL", "EL")])
def test_scripted_kernel_agrees(one, two):
    game = TwoDeviceGame(edge_rate=1.7, local_rates=(1.0, 1.4))
    rules = {"LL": "local", "EL": "jsq-unless:1", "EE": "server:1"}
    result = simulate(physics(game), rules[one], seeds=8, horizon=20_000.0, deviator=(1, rules[two], "fixed:0"))
    exact = game.outcome((one, two))
    assert result.ages.mean(axis=0) == pytest.approx(exact.ages, rel=0.015)
    measured = result.statistics["time"].sum(axis=0) / result.statistics["completions"].sum(axis=0)
    assert measured == pytest.approx(exact.cycles, rel=0.015)


def test_scaling_time_scales_ages():
    slow, fast = TwoDeviceGame(), TwoDeviceGame(20.0, (10.0, 10.0))
    for one in POLICIES:
        for two in POLICIES:
            assert slow.outcome((one, two)).ages == pytest.approx(10 * fast.outcome((one, two)).ages)


def test_games_without_a_chosen_equilibrium_are_refused(monkeypatch):
    with pytest.raises(InvalidInputError, match=r"^select must be"):
        TwoDeviceGame(select=lambda candidates: ("EL", "EL")).inner_equilibrium((5, 5))
    game = TwoDeviceGame()
    monkeypatch.setattr(game, "inner_equilibria", lambda ratios: ())  # no rates were found at which this happens
    with pytest.raises(InvalidInputError, match=r"^ratios must be"):
        game.inner_equilibrium((5, 5))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"edge_rate": 0.0}, "edge_rate"),
        ({"edge_rate": float("nan")}, "edge_rate"),
        ({"local_rates": (1.0, float("inf"))}, "local_rates"),
        ({"local_rates": (1.0, 1.0, 1.0)}, "local_rates"),
        ({"initial": {"local-local": 0.5}}, "initial"),
        ({"initial": {"local-local": 1.5, "edge:1,2": -0.5}}, "initial"),
        ({"initial": {STATES[0]: 1.0, "nowhere": 0.0}}, "initial"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        TwoDeviceGame(**arguments)


@pytest.mark.parametrize("profile", [("LL",), ("LL", "XX"), ("LL", "LL", "LL")])
def test_unknown_profiles_are_refused(profile):
    with pytest.raises(InvalidInputError, match=r"^profile must be"):
        TwoDeviceGame().outcome(profile)
