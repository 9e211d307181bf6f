"""The compiled part of the scripted policies."""

from __future__ import annotations

import numpy as np

from ..core.jit import compiled


@compiled
def fill_rows(order, density, size, reserve, model, models, shared, capacity, chosen):
    """Take agents in order while they fit.

    Args:
        order: (n, I) agents, best first.
        density: (n, I) minus infinity where an agent must not be taken.
        size: (I,) weights, GB.
        reserve: (I,) key-value cache to be kept free, GB.
        model: (I,) index of each agent's model.
        models: number of models.
        shared: agents of one model share its weights.
        capacity: memory, GB.
        chosen: (n, I) bool, written: False before.
    """
    held = np.zeros(models, np.bool_)
    for row in range(order.shape[0]):
        used = 0.0
        held[:] = False
        for position in range(order.shape[1]):
            i = order[row, position]
            if density[row, i] == -np.inf:
                break
            extra = reserve[i] + (0.0 if shared and held[model[i]] else size[i])
            if used + extra <= capacity:
                used += extra
                held[model[i]] = True
                chosen[row, i] = True
