from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgewise.envs.aoi_offload.params import AoIParams
from edgewise.envs.core.errors import InvalidInputError
from edgewise.train.config import TrainConfig, load_config, to_yaml
from edgewise.train.config_io import apply_overrides, packaged, parse_overrides, read_yaml, split_overrides, validate
from edgewise.train.environments import AoIEnvConfig, CachingEnvConfig

BASE: dict[str, Any] = {
    "name": "base",
    "steps": 1000,
    "env": {"preset": "single", "num_envs": 4},
    "learner": {"algorithm": "fractional_ppo"},
}


GAME: dict[str, Any] = {
    "name": "game",
    "steps": 1000,
    "env": {"id": "edgewise/AoIOffloadGame-v0", "preset": "small", "num_envs": 4},
    "learner": {"algorithm": "async_fractional"},
}


def message(base: dict[str, Any] = BASE, **overrides: Any) -> str:
    """The error of a config with overrides by dotted path with overrides by dotted path (two underscores for a dot)."""
    changes = {path.replace("__", "."): value for path, value in overrides.items()}
    with pytest.raises(InvalidInputError) as caught:
        validate(TrainConfig, apply_overrides(base, changes), "base.yaml")
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix("base.yaml: ")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"env__n_device": 3}, "unknown field 'env.n_device'; did you mean 'env.n_devices'?"),
        ({"n_devices": 3}, "unknown field 'n_devices'; did you mean 'env.n_devices'?"),
        ({"chekpoints": {}}, "unknown field 'chekpoints'; did you mean 'checkpoints'?"),
        ({"checkpoints__kep": 3}, "unknown field 'checkpoints.kep'; did you mean 'checkpoints.keep'?"),
        (
            {"env__preset": "papr"},
            "must be one of paper, heterogeneous, single, small, got 'papr'; did you mean 'paper'?",
        ),
        ({"learner__algorithm": "fractional_pp"}, "got 'fractional_pp'; did you mean 'fractional_ppo'?"),
        ({"learner__gama": 0.9}, "unknown field 'learner.gama'"),
        ({"learner__lr": 0.9}, "unknown field 'learner.lr'; known: n_steps, "),  # no field of another learner
        ({"learner__learning_rat": 0.9}, "did you mean 'learner.learning_rate'?"),
    ],
)
def test_a_near_miss_gets_a_suggestion(overrides: dict[str, Any], expected: str) -> None:
    assert expected in message(**overrides)


@pytest.mark.parametrize(
    ("overrides", "path", "allowed"),
    [
        ({"env__n_devices": 0}, "env.n_devices: ", "allowed: [1, 1000000]"),
        ({"env__num_envs": 0}, "env.num_envs: ", "allowed: [1, 65536]"),
        ({"env__horizon": float("nan")}, "env.horizon: ", "allowed: (0, 1000000000.0]"),
        ({"env__edge_ghz": [1, -1]}, "env.edge_ghz.1: ", "allowed: (0, 1000000.0]"),
        ({"env__z_max": -1}, "env.z_max: ", "allowed: (0, 1000000.0]"),
        ({"env__local_ghz": [1, 2]}, "env.local_ghz ", "one number or have n_devices = 1 entries"),
        ({"env__service": "lognormal"}, "env.service ", "lognormal:NUMBER"),
        ({"env__drop": "cutof:2"}, "env.drop ", "cutoff:NUMBER"),
        ({"env__background": "jsqq"}, "env.background: ", "jsq-unless"),
        ({"env__background_wait": "fixed:99"}, "env.background_wait: ", "[0, 20] s"),
        ({"env__sync_slot": 1.0}, "env.sync_slot: ", "no common clock"),
        ({"env__drop": False}, "env.drop: ", "not be a truth value"),
        ({"seed": True}, "seed: ", "not be a truth value"),
        ({"seed": -1}, "seed: ", "allowed: [0, 1073741824)"),
        ({"steps": "many"}, "steps: ", "allowed: [1, 1000000000000]"),
        ({"log_every": 1.5}, "log_every: ", "integer"),
        ({"name": "../x"}, "name: ", "pattern"),
        ({"env": 3}, "env: ", "dictionary"),
        ({"learner": None}, "learner: ", "dictionary"),
        ({"learner": {}}, "learner.algorithm: ", "required"),
    ],
)
def test_an_error_names_the_field_and_what_is_allowed(overrides: dict[str, Any], path: str, allowed: str) -> None:
    text = message(**overrides)
    assert text.startswith(path)
    assert allowed in text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"env__background": "local"}, "env.background: must be 'jsq' in edgewise/AoIOffloadGame-v0"),
        ({"env__background_wait": "fixed:1"}, "env.background_wait: must be 'fixed:0'"),
        ({"env__decision": "joint"}, "env.decision: must be 'staged'"),
        ({"env__sync_slot": 0}, "env.sync_slot: "),
        ({"env__sync_slot": 99.0}, "env.sync_slot must be None or in (0, z_max ="),
        ({"learner": {"algorithm": "ppo"}}, "learner.algorithm: must be one of async_fractional"),
        ({"learner__gamma": 0.9, "learner__horizon": 3.0}, "learner.gamma: excludes horizon"),
        ({"cluster__num_env_runners": 3}, "cluster.num_env_runners: must divide env.num_envs = 4"),
        ({"cluster__num_env_runners": 2, "cluster__num_cpus": 1}, "cluster.num_cpus: must be at least 2"),
        ({"cluster__address": "host:1", "cluster__num_cpus": 3}, "cluster.num_cpus: is for a local Ray"),
        ({"cluster__address": ""}, "cluster.address: "),
        ({"cluster__num_env_runer": 1}, "did you mean 'cluster.num_env_runners'?"),
    ],
)
def test_a_game_config_that_does_not_fit_is_one_sentence(overrides: dict[str, Any], expected: str) -> None:
    assert expected in message(GAME, **overrides)


