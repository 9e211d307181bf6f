"""The synthetic instance: twelve experts of published speed, four kinds of prompts, qualities of a latent model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.errors import InvalidInputError
from .hardware import BYTES_PER_WEIGHT, CATALOGUE, ORIN_PREFILL, CatalogueEntry
from .instance import (
    Budgets,
    DecodeRate,
    Expert,
    FloatArray,
    Instance,
    IntArray,
    PrefillFit,
    PrefillRate,
    PrefillScale,
    Prompts,
)

CATEGORIES = ("choice", "short QA", "reasoning", "code")
DELAY_BUDGETS = {"tight": (0.5, 2.0, 6.0, 8.0), "mid": (1.0, 4.0, 10.0, 15.0), "loose": (2.0, 8.0, 30.0, 45.0)}
"""Seconds per category, from strict to lenient."""
ENERGY_BUDGETS = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
"""Joules, as used with `DELAY_BUDGETS`."""

_OUTPUT_TOKENS = (8, 64, 256, 384)
_SHARES = (0.40, 0.25, 0.20, 0.15)


def _expert(entry: CatalogueEntry, number: int, size: float, decode: float, name: str) -> Expert:
    kind, value = entry.prefill
    prefill: PrefillFit | PrefillScale | PrefillRate
    if kind == "fit":
        prefill = PrefillFit(**ORIN_PREFILL[value]._asdict())
    elif kind == "scale":
        prefill = PrefillScale(factor=size / 8.0)
    else:
        prefill = PrefillRate(tok_s=value)
    return Expert(
        id=name,
        model=entry.model,
        device=f"{entry.hardware}-{number}",
        hardware=entry.hardware,
        precision=entry.precision,
        params_B=size,
        mem_GB=size * BYTES_PER_WEIGHT[entry.precision] * 1.2,  # a fifth for the cache of keys and values
        prefill=prefill,
        decode=DecodeRate(tok_s=decode),
        P_pre=entry.prefill_watts,
        P_dec=entry.decode_watts,
    )


def catalogue_expert(row: int, number: int | None = None) -> Expert:
    """Expert ``row`` of the catalogue on a device of its own.

    Args:
        row: index in `hardware.CATALOGUE`.
        number: number of the device; default the row.
    """
    entry = CATALOGUE[row]
    return _expert(entry, row if number is None else number, entry.size, entry.decode, entry.id)


def synthetic(seed: int = 0, *, prompts: int = 2000, features: int = 16, answers: bool = False) -> Instance:
    """The synthetic instance with the twelve catalogue experts.

    Args:
        seed: of ``numpy.random.default_rng``; same seed, same instance.
        prompts: number of prompts M.
        features: number of features d.
        answers: also draw answer distributions over four options (after everything else).

    Raises:
        InvalidInputError: an argument is out of range.
    """
    rng = np.random.default_rng(_check("seed", seed, 0))
    experts = tuple(catalogue_expert(row) for row in range(len(CATALOGUE)))
    return _instance(rng, experts, prompts, features, answers, f"synthetic:{seed}")


def section9(n: int, prompts: int, seed: int) -> Instance:
    """Synthetic instances of any size: random copies of catalogue experts with perturbed size and speed.

    Args:
        n: number of experts, 1 to 64.
        prompts: number of prompts M.
        seed: of ``numpy.random.default_rng``.

    Raises:
        InvalidInputError: an argument is out of range.
    """
    rng = np.random.default_rng(_check("seed", seed, 0))
    experts = []
    for i in range(_check("n", n, 1, 64)):
        entry = CATALOGUE[int(rng.integers(len(CATALOGUE)))]
        size, decode = entry.size * math.exp(rng.normal(0, 0.1)), entry.decode * math.exp(rng.normal(0, 0.2))
        experts.append(_expert(entry, i, size, decode, f"{entry.id}#{i}"))
    return _instance(rng, tuple(experts), prompts, 16, False, f"section9({n}, {prompts}, {seed})")


def _check(name: str, value: int, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low or (high and value > high):
        raise InvalidInputError.of(name, f"an integer >= {low}" + (f" and <= {high}" if high else ""), value)
    return int(value)


def _instance(
    rng: np.random.Generator, experts: Sequence[Expert], count: int, d: int, answers: bool, source: str
) -> Instance:
    """Draw prompts and qualities; the order of the draws is part of the definition."""
    count, d = _check("prompts", count, 1), _check("features", d, 1)
    category = rng.choice(4, size=count, p=_SHARES)
    centre = rng.normal(size=(4, d))
    phi = centre[category] + 0.7 * rng.normal(size=(count, d))
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    difficulty = rng.normal(0.8, 1.0, size=count)
    skill = rng.normal(size=(len(experts), d))
    skill /= np.linalg.norm(skill, axis=1, keepdims=True)
    inputs = np.clip(np.round(np.exp(rng.normal(math.log(256), 0.5, size=count))), 16, 1024)
    outputs = np.maximum(1, np.round(np.array(_OUTPUT_TOKENS)[category] * np.exp(rng.normal(0, 0.25, size=count))))
    ability = np.array([-0.2 + 0.25 * math.log2(expert.params_B / 1.5) for expert in experts])
    quality = 1.0 / (1.0 + np.exp(-1.7 * (ability + 5.0 * (phi @ skill.T) - difficulty[:, None])))
    options = _answers(rng, quality) if answers else (None, None)
    table = Prompts.make(
        category=category,
        Q=quality,
        I=inputs,
        O=outputs,
        n_categories=4,
        phi=phi,
        P=options[0],
        y=options[1],
    )
    return Instance(tuple(experts), CATEGORIES, table, Budgets(), source)


def _answers(rng: np.random.Generator, quality: FloatArray) -> tuple[FloatArray, IntArray]:
    """Four options: the right one has the quality, the rest is split over three, often alike for all experts."""
    count, n = quality.shape
    shared = np.repeat(rng.dirichlet([0.5] * 3, size=(count, 1)), n, axis=1)
    private = rng.dirichlet([0.5] * 3, size=(count, n))
    wrong = np.where(rng.random((count, 1, 1)) < 0.5, shared, private) * (1.0 - quality)[:, :, None]
    right: IntArray = rng.integers(4, size=(count,), dtype=np.int64)
    table = np.empty((count, n, 4))
    for option in range(4):
        hit = right == option
        table[hit, :, option] = quality[hit]
        others = np.flatnonzero(np.arange(4) != option)
        table[np.ix_(np.flatnonzero(hit), np.arange(n), others)] = wrong[hit]
    return table, right
