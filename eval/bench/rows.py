"""The rows of the table with their targets, and the groups of age of information, each in one interleaved run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...envs.core.errors import MissingExtraError
from . import loads
from .memory import rss_drift
from .timing import Budget, Load, Rates, measure, ratio, speed
from .training import training_rates

PLAIN = "plain Python"
_PLAIN_LANES = 64  # where plain Python is fastest: at 1024 its objects outgrow the caches and it is three times slower


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        value: the figure, or None where it could not be measured (`note` says why).
        unit: of the figure; "" for a ratio.
        target: what it should reach, or None.
        at_most: the target is an upper bound.
        machine: the target is a speed, so it says something about the machine too; `Row.met` of such a row is shown,
            but `failed` leaves it out.
        plain: how many times faster than the same model in plain Python, measured in the same interleaved run.
        note: a remark.
    """

    what: str
    value: float | None
    unit: str = ""
    target: float | None = None
    at_most: bool = False
    machine: bool = False
    plain: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without target or figure."""
        if self.target is None or self.value is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"met": self.met}


def failed(rows: list[Row]) -> list[Row]:
    """The rows that miss a target which does not depend on the machine's speed."""
    return [row for row in rows if row.met is False and not row.machine]


def speed_row(rates: Rates, name: str, what: str, target: float | None = None, unit: str = "decisions/s") -> Row:
    """A speed, with its multiple of plain Python where that ran beside it."""
    plain = ratio(rates, name, PLAIN) if PLAIN in rates and name != PLAIN else None
    return Row(what, speed(rates, name), unit, target, machine=True, plain=plain)


def _plain(budget: Budget) -> Load:
    return loads.plain_python(loads.no_drop(), min(budget.lanes, _PLAIN_LANES), budget.warmup)


def event_stream(budget: Budget) -> Iterator[Row]:
    """The event stream with many lanes against plain Python, scalar environments and the raw kernel."""
    params, lanes, warmup = loads.no_drop(), budget.lanes, budget.warmup
    widths = sorted({1, 64, lanes, 4 * lanes})
    running: dict[str, Load] = {
        "kernel": loads.raw_kernel(params, lanes, warmup),
        "sync": loads.scalar_streams(params, lanes, warmup),
        PLAIN: _plain(budget),
    } | {f"lanes {n}": loads.event_stream(params, n, warmup) for n in widths}
    rates = measure(running, budget)
    ours, size = f"lanes {lanes}", f"{lanes} lanes × 20 devices"
    yield speed_row(rates, ours, f"event stream make_vec, {size}", 3e6)
    yield Row(f"the same over {PLAIN} with a heap of events", ratio(rates, ours, PLAIN), target=4.0)
    yield Row(f"the same over {lanes} scalar envs in SyncVectorEnv", ratio(rates, ours, "sync"), target=15.0)
    yield Row("the same, full info, over the raw kernel loop", ratio(rates, ours, "kernel"), target=0.8)
    yield speed_row(rates, "kernel", f"raw kernel loop, {size}")
    for n in widths:
        if n != lanes:
            yield speed_row(rates, f"lanes {n}", f"event stream make_vec, {n} lane{'s' if n > 1 else ''}")
    yield speed_row(rates, "sync", f"SyncVectorEnv, {size}")
    yield speed_row(rates, PLAIN, f"{PLAIN}, {min(lanes, _PLAIN_LANES)} lanes × 20 devices")


def background(budget: Budget) -> Iterator[Row]:
    """The single-device environment with 19 scripted devices."""
    rates = measure(
        {
            "events": loads.background_events(budget.lanes, budget.warmup),
            PLAIN: _plain(budget),
        },
        budget,
    )
    what = f"single-device make_vec, {budget.lanes} lanes, 19 scripted devices"
    yield speed_row(rates, "events", what, 5e6, "events/s")


