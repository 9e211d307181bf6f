"""Where RLlib runs: in this process without Ray's daemons, on a Ray of this machine, or on a running cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray
from ray.rllib.env import env_runner_group

from ...envs.core.errors import EdgewiseError, InvalidInputError
from ..config import ClusterConfig

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else a driver under `uv run` is installed again in every worker
}


_PATIENCE = 10.0  # seconds; Ray itself tries for many minutes


class ClusterError(EdgewiseError):
    """A Ray cluster cannot be started or reached."""


class ClusterSession:
    """Ray as a configuration asks for it, until `close`.

    A configuration without workers and address starts nothing. A Ray that already runs in this process (inside a Tune
    trial, or because the caller has started it) is used as it is and left running.

    Args:
        cluster: the configuration's section.

    Raises:
        InvalidInputError: the cluster has fewer processors than the configuration has workers.
        ClusterError: the cluster cannot be started or reached.
    """

    def __init__(self, cluster: ClusterConfig) -> None:
        self._owns = False
        self.in_process = not (cluster.workers or cluster.address or ray.is_initialized())
        if self.in_process:
            return
        if not ray.is_initialized():
            self._start(cluster)
        available = int(ray.cluster_resources().get("CPU", 0))
        if available < cluster.workers:  # else they would be waited for without a word
            self.close()
            raise InvalidInputError(
                f"cluster.num_env_runners: {cluster.workers} env runners and learners need as many processors, "
                f"the cluster has {available}"
            )

    def _start(self, cluster: ClusterConfig) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            _knock(cluster.address)
            ray.init(**_arguments(cluster))
        except (RuntimeError, ValueError, OSError) as error:
            what = f"no Ray cluster answers at {cluster.address}" if cluster.address else "Ray does not start here"
            raise ClusterError(f"cluster.address: {what}: {' '.join(str(error).split())[:300]}") from None
        self._owns = True

    def __enter__(self) -> ClusterSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, and stop it if this session has started it."""
        if self._owns:
            self._owns = False
            ray.shutdown()


def _arguments(cluster: ClusterConfig) -> dict[str, Any]:
    """Arguments of ``ray.init``."""
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is not None:
        return common | {"address": cluster.address}
    return common | {
        "address": "local",
        "num_cpus": cluster.num_cpus or cluster.workers,
        "include_dashboard": False,
        "object_store_memory": cluster.object_store_mb * 2**20,
    }


def _knock(address: str | None) -> None:
    """Try whether somebody listens at HOST:PORT.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _PATIENCE).close()


class _WithoutObjectStore:
    """The module ``ray`` for a group without remote workers: what it would store for them stays where it is."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ray, name)

    @staticmethod
    def put(value: Any) -> Any:
        return value


@contextlib.contextmanager
def without_daemons() -> Iterator[None]:
    """Build and train an Algorithm that has no remote workers without starting Ray.

    RLlib's `EnvRunnerGroup` puts its configuration and every new set of weights into the object store even if nobody
    reads them there, and that starts Ray: 6 s and 350 MB. Within this block it keeps them. Where Ray runs already,
    nothing changes.
    """
    if ray.is_initialized():
        yield
        return
    module: Any = env_runner_group
    module.ray = _WithoutObjectStore()
    try:
        yield
    finally:
        module.ray = ray
