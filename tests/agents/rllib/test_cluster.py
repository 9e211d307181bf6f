"""Where RLlib runs: nothing is started that is not needed, what was started is stopped, and clusters are used."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from edgewise.agents.config import ClusterConfig
from edgewise.agents.rllib.cluster import ClusterError, ClusterSession, without_daemons
from edgewise.cli.main import main
from edgewise.envs.core.errors import InvalidInputError
from edgewise.train import trainer
from edgewise.train.learners import make_learner
from edgewise.train.run_folder import open_run, read_metrics

pytestmark = pytest.mark.ray

STORE = 100 * 2**20  # bytes


def test_without_workers_and_address_nothing_starts():
    with ClusterSession(ClusterConfig()) as session:
        assert session.in_process
        assert not ray.is_initialized()


def test_an_address_where_nobody_listens_is_one_sentence_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(ClusterError, match=f"no Ray cluster answers at {address}") as caught:
            ClusterSession(ClusterConfig(address=address))
    assert time.monotonic() - begin < 5.0
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_local_ray_has_a_processor_for_every_worker_and_is_stopped_at_the_end():
    with ClusterSession(ClusterConfig(num_env_runners=2, num_learners=1, object_store_mb=100)) as session:
        assert not session.in_process
        assert ray.cluster_resources()["CPU"] == 3.0
        assert ray.cluster_resources()["object_store_memory"] == STORE

        with ClusterSession(ClusterConfig(num_env_runners=1)):
            pass
        assert ray.is_initialized()  # what others have started stays
        with pytest.raises(InvalidInputError, match=r"4 env runners and learners need as many processors, .* has 3"):
            ClusterSession(ClusterConfig(num_env_runners=4))

        with without_daemons():
            assert ray.get(ray.put(7)) == 7
    assert not ray.is_initialized()


@pytest.fixture
def two_nodes():
    """A cluster of two nodes on this machine with room for one worker each; its address."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE},
    )
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    try:
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_the_same_command_trains_on_a_cluster_of_two_nodes(two_nodes, tmp_path, monkeypatch):
    """`edgewise train CONFIG --cluster.num_env_runners 2 --cluster.address HOST:PORT`."""
    seen: dict[str, Any] = {}

    def watched(config):
        learner = make_learner(config)
        group = learner.algorithm.env_runner_group
        where = group.foreach_env_runner(
            lambda runner: (runner.worker_index, ray.get_runtime_context().get_node_id()), local_env_runner=False
        )
        seen.update(where=where, alive={node["NodeID"] for node in ray.nodes() if node["Alive"]})
        return learner

    monkeypatch.setattr(trainer, "make_learner", watched)
    run = tmp_path / "run"
    arguments = ["train", "aoi_offload/game/demo", "--out", str(run), "--steps", "4000", "--log_every", "1000"]
    arguments += ["--env.preset", "small", "--env.num_envs", "8", "--checkpoints.evaluate", "false"]
    arguments += ["--cluster.num_env_runners", "2", "--cluster.address", two_nodes]
    assert main(arguments) == 0
    assert not ray.is_initialized()  # the driver has left; the cluster stays

    assert [index for index, _ in seen["where"]] == [1, 2]
    assert len(seen["alive"]) == 2
    assert {node for _, node in seen["where"]} == seen["alive"]
    assert open_run(run).config.cluster == ClusterConfig(num_env_runners=2, address=two_nodes)
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "train"]
    assert rows[-1]["step"] >= 4000
    assert np.isfinite([row["ratio"] for row in rows]).all()

    with pytest.raises(InvalidInputError, match=r"5 env runners and learners need as many processors, .* has 2"):
        ClusterSession(ClusterConfig(num_env_runners=5, address=two_nodes))
