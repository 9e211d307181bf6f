"""T2DRL as a stateful RLlib module: decisions, sequences, training in this process."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns

from edgewise.agents.networks.cache_share import CacheShareDistribution
from edgewise.agents.rllib.cluster import without_daemons
from edgewise.agents.rllib.t2drl import T2DRLAlgorithmConfig
from edgewise.agents.rllib.t2drl_module import (
    SELF_SUPERVISED,
    STATE,
    CacheShareRLlibDistribution,
    T2DRLModule,
    carriers_of,
    decisions_of,
)
from edgewise.envs.core.errors import InvalidInputError

from ..drifting_caches import ID

pytestmark = pytest.mark.ray

OBSERVATION = spaces.Box(0.0, 1.0, (3,), np.float32)
ACTION = spaces.Dict({"cache": spaces.MultiBinary(3), "local_share": spaces.Box(0.0, 1.0, (3,), np.float32)})
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "intermediate": 8}


def module(network: dict[str, Any] | None = None, **config: Any) -> T2DRLModule:
    torch.manual_seed(0)
    model = {"network": SMALL if network is None else network, "max_seq_len": 8} | config
    return T2DRLModule(observation_space=OBSERVATION, action_space=ACTION, model_config=model)


def batch(n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(n, 6, 3, generator=draw), torch.rand(n, 6, 6, generator=draw) * 2.0 - 1.0


# --- the law ----------------------------------------------------------------------------------------------------------


def test_the_law_is_that_of_the_networks_with_decisions_for_carriers() -> None:
    logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    ours = CacheShareRLlibDistribution.from_logits(logits)
    plain = CacheShareDistribution(logits[..., 6:].flatten(0, 1), logits[..., :6].flatten(0, 1))
    drawn = ours.sample()
    assert drawn["cache"].shape == drawn["local_share"].shape == (2, 5, 3)
    assert drawn["cache"].dtype == torch.int8
    assert (drawn["local_share"].abs() <= 1.0).all()
    carrier = carriers_of(drawn)
    torch.testing.assert_close(ours.logp(drawn), plain.log_prob(carrier.flatten(0, 1)).view(2, 5))
    torch.testing.assert_close(ours.entropy(), plain.entropy().view(2, 5))
    torch.testing.assert_close(ours.kl(ours), torch.zeros(2, 5), atol=1e-6, rtol=0)
    best = ours.to_deterministic().sample()
    torch.testing.assert_close(carriers_of(best).flatten(0, 1), plain.sample(deterministic=True))
    again = decisions_of(carrier)
    assert torch.equal(again["cache"], drawn["cache"])
    assert CacheShareRLlibDistribution.required_input_dim(ACTION) == 9
    with pytest.raises(NotImplementedError, match="no reparametrised sample"):
        ours.rsample()
    with pytest.raises(InvalidInputError, match="sample_shape must be None"):
        ours.sample(sample_shape=(3,))


# --- the module -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network", [SMALL, {"backbone": "gru", "hidden": 6, "width": 8}, SMALL | {"inner_loss": "inverse_dynamics"}]
)
def test_slots_and_sequences_agree(network: dict[str, Any]) -> None:
    made, (obs, _) = module(network), batch()
    torch.nn.init.normal_(made.network.value.weight)
    assert made.is_stateful()
    first = made.get_initial_state()
    state = {STATE: first[STATE].expand(4, -1)}
    columns: dict[str, list[Any]] = {"logp": [], "inputs": [], "cache": [], "local_share": []}
    for t in range(6):
        out = made.forward_exploration({Columns.OBS: obs[:, t : t + 1], Columns.STATE_IN: state})
        state = out[Columns.STATE_OUT]
        columns["logp"].append(out[Columns.ACTION_LOGP])
        columns["inputs"].append(out[Columns.ACTION_DIST_INPUTS])
        for name in ("cache", "local_share"):
            columns[name].append(out[Columns.ACTIONS][name])
    taken = {name: torch.cat(parts, 1) for name, parts in columns.items()}
    actions = {name: taken[name] for name in ("cache", "local_share")}
    whole = {
        Columns.OBS: obs,
        Columns.ACTIONS: actions,
        Columns.STATE_IN: {STATE: first[STATE].expand(4, -1)},
    }
    train = made.forward_train(whole)
    assert taken["inputs"].shape == train[Columns.ACTION_DIST_INPUTS].shape == (4, 6, 9)
    torch.testing.assert_close(train[Columns.ACTION_DIST_INPUTS], taken["inputs"], rtol=1e-4, atol=1e-5)
    law = made.get_train_action_dist_cls().from_logits(train[Columns.ACTION_DIST_INPUTS])
    torch.testing.assert_close(law.logp(actions), taken["logp"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.compute_values(whole), train[Columns.VF_PREDS], rtol=1e-5, atol=1e-6)
    assert SELF_SUPERVISED not in train


def test_the_weights_adapt_in_deployment_unless_they_are_frozen() -> None:
    made, (obs, _) = module(), batch()
    zeros = {STATE: made.get_initial_state()[STATE].expand(4, -1)}
    state = made.forward_inference({Columns.OBS: obs[:, :1], Columns.STATE_IN: zeros})[Columns.STATE_OUT][STATE]
    assert state[:, :-1].any()
    made.inner_steps = False
    state = made.forward_inference({Columns.OBS: obs[:, :1], Columns.STATE_IN: zeros})[Columns.STATE_OUT][STATE]
    assert not state[:, :-1].any()


def test_padding_does_not_enter_the_self_supervised_loss() -> None:
    made, (obs, carriers) = module(aux_coef=0.1), batch()
    state = {STATE: made.get_initial_state()[STATE].expand(4, -1)}
    mask = torch.arange(6).expand(4, 6) < 4
    losses = []
    for beyond in (0.0, 9.0):
        torch.manual_seed(2)
        padded = torch.where(mask.unsqueeze(-1), obs, torch.tensor(beyond))
        columns = {Columns.OBS: padded, Columns.STATE_IN: state, Columns.LOSS_MASK: mask}
        losses.append(made.forward_train(columns | {Columns.ACTIONS: decisions_of(carriers)})[SELF_SUPERVISED].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_other_spaces_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="action_space must be Dict"):
        T2DRLModule(observation_space=OBSERVATION, action_space=OBSERVATION, model_config={})
    with pytest.raises(InvalidInputError, match="observation_space must be"):
        T2DRLModule(observation_space=spaces.Discrete(3), action_space=ACTION, model_config={})


# --- training ---------------------------------------------------------------------------------------------------------


def config(network: dict[str, Any], **training: Any) -> T2DRLAlgorithmConfig:
    """Fragments of 28 slots of episodes of 30: chunks of 8 start at all positions of a mini-batch."""
    result = T2DRLAlgorithmConfig().environment(ID, env_config={"horizon": 30})
    result.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=28)
    settings = {"network": network, "chunk": 8, "train_batch_size": 56, "minibatch_size": 28, "num_epochs": 2}
    return result.training(**(settings | training)).debugging(seed=1, log_level="ERROR")


@pytest.mark.parametrize("network", [SMALL, {"backbone": "mlp", "hidden": 6}], ids=["ttt", "mlp"])
def test_it_trains_in_this_process(network: dict[str, Any]) -> None:
    with without_daemons():
        algorithm = config(network, lr=0.01).build_algo()
        try:
            assert algorithm.learner_group is not None
            learned: Any = algorithm.learner_group._learner.module["default_policy"].unwrapped()  # type: ignore[union-attr]
            weights = [value.detach().clone() for value in learned.network.bits.parameters()]
            results: list[Any] = []
            for _ in range(3):
                results.append(algorithm.train())
                learner = results[-1]["learners"]["default_policy"]
                assert np.isfinite([learner[name] for name in ("policy_loss", "vf_loss", "entropy", "kl")]).all()
                # The probabilities of the rollout are those of the sequences: the policy has hardly moved since.
                assert abs(float(learner["kl"])) < 0.05
                if len(results) == 1:  # calibration teaches no decisions
                    assert float(learner["policy_loss"]) == 0.0
                    assert float(learned.network.calibrated) == 1.0
                    assert all(
                        torch.equal(a, b) for a, b in zip(weights, learned.network.bits.parameters(), strict=True)
                    )
            assert any(not torch.equal(a, b) for a, b in zip(weights, learned.network.bits.parameters(), strict=True))
            assert float(results[-1]["learners"]["default_policy"][SELF_SUPERVISED]) > 0.0
            assert results[-1]["env_runners"]["num_env_steps_sampled_lifetime"] == 3 * 56
            runner: Any = algorithm.env_runner
            acting = runner.module.unwrapped().network.state_dict()
            for name, value in learned.network.state_dict().items():  # what was learned acts
                torch.testing.assert_close(acting[name], value)
        finally:
            algorithm.stop()


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="heads: must divide width = 32, got 5"):
        config({"heads": 5}).validate()
    with pytest.raises(InvalidInputError, match="width"):
        config({"width": 0}).validate()
