"""Delay and energy of every (prompt, expert) pair.

Delays are upload, prefill, decode and download; energies are power times phase. (The paper's parts, arXiv 2501.09410;
the formulas are the field's standard ones.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .instance import FloatArray, Instance

BITS_PER_TOKEN = 32
"""Four bytes a token on the network."""


@dataclass(frozen=True, eq=False)
class Costs:
    """Tables of an instance, all (M, n).

    Attributes:
        upload: half a round trip and the prompt's bits, s.
        prefill: s.
        decode: s.
        download: half a round trip and the answer's bits, s.
        energy: of prefill and decode, J.
    """

    upload: FloatArray
    prefill: FloatArray
    decode: FloatArray
    download: FloatArray
    energy: FloatArray

    @property
    def compute(self) -> FloatArray:
        """Time for which the device is occupied, s (M, n)."""
        return self.prefill + self.decode

    @property
    def delay(self) -> FloatArray:
        """End-to-end delay without a queue, s (M, n)."""
        return self.prefill + self.decode + self.upload + self.download


@lru_cache(maxsize=8)
def costs(instance: Instance) -> Costs:
    """Delay and energy tables of an instance; remembered, so do not write into them."""
    prompts = instance.prompts
    columns: list[tuple[FloatArray, ...]] = []
    for expert in instance.experts:
        prefill = expert.prefill.seconds(prompts.I)
        decode = expert.decode.seconds(prompts.I, prompts.O)
        half = 0.5 * expert.link.rtt
        upload = half + BITS_PER_TOKEN * prompts.I / expert.link.up
        download = half + BITS_PER_TOKEN * prompts.O / expert.link.down
        columns.append((upload, prefill, decode, download, expert.P_pre * prefill + expert.P_dec * decode))
    return Costs(*(np.ascontiguousarray(np.stack(parts, axis=1)) for parts in zip(*columns, strict=True)))


def category_means(instance: Instance, table: FloatArray) -> FloatArray:
    """Weighted mean of a table (M, n) over every category, (C, n); 0 for a category without prompts."""
    prompts = instance.prompts
    means = np.zeros((len(instance.categories), table.shape[1]))
    for c in range(len(means)):
        chosen = prompts.category == c
        total = prompts.weight[chosen].sum()
        if total > 0:
            means[c] = prompts.weight[chosen] @ table[chosen] / total
    return means


@lru_cache(maxsize=8)
def means(instance: Instance) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean dynamic energy (n,), and mean delay and quality of every category, both (C, n); remembered."""
    table = costs(instance)
    energy: FloatArray = instance.prompts.weight @ table.energy
    return energy, category_means(instance, table.delay), category_means(instance, instance.prompts.Q)
