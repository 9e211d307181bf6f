"""Closed forms of the lone device (Sun et al. 2017; Arafa et al. 2019; derivations), the certificate and the bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.envs.aoi_offload.optimum import (
    UpdateOrWait,
    partial_moment,
    shared_server_zero_wait,
    solve,
    wait_rule_value,
)
from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.core.errors import InvalidInputError

parse = UpdateOrWait.parse
LAWS = ("exponential", "lognormal:0.5", "lognormal:1.5", "deterministic", "hyperexp:4")


def rounded(digits: int = 6) -> float:
    """Half a unit of the last printed digit, plus the same for a value printed on the edge."""
    return 0.51 * 10.0**-digits


# --- A1: zero wait, no drop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "scale", "age"),
    [
        ("exponential", 1.0, 2.0),
        ("exponential", 3.564, 7.128),
        ("exponential", 30 * 0.297 / 41.8, 0.426316),
        ("deterministic", 2.0, 3.0),
        ("lognormal:0.5", 1.0, 1.860644),
        ("lognormal:1", 1.0, 3.889566),
        ("lognormal:1.5", 1.0, 17.692359),
        ("lognormal:1", 3.564, 13.86241),
        ("hyperexp:4", 1.0, 1.0 + 0.5 * 5.0),
    ],
)
def test_zero_wait_age(service, scale, age):
    assert parse(service, scale).zero_wait() == pytest.approx(age, abs=rounded(5 if age > 13 and scale > 1 else 6))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.5])
def test_zero_wait_lognormal_formula(sigma):
    assert parse(f"lognormal:{sigma}").zero_wait() == pytest.approx(
        math.exp(sigma**2 / 2) + 0.5 * math.exp(1.5 * sigma**2), rel=1e-13
    )


# --- A2: optimal waiting --------------------------------------------------------------------------------------------


def test_exponential_optimum_is_lamberts():
    from scipy.special import lambertw

    value, c, bound = parse("exponential").optimal()
    assert c == pytest.approx(2.0 * float(lambertw(1.0 / math.sqrt(2.0)).real), abs=1e-12)
    assert (c, value) == pytest.approx((0.901201031730, 1.901201031730), abs=1e-12)
    assert bound == pytest.approx(value, abs=1e-11)
    assert bound <= value


@pytest.mark.parametrize(
    ("service", "scale", "c", "age"),
    [
        ("exponential", 3.564, 0.901201031730 * 3.564, 6.775880),
        ("exponential", 30 * 0.297 / 41.8, 0.901201031730 * 30 * 0.297 / 41.8, 0.405256),
        ("lognormal:0.5", 1.0, 0.722480, 1.855628),
        ("lognormal:1", 1.0, 1.913399, 3.562120),
        ("lognormal:1.5", 1.0, 7.980468, 11.060685),
    ],
)
def test_optimal_waiting(service, scale, c, age):
    value, threshold, _ = parse(service, scale).optimal()
    assert value == pytest.approx(age, abs=rounded())
    assert threshold == pytest.approx(c, abs=rounded())


def test_mean_wait_and_share_of_waits_at_the_optimum():
    law = parse("exponential")
    _, c, _ = law.optimal()
    assert law.cycle_length(c) - 1.0 == pytest.approx(0.307283, abs=rounded())
    assert partial_moment("exponential", 0.0, 0, c) == pytest.approx(0.593918, abs=rounded())


def test_another_threshold_is_worse():
    assert parse("exponential").threshold(0.4) == pytest.approx(1.951536, abs=rounded())


def test_deterministic_service_wants_no_wait():
    value, c, _ = parse("deterministic", 2.0).optimal()
    assert value == pytest.approx(3.0, abs=1e-12)
    assert c < 2.0


def test_z_max_binds():
    value, c, bound = parse("lognormal:1.5", z_max=3.0).optimal()
    assert value == pytest.approx(12.223, abs=rounded(3))
    assert bound == pytest.approx(value, abs=1e-9)
    assert c > 3.0
    assert parse("lognormal:1.5", z_max=20.0).optimal()[0] == pytest.approx(11.060685, abs=rounded())


# --- A3 to A5: drops ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cutoff", "deadline"])
@pytest.mark.parametrize(
    ("limit", "age"),
    [(0.25, 1.119797), (0.5, 1.229253), (1, 1.418023), (1.5, 1.569175), (2, 1.686965), (3, 1.842813)],
)
def test_cutoff_zero_wait(mode, limit, age):
    value = parse("exponential", drop=f"{mode}:{limit}").zero_wait()
    assert value == pytest.approx(age, abs=rounded())
    assert value == pytest.approx(2.0 - limit * math.exp(-limit) / (1.0 - math.exp(-limit)), rel=1e-12)


@pytest.mark.parametrize(
    ("limit", "age"), [(0.5, 3.541494), (1, 2.581977), (1.5, 2.287217), (2, 2.156518), (3, 2.052396)]
)
def test_authors_drop_zero_wait(limit, age):
    assert parse("exponential", drop=f"authors:{limit}").zero_wait() == pytest.approx(age, abs=rounded())


def test_local_defaults_with_drops():
    assert parse("exponential", 3.564, "cutoff:1.5").zero_wait() == pytest.approx(5.592539, abs=1e-6)
    assert parse("exponential", 3.564, "authors:1.5").zero_wait() == pytest.approx(8.151641, abs=1e-6)


@pytest.mark.parametrize(
    ("drop", "age", "c"),
    [
        ("cutoff:0.5", 1.224705, 0.224705),
        ("cutoff:1", 1.402437, 0.402437),
        ("cutoff:1.5", 1.539570, 0.539570),
        ("cutoff:2", 1.643003, 0.643003),
        ("cutoff:3", 1.774855, 0.774855),
        ("authors:1", 2.483178, 0.901201),
        ("authors:1.5", 2.188418, 0.901201),
        ("authors:2", 2.057719, 0.901201),
        ("authors:3", 1.953597, 0.901201),
    ],
)
def test_drops_with_optimal_waiting(drop, age, c):
    value, threshold, bound = parse("exponential", drop=drop).optimal()
    assert value == pytest.approx(age, abs=rounded())
    assert threshold == pytest.approx(c, abs=rounded())
    assert bound == pytest.approx(value, abs=1e-10)


def test_authors_threshold_moves_once_the_limit_is_below_it():
    # With a limit under 0.9012 every completed task waits, and the threshold is not that of the law without drops.
    assert parse("exponential", drop="authors:0.5").optimal()[1] == pytest.approx(0.905882, abs=1e-6)


def test_limit_equal_to_the_service_time():
    assert parse("deterministic", drop="authors:1").zero_wait() == math.inf
    assert parse("deterministic", drop="cutoff:1").zero_wait() == math.inf
    assert parse("deterministic", drop="deadline:1").zero_wait() == pytest.approx(1.5)


# --- A6 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "rate", "age"),
    [(2, 2.0, 1.75), (20, 41.8 / 8.91, 6.501316), (10, 41.8 / 8.91, 3.303947), (15, 41.8 / 8.91, 4.902632)],
)
def test_shared_server(devices, rate, age):
    assert shared_server_zero_wait(devices, rate) == pytest.approx(age, abs=rounded())


# --- any wait function ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", LAWS)
@pytest.mark.parametrize("drop", ["none", "authors:1.5", "cutoff:1.5", "deadline:1.2"])
@pytest.mark.parametrize("z_max", [0.7, 20.0])
def test_quadrature_reproduces_closed_forms(service, drop, z_max):
    problem = parse(service, 2.0, drop, z_max)
    value, c, _ = problem.optimal()

    def integrate(wait):
        return wait_rule_value(wait, service, 2.0, drop, z_max)

    assert integrate(lambda y: np.clip(c - y, 0.0, None)) == pytest.approx(value, rel=1e-8)
    assert integrate(lambda y: np.full((y.size, 1), 0.4)) == pytest.approx(problem.fixed(0.4), rel=1e-12)
    assert integrate(np.zeros_like) == pytest.approx(problem.zero_wait(), rel=1e-12)
    assert integrate(lambda y: 0.5 * c - y) == pytest.approx(problem.threshold(0.5 * c), rel=1e-8)


@pytest.mark.parametrize("service", ["exponential", "lognormal:1", "lognormal:1.5", "hyperexp:9"])
def test_quadrature_resolves_a_jump(service):
    # Z = 1 while Y <= 0.8, nothing after: its three moments are partial moments of the law.
    problem = parse(service)
    m0, m1 = (partial_moment(problem.kind, problem.parameter, j, 0.8) for j in (0, 1))
    (y1, y2), wait = problem.delay_moments, m0
    exact = (m1 + 0.5 * m0 + wait * y1 + y1 * y1 + 0.5 * y2) / (wait + y1)
    assert problem.rule(lambda y: (y <= 0.8).astype(float)) == pytest.approx(exact, rel=1e-4)


def test_quadrature_refuses_a_wrong_function():
    problem = parse("exponential")
    with pytest.raises(InvalidInputError, match="wait"):
        problem.rule(lambda y: y[:3])
    with pytest.raises(InvalidInputError, match="finite"):
        problem.rule(lambda y: np.where(y > 1.0, np.nan, 0.0))


@given(
    service=st.sampled_from(LAWS),
    drop=st.sampled_from(["none", "authors:1.5", "cutoff:1.2", "deadline:2"]),
    z_max=st.floats(0.0, 30.0),
    c=st.floats(-1.0, 40.0),
)
@settings(max_examples=150, deadline=None)
def test_no_threshold_beats_the_optimum(service, drop, z_max, c):
    problem = parse(service, 1.3, drop, z_max)
    value, _, bound = problem.optimal()
    assert bound <= value <= problem.threshold(c) * (1.0 + 1e-12)
    assert value - bound <= 1e-9 * value


@given(service=st.sampled_from(LAWS), knots=st.lists(st.floats(0.0, 20.0), min_size=4, max_size=8))
@settings(max_examples=40, deadline=None)
def test_no_wait_function_beats_the_optimum(service, knots):
    problem = parse(service, drop="none", z_max=20.0)
    grid = np.linspace(0.0, 10.0, len(knots))
    assert problem.rule(lambda y: np.interp(y, grid, knots), 1 << 14) >= problem.optimal()[0] * (1.0 - 1e-9)


# --- moments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["exponential", "lognormal:0.7", "hyperexp:6"])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("x", [0.2, 1.0, 4.0])
def test_partial_moments_against_quadrature(service, order, x):
    from scipy.integrate import quad

    problem = parse(service)
    kind, parameter = problem.kind, problem.parameter

    def density(u):
        if kind == "lognormal":
            return math.exp(-0.5 * (math.log(u) / parameter) ** 2) / (u * parameter * math.sqrt(2.0 * math.pi))
        if kind == "exponential":
            return math.exp(-u)
        root = math.sqrt((parameter - 1.0) / (parameter + 1.0))
        p, q = (1.0 + root) / 2.0, (1.0 - root) / 2.0
        return p * 2.0 * p * math.exp(-2.0 * p * u) + q * 2.0 * q * math.exp(-2.0 * q * u)

    integral, _ = quad(lambda u: u**order * density(u), 0.0, x, epsabs=1e-12)
    assert partial_moment(kind, parameter, order, x) == pytest.approx(integral, abs=1e-10)


@pytest.mark.parametrize("cv2", [1.5, 4.0, 100.0])
def test_hyperexponential_has_unit_mean_and_the_given_variation(cv2):
    assert partial_moment("hyperexp", cv2, 1, math.inf) == pytest.approx(1.0, rel=1e-12)
    assert partial_moment("hyperexp", cv2, 2, math.inf) - 1.0 == pytest.approx(cv2, rel=1e-12)


def test_fastest_of_two_places():
    # Delay min(0.5 + u, 3 u): the second place wins below u = 0.25.
    both = UpdateOrWait("exponential", places=((0.5, 1.0), (0.0, 3.0)))
    rng = np.random.default_rng(0)
    delay = np.minimum(0.5 + (u := rng.exponential(size=2_000_000)), 3.0 * u)
    assert both.delay_moments == pytest.approx((delay.mean(), (delay**2).mean()), rel=5e-3)
    assert both.success == pytest.approx(1.0, abs=1e-12)
    value, c, _ = both.optimal()
    assert both.rule(lambda y: np.clip(c - y, 0.0, None)) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    "fields",
    [
        {"drop": "sometimes"},
        {"drop": "cutoff", "limit": 0.0},
        {"places": ()},
        {"places": ((0.0, 0.0),)},
        {"places": ((0.1, 1.0), (0.0, 3.0)), "drop": "deadline", "limit": 2.0},
        {"z_max": -1.0},
        {"z_max": math.nan},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(InvalidInputError):
        UpdateOrWait("exponential", **fields)


def test_unknown_law_is_refused():
    with pytest.raises(InvalidInputError, match="service"):
        UpdateOrWait("uniform").zero_wait()


# --- solve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["staged", "joint"])
def test_single_preset(decision):
    found = solve(AoIParams.make("single"), decision)
    assert found.value == pytest.approx(1.901201031730, abs=1e-11)
    assert 0.0 <= found.gap <= 1e-9
    assert decision in found.method
    assert found.details["threshold"] == pytest.approx(0.901201, abs=rounded())


@pytest.mark.parametrize(
    ("service", "z_max", "age"),
    [("lognormal:1", 20.0, 3.562120), ("lognormal:1.5", 20.0, 11.060685), ("lognormal:1.5", 3.0, 12.223234)],
)
def test_single_preset_heavy_tails(service, z_max, age):
    assert solve(AoIParams.make("single", service=service, z_max=z_max)).value == pytest.approx(age, abs=rounded())


def test_one_device_uses_its_fastest_place():
    found = solve(AoIParams.make("paper", n_devices=1, drop="none"))
    assert found.value == pytest.approx(0.405256, abs=rounded())
    assert found.gap <= 1e-9


def test_gap_stays_open_where_z_max_binds_and_there_is_a_choice():
    found = solve(AoIParams.make("paper", n_devices=1, drop="none", z_max=0.05))
    assert found.gap > 1e-4
    assert found.bound == pytest.approx(0.405256, abs=rounded())


def test_transmission_is_part_of_the_delay():
    params = AoIParams.make("paper", n_devices=1, drop="none", transmission="fixed:0.5", z_max=20.0)
    found = solve(params)
    edge = UpdateOrWait("exponential", places=((0.5, params.scale(0, 1)),))
    assert found.value == pytest.approx(edge.optimal()[0], rel=1e-12)
    assert 0.0 < found.gap < 0.06


def test_devices_without_edges_are_independent():
    params = AoIParams.make("single", n_devices=2, local_ghz=(1.0, 0.5))
    assert solve(params, device=0).value == pytest.approx(1.901201, abs=rounded())
    assert solve(params, device=1).value == pytest.approx(2 * 1.901201031730, abs=1e-9)
    assert solve(params, team=True).value == pytest.approx(1.5 * 1.901201031730, abs=1e-9)


def test_several_devices_get_only_a_bound():
    selfish, team = (solve(AoIParams.make("paper", drop="none"), team=team) for team in (False, True))
    assert selfish.value is None
    assert selfish.gap is None
    assert selfish.bound == pytest.approx(0.405256, abs=rounded())
    # The places complete at most 2 / 0.213158 + 20 / 3.564 tasks per second. With cycles of at least 20 over that, the
    # age is at least half a cycle (equal cycles) plus the mean delay of the fastest place.
    assert team.value is None
    cycle = 20 / (2 / 0.2131579 + 20 / 3.564)
    assert 0.5 * cycle + 0.2131579 < team.bound < 0.5 * cycle + 0.2132579


@pytest.mark.parametrize("team", [False, True])
@pytest.mark.parametrize("drop", ["none", "authors:1.5", "cutoff:1.5", "deadline:1.5"])
def test_bound_is_below_the_lone_devices_value(drop, team):
    one = solve(AoIParams.make("small", n_devices=1, drop=drop, z_max=20.0))
    many = solve(AoIParams.make("small", drop=drop), team=team)
    assert one.gap <= 1e-9
    if team:
        assert many.bound >= one.bound * (1.0 - 1e-12)
    else:
        assert many.bound == pytest.approx(one.bound, rel=1e-12)


def test_nothing_can_complete():
    with pytest.raises(InvalidInputError, match="drop"):
        solve(AoIParams.make("single", service="deterministic", drop="cutoff:0.5"))


def test_bad_arguments_are_refused():
    with pytest.raises(InvalidInputError, match="decision"):
        solve(AoIParams.make("single"), "both")
    with pytest.raises(InvalidInputError, match="device"):
        solve(AoIParams.make("single"), device=1)
