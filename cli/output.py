"""What the commands print: rich tables, and JSON where asked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..envs.core.extras import require

if TYPE_CHECKING:
    from ..envs.aoi_offload.simulate import Simulation
    from ..envs.model_caching.simulate import Simulation as CachingSimulation
    from ..train.trainer import RunResult
    from ..train.verify import Check


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are plain text."""
    from ..eval.console import stdout_console

    table_class, text_class = require("rich.table", "cli").Table, require("rich.text", "cli").Text
    table = table_class(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    for row in rows:
        table.add_row(*(text_class(cell) for cell in row))
    stdout_console().print(table)


def print_json(value: Any) -> None:
    """Print JSON without NaN, for other programs."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_result(result: RunResult) -> None:
    """Say where a run is and what to do next."""
    if result.ran:
        print(f"{result.path}: {result.step} decisions in {result.seconds:.1f} s, weights {result.weights_sha256[:16]}")
    print(f"next: edgewise evaluate {result.path}")


def print_checks(checks: Sequence[Check]) -> None:
    """Print a verification, one line per claim."""
    print_table(
        "verification", ("", "claim", "detail"), [("ok" if c.holds else "FAILED", c.claim, c.detail) for c in checks]
    )


def print_simulation(found: Simulation, as_json: bool) -> None:
    """Print the figures of a scripted simulation, each a mean over seeds and devices."""
    from ..eval.statistics import standard_error

    seeds, authors = len(found.mean_age), float(found.mean_age_authors.mean())
    figures: dict[str, Any] = {
        "mean_age": float(found.mean_age.mean()),
        "mean_age_authors": None if math.isnan(authors) else authors,
        "stderr": standard_error(found.mean_age) if seeds > 1 else None,
        "decisions": int(found.decisions.sum()),
        "drop_rate": found.drop_rate,
        "mean_wait": found.mean_wait,
        "server_shares": found.server_shares.tolist(),
        "seconds": found.seconds,
    }
    if as_json:
        print_json(figures)
        return
    error = "" if figures["stderr"] is None else f" ± {figures['stderr']:.5f}"
    shares = "  ".join(f"{share:.3f}" for share in figures["server_shares"])
    rows = [
        ("mean age", f"{figures['mean_age']:.5f}{error} s"),
        ("the papers' estimator", "none with a warm-up" if math.isnan(authors) else f"{authors:.5f} s"),
        ("drop rate", f"{figures['drop_rate']:.4f}"),
        ("mean wait", f"{figures['mean_wait']:.4f} s"),
        ("server shares (local, edges)", shares),
        ("decisions", f"{figures['decisions']:,} in {figures['seconds']:.2f} s"),
    ]
    print_table(f"{seeds} seed{'s' if seeds > 1 else ''}, mean ± standard error", ("figure", "value"), rows)


def print_caching(found: CachingSimulation, as_json: bool) -> None:
    """Print the figures of a scripted model-caching simulation, each a mean over seeds."""
    from ..eval.statistics import standard_error

    seeds = len(found.cost)
    figures: dict[str, Any] = {
        "mean_cost": float(found.cost.mean()),
        "stderr": standard_error(found.cost) if seeds > 1 else None,
        "cost_terms": {name: float(values.mean()) for name, values in found.cost_terms.items()},
        "loads": float(found.loads.mean()),
        "local_ratio": float(found.local_ratio.mean()),
        "seconds": found.seconds,
    }
    if as_json:
        print_json(figures)
        return
    error = "" if figures["stderr"] is None else f" ± {figures['stderr']:.4f}"
    rows = [
        ("policy", found.rule),
        ("mean cost per slot", f"{figures['mean_cost']:.4f}{error}"),
        *((f"  {name}", f"{value:.4f}") for name, value in figures["cost_terms"].items()),
        ("loads per slot", f"{figures['loads']:.4f}"),
        ("served locally", f"{figures['local_ratio']:.4f}"),
        ("seconds", f"{figures['seconds']:.2f}"),
    ]
    print_table(f"{seeds} seed{'s' if seeds > 1 else ''}, mean ± standard error", ("figure", "value"), rows)


def _shown(space: Any) -> str:
    """A space in a few words: of a Box the shape and the type, without the bounds."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return ", ".join(f"{name}: {_shown(part)}" for name, part in space.items())
    return f"Box{space.shape} {space.dtype}" if isinstance(space, spaces.Box) else str(space)


def print_environments() -> None:
    """Print every registered id of the suite with the first line of its class's documentation and its spaces."""
    import gymnasium

    rows = []
    for name in sorted(id for id in gymnasium.registry if id.startswith("edgewise/")):
        env = gymnasium.make(name)
        doc = (type(env.unwrapped).__doc__ or "").strip().partition("\n")[0]
        rows.append((name, doc, _shown(env.action_space), _shown(env.observation_space)))
        env.close()  # type: ignore[no-untyped-call]  # untyped in Gymnasium
    print_table("environments", ("id", "what", "action space", "observation space"), rows)
