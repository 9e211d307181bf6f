"""Hyper-parameters of T2DRL and of the networks that it is compared with."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from .base import LearnerSection

BackboneName = Literal["ttt", "mlp", "lstm", "gru", "pad"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
"""Backbones of T2DRL: its own, the neighbours of equal size, and policy adaptation during deployment."""

_ETA_BASE = {"linear": 1.0, "mlp": 0.1, "pad": 1e-3}
_OF_BACKBONE = {
    "layer": ("ttt",),
    "intermediate": ("ttt",),
    "layers": ("ttt",),
    "heads": ("ttt",),
    "minibatch": ("ttt",),
    "inner_loss": ("ttt",),
    "forgetting": ("ttt",),
    "eta_base": ("ttt", "pad"),
    "hidden": ("mlp", "lstm", "gru", "pad"),
    "predict_next": ("ttt", "mlp", "lstm", "gru"),
}


class CacheNetworkFields(LearnerSection):
    """The network of T2DRL (Xu, Niyato, Brinton, arXiv 2501.14205), or of a neighbour."""

    backbone: BackboneName = Field(
        default="ttt", description="what the features come from; all but ttt are comparisons of equal size"
    )
    width: int = Field(default=32, ge=1, le=4096, description="[-] width of the embedding, and of TTT features")
    layer: Literal["linear", "mlp"] = Field(default="linear", description="inner learner of a TTT layer")
    intermediate: int = Field(default=32, ge=1, le=4096, description="[-] width of the gated MLP of a TTT block")
    layers: int = Field(default=1, ge=1, le=64, description="[-] TTT blocks")
    heads: int = Field(default=4, ge=1, le=256, description="[-] heads of a TTT layer")
    minibatch: int = Field(default=4, ge=1, le=256, description="[-] slots between changes of the inner base weights")
    eta_base: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="[-] base inner learning rate; none: 1 (linear), 0.1 (mlp), 0.001 (pad); 0: a static network",
    )
    inner_loss: Literal["ttt", "obs_reconstruction", "next_obs_prediction", "inverse_dynamics"] = Field(
        default="ttt", description="self-supervised task of the inner learner"
    )
    forgetting: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="[-] share of what was learned that is forgotten where a mini-batch ends, before training (every "
        "head learns its own); 0: nothing, as published",
    )
    hidden: int | None = Field(
        default=None, ge=1, le=4096, description="[-] width of another backbone; none: as many parameters as TTT"
    )
    separate_critic: bool = Field(default=False, description="a backbone of the critic's own")
    init_cache: float = Field(default=0.5, gt=0, lt=1, description="[-] probability of caching before training")
    item_head: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="[-] width of a network that all items share, beside the heads on the features; 0: none",
    )
    per_item: bool = Field(
        default=False, description="one copy of the backbone per item, with the same weights and a memory of its own"
    )
    fill: bool = Field(
        default=False,
        description="request only what fits, best scores first, so that one decision can change a full cache",
    )
    predict_next: bool = Field(
        default=False,
        description="the self-supervised loss of the outer weights predicts the next observation, instead of restoring "
        "a corrupted one",
    )
    sticky: float = Field(
        default=0.0, ge=0, le=20, description="[-] first preference for what is cached already, logit units; 0: none"
    )

    @model_validator(mode="after")
    def _fits(self) -> CacheNetworkFields:
        """Refuse widths that do not divide, and fields of another backbone, which would do nothing."""
        if self.backbone == "ttt" and self.width % self.heads:
            raise ValueError(f"heads: must divide width = {self.width}, got {self.heads}")
        if self.per_item and not self.item_head:
            raise ValueError("item_head: must be at least 1 with per_item, got 0")
        for name, owners in _OF_BACKBONE.items():
            given = getattr(self, name)
            # Sizes of TTT also say what an equal size is.
            sized = self.hidden is None and name in ("layer", "intermediate", "layers", "heads", "minibatch")
            if self.backbone not in owners and not sized and given != type(self).model_fields[name].default:
                raise ValueError(f"{name}: is for the backbones {', '.join(owners)}, got {given!r}")
        return self

    @property
    def inner_rate(self) -> float:
        """Base inner learning rate."""
        return _ETA_BASE["pad" if self.backbone == "pad" else self.layer] if self.eta_base is None else self.eta_base


class T2DRLConfig(CacheNetworkFields):
    """Test-time deep reinforcement learning: PPO on a backbone that adapts in training and in deployment."""

    algorithm: Literal["t2drl"] = Field(default="t2drl", description="name of the learner")
    n_steps: int = Field(default=100, ge=1, le=100_000, description="[-] slots per lane and rollout")
    chunk: int = Field(default=20, ge=1, le=100_000, description="[-] slots that gradients go back through")
    batch_size: int = Field(default=128, ge=2, description="[-] least slots in a minibatch of whole chunks")
    n_epochs: int = Field(default=4, ge=1, le=1000, description="[-] passes over a rollout")
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="[-] Adam step")
    anneal: bool = Field(default=False, description="lower the learning rate linearly to 0")
    gamma: float = Field(default=0.95, ge=0, lt=1, description="[-] discount per slot")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="[-] per slot")
    clip_range: float = Field(default=0.2, gt=0, lt=1, description="[-] PPO clip")
    vf_coef: float = Field(default=0.25, ge=0, description="[-] weight of the value loss")
    ent_coef: float = Field(default=0.0, ge=0, description="[-] weight of the entropy bonus")
    aux_coef: float = Field(default=0.1, ge=0, description="[-] weight of the self-supervised loss; 0: none")
    own_credit: bool = Field(
        default=False,
        description="a ratio, a value and an advantage per item, from its own cost; else one of each for all together",
    )
    bid_value: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="[-] what a unit of score bids for the whole memory, in training and in mean costs of a slot; "
        "0: memory is free",
    )
    own_price: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="[-] weight of the own bid in the price of memory, against the highest one turned away below it",
    )
    last_noise: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="[-] scale of the noise of the scores in the second half of training; it falls linearly from 1",
    )
    max_grad_norm: float = Field(default=0.5, gt=0, description="[-] gradient clip")
    value_memory: float = Field(default=10.0, ge=1, description="[rollouts] remembered by the scale of the values")
    test_time: Literal["episodic", "lifelong", "frozen"] = Field(
        default="episodic", description="in deployment: restart with each episode, never restart, or do not adapt"
    )

    @model_validator(mode="after")
    def _whole_chunks(self) -> T2DRLConfig:
        """Chunks start where inner base weights change; own costs need own values, and bids what is ranked by them."""
        if self.own_credit and not self.item_head:
            raise ValueError("item_head: must be at least 1 with own_credit, got 0")
        if self.bid_value and not (self.own_credit and self.fill):
            raise ValueError("bid_value: must be 0 without own_credit and fill")
        for name in ("chunk", "n_steps"):
            if self.backbone == "ttt" and getattr(self, name) % self.minibatch:
                raise ValueError(
                    f"{name}: must be a multiple of minibatch = {self.minibatch}, got {getattr(self, name)}"
                )
        if self.predict_next and not self.aux_coef:
            raise ValueError("predict_next: must be false where aux_coef is 0")
        return self
