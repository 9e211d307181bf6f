"""The commands: their arguments (read by tyro from the signatures) and one call each. Heavy imports are inside."""

from __future__ import annotations

import sys
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

Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def make_app() -> SubcommandApp:
    """All commands under one name."""
    simulate = SubcommandApp()
    simulate.command(name="aoi")(simulate_aoi)
    simulate.command(name="caching")(simulate_caching)
    app = SubcommandApp()
    app.command(train)
    app.command(evaluate)
    app.command(report)
    app.command(compare)
    app.command(verify)
    app.command(simulate, name="simulate", help="Run scripted policies in the compiled simulator.")
    app.command(select)
    app.command(reproduce)
    app.command(bench)
    app.command(envs)
    return app


def train(
    config: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG")] = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD.PATH=VALUE ...")] = (),
) -> int:
    """Train from a config, or continue a run. Any config field can be overridden: --env.n_devices 40 --seed 3.

    Args:
        config: A YAML file, or the name of a packaged config such as aoi_offload/demo.
        out: The run folder to make; default runs/NAME, with the config's name.
        overwrite: Replace an earlier run in that folder.
        resume: Continue this run, bit for bit if it runs in one process; takes no config and no overrides.
        set: Overrides as FIELD.PATH=VALUE, another spelling of --FIELD.PATH VALUE.
    """
    from ..eval.evaluate import score_checkpoint
    from ..train.config import load_config
    from ..train.config_io import packaged, parse_overrides
    from ..train.progress import make_progress
    from ..train.trainer import resume as continue_run
    from ..train.trainer import train as train_run
    from .output import print_result

    if resume is not None:
        if config is not None or out is not None or set or overwrite:
            raise InvalidInputError("--resume continues the configuration in RUN/run.json; give nothing else with it")
        print_result(continue_run(resume, evaluator=score_checkpoint, progress=make_progress()))
        return 0
    if config is None:
        raise InvalidInputError(f"CONFIG is missing: a YAML file or one of {', '.join(packaged())}")
    settings = load_config(config, parse_overrides(set))
    folder = out or Path("runs") / settings.name
    print_result(train_run(settings, folder, overwrite=overwrite, evaluator=score_checkpoint, progress=make_progress()))
    return 0


def evaluate(
    run: Run,
    checkpoint: str = "best",
    seeds: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    horizon: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    exploitability: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    static: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
    budget: Literal["full", "smoke"] = "full",
) -> int:
    """Compare a trained policy with every baseline and the optimum; writes RUN/evaluation.json and RUN/report.html.

    Args:
        run: The run folder.
        checkpoint: best, last or a step.
        seeds: Number of evaluation seeds, the same for every policy; default 64, of model caching 100.
        horizon: Length of an evaluation episode in seconds (slots); default four training episodes, in a game and of
            model caching one.
        exploitability: Of a game: how much could a device gain by leaving the learned policy? Takes minutes.
        static: Of model caching: the run of the network trained without inner steps, to compare with.
        budget: full, or smoke (does it run? Its figures mean little).
    """
    from ..eval.__main__ import evaluate as evaluate_and_report

    evaluate_and_report(
        run, seeds=seeds, horizon=horizon, checkpoint=checkpoint, nash=exploitability, static=static, budget=budget
    )
    return 0


def report(run: Run) -> int:
    """Draw RUN/report.html again from the stored evaluation.

    Args:
        run: The run folder.
    """
    from ..eval.report import redraw_report

    print(f"report: {redraw_report(run)}")
    return 0


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")],
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
) -> int:
    """Put evaluated runs of age-minimal offloading in one table, learned policies beside scripted ones.

    Args:
        runs: Run folders; those that differ in their seed only form one row.
        out: Folder of comparison.json, comparison.md and comparison.html; default runs/comparison.
    """
    from ..eval.aoi.compare import compare as compare_runs
    from ..eval.aoi.compare import write
    from ..eval.aoi.compare_page import print_comparison

    comparison = compare_runs(runs)
    print_comparison(comparison)
    for path in write(comparison, out or Path("runs") / "comparison"):
        print(path)
    return 0


