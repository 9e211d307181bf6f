"""Language models and accuracy figures that instances are made of; sources stand beside the tables."""

from __future__ import annotations

from typing import NamedTuple

GFLOPS_PER_WATT = 810.0
"""Energy efficiency of the edge GPUs (arXiv 2403.05826)."""

_KIB = 1024.0 / 1e9


class LanguageModel(NamedTuple):
    """One language model.

    Attributes:
        parameters: billions of parameters.
        memory_gb: weights, GB (two bytes per parameter where no source says otherwise).
        kv_gb: key-value cache per token of context, GB; 0 where the architecture is not public.
        window: context window, tokens.
        tier: row of the accuracy tables that it follows: ``"lamda"`` or ``"palm"``.
    """

    parameters: float
    memory_gb: float
    kv_gb: float
    window: int
    tier: str

    @property
    def joule_per_token(self) -> float:
        """Energy of one token at two operations per parameter, J."""
        return 2.0 * self.parameters / GFLOPS_PER_WATT


# The papers' models (windows: the long mode, 8k and 32k), then open models: weights, architecture and windows from
# arXiv 2307.09288, 2407.21783, 2310.06825, 2412.15115 and public configuration files; fp16.
MODELS: dict[str, LanguageModel] = {
    "lamda-137b": LanguageModel(137.0, 274.0, 0.0, 8192, "lamda"),
    "palm-540b": LanguageModel(540.0, 1080.0, 0.0, 32768, "palm"),
    "llama-65b": LanguageModel(65.0, 130.0, 0.0, 2048, "lamda"),
    "gpt3-174b": LanguageModel(174.0, 348.0, 0.0, 8192, "palm"),
    "llama-2-7b": LanguageModel(6.74, 13.5, 512 * _KIB, 4096, "lamda"),
    "llama-2-13b": LanguageModel(13.0, 26.0, 800 * _KIB, 4096, "lamda"),
    "llama-3.1-8b": LanguageModel(8.03, 16.1, 128 * _KIB, 32768, "lamda"),
    "llama-3.1-70b": LanguageModel(70.6, 141.0, 320 * _KIB, 32768, "palm"),
    "mistral-7b": LanguageModel(7.24, 14.5, 128 * _KIB, 32768, "lamda"),
    "qwen2.5-1.5b": LanguageModel(1.54, 3.1, 28 * _KIB, 32768, "lamda"),
    "qwen2.5-3b": LanguageModel(3.09, 6.2, 36 * _KIB, 32768, "lamda"),
    "qwen2.5-7b": LanguageModel(7.61, 15.2, 56 * _KIB, 32768, "lamda"),
    "qwen2.5-14b": LanguageModel(14.7, 29.4, 192 * _KIB, 32768, "palm"),
    "qwen2.5-32b": LanguageModel(32.5, 65.0, 256 * _KIB, 32768, "palm"),
    "qwen2.5-72b": LanguageModel(72.7, 145.0, 320 * _KIB, 32768, "palm"),
}

DATASETS = ("ASDiv", "MultiArith", "SVAMP", "GSM8K", "CommonsenseQA", "StrategyQA", "ARC")

PATHS_MEASURED = (0, 5, 10, 15, 20)
"""Columns of `ACCURACY`: self-consistency paths."""

# Few-shot accuracy in % with self-consistency (arXiv 2501.14205, tables III and IV, after arXiv 2203.11171).
ACCURACY: dict[str, tuple[tuple[int, ...], ...]] = {
    "lamda": (
        (44, 53, 56, 57, 58),
        (47, 63, 69, 71, 73),
        (34, 43, 49, 51, 52),
        (15, 21, 24, 25, 26),
        (55, 61, 62, 62, 62),
        (63, 66, 67, 67, 68),
        (51, 57, 58, 59, 59),
    ),
    "palm": (
        (71, 78, 80, 81, 81),
        (89, 97, 98, 98, 98),
        (71, 83, 88, 85, 85),
        (50, 65, 70, 71, 72),
        (75, 79, 80, 80, 80),
        (74, 78, 79, 80, 80),
        (78, 86, 87, 88, 88),
    ),
}

# Least-squares fits A(j) = limit - (limit - start) exp(-j / tau) of these rows: (start, limit, tau).
FITS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "lamda": (
        (0.440, 0.580, 4.98),
        (0.470, 0.732, 5.41),
        (0.339, 0.536, 7.48),
        (0.150, 0.265, 6.72),
        (0.550, 0.620, 2.59),
        (0.630, 0.678, 5.45),
        (0.510, 0.590, 3.81),
    ),
    "palm": (
        (0.710, 0.812, 4.34),
        (0.890, 0.980, 2.29),
        (0.710, 0.859, 2.65),
        (0.500, 0.720, 4.36),
        (0.750, 0.801, 3.12),
        (0.740, 0.801, 5.05),
        (0.780, 0.879, 3.19),
    ),
}
