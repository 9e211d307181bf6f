"""`edgewise select`: reading its budgets, and its answer in words and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..envs.core.errors import InvalidInputError
from .output import print_table

if TYPE_CHECKING:
    from ..envs.edge_experts.optimum import Selection

_ENERGY = {
    "all": "every selected expert ran on every prompt",
    "topk": "only the costliest selected experts ran, {k} per prompt",
}
_STATUS = {
    "optimal": "This is the optimum: no subset within the budgets is worth more.",
    "eps": "No subset within the budgets is worth more than {bound:.6f}: a gap of {gap:.2g}, as asked.",
    "time_limit": "Time ran out. No subset within the budgets is worth more than {bound:.6f}: a gap of {gap:.2g}.",
    "interrupted": "Interrupted. No subset within the budgets is worth more than {bound:.6f}: a gap of {gap:.2g}.",
}


def parse_delays(text: str | None) -> tuple[float, ...] | None:
    """Seconds per category from ``1,4,10,15``.

    Raises:
        InvalidInputError: not numbers separated by commas.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError.of("delay", "seconds separated by commas, such as 1,4,10,15", text) from None


def print_selection(found: Selection) -> None:
    """Say what to select and why, then list every expert and every budget."""
    from ..envs.edge_experts.optimum import rows_of

    solution, experts = found.solution, found.instance.experts
    names = ", ".join(experts[i].id for i in solution.subset) or "nothing"
    count = f"{len(solution.subset)} of {len(experts)} experts"
    print(f"Select {count}: {names}.")
    print(
        f"Its value is {solution.value:.6f}. " + _STATUS[solution.status].format(bound=solution.bound, gap=solution.gap)
    )
    print(_next(found))
    constraints = found.constraints
    rows = [
        (
            "yes" if i in solution.subset else "",
            str(i),
            expert.id,
            expert.hardware or expert.device,
            f"{constraints.energy[i] + constraints.idle[i]:.1f}",
            *(f"{delay:.2f}" for delay in constraints.delay[:, i]),
        )
        for i, expert in enumerate(experts)
    ]
    delays = tuple(f"{name}, s" for name in found.instance.categories)
    print_table("experts: energy and mean delay of a prompt", ("in", "#", "expert", "device", "J", *delays), rows)
    used = [
        (
            row.name,
            f"{use:.4g} {row.unit}",
            f"{row.limit:.4g} {row.unit}",
            f"{max(row.limit - use, 0.0):.4g} {row.unit}",
        )
        for row, use in rows_of(found)
    ]
    if used:
        print_table("budgets", ("budget", "used", "limit", "left"), used)
        k = constraints.budgets.k
        print("Energy counts as if " + _ENERGY[constraints.energy_model].format(k=k) + ".")
    print(f"{solution.method}: {solution.nodes} boxes in {solution.seconds:.3f} s")


def _next(found: Selection) -> str:
    """What keeps the next expert out."""
    extra = found.next_expert
    if extra is None:
        return "No further expert would add anything."
    name = found.instance.experts[extra.index].id
    slower = max(extra.delay, default=0.0)
    costs = f"{extra.energy:.1f} J more per prompt, and up to {slower:.2f} s more delay in a category"
    if not found.binding:
        return f"Next in line is {name}: +{extra.gain:.4f} for {costs}."
    return f"Next in line is {name}: +{extra.gain:.4f} for {costs}. What keeps it out: {', '.join(found.binding)}."