def scalar(budget: Budget) -> Iterator[Row]:
    """`gymnasium.make` against CartPole."""
    rates = measure(
        {
            "CartPole-v1": loads.cart_pole(budget.warmup),
            "single": loads.scalar("single", budget.warmup),
            "paper": loads.scalar("paper", budget.warmup),
        },
        budget,
    )
    for preset, target in (("single", 1.0), ("paper", 0.25)):
        yield Row(f"gymnasium.make over CartPole-v1, preset {preset}", ratio(rates, preset, "CartPole-v1"), "", target)
    for name in rates:
        yield speed_row(rates, name, f"gymnasium.make, {name}", unit="steps/s")


def pettingzoo(budget: Budget) -> Iterator[Row]:
    """AEC against an environment that does nothing, and the Parallel view."""
    rates = measure(
        {
            "aec": loads.aec(budget.warmup),
            "idle": loads.idle_aec(budget.warmup),
            "bookless": loads.idle_aec(budget.warmup, books=False),
            "parallel": loads.parallel(budget.warmup),
            PLAIN: _plain(budget),
        },
        budget,
    )
    yield Row("bare AEC, 20 devices, over a do-nothing AEC", ratio(rates, "aec", "idle"), "", 0.4)
    yield Row("the same over one without books of rewards", ratio(rates, "aec", "bookless"))
    yield speed_row(rates, "aec", "bare AEC, 20 devices")
    yield speed_row(rates, "parallel", "Parallel, 20 devices")


def devices(budget: Budget) -> Iterator[Row]:
    """Cost of a decision as devices grow."""
    most, lanes = budget.devices, 64
    sizes = sorted({n for n in (10, 20, 100, 1_000, 10_000) if n <= most} | {most})
    running = {str(n): loads.event_stream(loads.no_drop(n), lanes, budget.warmup) for n in sizes}
    rates = measure(running, budget)
    what = f"cost per decision, {most} devices over 20 ({lanes} lanes, 2 edges)"
    yield Row(what, ratio(rates, "20", str(most)), "", 2.5, at_most=True)
    for n in sizes:
        yield Row(f"cost per decision, {n} devices", 1e9 / speed(rates, str(n)), "ns")


def resets(budget: Budget) -> Iterator[Row]:
    """Time of a reset."""
    lanes = budget.lanes
    running = {
        "gymnasium.make, single": loads.resets("single"),
        "gymnasium.make, paper": loads.resets("paper"),
        f"one of {lanes} lanes × 20 devices": loads.lane_resets(lanes),
    }
    rates = measure(running, budget)
    for name in running:
        yield Row(f"reset, {name}", 1e6 / speed(rates, name), "µs")


def memory(budget: Budget) -> Iterator[Row]:
    """Resident memory while the event stream runs."""
    drift = rss_drift(loads.no_drop(), budget.lanes, budget.memory)
    note = "" if drift is not None else "needs /proc/self/statm"
    what = f"memory drift over {budget.memory:,} decisions, {budget.lanes} lanes"
    yield Row(what, drift, "MB", 1.0, at_most=True, note=note)


TRAINED: dict[str, tuple[float | None, dict[str, Any]]] = {
    "aoi_offload/single_fractional": (None, {}),
    "aoi_offload/single_d3qn_ddpg": (None, {}),
    "aoi_offload/game/team_authors": (5_000.0, {}),
    "aoi_offload/game/team_authors, 200 devices": (None, {"env.n_devices": 200, "env.edge_ghz": [41.8] * 10}),
    "model_caching/drift_t2drl": (1e6 / 1800.0, {}),  # a million slots in half an hour
}
"""Configurations whose training is measured: least speed, and what is changed in them."""


def learners(budget: Budget) -> Iterator[Row]:
    """Decisions (of model caching: slots) per second of training, updates included."""
    for name, (target, changes) in TRAINED.items():
        what = f"training, {name}"
        try:
            rates = {what: training_rates(name.partition(",")[0], budget, changes)}
        except MissingExtraError as error:
            yield Row(what, None, "decisions/s", target, machine=True, note=str(error))
        else:
            yield speed_row(rates, what, what, target)