def reproduce(
    study: Annotated[Literal["aoi-single", "aoi-game", "caching", "experts"], tyro.conf.Positional] = "aoi-single",
    budget: Literal["smoke", "full"] = "smoke",
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PART ...")] = (),
    seeds: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    workers: int = 1,
    address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None,
    limit: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    data: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
) -> int:
    """Train and evaluate every configuration of a study; finished cells are not run again, cut-off ones continue.

    Args:
        study: aoi-single (one learning device), aoi-game (all learn: baselines, fidelity ablation, sweeps), caching
            (T2DRL and learners of its size) or experts (selection and routing: budgets, gates, solvers, RouteLLM).
        budget: smoke (does it run?) or full (the documented figures: three seeds, of aoi-game ten, of caching five).
        out: Folder of the runs and of results.json; default runs/reproduce/STUDY-BUDGET.
        only: Parts, default all. Of aoi-game objectives, baselines, fidelity, sweeps; of caching drift, proactive,
            stationary, ablations, remedies, trace, trace_minute; of experts budgets, answers, gap, learners, routellm,
            solvers.
        seeds: Training seeds of every configuration (of experts: instances), but of aoi-single; default the budget's.
            More of them can follow later.
        workers: Of aoi-game: runs at the same time on this machine; more than one needs Ray.
        address: Of aoi-game: a running Ray cluster, or auto; its machines must share FOLDER.
        limit: Of experts: time of HiGHS per instance (s); default the budget's, 120 of full.
        data: What is not part of the suite: of experts the folder of RouteLLM's MMLU files, of caching the file of the
            Azure conversation trace; without it routellm, or trace and trace_minute, are left out.
    """
    from ..eval.studies import Options
    from ..eval.studies import reproduce as run_study
    from ..train.progress import make_progress

    folder = out or Path("runs") / "reproduce" / f"{study}-{budget}"
    options = Options(only=only, seeds=seeds, workers=workers, address=address, limit=limit, data=data)
    written = run_study(study, budget, folder, options, make_progress=make_progress)
    print(", ".join(f"{what}: {path}" for what, path in written.items()))
    return 0


def verify(run: Run) -> int:
    """Check hashes, repeat the beginning of the training, and compute the reported evaluation again.

    Args:
        run: The run folder; it is only read.
    """
    from ..train.progress import make_progress
    from ..train.verify import verify_run
    from .output import print_checks
    from .verification import verify_evaluation

    checks = [*verify_run(run, make_progress()), *verify_evaluation(run)]
    print_checks(checks)
    return 0 if all(check.holds for check in checks) else 1


