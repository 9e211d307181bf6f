"""The learner: what it optimises, what its state holds, and that it is the same however often it is stopped."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.learner.learner import Learner

from edgewise.agents.fractional.transitions import Transitions
from edgewise.agents.networks.asynchronous import Window
from edgewise.agents.rllib import AsyncFractionalAlgorithmConfig, EventStreamEnvRunner
from edgewise.agents.rllib.callbacks import outer_step
from edgewise.agents.rllib.connectors import _calibrate
from edgewise.agents.rllib.torch_learner import AsyncFractionalTorchLearner

MODULE = "default_policy"


def config(**training: Any) -> AsyncFractionalAlgorithmConfig:
    env = {"preset": "paper", "n_devices": 4, "horizon": 20.0}
    result = AsyncFractionalAlgorithmConfig().environment("edgewise/AoIOffloadGame-v0", env_config=env)
    result.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=32, episode_lookback_horizon=16)
    chosen = {"num_epochs": 2, "minibatch_size": 128, "segment": 16, "gru_width": 8, "hidden": (8,)}
    return result.training(**({"critic": "recurrent"} | chosen | training)).debugging(seed=1)


class Loop:
    """Sampling and learning without an Algorithm, hence without Ray."""

    def __init__(self, **training: Any) -> None:
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  # RLlib shuffles minibatches with it
        self.config = config(**training)
        self.runner = EventStreamEnvRunner(config=self.config, worker_index=0)
        self.learner: AsyncFractionalTorchLearner = self.config.build_learner(spaces=self.runner.get_spaces())
        self.steps = 0

    def sync(self) -> None:
        self.runner.set_state(self.learner.get_state(components="rl_module", inference_only=True))

    def step(self) -> dict[str, float]:
        self.sync()
        episodes = self.runner.sample()
        self.steps += sum(map(len, episodes))
        result = self.learner.update(
            episodes=episodes,
            timesteps={"num_env_steps_sampled_lifetime": self.steps},
            num_epochs=self.config.num_epochs,
            minibatch_size=self.config.minibatch_size,
            shuffle_batch_per_epoch=True,
        )
        outer_step(self.learner)
        return {name: float(value.peek()) for name, value in result[MODULE].items()}

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.learner.module[MODULE].state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], part: str) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before if name.startswith(part))


def test_the_actor_rests_until_the_observation_is_calibrated() -> None:
    loop = Loop()
    before = loop.weights
    loop.step()
    middle = loop.weights
    assert changed(before, middle, "critic.gru")
    assert changed(before, middle, "actor.features")
    for part in ("actor.trunk", "actor.choice", "actor.location", "actor.log_scale"):
        assert not changed(before, middle, part)
    loop.step()
    assert changed(middle, loop.weights, "actor.trunk")


@pytest.mark.parametrize("parameters", ["shared", "per_device"])
def test_new_units_of_the_observation_leave_the_policy_as_it_is(parameters: str) -> None:
    loop = Loop(parameters=parameters, averaging=1.0, lr=0.0)
    for _ in range(2):
        loop.step()
    module = loop.learner.module[MODULE]
    observation = torch.tensor([[0, 0.3, 0.3, 0.0, 1, 2], [1, 0.2, 1.4, 1.2, 1, 1]], dtype=torch.float32)
    device = torch.tensor([1, 3])
    before, units = loop.weights, []
    for actor in (module.actor, module.average.module):
        units.append((actor(observation, device), actor.features.var.clone()))
    loop.step()
    assert changed(before, loop.weights, "actor.features")
    assert changed(before, loop.weights, "actor.trunk.0")
    for actor, (law, var) in zip((module.actor, module.average.module), units, strict=True):
        assert not torch.equal(actor.features.var, var)
        assert torch.equal(actor.features.var, module.actor.features.var)
        now = actor(observation, device)
        torch.testing.assert_close(now.law.location, law.law.location)
        torch.testing.assert_close(now.log_probs, law.log_probs)


def test_importance_ratios_begin_at_one() -> None:
    loop = Loop(num_epochs=1, minibatch_size=None, lr=0.0)
    for _ in range(3):  # the decisions in the second one's lookback were taken before the calibration
        metrics = loop.step()
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["policy_loss"] == pytest.approx(0.0, abs=1e-4)  # advantages are standardised


def test_a_batch_without_decisions_leaves_the_units_as_they_are() -> None:
    loop = Loop()
    loop.step()
    before, nothing = loop.weights, np.zeros(0, np.int64)
    window = Window(torch.zeros(1, 2, 6), torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, 4), torch.zeros(1, 2))
    module, scale = loop.learner.module[MODULE], loop.learner.pricing.critics[MODULE]
    _calibrate(window, Transitions(nothing, nothing, nothing.astype(bool)), module, scale)
    assert not changed(before, loop.weights, "")


def test_averaged_weights_of_three_iterations() -> None:
    """Polynomial decay with eta = 0 is the mean of what every iteration ended with; eta = 1 weighs them 1 : 2 : 3."""
    for eta, shares in ((0.0, (1, 1, 1)), (1.0, (1, 2, 3))):
        loop = Loop(averaging=eta)
        seen = []
        for _ in range(3):
            loop.step()
            seen.append(loop.weights)
        for name in ("actor.choice.weight", "actor.location.bias", "actor.log_scale"):
            assert not torch.equal(seen[1][name], seen[2][name])
            mean = sum(share * weights[name] for share, weights in zip(shares, seen, strict=True)) / sum(shares)
            found = loop.weights[f"average.module.{name.removeprefix('actor.')}"]
            torch.testing.assert_close(found, mean)
        assert torch.equal(loop.weights["average.module.features.mean"], loop.weights["actor.features.mean"])


def test_env_runners_do_without_the_average() -> None:
    loop = Loop(averaging=2.0)
    loop.step()
    loop.sync()
    assert not any(name.startswith("average") for name in loop.runner.module.state_dict())
    assert not any(parameter.requires_grad for parameter in loop.learner.module[MODULE].average.parameters())


def test_a_critic_whose_units_change_keeps_its_predictions() -> None:
    loop = Loop(lr=0.0, num_epochs=1)
    loop.step()
    module, scale = loop.learner.module[MODULE], loop.learner.pricing.critics[MODULE]
    torch.nn.init.normal_(module.critic.head.weight)
    latent = torch.randn(5, module.critic.head.in_features)
    before = module.critic.head(latent).detach().numpy() * scale.scale + scale.centre
    old = scale.scale.copy()
    loop.step()
    after = module.critic.head(latent).detach().numpy() * scale.scale + scale.centre
    assert not np.allclose(scale.scale, old, rtol=1e-3)
    assert after == pytest.approx(before, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("critic", ["recurrent", "memoryless", "centralised"])
def test_critics_learn_to_predict_the_next_cost(critic: str) -> None:
    loop = Loop(critic=critic, lr=0.0, critic_lr=1e-2, gamma=1e-6, lambda_=0.0)
    loop.sync()
    episodes = [*loop.runner.sample(), *loop.runner.sample()]
    errors = []
    for _ in range(40):  # an untrained critic says nothing: its error is the variance, 1
        result = loop.learner.update(episodes=episodes, timesteps={})
        errors.append(float(result[MODULE]["value_loss_cost"].peek()))
    assert errors[0] == pytest.approx(1.0, rel=0.2)
    assert errors[-1] < (0.95 if critic == "memoryless" else 0.8)


@pytest.mark.parametrize("critic", ["recurrent", "lstd", "table"])
def test_a_restored_learner_continues_bit_for_bit(critic: str) -> None:
    first = Loop(critic=critic, lr=[[0, 1e-3], [4000, 0.0]], critic_lr=1e-3, entropy_coeff=[[0, 0.01], [4000, 0.0]])
    for _ in range(3):
        first.step()
    state = deepcopy(first.learner.get_state())  # its arrays are those that go on learning
    double = {name: value.clone() for name, value in first.weights.items()}
    runner, shuffler = first.runner.get_state(components="stream"), np.random.get_state()  # noqa: NPY002
    for _ in range(3):
        first.step()
    second = Loop(critic=critic, lr=[[0, 1e-3], [4000, 0.0]], critic_lr=1e-3, entropy_coeff=[[0, 0.01], [4000, 0.0]])
    second.learner.set_state(state)
    second.learner.module[MODULE].load_state_dict(double)  # RLlib's own state rounds statistics to single precision
    second.runner.set_state(runner)
    second.steps = 3 * 8 * 32
    np.random.set_state(shuffler)  # noqa: NPY002
    for _ in range(3):
        second.step()
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    assert second.learner.pricing.ratio.tolist() == first.learner.pricing.ratio.tolist()
    assert second.learner.pricing.outer.updates == 6  # type: ignore[union-attr]


def test_the_outer_loop_moves_each_ratio_towards_the_measured_one() -> None:
    loop = Loop(ratio=5.0, omega=0.5)
    loop.sync()
    episodes = loop.runner.sample()
    loop.learner.update(episodes=episodes, timesteps={})
    cost, duration = loop.learner.pricing.sums.copy()
    ratio = outer_step(loop.learner)
    assert ratio == pytest.approx(5.0 + 0.5 * (cost / duration - 5.0), rel=1e-12)
    assert len(set(ratio.tolist())) == 4
    assert not loop.learner.pricing.sums.any()


def test_a_shared_ratio_is_that_of_the_pooled_sums() -> None:
    loop = Loop(ratio=5.0, omega=1.0, shared_ratio=True)
    loop.sync()
    loop.learner.update(episodes=loop.runner.sample(), timesteps={})
    cost, duration = loop.learner.pricing.sums.sum(1)
    assert outer_step(loop.learner) == pytest.approx(np.full(4, cost / duration), rel=1e-12)


def test_without_the_outer_loop_the_ratio_stays() -> None:
    loop = Loop(ratio=3.0)
    loop.sync()
    loop.learner.update(episodes=loop.runner.sample(), timesteps={})
    assert loop.learner.pricing.ratio.tolist() == [3.0] * 4


@pytest.mark.parametrize(
    "training",
    [
        {"parameters": "per_device"},
        {"learn": "wait"},
        {"learn": "server", "family": "censored"},
        {"family": "beta", "horizon": 5.0},
        {"fractional": False},
        {"gamma": 0.99, "critic": "memoryless"},
        {"ignored": (1, 3), "critic": "centralised"},
    ],
)
def test_every_option_trains(training: dict[str, Any]) -> None:
    loop = Loop(**training)
    for _ in range(3):
        metrics = loop.step()
    assert all(np.isfinite(value) for name, value in metrics.items() if "trainable" not in name)
    assert isinstance(loop.learner, Learner)


def test_devices_with_their_own_parameters_grow_apart() -> None:
    loop = Loop(parameters="per_device")
    before = loop.weights["actor.location.bias"]
    for _ in range(3):
        loop.step()
    moved = (loop.weights["actor.location.bias"] - before).flatten()
    assert len(set(moved.tolist())) == 4
    assert (moved != 0).all()
