"""The actor-critic over cache bits and shares, on a backbone that carries a state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...envs.core.errors import InvalidInputError
from .backbones import CORRUPTION, Backbone
from .cache_law import CacheShareDistribution

_ROUNDING = 1e-6  # of sizes in float32
_SIZES = 3  # block of an observation that holds the items' sizes
_OUTLIER = 10.0  # standard deviations at which standardised observations are clipped


class ItemHead(nn.Module):
    """Some numbers for every item from its own entries of the observation and the features: one network for all.

    What is learned about one item holds for every other one with the same entries, so that it takes as many fewer slots
    to learn as there are items.

    Args:
        entries: entries of the observation per item.
        features: width of the features.
        width: of the two hidden layers.
        outputs: numbers O per item.
        gain: of the first weights of the outputs.
    """

    def __init__(self, entries: int, features: int, width: int, outputs: int, gain: float) -> None:
        super().__init__()
        self.own, self.context = nn.Linear(entries, width), nn.Linear(features, width, bias=False)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, outputs)
        nn.init.orthogonal_(self.out.weight, gain=gain)
        nn.init.zeros_(self.out.bias)

    def forward(self, items: Tensor, features: Tensor) -> Tensor:
        """Outputs (n, I, O) for items (n, I, E) and features (n, F)."""
        inner = torch.tanh(self.own(items) + self.context(features).unsqueeze(1))
        outputs: Tensor = self.out(torch.tanh(self.hidden(inner)))
        return outputs


class CacheActorCritic(nn.Module):
    """Heads for cache bits, shares, values and reconstructed observations on one backbone or two.

    Observations are standardised as `fit` last said. With `item_head` or `sticky` they must be blocks of I entries, one
    per item, the first of them what is cached (further entries may follow). The value head predicts in units of
    `value_scale` around `value_mean`, which move without changing what is predicted (`rescale`).

    A value is a sum of parts: one per item with an `item_head`, as a slot's cost is a sum over the items, else P = 1.

    Args:
        backbone: gives the features of the actor, and of the critic unless it has its own.
        obs_dim: width D of an observation.
        items: number I of items.
        critic: a second backbone for the critic; None: shared.
        init_cache: probability of caching before training, in (0, 1).
        item_head: width of an `ItemHead` that is added to the heads on the features; 0: none.
        sticky: first weight of a term that favours what is cached and disfavours what is not, logit units; 0: no such
            term. Without it the first policies load and evict at random, which is unlearned before anything else is
            learned.
        fill: request only what fits: the positive scores, best first, as long as there is memory. The fourth block of
            an observation then must be the items' sizes, 1 being the whole memory. Without it the environment drops
            what does not fit in its own order, and a full cache can only change by two decisions that agree.
        predict_next: whether the self-supervised loss of the outer weights is for the next observation, see
            `supervised_sequence`.

    Raises:
        InvalidInputError: `init_cache` outside (0, 1), or no items.

    *Source*: arXiv 2501.14205 for the decisions; Schulman et al. 2017 for PPO; van Hasselt et al. 2016 for the values.
    """

    obs_mean: Tensor
    obs_scale: Tensor
    value_mean: Tensor
    value_scale: Tensor
    usual_cost: Tensor
    noise: Tensor
    calibrated: Tensor

    def __init__(
        self,
        backbone: Backbone,
        obs_dim: int,
        items: int,
        critic: Backbone | None = None,
        init_cache: float = 0.5,
        item_head: int = 0,
        sticky: float = 0.0,
        fill: bool = False,
        predict_next: bool = False,
    ) -> None:
        super().__init__()
        if items < 1:
            raise InvalidInputError.of("items", "at least 1", items)
        if not 0.0 < init_cache < 1.0:
            raise InvalidInputError.of("init_cache", "in (0, 1)", init_cache)
        if (item_head or sticky) and obs_dim < items:
            raise InvalidInputError.of("item_head", f"0 for an observation of less than {items} entries", item_head)
        if fill and obs_dim < (_SIZES + 1) * items:
            raise InvalidInputError.of("fill", "False for an observation without the items' sizes", fill)
        itemwise = backbone.copies > 1
        if itemwise and not item_head:
            raise InvalidInputError.of("item_head", "at least 1 for a backbone with a copy per item", item_head)
        self.items, self.backbone, self.critic = items, backbone, critic
        self.fill, self.predict_next = fill, predict_next
        self._entries = obs_dim // items  # per item
        self.item_head: ItemHead | None = None
        self.item_value: ItemHead | None = None
        self.bits = nn.Linear(backbone.width, items)
        self.shares = nn.Linear(backbone.width, 2 * items)
        self.value = nn.Linear((critic or backbone).width, 1)
        self.decoder = nn.Linear(backbone.width, self._entries if itemwise else obs_dim)
        self.register_buffer("obs_mean", torch.zeros(obs_dim))
        self.register_buffer("obs_scale", torch.ones(obs_dim))
        self.register_buffer("value_mean", torch.zeros(()))
        self.register_buffer("value_scale", torch.ones(()))
        self.register_buffer("usual_cost", torch.zeros(()))  # per slot, in the rollout of `calibrate`
        self.register_buffer("noise", torch.ones(()))  # scale, of the scores that are drawn
        self.register_buffer("calibrated", torch.zeros(()))  # 1 after `calibrate`
        for head in (self.bits, self.shares):  # the first policy hardly depends on the observation
            nn.init.orthogonal_(head.weight, gain=0.01)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.bits.bias, math.log(init_cache / (1.0 - init_cache)))
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        if item_head:
            read = [self._entries + (each.width if itemwise else 0) for each in (backbone, critic or backbone)]
            self.item_head = ItemHead(read[0], backbone.width, item_head, 3, gain=0.01)
            # A slot's cost is a sum over the agents: so is what its value is made of.
            self.item_value = ItemHead(read[1], (critic or backbone).width, item_head, 1, gain=0.0)
        self.parts = items if item_head else 1
        self.sticky = nn.Parameter(torch.tensor(float(sticky))) if sticky else None
        self._own = backbone.state_width
        self.state_width = self._own + (critic.state_width if critic is not None else 0)

    def initial_state(self, n: int) -> Tensor:
        """States (n, S) of episodes that begin."""
        return self.bits.weight.new_zeros(n, self.state_width)

    def step(self, obs: Tensor, state: Tensor, adapt: float = 1.0) -> tuple[CacheShareDistribution, Tensor, Tensor]:
        """Adapt to one observation per sequence; law, parts (n, P) of the values and next states.

        Args:
            obs: observations (n, D).
            state: states (n, S).
            adapt: factor of the inner learning rates.
        """
        original, obs = obs, self._inputs(obs)
        own, others = state.split([self._own, self.state_width - self._own], dim=-1)
        features, own = self.backbone.step(obs, own, adapt)
        critical = features
        if self.critic is not None:
            critical, others = self.critic.step(obs, others, adapt)
        return self._law(features, original), self._values(critical, original), torch.cat([own, others], dim=-1)

    def sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor | None = None
    ) -> tuple[CacheShareDistribution, Tensor]:
        """Law of n T decisions, and parts (n T, P) of the values, along sequences.

        Args:
            obs: observations (n, T, D).
            state: states (n, S) before the first.
            actions: decisions taken, carriers (n, T, 2 I).
        """
        original, obs = obs, self._inputs(obs)
        own, others = state.split([self._own, self.state_width - self._own], dim=-1)
        features, _ = self.backbone.sequence(obs, own, actions)
        critical = features
        if self.critic is not None:
            critical, _ = self.critic.sequence(obs, others, actions)
        features, critical, original = (part.flatten(0, 1) for part in (features, critical, original))
        return self._law(features, original), self._values(critical, original)

    def supervised_sequence(
        self, obs: Tensor, state: Tensor, actions: Tensor, valid: Tensor
    ) -> tuple[CacheShareDistribution, Tensor, Tensor]:
        """`sequence`, and the self-supervised loss of the outer weights.

        A corrupted observation is to be restored: O~ has 15 % of its entries set to 0; the loss is the mean of
        (decoder(O~) - O)^2. With `predict_next` it is the mean of (decoder(O_t) - O_(t+1))^2, for which the features
        must hold what was seen so far. Backbones with a self-supervised loss of their own use that.

        Args:
            obs: observations (n, T, D).
            state: states (n, S) before the first.
            actions: decisions taken, carriers (n, T, 2 I).
            valid: which rows are data, boolean (n, T).
        """
        original, obs = obs, self._inputs(obs)
        own = self.backbone.auxiliary_loss(obs, actions, valid)
        if own is not None:
            return *self.sequence(original, state, actions), own
        if self.predict_next:
            return self._predicting_sequence(original, obs, state, actions, valid)
        n = len(obs)
        corrupted = obs * (torch.rand_like(obs) >= CORRUPTION)
        mine, others = state.split([self._own, self.state_width - self._own], dim=-1)
        # Both views in one pass: the time goes into the number of operations, not into their sizes.
        features, _ = self.backbone.sequence(
            torch.cat([obs, corrupted]), torch.cat([mine, mine]), torch.cat([actions, actions])
        )
        features, views = features[:n], features[n:]
        critical = features
        if self.critic is not None:
            critical, _ = self.critic.sequence(obs, others, actions)
        decoded = self.decoder(self._by_copy(views[valid])).flatten(1)
        loss = (decoded - obs[valid]).square().mean()
        features, critical, original = (part.flatten(0, 1) for part in (features, critical, original))
        return self._law(features, original), self._values(critical, original), loss

    def _predicting_sequence(
        self, original: Tensor, obs: Tensor, state: Tensor, actions: Tensor, valid: Tensor
    ) -> tuple[CacheShareDistribution, Tensor, Tensor]:
        """`supervised_sequence` with the loss of the next observation; a chunk's last one has none."""
        own, others = state.split([self._own, self.state_width - self._own], dim=-1)
        features, _ = self.backbone.sequence(obs, own, actions)
        critical = features
        if self.critic is not None:
            critical, _ = self.critic.sequence(obs, others, actions)
        followed = valid[:, 1:]
        decoded = self.decoder(self._by_copy(features[:, :-1][followed])).flatten(1)
        loss = (decoded - obs[:, 1:][followed]).square().sum() / max(decoded.numel(), 1)
        features, critical, original = (part.flatten(0, 1) for part in (features, critical, original))
        return self._law(features, original), self._values(critical, original), loss

    def requested(self, carrier: Tensor, obs: Tensor) -> Tensor:
        """What is asked of the environment by carriers (n, 2 I): with `fill` no score is positive that does not fit.

        Args:
            carrier: as drawn from the law.
            obs: observations (n, D) that were decided on.
        """
        if not self.fill:
            return carrier
        shares, scores = carrier.chunk(2, dim=-1)
        sizes = self.sizes(obs)
        ranks = scores.argsort(dim=-1, descending=True, stable=True)
        wanted = torch.where(scores > 0.0, sizes, torch.full_like(sizes, torch.inf)).gather(-1, ranks)
        room, kept = torch.full_like(scores[:, 0], 1.0 + _ROUNDING), []
        for size in wanted.unbind(-1):
            kept.append(size <= room)
            room = torch.where(kept[-1], room - size, room)
        fits = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, ranks, torch.stack(kept, dim=-1))
        return torch.cat([shares, torch.where(fits, scores, -scores.abs())], dim=-1)

    def sizes(self, obs: Tensor) -> Tensor:
        """Shares (n, I) of the memory that the items take, from observations (n, D)."""
        return obs[:, _SIZES * self.items : (_SIZES + 1) * self.items]

    def note_action(self, state: Tensor, action: Tensor) -> Tensor:
        """States (n, S) after carriers (n, 2 I)."""
        own, others = state.split([self._own, self.state_width - self._own], dim=-1)
        if self.critic is not None:
            others = self.critic.note_action(others, action)
        return torch.cat([self.backbone.note_action(own, action), others], dim=-1)

    def settled(self, state: Tensor) -> Tensor:
        """States (n, S) to hold what was learned so far at."""
        own, others = state.split([self._own, self.state_width - self._own], dim=-1)
        if self.critic is not None:
            others = self.critic.settled(others)
        return torch.cat([self.backbone.settled(own), others], dim=-1)

    @torch.no_grad()
    def calibrate(self, observations: Tensor, rewards: Tensor, gamma: float) -> None:
        """Standardise observations and values from the first data, before anything is learned.

        Args:
            observations: shape (n, D).
            rewards: shape (n,).
            gamma: discount, below 1. The values begin at the mean reward for ever, with the spread that the discounted
                sum of independent rewards has.
        """
        self.fit(observations)
        self.usual_cost.fill_(float(rewards.mean().abs()))
        self.value_mean.fill_(float(rewards.mean()) / (1.0 - gamma))
        self.value_scale.fill_(max(float(rewards.std(correction=0)) / math.sqrt(1.0 - gamma**2), 1e-6))
        self.value.bias.zero_()  # the head's weights are 0 until something is learned
        self.calibrated.fill_(1.0)

    def follow(self, returns: Tensor, weight: float) -> None:
        """Move mean and scale of the values towards those of some returns, by a weight in (0, 1]."""
        mean, scale = float(self.value_mean), float(self.value_scale)
        spread = max(float(returns.std(correction=0)), 1e-6)
        self.rescale(mean + weight * (float(returns.mean()) - mean), scale + weight * (spread - scale))

    @torch.no_grad()
    def fit(self, observations: Tensor) -> None:
        """Standardise observations from now on by the statistics of a batch (n, D); constant columns are centred."""
        scale = observations.std(0, correction=0)
        self.obs_mean.copy_(observations.mean(0))
        self.obs_scale.copy_(torch.where(scale > 1e-6, scale, torch.ones_like(scale)))

    @torch.no_grad()
    def rescale(self, mean: float, scale: float) -> None:
        """Set mean and scale of the values, keeping what is predicted.

        Args:
            mean: of the returns, in units of the reward.
            scale: their spread, above 0.
        """
        self.value.weight.mul_(self.value_scale / scale)
        if self.item_value is not None:
            for values in self.item_value.out.parameters():
                values.mul_(self.value_scale / scale)
        self.value.bias.mul_(self.value_scale).add_(self.value_mean - mean).div_(scale)
        self.value_mean.fill_(mean)
        self.value_scale.fill_(scale)

    def _inputs(self, obs: Tensor) -> Tensor:
        """What the backbones see of observations (..., D): standardised, for copies the entries item by item."""
        if self.backbone.copies > 1:
            return self._per_item(obs).flatten(-2)
        standardised: Tensor = ((obs - self.obs_mean) / self.obs_scale).clamp(-_OUTLIER, _OUTLIER)
        return standardised

    def _by_copy(self, features: Tensor) -> Tensor:
        """Features (n, C * F) of every copy, (n, C, F)."""
        copies: Tensor = features.unflatten(-1, (self.backbone.copies, -1))
        return copies

    def _law(self, features: Tensor, obs: Tensor) -> CacheShareDistribution:
        """Law of the decisions from features (n, C * F) and observations (n, D) as they came."""
        context = self._by_copy(features).mean(-2)
        logits, location = self.bits(context), self.shares(context)
        if self.sticky is not None:
            logits = logits + self.sticky * (2.0 * obs[:, : self.items] - 1.0)
        if self.item_head is not None:
            score, first, second = self._read(self.item_head, features, obs).unbind(-1)
            logits, location = logits + score, location + torch.cat([first, second], dim=-1)
        return CacheShareDistribution(logits, location, self.fill, float(self.noise))

    def _read(self, head: ItemHead, features: Tensor, obs: Tensor) -> Tensor:
        """Outputs (n, I, O) of a head that sees an item's entries, its copy's features, and their mean."""
        items, own = self._per_item(obs), self._by_copy(features)
        if self.backbone.copies > 1:
            items = torch.cat([items, own], dim=-1)
        outputs: Tensor = head(items, own.mean(-2))
        return outputs

    def _per_item(self, obs: Tensor) -> Tensor:
        """Entries (..., I, E) of every item, each kind of entry on one scale for all items."""
        count = self._entries * self.items
        mean, scale = (part[:count].view(self._entries, self.items) for part in (self.obs_mean, self.obs_scale))
        centre = mean.mean(-1, keepdim=True)
        # Spread over slots and over items; a block that never changes is only centred.
        spread = (
            (scale.square() * (scale != 1.0)).mean(-1, keepdim=True) + mean.var(-1, correction=0, keepdim=True)
        ).sqrt()
        spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        blocks = obs[..., :count].unflatten(-1, (self._entries, self.items))
        items: Tensor = ((blocks - centre) / spread).clamp(-_OUTLIER, _OUTLIER).transpose(-1, -2)
        return items

    def _values(self, features: Tensor, obs: Tensor) -> Tensor:
        """Parts (n, P) of the values from the critic's features (n, C * F) and observations (n, D) as they came."""
        parts: Tensor = self.value(self._by_copy(features).mean(-2))
        if self.item_value is not None:
            parts = parts / self.items + self._read(self.item_value, features, obs).squeeze(-1)
        return self.value_mean / self.parts + self.value_scale * parts