def simulate_aoi(
    devices: int = 20,
    edge_ghz: tuple[float, ...] = (41.8, 41.8),
    local_ghz: tuple[float, ...] = (2.5,),
    task_mbit: float = 30.0,
    density: float = 0.297,
    service: str = "exponential",
    drop: str = "none",
    drop_mean: Literal["true", "running"] = "true",
    transmission: str = "none",
    z_max: float = 3.0,
    policy: str = "jsq",
    wait: str = "fixed:0",
    horizon: float = 20_000.0,
    warmup: float = 0.0,
    seeds: int = 5,
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Age of information of scripted devices that share edge nodes.

    Args:
        devices: Number of mobile devices.
        edge_ghz: Capacity of each edge node (GHz); none makes every task local.
        local_ghz: Capacity of a device (GHz): one number, or one per device.
        task_mbit: Task size (Mbit).
        density: Processing density (Gcycle/Mbit).
        service: exponential | lognormal:SIGMA | deterministic | hyperexp:CV2.
        drop: none | authors:K | cutoff:K | deadline:K, K times the mean service time.
        drop_mean: The mean behind K: of the law, or the running mean of the draws.
        transmission: none | fixed:SECONDS | shannon:MHZ:SNR_DB.
        z_max: Longest wait (s).
        policy: local | uniform | edge-uniform | jsq | jsq-unless:K | pgoa[:K] | server:N.
        wait: fixed:Z | uniform:MAX | uniform:MIN:MAX | threshold:C (s).
        horizon: Simulated time (s).
        warmup: Cycles that start before this time (s) are not counted; the papers' estimator needs 0.
        seeds: Number of independent systems, seeds 0, 1, ...
        json: Print JSON instead of a table.
    """
    from ..envs.aoi_offload.params import AoIParams
    from ..envs.aoi_offload.simulate import simulate
    from .output import print_simulation

    params = AoIParams.make(
        n_devices=devices,
        edge_ghz=edge_ghz,
        local_ghz=local_ghz[0] if len(local_ghz) == 1 else local_ghz,
        task_mbit=task_mbit,
        density=density,
        service=service,
        drop=drop,
        drop_mean=drop_mean,
        transmission=transmission,
        z_max=z_max,
    )
    found = simulate(params, policy, wait, horizon=horizon, seeds=seeds, warmup=warmup)
    print_simulation(found, as_json=json)
    return 0


def select(
    instance: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INSTANCE")],
    energy: Annotated[float | None, tyro.conf.arg(metavar="JOULES")] = None,
    delay: Annotated[str | None, tyro.conf.arg(metavar="SECONDS,...")] = None,
    k: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    energy_model: Literal["all", "topk"] = "all",
    eps: float = 0.0,
    time_limit: float = 60.0,
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Which language-model experts to run on the edge under energy and delay budgets, with a certificate.

    Args:
        instance: A JSON file of an instance, or synthetic:SEED.
        energy: Budget per prompt (J), all selected experts together; default the instance's.
        delay: Budget of every category (s), separated by commas; default the instance's.
        k: Experts that answer a prompt; default the instance's.
        energy_model: all: every selected expert runs on every prompt; topk: the k costliest do.
        eps: Stop when the value is certified to within this.
        time_limit: Stop after this time (s) with the best subset found and its bound.
        json: Print JSON instead of words and a table.
    """
    from ..envs.edge_experts.optimum import solve
    from ..envs.edge_experts.sources import open_instance
    from .main import INTERRUPTED
    from .output import print_json
    from .selection import parse_delays, print_selection

    found_instance = open_instance(instance)
    given = {"E_max": energy, "tau": parse_delays(delay), "k": k}
    budgets = found_instance.budgets.changed(**{name: value for name, value in given.items() if value is not None})
    found = solve(found_instance, budgets, energy_model=energy_model, eps=eps, time_limit=time_limit)
    if json:
        print_json(found.as_json())
    else:
        print_selection(found)
    return INTERRUPTED if found.solution.status == "interrupted" else 0


def simulate_caching(
    policy: str = "lfu",
    mode: Literal["paper_literal", "calibrated", "modern"] = "calibrated",
    preset: Literal["drift", "stationary", "drift_proactive", "section14", "section14_drift"] = "drift",
    agents: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    gpus: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    paths: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    vanishing: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    workload: Annotated[Literal["poisson", "markov"] | None, tyro.conf.arg(metavar="{poisson,markov}")] = None,
    trace: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
    trace_format: Annotated[
        Literal["azure", "mooncake", "burstgpt", "qwen"] | None,
        tyro.conf.arg(metavar="{azure,mooncake,burstgpt,qwen}"),
    ] = None,
    slot: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    instance_seed: int = 0,
    horizon: int = 100,
    seeds: int = 5,
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Cost of scripted policies that cache language models at an edge server.

    Args:
        policy: cloud | fifo | lfu | lru | laot | random | static | admission_lfu[:H] | gdsf[:H] | lookahead[:H] |
            lookahead_mean[:H] | density_ewma[:H:D] | density_memoryless[:C:M]; H slots ahead, D decay of the mean,
            C times the slot's demand plus M requests; lookahead alone is the best of its family.
        mode: Physics and prices.
        preset: Population and demand.
        agents: Number of agents; default the preset's.
        gpus: GPUs of the server; default the mode's.
        paths: Self-consistency paths per request; default 10.
        vanishing: Thoughts that the age of thoughts loses per slot; default 1.
        workload: Law of the requests; default poisson.
        trace: Replay this trace file instead.
        trace_format: Its format.
        slot: Length of a slot (s); default 60.
        instance_seed: Draws the agents' models, input sizes and data sets.
        horizon: Simulated slots, at most those of the trace.
        seeds: Number of independent servers, seeds 0, 1, ...
        json: Print JSON instead of a table.
    """
    from ..envs.model_caching.params import CachingParams
    from ..envs.model_caching.simulate import simulate
    from ..envs.model_caching.workload import replayed_slots
    from .output import print_caching

    given = {
        "n_agents": agents,
        "n_gpus": gpus,
        "paths": paths,
        "vanishing": vanishing,
        "workload": workload,
        "slot_s": slot,
        "trace": None if trace is None else str(trace),
        "trace_format": trace_format,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    if trace is not None:
        overrides.setdefault("workload", "trace")
    params = CachingParams.make(preset, mode=mode, instance_seed=instance_seed, **overrides)
    if trace is not None and horizon > (slots := replayed_slots(params)):
        print(f"note: {trace} has {slots} slots of {params.slot_s:g} s, all are simulated", file=sys.stderr)
        horizon = slots
    print_caching(simulate(params, policy, horizon=horizon, seeds=seeds), as_json=json)
    return 0


def bench(
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="GROUP ...")] = (),
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Measure speed on one core, as ratios to what is measured in the same call.

    Args:
        quick: A smoke run of seconds; its figures mean little.
        check: Exit with 1 if a ratio or memory misses its target (speeds depend on the machine).
        only: event_stream, background, scalar, pettingzoo, devices, memory, resets, caching, market, experts, learners.
        json: Print JSON instead of a table.
    """
    from ..eval.bench import Budget, as_json, failed, run_bench
    from ..eval.bench.output import print_bench
    from ..eval.terminal import status
    from .output import print_json

    budget = Budget.quick() if quick else Budget()
    with status("measuring") as progress:
        rows = run_bench(budget, only, progress)
    if json:
        print_json(as_json(rows, budget))
    else:
        print_bench(rows, budget)
    return 1 if check and failed(rows) else 0


def envs() -> int:
    """List the environments: id, what it is, action and observation space."""
    from .output import print_environments

    print_environments()
    return 0
