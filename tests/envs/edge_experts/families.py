"""Random instances of discrete monotonic optimisation for the solver tests: four families of increasing objectives."""

from __future__ import annotations

import numpy as np

from edgewise.envs.edge_experts.constraints import Constraint
from edgewise.envs.edge_experts.monotone import members

FAMILIES = ("facility location", "linear", "supermodular", "steps")


def objective(family, n, rng):
    """An increasing set function of a bit mask."""
    weight = rng.random(n)
    if family == "facility location":
        table = rng.random((rng.integers(1, 12), n))
        return lambda s: float(table[:, list(members(s))].max(axis=1).mean()) if s else 0.0
    if family == "linear":
        return lambda s: float(weight[list(members(s))].sum())
    if family == "supermodular":
        pairs = np.triu(rng.random((n, n)), 1)
        return lambda s: float(
            weight[list(members(s))].sum() + 3.0 * pairs[np.ix_(list(members(s)), list(members(s)))].sum()
        )
    jumps = [(int(rng.integers(1, 1 << n)), float(rng.random())) for _ in range(6)]
    return lambda s: float(sum(height for core, height in jumps if s & core == core))


def budgets(n, rng):
    """Additive energy, and a delay of the slowest member that grows with the number of members."""
    energy, delay = rng.uniform(0.2, 1.0, n), rng.uniform(0.1, 1.0, n)

    def used(s):
        return float(energy[list(members(s))].sum())

    def waited(s):
        return float(delay[list(members(s))].max() + 0.05 * s.bit_count()) if s else 0.0

    limits = rng.uniform(0.1, 0.8) * energy.sum(), rng.uniform(0.3, 1.3)
    return energy, (Constraint("energy", "J", used, limits[0]), Constraint("delay", "s", waited, limits[1]))
