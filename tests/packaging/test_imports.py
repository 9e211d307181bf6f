"""The core needs no extra: the unpacked wheel runs in a process where every optional module is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OPTIONAL = (
    "torch", "stable_baselines3", "sb3_contrib", "safetensors", "tensorboard", "ray", "torchrl", "tensordict",
    "matplotlib", "pygame", "jinja2", "tyro", "rich", "pytest", "hypothesis",
)  # fmt: skip

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {site!r})
import edgewise
assert edgewise.__file__.startswith({site!r}), edgewise.__file__
"""


def run(site: Path, code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    program = BLOCKER.format(blocked=set(blocked), site=str(site)) + code
    # The copy lies in a new place each time, so no compiled kernel could be reused: interpret them, to the same bits.
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, cwd=site, env=environment
    )


def succeed(site: Path, code: str, *blocked: str) -> str:
    done = run(site, code, *blocked)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_is_light(wheel_contents: Path) -> None:
    loaded = succeed(wheel_contents, "print(*sorted(sys.modules))").split()
    heavy = {"numba", "llvmlite", "scipy", "pydantic", "matplotlib", "torch", "stable_baselines3", "ray", "pandas"}
    assert heavy.isdisjoint(loaded)


def test_core_modules_import_without_any_extra(wheel_contents: Path, source_files: list[str]) -> None:
    paths = [Path(name) for name in source_files if name.endswith(".py")]
    core = [path for path in paths if path.parts[0] == "envs" or path.parts[:2] == ("agents", "fractional")]
    modules = [".".join(["edgewise", *path.with_suffix("").parts]).removesuffix(".__init__") for path in core]
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name); print(name)"
    assert succeed(wheel_contents, code, *OPTIONAL).split() == modules


def test_environments_run_without_any_extra(wheel_contents: Path) -> None:
    code = """
import gymnasium
ids = [i for i in gymnasium.registry if i.startswith("edgewise/")]
for i in ids:
    env = gymnasium.make(i)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward == -info["cost"]
        if terminated or truncated:
            env.reset()
    lanes = gymnasium.make_vec(i, num_envs=3)
    lanes.reset(seed=0)
    lanes.action_space.seed(0)
    lanes.step(lanes.action_space.sample())
    print(i)
solvers = {"scipy.optimize", "scipy.integrate", "scipy.stats", "scipy.sparse", "scipy.special"} & sys.modules.keys()
assert not solvers, f"{solvers}: only what computes an optimum needs them"
"""
    assert "edgewise/AoIOffload-v0" in succeed(wheel_contents, code, *OPTIONAL).split()


@pytest.mark.parametrize("env_id", ["edgewise/AoIOffload-v0", "edgewise/AoIOffloadGame-v0"])
def test_module_prefix_registers_in_a_fresh_process(env_id: str) -> None:
    code = f"import gymnasium; print(gymnasium.make('edgewise:{env_id}').spec.id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [env_id]


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("tyro", ["envs"], "cli"),
        ("rich", ["envs"], "cli"),
        ("torch", ["train", "aoi_offload/demo", "--out", "run"], "sb3"),
        ("stable_baselines3", ["train", "aoi_offload/demo", "--out", "run"], "sb3"),
        ("ray", ["train", "aoi_offload/game/demo", "--out", "run"], "rllib"),
        # Before anything is evaluated, even before the run folder is looked for.
        ("matplotlib", ["evaluate", "run"], "eval"),
        ("jinja2", ["evaluate", "run"], "eval"),
    ],
    ids=["tyro", "rich", "torch", "stable_baselines3", "ray", "matplotlib", "jinja2"],
)
def test_command_names_the_missing_extra(wheel_contents: Path, missing: str, command: list[str], extra: str) -> None:
    done = run(wheel_contents, f"from edgewise.cli.main import main; sys.exit(main({command!r}))", missing)
    assert done.returncode == 2, done.stderr
    assert f"edgewise[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (wheel_contents / "run").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("missing", "extra", "folders"),
    [
        ("torch", "sb3", ("agents/sb3/", "agents/networks/", "agents/asynchronous/")),
        ("stable_baselines3", "sb3", ("agents/sb3/",)),
        ("ray", "rllib", ("agents/rllib/",)),
    ],
)
def test_every_learner_module_names_the_missing_extra(
    wheel_contents: Path, source_files: list[str], missing: str, extra: str, folders: tuple[str, ...]
) -> None:
    paths = [Path(name) for name in source_files if name.startswith(folders) and name.endswith(".py")]
    modules = [".".join(["edgewise", *path.with_suffix("").parts]).removesuffix(".__init__") for path in paths]
    assert len(modules) > 5
    code = f"""
import importlib
from edgewise.envs.core.errors import MissingExtraError
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except MissingExtraError as error:
        assert "edgewise[{extra}]" in str(error), error
        print(name)
"""
    assert succeed(wheel_contents, code, missing).split() == modules


def test_hyper_parameters_are_read_without_any_learner(wheel_contents: Path) -> None:
    code = "from edgewise.train.config import TrainConfig; print(TrainConfig.__name__)"
    assert succeed(wheel_contents, code, *OPTIONAL).split() == ["TrainConfig"]


def test_drawing_names_the_missing_extra(wheel_contents: Path) -> None:
    code = """
import gymnasium
env = gymnasium.make("edgewise/AoIOffload-v0", render_mode="rgb_array")
env.reset(seed=0)
env.render()
"""
    done = run(wheel_contents, code, "matplotlib")
    assert re.search(r"MissingExtraError: .*edgewise\[render\]", done.stderr), done.stderr
