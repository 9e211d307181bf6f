"""Networks of asynchronous decision makers: actors that see one device, critics that see the order of events.

An *event* is one decision of one device. Windows of events have shape (B, T): B systems, T consecutive events of the
whole system. Actors are memoryless, so that a device needs nothing but its own observation when it decides; a critic,
which only exists while learning, may also look at what all devices did before.
"""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ...envs.aoi_offload.state import KIND, OFFLOAD, QUEUES, UPDATE
from ...envs.core.errors import InvalidInputError
from .features import CompressedFeatures, mlp
from .hybrid import Family, HybridDistribution, continuous_law, first_location

Parameters = Literal["shared", "per_device"]
Learn = Literal["both", "wait", "server"]
CriticKind = Literal["recurrent", "memoryless", "centralised"]
CRITICS: tuple[CriticKind, ...] = get_args(CriticKind)

_DEVICE_WIDTH = 8  # of the embedding of a device's index


class StackedLinear(nn.Module):
    """One linear map per member of a stack, evaluated for all members at once.

    Args:
        members: number of maps S.
        inputs: width of the input.
        outputs: width of the output.
        gain: of the orthogonal weights; every member draws its own.
    """

    def __init__(self, members: int, inputs: int, outputs: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))
        for member in range(members):
            nn.init.orthogonal_(self.weight.data[member], gain=gain)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Map (S, n, inputs) to (S, n, outputs); with `rows` (n,) map (n, 1, inputs), row i by member ``rows[i]``."""
        if rows is None:
            return torch.baddbmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias[rows], x, self.weight[rows])


class ActorParameters(NamedTuple):
    """Parameters of the law of n decisions: logits (n, N + 1), location and log-spread of the wait (n, d)."""

    logits: Tensor
    location: Tensor
    log_scale: Tensor


class HybridActor(nn.Module):
    """Memoryless actors: a law of server and wait for every device's own observation.

    Args:
        n_edges: number of edge nodes N; servers are 0 (local) to N.
        n_devices: number of devices M.
        parameters: `shared` by all devices, or `per_device`: M independent actors, evaluated in one batched call.
        ignored: columns of the observation (without device index) that the actor does not see.
        hidden: widths of the hidden layers.
        family: law of the wait.
        init_mean: wait before training, as a share of its range.
        init_scale: its spread before training (of the logit for `squashed`).
        learn: which parts the law covers; the others count neither in log-probability nor in entropy.
    """

    def __init__(
        self,
        n_edges: int,
        n_devices: int = 1,
        parameters: Parameters = "shared",
        ignored: Collection[int] = (),
        hidden: tuple[int, ...] = (64, 64),
        family: Family = "squashed",
        init_mean: float = 0.1,
        init_scale: float = 1.0,
        learn: Learn = "both",
    ) -> None:
        super().__init__()
        if parameters not in get_args(Parameters):
            raise InvalidInputError.of("parameters", "shared or per_device", parameters)
        self.members = n_devices if parameters == "per_device" else 1
        self.family, self.learn = family, learn
        self.features = CompressedFeatures(QUEUES + n_edges, KIND, ignored)
        widths = (self.features.width, *hidden)
        self.trunk = nn.ModuleList(StackedLinear(self.members, a, b, gain=2.0**0.5) for a, b in pairwise(widths))
        # Small last weights, so that the first policy hardly depends on the observation.
        self.choice = StackedLinear(self.members, widths[-1], n_edges + 1, gain=0.01)
        self.location = StackedLinear(self.members, widths[-1], 2 if family == "beta" else 1, gain=0.01)
        nn.init.constant_(self.location.bias, first_location(family, init_mean))
        self.log_scale = nn.Parameter(torch.full((self.members, 1), math.log(init_scale)))
        self.log_scale.requires_grad_(family != "beta" and learn != "server")

    def forward(self, observation: Tensor, device: Tensor) -> HybridDistribution:
        """Law of the decisions at observations (n, 4 + N) of devices (n,)."""
        kind = self.features.kinds(observation)
        choice, wait = kind != UPDATE, kind != OFFLOAD
        if self.learn != "both":
            choice, wait = choice & (self.learn == "server"), wait & (self.learn == "wait")
        parameters = self.parameters_of(self.features(observation), device)
        law = continuous_law(self.family, parameters.location, parameters.log_scale)
        return HybridDistribution(parameters.logits, law, (choice, wait))

    @torch.no_grad()
    def clamp(self, least: float) -> None:
        """Keep the spread at `least` or above: without exploration nothing is learned about waits."""
        if least > 0.0:
            self.log_scale.clamp_(min=math.log(least))

    @torch.no_grad()
    def rescale(self, mean: Tensor, var: Tensor) -> None:
        """Standardise observations by other statistics and let the first layer undo it: only what is clipped changes.

        A policy that improves sees ever smaller ages. In the units of its beginning they would hardly differ.

        Args:
            mean: of the columns before they are standardised, see `CompressedFeatures.values`.
            var: their variances.
        """
        features, first = self.features, self.trunk[0]
        assert isinstance(first, StackedLinear)
        old, new = features.var + features.EPSILON, var + features.EPSILON
        weight = first.weight[:, features.n_kinds :]
        first.bias.add_((((mean - features.mean) / old.sqrt()) @ weight.double()).unsqueeze(1).float())
        weight.mul_((new / old).sqrt().unsqueeze(-1).float())
        features.mean.copy_(mean)
        features.var.copy_(var)

    def parameters_of(self, features: Tensor, device: Tensor) -> ActorParameters:
        """Parameters of the law for features (n, width) of devices (n,)."""
        if self.members == 1:
            logits, location = (x.squeeze(0) for x in self._heads(features.unsqueeze(0)))
            return ActorParameters(logits, location, self.log_scale)
        log_scale = self.log_scale[device]
        if len(device) <= self.members:  # few rows: fetch the weights of each
            logits, location = (x.squeeze(1) for x in self._heads(features.unsqueeze(1), device))
            return ActorParameters(logits, location, log_scale)
        place = _places(device, self.members)
        padded = features.new_zeros(self.members, int(place.max()) + 1, features.shape[-1])
        padded[device, place] = features
        logits, location = (x[device, place] for x in self._heads(padded))
        return ActorParameters(logits, location, log_scale)

    def _heads(self, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for layer in self.trunk:
            x = torch.tanh(layer(x, rows))
        return self.choice(x, rows), self.location(x, rows)


def _places(group: Tensor, groups: int) -> Tensor:
    """Rank of every row (n,) among the rows of its group, in order."""
    order = torch.argsort(group, stable=True)
    start = torch.cumsum(torch.bincount(group, minlength=groups), 0) - torch.bincount(group, minlength=groups)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    return place


class Window(NamedTuple):
    """Windows of events, padded at the end.

    Attributes:
        observation: of the deciding device, without its index, shape (B, T, 4 + N).
        device: who decides, shape (B, T).
        action: carrier of the decision, zeros where none was made, shape (B, T, d).
        elapsed: time since the previous event of the system, shape (B, T), in seconds.
    """

    observation: Tensor
    device: Tensor
    action: Tensor
    elapsed: Tensor


class EventCritic(nn.Module):
    """Values of cost and of duration at decisions, from what happened in the whole system before them.

    | kind | sees, beside the deciding device's own observation | context |
    | --- | --- | --- |
    | ``recurrent`` | all earlier events: device, kind, observation, action, elapsed time | state of a GRU |
    | ``memoryless`` | nothing | none |
    | ``centralised`` | last observation, last action, elapsed time of every device (feed-forward MAPPO) | table |

    The context at an event never contains that event's own action, else the value would not be one. It comes from whole
    windows (`contexts`, without gradient); training may then cut windows into segments: a GRU state at the beginning of
    a segment stands for everything before it (truncated backpropagation through time).

    Args:
        kind: see the table.
        n_edges: number of edge nodes N.
        n_devices: number of devices M.
        ignored: columns of the own observation that the critic does not see.
        hidden: widths of the hidden layers of the heads.
        state: width of the GRU state.

    Raises:
        InvalidInputError: unknown kind.
    """

    def __init__(
        self,
        kind: CriticKind,
        n_edges: int,
        n_devices: int = 1,
        ignored: Collection[int] = (),
        hidden: tuple[int, ...] = (64, 64),
        state: int = 64,
    ) -> None:
        super().__init__()
        if kind not in CRITICS:
            raise InvalidInputError.of("critic", " or ".join(CRITICS), kind)
        self.kind, self.n_devices = kind, n_devices
        self.features = CompressedFeatures(QUEUES + n_edges, KIND, ignored)
        self.identity = nn.Embedding(n_devices, _DEVICE_WIDTH) if n_devices > 1 and kind != "memoryless" else None
        own = self.features.width
        name = 0 if self.identity is None else _DEVICE_WIDTH
        token = own + n_edges + 2 + 1
        self.context_width = 0
        if kind == "recurrent":
            self.context_width = state
            self.gru = nn.GRU(token + name, state, batch_first=True)
        elif kind == "centralised":
            self.context_width = n_devices * token
        self.trunk, latent = mlp(own + 1 + name + self.context_width, hidden)
        self.head = nn.Linear(latent + own, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, window: Window, context: Tensor, rows: Tensor) -> Tensor:
        """Values (R, 2) of cost and duration at marked events, in row-major order.

        Args:
            window: windows, or segments of windows.
            context: what `contexts` gives for these events, shape (B, T, C); of a GRU only the first of each row is
                used, the others are computed from it again.
            rows: which events, boolean, shape (B, T).
        """
        if self.kind == "recurrent":
            states, _ = self.gru(self._tokens(window)[:, :-1], context[:, :1].transpose(0, 1).contiguous())
            context = torch.cat([context[:, :1], states], dim=1)
        return self.values(Window(*(column[rows] for column in window)), context[rows])

    def values(self, events: Window, context: Tensor) -> Tensor:
        """Values (n, 2) of single events, whose columns have shapes (n, ...), and their contexts (n, C)."""
        own = self.features(events.observation)
        parts = [own, torch.log1p(events.elapsed).unsqueeze(-1), context]
        if self.identity is not None:
            parts.append(self.identity(events.device))
        values: Tensor = self.head(torch.cat([self.trunk(torch.cat(parts, dim=-1)), own], dim=-1))
        return values

    @torch.no_grad()
    def contexts(self, window: Window) -> Tensor:
        """What the critic knows before each event of whole windows, shape (B, T, C)."""
        if self.kind == "memoryless":
            return window.elapsed.new_zeros(*window.device.shape, 0)
        if self.kind == "centralised":
            return self._table(window)
        states, _ = self.gru(self._tokens(window)[:, :-1])
        return nn.functional.pad(states, (0, 0, 1, 0))

    def _tokens(self, window: Window) -> Tensor:
        """What an event tells, shape (B, T, token): observation, the part of the action that counts, time, device."""
        seen = self.features(window.observation.flatten(0, 1)).unflatten(0, window.device.shape)
        kind = window.observation[..., KIND]
        uses = torch.ones_like(window.action)
        uses[..., :1] = (kind != OFFLOAD).unsqueeze(-1)
        uses[..., 1:] = (kind != UPDATE).unsqueeze(-1)
        parts = [seen, window.action * uses, torch.log1p(window.elapsed).unsqueeze(-1)]
        if self.identity is not None and self.kind == "recurrent":
            parts.append(self.identity(window.device))
        return torch.cat(parts, dim=-1)

    def _table(self, window: Window) -> Tensor:
        """Last event of every device before each event, and how long ago it was, shape (B, T, M * token)."""
        last = last_events(window.device, self.n_devices)
        known = (last >= 0).unsqueeze(-1)
        last = last.clamp(min=0)
        system = torch.arange(len(last), device=last.device)[:, None, None]
        time = window.elapsed.cumsum(1)
        ago = torch.log1p((time.unsqueeze(-1) - time[system, last]).clamp(min=0.0)).unsqueeze(-1)
        entries = torch.cat([self._tokens(window)[system, last][..., :-1], ago], dim=-1)
        return (entries * known).flatten(2)


def last_events(device: Tensor, n_devices: int) -> Tensor:
    """Index of the last event of every device strictly before each event, -1 if there is none.

    Args:
        device: who decides at each event, shape (B, T).
        n_devices: number of devices M.

    Returns:
        Indices, shape (B, T, M).
    """
    systems, events = device.shape
    index = torch.arange(events, device=device.device).expand(systems, -1)
    table = torch.full((systems, events + 1, n_devices), -1, dtype=torch.long, device=device.device)
    table[:, 1:].scatter_(2, device.unsqueeze(-1), index.unsqueeze(-1))
    return table.cummax(1).values[:, :-1]
