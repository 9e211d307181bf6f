"""What an evaluation of age-minimal offloading found, as data; see `edgewise.eval.results`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from ..estimates import FINITE, Estimate
from ..results import AnyEvaluation, read_as
from .nash_results import Exploitability, ScriptedCheck


class Stretch(BaseModel):
    """One policy of a game over a long stretch, beside its episodes.

    Attributes:
        mean_age: sum of areas over sum of cycle lengths of each device, mean over devices, s.
        per_seed: the same per seed, s.
        authors_age: the papers' episode estimator, s.
        worst_age: the device with the largest mean age, s.
        device_ages: mean age of every device over all seeds, s.
        peak_age, mean_wait: s; drop_rate, server_shares: shares.
        wait: wait rule of a scripted policy, tuned for this horizon; None for the learner.
        relative: learner over this policy, minus 1; None for the learner.
    """

    model_config = FINITE
    mean_age: Estimate
    per_seed: list[float]
    authors_age: Estimate
    worst_age: Estimate
    device_ages: list[float]
    peak_age: float | None
    drop_rate: float | None
    mean_wait: float | None
    server_shares: list[float | None]
    wait: str | None = None
    relative: Estimate | None = None


class Score(BaseModel):
    """One policy on the evaluation seeds.

    Attributes:
        label: name for tables.
        server: server rule of a scripted policy, ``"learned"`` for the learner.
        wait: wait rule, likewise.
        tuned: how many rules were tried on the tuning seeds to find this one (1: nothing was tuned).
        mean_age: sum of areas over sum of cycle lengths, s.
        per_seed: the same per seed, in the order of the seeds, s.
        authors_age, peak_age, mean_wait: s; drop_rate, server_shares: shares; completions: per device and seed.
        difference: learner minus this policy on the same seeds, s; None for the learner.
        relative: learner over this policy, minus 1; None for the learner.
        authors, worst_age: of a game: the papers' estimator and the device with the largest mean age, s.
        stretch: of a game: the same policy over a long stretch.
    """

    model_config = FINITE
    label: str
    server: str
    wait: str
    tuned: int = 1
    mean_age: Estimate
    per_seed: list[float]
    authors_age: float | None
    peak_age: float | None
    drop_rate: float | None
    mean_wait: float | None
    server_shares: list[float | None]
    completions: float | None
    difference: Estimate | None = None
    relative: Estimate | None = None
    authors: Estimate | None = None
    worst_age: Estimate | None = None
    stretch: Stretch | None = None

    @property
    def long_wait(self) -> str:
        """The wait rule over the longest horizon that was measured."""
        return self.stretch.wait if self.stretch and self.stretch.wait else self.wait

    @property
    def rules(self) -> str:
        """The rules of a scripted policy, in words."""
        text = f"{self.server}, {self.long_wait}"
        return text if self.long_wait == self.wait else f"{text} (episodes: {self.wait})"

    @property
    def age(self) -> Estimate:
        """Mean age over the longest horizon that was measured, s."""
        return (self.stretch or self).mean_age

    @property
    def against(self) -> Estimate | None:
        """Learner over this policy, minus 1, over the longest horizon; None for the learner."""
        return (self.stretch or self).relative


class Reference(BaseModel):
    """The certified optimum: the best known value (None if only a bound is known), its proven lower bound, s."""

    model_config = FINITE
    value: float | None
    bound: float
    method: str
    seconds: float
    threshold: float | None = None


class Quadrature(BaseModel):
    """The learned wait integrated over the service law instead of sampled: mean age (s) and its gap to the optimum."""

    model_config = FINITE
    mean_age: float
    gap: float | None
    nodes: int


class Trace(BaseModel):
    """One recorded greedy episode, in s.

    Attributes:
        device: the device whose age is shown.
        start, end: the recorded stretch.
        curve_times, curve_ages: corners of its age curve.
        waits: (start, end) of every wait of the device.
        queue_times, queues: instants and the lengths (N) of all edge queues seen there.
    """

    model_config = FINITE
    device: int
    start: float
    end: float
    curve_times: list[float]
    curve_ages: list[float]
    waits: list[tuple[float, float]]
    queue_times: list[float]
    queues: list[list[int]]


class Curve(BaseModel):
    """Chosen waits (s) along the delays of a `Response`, at the queue lengths that the label names."""

    model_config = FINITE
    label: str
    queues: list[int]
    waits: list[float]


class Response(BaseModel):
    """What the learned policy does as a function of its observation.

    Attributes:
        n_edges: number of edge queues.
        delays: delay of the last completed task, s.
        curves: waits along `delays`, one curve per queue state.
        optimal_waits: the proven optimal rule along `delays`, where there is one.
        seen_delays, seen_waits: what the recorded episode met, s.
        servers: chosen place per (tasks at edge 2, tasks at edge 1); one row for one edge, empty for none.
        note: what was held fixed.
    """

    model_config = FINITE
    n_edges: int
    delays: list[float]
    curves: list[Curve]
    optimal_waits: list[float] | None
    seen_delays: list[float]
    seen_waits: list[float]
    servers: list[list[int]]
    note: str


class QueueResponse(BaseModel):
    """Chosen waits (s) along the number of tasks at the edges, shared as equally as possible, at several delays (s).

    Attributes:
        totals: tasks at all edges.
        delays: one per row of `waits`, s.
        waits: (delays, totals), s.
    """

    model_config = FINITE
    totals: list[int]
    delays: list[float]
    waits: list[list[float]]


class Game(BaseModel):
    """What the evaluation of a game adds.

    Attributes:
        drop: the drop mode, which moves ages a lot.
        n_devices, n_edges: the system.
        stretch_horizon: length of the long stretch, s.
        stretch_seeds: number of its seeds.
        stretch_first_seed: the first of them.
        equilibrium: label of the baseline at the equilibrium of the class "shortest queue and a fixed wait".
        cooperative: label of the class's best member when all devices follow it.
        queue_response: chosen waits against the queues.
        exploitability: the Nash check of the learner; None where it was not asked for.
        references: the same check of equilibrium and cooperative optimum of the class.
    """

    model_config = FINITE
    drop: str
    n_devices: int
    n_edges: int
    stretch_horizon: float
    stretch_seeds: int
    stretch_first_seed: int
    equilibrium: str
    cooperative: str
    queue_response: QueueResponse
    exploitability: Exploitability | None = None
    references: list[ScriptedCheck] = []


class Evaluation(AnyEvaluation):
    """A complete evaluation of one checkpoint of age-minimal offloading.

    Attributes:
        decision: ``staged`` or ``joint``: the two have different optima.
        objective: ``selfish`` (ages are those of device 0) or ``team`` (means over all devices).
        learner: the learner's score.
        baselines: the scripted policies, best first.
        zero_wait: label of the best baseline that never waits.
        best: label of the best scripted policy.
        optimum: the certified optimum or bound; None where none is known.
        gap: learner over the optimum's value (its bound where there is no value), minus 1.
        quadrature: exact score of the learned wait, for a lone device.
        trace, response: data of the figures.
        game: what the evaluation of a game adds; None for one learning device.
    """

    decision: str
    objective: str
    learner: Score
    baselines: list[Score]
    zero_wait: str
    best: str
    optimum: Reference | None
    gap: Estimate | None
    quadrature: Quadrature | None
    trace: Trace
    response: Response
    game: Game | None = None

    def baseline(self, label: str) -> Score:
        """The baseline with this label."""
        return next(score for score in self.baselines if score.label == label)

    @property
    def age(self) -> float:
        """The learner's mean age, s: integrated where that is possible, else sampled, over the longest horizon."""
        if self.quadrature is not None:
            return self.quadrature.mean_age
        return self.learner.age.estimate

    @property
    def whose(self) -> str:
        """Whose age is measured, in words."""
        return "all devices" if self.objective == "team" or self.game is not None else "device 0"

    @property
    def worse_than_zero_wait(self) -> bool:
        """Whether the learner loses to a scripted policy that never waits, on the same seeds, beyond the noise."""
        relative = self.baseline(self.zero_wait).against
        return relative is not None and relative.positive

    @property
    def target(self) -> float | None:
        """The optimum's value, or its bound where no value is known, s."""
        if self.optimum is None:
            return None
        return self.optimum.bound if self.optimum.value is None else self.optimum.value


def read(run_dir: Path) -> Evaluation:
    """Read ``evaluation.json`` of age-minimal offloading; see `read_as`."""
    return read_as(Evaluation, run_dir)
