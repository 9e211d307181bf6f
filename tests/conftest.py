"""What every test runs under: one thread, no telemetry, no window, reproducible hypothesis examples."""

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def kernel_cache() -> Path:
    """A folder for compiled kernels, named after the sources that are compiled.

    numba checks only the file of the outer function: it would not notice an edit to a file it inlines from.
    """
    checksum = 0
    for path in sorted((ROOT / "envs").rglob("*.py")):
        if b"numba" in (source := path.read_bytes()):
            checksum = zlib.crc32(source, checksum)
    return ROOT / ".cache" / "numba" / f"{checksum:08x}"


# Set before anything imports numba, torch, Ray or pygame; processes that tests start inherit them.
for name, value in {
    "NUMBA_CACHE_DIR": str(kernel_cache()),
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
    "MPLBACKEND": "Agg",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}.items():
    os.environ.setdefault(name, value)

# The first call of a kernel compiles it, so no deadline; the same examples in every run.
settings.register_profile("edgewise", deadline=None, derandomize=True)
settings.load_profile("edgewise")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, which is the package's folder."""
    return ROOT


class _RootIsNoTestPackage:
    """The root has an ``__init__.py``, as it is the package: pytest would import it under the folder's name.

    A checkout may have any name, ``edgewise-main`` too, which is no module's.
    """

    @staticmethod
    def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    """Register what must apply above this folder, too."""
    config.pluginmanager.register(_RootIsNoTestPackage())
