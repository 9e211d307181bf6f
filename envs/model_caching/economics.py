"""What serving a request here saves against the cloud: the arithmetic that policies and bounds share.

Array functions; a trailing axis I runs over the agents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .instance import draw_instance
from .params import CachingParams
from .scripted import fill_rows
from .workload import Demand

Floats = NDArray[np.float64]


class Economics:
    """Prices of one instance, in cost units.

    Args:
        params: the system.

    Attributes:
        static: (I,) what the agents are.
        size: (I,) weights, GB.
        reserve: (I,) key-value cache of a full window, GB; 0 where contexts take no memory.
        model: (I,) index of each agent's model.
        reload: (I,) cost of loading the agent's model.
        unload: (I,) cost of evicting it.
        capacity: memory of the server, GB.
    """

    def __init__(self, params: CachingParams) -> None:
        self.params, self.static = params, draw_instance(params)
        self.size, self.model = self.static["memory"].copy(), self.static["model"].copy()
        self.reserve = self.static["kv"] * self.static["window"]
        per_load = params.lambda_MB * 1000.0 * self.size if params.switching == "per_mb" else params.lambda_load
        self.reload: Floats = np.broadcast_to(params.weight_switching * per_load, self.size.shape)
        self.unload: Floats = params.weight_switching * params.lambda_evict * 1000.0 * self.size
        self.capacity = params.capacity_gb
        twice = params.count_paths == "twice"
        self._work = float(params.paths * (params.paths if twice else 1))

    def cloud(self, tokens: Floats) -> Floats:
        """Cost of one request with so many input tokens in the cloud."""
        p = self.params
        per_path = p.weight_cloud * p.paths * p.cloud_price
        return np.asarray(per_path * (tokens if p.price_unit == "token" else np.ones_like(tokens)))

    def edge(self, tokens: Floats, thought: Floats) -> Floats:
        """Access and least compute cost of one request here; lost accuracy is not in it."""
        p = self.params
        per_token = p.price_unit == "token"
        access = p.weight_communication * (p.paths if per_token else 1) * p.edge_price * tokens
        prompt = self.static["energy_in"] * tokens if per_token else 0.0
        joules = self._work * (thought * self.static["energy_out"] + prompt)
        return np.asarray(access + p.weight_compute * joules / p.gpu_gflops)

    def accuracy_cost(self, kappa: Floats) -> Floats:
        """Weighted cost of the accuracy that one request lacks here; it falls with the age of thoughts."""
        p, s = self.params, self.static
        if p.accuracy_model == "paper":
            lost = (1.0 - s["alpha"]) / np.maximum(kappa * s["decay"], 1.0)
        elif p.accuracy_model == "saturating":
            lost = 1.0 - s["limit"] + (s["limit"] - s["alpha"]) * np.exp(-s["decay"] * kappa)
        else:
            paths = p.paths * kappa / (kappa + p.kappa_half)
            lost = 1.0 - s["limit"] + (s["limit"] - s["alpha"]) * np.exp(-paths / s["tau"])
        return np.asarray(p.weight_accuracy * lost)

    def aged(self, kappa: Floats, requests: Floats, thought: Floats, paths: float = 0.0) -> Floats:
        """Age of thoughts after a slot with so many requests served here, and single paths beside (no window)."""
        p = self.params
        work = (requests * self._work + paths) * (thought if p.kappa_unit == "tokens" else 1.0)
        return np.asarray(np.maximum(kappa + p.zeta * work - p.vanishing, 0.0))

    def saving(self, requests: Floats, tokens: Floats, thought: Floats, kappa: Floats) -> Floats:
        """What serving so many requests here saves in a slot that ends at an age of thoughts; may be negative."""
        per_request = self.cloud(tokens) - self.edge(tokens, thought) - self.accuracy_cost(kappa)
        return np.asarray(requests * per_request)

    def savings(self, demand: Demand, kappa: Floats | None = None) -> Floats:
        """(T, I) savings of agents that stay resident and serve everything from the first slot on.

        No policy's age of thoughts is ever larger than theirs if they begin at the largest (equation 13 is monotone),
        so for `kappa` 0 at an empty cache these bound every policy's savings from above where they are positive.
        """
        state = np.zeros(len(self.size)) if kappa is None else kappa
        found = np.empty(demand.input.shape)
        for t, (requests, tokens, thought, _) in enumerate(zip(*demand, strict=True)):
            state = self.aged(state, requests, thought)
            found[t] = self.saving(requests, tokens, thought, state)
        return found

    def fill(self, value: Floats, resident: NDArray[np.bool_], cost: Floats | None = None) -> NDArray[np.bool_]:
        """Fill the memory greedily by value per GB, then keep what is resident and still fits.

        Args:
            value: (n, I) what holding each agent is worth, reload cost not included.
            resident: (n, I) what is held now.
            cost: (I,) cost of loading; by default the reload cost.

        Returns:
            (n, I) the chosen set: entries that are worth more than their loading costs, then residents.
        """
        reload = self.reload if cost is None else cost
        net = value - np.where(self._held(resident), 0.0, reload)
        footprint = self.size + self.reserve
        density = np.where(net > 0, net / footprint, np.where(resident, -1.0, -np.inf))
        order = np.argsort(-density, axis=1, kind="stable")
        chosen = np.zeros(value.shape, bool)
        p = self.params
        fill_rows(
            order, density, self.size, self.reserve, self.model, len(p.models), p.weights_shared, self.capacity, chosen
        )
        return chosen

    def _held(self, resident: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n, I) whether an agent needs no load: its own copy, or any copy where weights are shared."""
        if not self.params.weights_shared:
            return resident
        models: NDArray[Any] = np.arange(len(self.params.models))
        any_copy = (resident[:, :, None] & (self.model[:, None] == models)).any(axis=1)
        return np.asarray(any_copy[:, self.model])