def test_a_learner_of_the_game_does_not_train_one_device() -> None:
    expected = "learner.algorithm: must be one of async_fractional, fractional_d3qn_ddpg, fractional_ppo, ppo in"
    assert message(learner={"algorithm": "recurrent_d3qn_ppo"}).startswith(expected)


def test_a_cluster_is_for_learners_on_rllib() -> None:
    assert message(cluster__num_learners=1).startswith("cluster.num_learners: fractional_ppo runs in one process")


def test_a_game_gets_no_background() -> None:
    env = validate(TrainConfig, GAME, "x").env
    assert env.kwargs() == {"preset": "small", "horizon": 300.0, "objective": "selfish", "sync_slot": None}
    assert env.is_game
    assert not AoIEnvConfig(preset="single").is_game


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"^x: steps: this field is required"):
        validate(TrainConfig, {name: BASE[name] for name in BASE if name != "steps"}, "x")


def test_physical_fields_are_those_of_the_environment() -> None:
    own = {"id", "preset", "num_envs", "horizon", "objective", "decision", "background", "background_wait", "sync_slot"}
    assert set(AoIEnvConfig.model_fields) == own | set(AoIParams.model_fields)


def test_fields_left_out_keep_the_preset() -> None:
    env = AoIEnvConfig(preset="heterogeneous", z_max=2.0)
    assert env.params() == AoIParams.make("heterogeneous", z_max=2.0)
    assert env.kwargs()["z_max"] == 2.0
    assert "edge_ghz" not in env.kwargs()


def test_none_is_a_value_where_the_environment_has_it(tmp_path: Path) -> None:
    given = {"env.total_demand": None, "env.agent_demand": 3.0, "env.beta": None, "env.alpha": None}
    config = load_config("model_caching/drift_gru", given)
    assert isinstance(config.env, CachingEnvConfig)
    params = config.env.params()
    assert (params.mean_demand, params.alpha, params.beta) == (60.0, None, None)
    assert config.env.kwargs()["total_demand"] is None
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    again = (load_config(str(tmp_path / "again.yaml")), TrainConfig.model_validate(config.model_dump(mode="json")))
    for read in again:
        assert isinstance(read.env, CachingEnvConfig)
        assert read.env.params() == params
    plain = load_config("model_caching/drift_gru").env
    assert "alpha" not in plain.model_dump()
    with pytest.raises(InvalidInputError, match=r"env.n_gpus"):
        load_config("model_caching/drift_gru", {"env.n_gpus": None})


