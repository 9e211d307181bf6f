"""From settings to the networks of model-caching learners, all of about the same size."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from ..config import BACKBONES, BackboneName, CacheNetworkFields
from .backbones import Backbone, GatedBackbone, MLPBackbone, TTTBackbone
from .cache_share import CacheActorCritic
from .itemwise import ItemwiseBackbone
from .pad import PADBackbone

_NOT_ACTING = ("decoder", "inverse")  # self-supervision in training


def cache_network(obs_dim: int, items: int, settings: CacheNetworkFields) -> CacheActorCritic:
    """The actor-critic of some settings.

    A width that the settings leave open is chosen so that the network has as many parameters as the TTT network with
    the same settings, as near as whole widths come.

    Args:
        obs_dim: width D of an observation.
        items: number I of items.
        settings: the network's fields.
    """
    if settings.backbone == "ttt" or settings.hidden is not None:
        return _build(obs_dim, items, settings, settings.hidden or 0)
    with torch.device("meta"):
        target = acting_parameters(_build(obs_dim, items, _as_ttt(settings), 0))
        low, high = 1, 2
        while _size(obs_dim, items, settings, high) < target:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _size(obs_dim, items, settings, middle) >= target else (middle, high)
        hidden = min(low, high, key=lambda width: abs(_size(obs_dim, items, settings, width) - target))
    return _build(obs_dim, items, settings, hidden)


def acting_parameters(network: nn.Module) -> int:
    """Number of parameters that decide and value: without the heads of self-supervised losses."""
    return sum(value.numel() for name, value in network.named_parameters() if not set(name.split(".")) & {*_NOT_ACTING})


def parameter_counts(obs_dim: int, items: int, settings: CacheNetworkFields | None = None) -> dict[BackboneName, int]:
    """Parameters of every backbone's network at equal size, self-supervised heads not counted.

    Args:
        obs_dim: width D of an observation.
        items: number I of items.
        settings: sizes of the TTT network; None: the defaults.
    """
    given = (settings or CacheNetworkFields()).model_dump(include=set(_TTT_SIZES))
    with torch.device("meta"):
        return {
            name: acting_parameters(cache_network(obs_dim, items, CacheNetworkFields(backbone=name, **given)))
            for name in BACKBONES
        }


def parameter_table(obs_dim: int, items: int, settings: CacheNetworkFields | None = None) -> str:
    """`parameter_counts` as lines of text, each with the difference from TTT."""
    counts = parameter_counts(obs_dim, items, settings)
    reference = counts["ttt"]
    return "\n".join(f"{name:5} {count:9,} {count / reference - 1.0:+7.2%}" for name, count in counts.items())


_TTT_SIZES = (
    "width",
    "layer",
    "intermediate",
    "layers",
    "heads",
    "minibatch",
    "separate_critic",
    "item_head",
    "per_item",
    "sticky",
)


def _as_ttt(settings: CacheNetworkFields) -> CacheNetworkFields:
    return CacheNetworkFields(**settings.model_dump(include=set(_TTT_SIZES)))


def _size(obs_dim: int, items: int, settings: CacheNetworkFields, hidden: int) -> int:
    return acting_parameters(_build(obs_dim, items, settings, hidden))


def _build(obs_dim: int, items: int, settings: CacheNetworkFields, hidden: int) -> CacheActorCritic:
    backbone = _backbone(obs_dim, items, settings, hidden)
    critic = _backbone(obs_dim, items, settings, hidden) if settings.separate_critic else None
    names = ("init_cache", "item_head", "sticky", "fill", "predict_next")
    return CacheActorCritic(backbone, obs_dim, items, critic, **{name: getattr(settings, name) for name in names})


def _backbone(obs_dim: int, items: int, settings: CacheNetworkFields, hidden: int) -> Backbone:
    if settings.per_item:
        return ItemwiseBackbone(_one(2 * (obs_dim // items), 2, settings, hidden), items)
    return _one(obs_dim, 2 * items, settings, hidden)


def _one(obs_dim: int, action_dim: int, settings: CacheNetworkFields, hidden: int) -> Backbone:
    if settings.backbone == "ttt":
        names = ("width", "intermediate", "layers", "heads", "minibatch", "layer", "inner_loss", "forgetting")
        chosen = {name: getattr(settings, name) for name in names}
        return TTTBackbone(obs_dim, action_dim, eta_base=settings.inner_rate, **chosen)
    if settings.backbone == "mlp":
        return MLPBackbone(obs_dim, hidden)
    if settings.backbone == "pad":
        return PADBackbone(obs_dim, action_dim, hidden, settings.width, settings.inner_rate)
    return GatedBackbone(cast("str", settings.backbone), obs_dim, hidden, settings.width)  # type: ignore[arg-type]
