"""The commands: their arguments (read by tyro from the signatures) and one call each. Heavy imports are inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..envs.core.errors import InvalidInputError
from ..envs.core.extras import require

if TYPE_CHECKING:
    import tyro
    from tyro.extras import SubcommandApp
else:
    tyro = require("tyro", "cli")
    SubcommandApp = require("tyro.extras", "cli").SubcommandApp


def make_app() -> SubcommandApp:
    """All commands under one name."""
    simulate = SubcommandApp()
    simulate.command(simulate_aoi, name="aoi")
    app = SubcommandApp()
    app.command(train)
    app.command(evaluate)
    app.command(report)
    app.command(verify)
    app.command(simulate, name="simulate", help="Run scripted policies in the compiled simulator.")
    app.command(bench)
    app.command(envs)
    return app


def train(
    config: Annotated[str | None, tyro.conf.Positional] = None,
    out: Path | None = None,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    resume: Path | None = None,
    set: tuple[str, ...] = (),
) -> int:
    """Train from a config, or continue a run. Any config field can be overridden: --env.n_devices 40 --seed 3.

    Args:
        config: A YAML file, or the name of a packaged config such as aoi_offload/demo.
        out: The run folder to make; default runs/NAME, with the config's name.
        overwrite: Replace an earlier run in that folder.
        resume: Continue this run bit for bit; takes no config and no overrides.
        set: Overrides as FIELD.PATH=VALUE, another spelling of --FIELD.PATH VALUE.
    """
    from ..train.config import load_config
    from ..train.config_io import packaged, parse_overrides
    from ..train.progress import make_progress
    from ..train.trainer import resume as continue_run
    from ..train.trainer import train as train_run
    from .output import print_result
    from .wiring import training_evaluator

    if resume is not None:
        if config is not None or out is not None or set or overwrite:
            raise InvalidInputError("--resume continues the configuration in RUN/run.json; give nothing else with it")
        print_result(continue_run(resume, evaluator=training_evaluator(), progress=make_progress()))
        return 0
    if config is None:
        raise InvalidInputError(f"CONFIG is missing: a YAML file or one of {', '.join(packaged())}")
    settings = load_config(config, parse_overrides(set))
    folder = out or Path("runs") / settings.name
    print_result(
        train_run(settings, folder, overwrite=overwrite, evaluator=training_evaluator(), progress=make_progress())
    )
    return 0