def test_no_edge_node_can_be_asked_for() -> None:
    assert AoIEnvConfig(preset="paper", edge_ghz=()).params().n_edges == 0


@pytest.mark.parametrize("name", packaged())
def test_a_packaged_config_is_read_written_and_read(name: str) -> None:
    config = load_config(name)
    again = validate(TrainConfig, yaml.safe_load(to_yaml(config)), name)
    assert again == config
    assert load_config(f"configs/{name}.yaml") == config


def test_the_promised_configs_are_packaged() -> None:
    names = (
        "demo",
        "single_fractional",
        "single_lognormal_1",
        "single_lognormal_1_5",
        "heterogeneous",
        "single_d3qn_ddpg",
    )
    assert {f"aoi_offload/{name}" for name in names} <= set(packaged())


def test_a_path_goes_before_a_packaged_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(BASE))
    monkeypatch.chdir(tmp_path)
    assert load_config("own.yaml").name == "base"


def test_an_unknown_config_gets_a_suggestion() -> None:
    with pytest.raises(InvalidInputError, match=r"no such file or packaged config; did you mean 'aoi_offload/demo'\?"):
        read_yaml("aoi_offload/dem")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("a: [1", "not valid YAML"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("a: 2001-99-99", "not valid YAML"),
        ("? [1, 2]\n: 3", "unknown field|not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: " + "x" * 2**20, "a config has at most"),
    ],
    ids=["twice", "open", "list", "empty", "code", "deep", "date", "key", "binary", "long"],
)
def test_a_file_that_is_no_config_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=reason) as caught:
        load_config(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_overrides_reach_nested_fields_and_are_validated_alike(tmp_path: Path) -> None:
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    own, assignments = split_overrides(
        ["x.yaml", "--env.n_devices", "3", "--out", "runs/x", "--env.edge-ghz", "3", "8e0", "--seed=5", "--overwrite"],
        ("--out", "--overwrite"),
    )
    assert own == ["x.yaml", "--out", "runs/x", "--overwrite"]
    config = load_config(str(path), parse_overrides(assignments))
    assert (config.env.n_devices, config.env.edge_ghz, config.seed) == (3, (3.0, 8.0), 5)
    assert config.env.num_envs == 4
    with pytest.raises(InvalidInputError, match=r"did you mean 'env\.n_devices'"):
        load_config(str(path), {"env.n_device": 3})


def test_one_number_is_one_edge_node() -> None:
    config = validate(TrainConfig, apply_overrides(BASE, parse_overrides(["env.edge_ghz=3"])), "x")
    assert config.env.edge_ghz == (3.0,)


def test_negative_and_scientific_values_arrive() -> None:
    assert parse_overrides(split_overrides(["--a.b", "-3"], ())[1]) == {"a.b": -3}
    config = validate(TrainConfig, apply_overrides(BASE, parse_overrides(["env.horizon=1e3"])), "x")
    assert config.env.horizon == 1000.0


def test_an_override_without_value_and_a_misspelt_flag_are_errors() -> None:
    with pytest.raises(InvalidInputError, match=r"--overwrit: a value is missing; did you mean '--overwrite'"):
        split_overrides(["x", "--overwrit"], ("--out", "--overwrite"))
    with pytest.raises(InvalidInputError, match="YAML value"):
        parse_overrides(["env.n_devices"])
    with pytest.raises(InvalidInputError, match="YAML value"):
        parse_overrides(["env.n_devices=[1"])


def test_an_override_cannot_go_through_a_value() -> None:
    with pytest.raises(InvalidInputError, match=r"--steps\.x: steps is a single value"):
        apply_overrides(BASE, {"steps.x": 1})


def test_overrides_leave_the_original_alone() -> None:
    content = {"env": {"preset": "single"}}
    assert apply_overrides(content, {"env.preset": "paper"}) == {"env": {"preset": "paper"}}
    assert content == {"env": {"preset": "single"}}


@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(list(TrainConfig.model_fields)),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4
        ),
        max_size=5,
    )
)
def test_any_content_is_a_config_or_one_sentence(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        validate(TrainConfig, content, "x")
    assert str(caught.value).startswith("x: ")
    assert "\n" not in str(caught.value)
