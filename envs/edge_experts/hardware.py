"""Published speed and power figures of edge devices that run language models, and latency fits made from them.

Rates of one model on one device differ 2 to 4 times between power modes and engines, so every rate is a parameter of an
instance; these are starting points, each with its source. Figures marked *our choice* were not measured by anybody.

Sources, by short name:

* ``edgereasoning``: github.com/edge-inference/edgereasoning (arXiv 2511.01866), Jetson AGX Orin, unquantised;
* ``jetson-ai-lab``: github.com/NVIDIA-AI-IOT/jetson-generative-ai-playground, ``src/data/benchmarks.json``, Orin,
  W4A16;
* ``jetson-mlc``: the same repository, ``public/archive/svgs``, Orin, 4-bit MLC;
* ``ecocompute``: github.com/hongping-zh/ecocompute-dynamic-eval, RTX 4090**D** (not the 4090), board power with
  idle (the source takes about 17 W off for its energies per token, so these are higher);
* ``gpu-benchmarks``: github.com/XiongjieDai/GPU-Benchmarks-on-LLM-Inference, RTX 4090, llama.cpp;
* ``48gb4090``: github.com/gparemsky/48gb4090, RTX 4090, Ollama.
"""

from __future__ import annotations

from typing import NamedTuple

ORIN, RTX_4090, RTX_4090D = "jetson-agx-orin", "rtx-4090", "rtx-4090d"

PROMPT_BLOCK = 128
"""Prompts are padded to whole blocks of this many tokens in the prefill fits (``edgereasoning``)."""


class PrefillCoefficients(NamedTuple):
    """Prefill seconds ``a I² + b I + c`` of I input tokens, padded to whole blocks."""

    a: float
    b: float
    c: float


class DecodeCoefficients(NamedTuple):
    """Decode seconds ``O (n + m I + m (O - 1) / 2)`` of O output tokens after I input tokens."""

    m: float
    n: float


ORIN_PREFILL = {
    1.5: PrefillCoefficients(1.5635548753756998e-07, 2.309554283403154e-06, 0.04598102600399947),
    8.0: PrefillCoefficients(6.645207285297158e-07, 0.0002903545130874798, 0.10380849913420899),
    14.0: PrefillCoefficients(1.233003335291953e-06, 0.0005304540126753786, 0.18858145785250313),
}
"""By size in 10^9 parameters, DeepSeek-R1-Distill models on the AGX Orin (``edgereasoning``, ``latency_model.py``)."""

ORIN_DECODE = {
    1.5: DecodeCoefficients(1.496809e-07, 0.0236339),
    8.0: DecodeCoefficients(6.920220e-07, 0.1003843),
    14.0: DecodeCoefficients(1.130166e-06, 0.1865537),
}
"""As `ORIN_PREFILL`."""


class PowerRamp(NamedTuple):
    """Board power during decoding: ``p_inf - delta exp(-t / tau)`` watts, t seconds after it began."""

    p_inf: float
    delta: float
    tau: float

    def energy(self, seconds: float) -> float:
        """Joules of a decode of this length."""
        from math import exp

        return self.p_inf * seconds - self.delta * self.tau * (1.0 - exp(-seconds / self.tau))


ORIN_POWER = {1.5: (25.4, 1.6), 8.0: (27.8, 1.5), 14.0: (28.1, 1.1)}
"""Median settled watts and time constant (s) by size, AGX Orin (``edgereasoning``, ``decode_parameters.json``)."""


class Throughput(NamedTuple):
    """One published single-stream speed; ``prefill`` in tokens/s or None; ``watts`` during decoding or None."""

    hardware: str
    model: str
    precision: str
    decode: float
    prefill: float | None
    watts: float | None
    source: str


THROUGHPUTS = (
    Throughput(ORIN, "Llama-2-7B", "4-bit", 47.0, None, None, "jetson-mlc"),
    Throughput(ORIN, "Llama-3-8B", "4-bit", 40.0, None, None, "jetson-mlc"),
    Throughput(ORIN, "Llama-2-13B", "4-bit", 25.0, None, None, "jetson-mlc"),
    Throughput(ORIN, "Llama-3.2-3B", "W4A16", 52.58, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "Llama-3.1-8B", "W4A16", 28.14, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "Llama-3.3-70B", "W4A16", 2.93, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "Qwen3-4B", "W4A16", 42.15, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "Qwen3-8B", "W4A16", 26.53, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "Qwen3-32B", "W4A16", 6.22, None, None, "jetson-ai-lab"),
    Throughput(ORIN, "DeepSeek-R1-Distill-Qwen-1.5B", "FP16", 40.6, None, 25.4, "edgereasoning"),
    Throughput(ORIN, "DeepSeek-R1-Distill-Llama-8B", "FP16", 9.9, None, 27.8, "edgereasoning"),
    Throughput(ORIN, "DeepSeek-R1-Distill-Qwen-14B", "FP16", 5.35, None, 28.1, "edgereasoning"),
    Throughput(RTX_4090, "LLaMA-7B", "Q4_0", 149.4, 5500.0, None, "gpu-benchmarks"),
    Throughput(RTX_4090, "LLaMA-7B", "F16", 60.9, 7180.0, None, "gpu-benchmarks"),
    Throughput(RTX_4090, "Llama-3-8B", "Q4_K_M", 127.74, 6898.71, None, "gpu-benchmarks"),
    Throughput(RTX_4090, "Llama-3-8B", "F16", 54.34, 9056.26, None, "gpu-benchmarks"),
    Throughput(RTX_4090, "Mistral-Small-3.2-24B", "Ollama default", 56.6, 2189.0, None, "48gb4090"),
    Throughput(RTX_4090, "Qwen2.5-Coder-32B", "Ollama default", 38.9, 1900.0, None, "48gb4090"),
    Throughput(RTX_4090D, "Phi-3-mini-3.8B", "FP16", 29.19, None, 105.2, "ecocompute"),
    Throughput(RTX_4090D, "Phi-3-mini-3.8B", "NF4", 20.12, None, 72.9, "ecocompute"),
    Throughput(RTX_4090D, "Mistral-7B", "FP16", 29.06, None, 181.9, "ecocompute"),
    Throughput(RTX_4090D, "Mistral-7B", "NF4", 17.37, None, 81.5, "ecocompute"),
    Throughput(RTX_4090D, "Qwen2.5-7B", "FP16", 37.64, None, 213.5, "ecocompute"),
    Throughput(RTX_4090D, "Qwen2.5-7B", "NF4", 21.38, None, 92.5, "ecocompute"),
)
"""Decode speeds of one stream, tokens/s."""

BYTES_PER_WEIGHT = {"FP16": 2.0, "W4A16": 0.56, "NF4": 0.56, "Q4_K_M": 0.6, "Q4": 0.6}
"""Bytes per parameter, scales and zero points of the 4-bit formats included (rounded)."""


class CatalogueEntry(NamedTuple):
    """One expert of the synthetic instance: size in 10^9 parameters, decode tokens/s, prefill rule, watts."""

    id: str
    model: str
    hardware: str
    precision: str
    size: float
    decode: float
    prefill: tuple[str, float]
    """("fit", size of the fit), ("scale", size): that share of the 8B fit, or ("rate", tokens/s)."""
    decode_watts: float
    prefill_watts: float


CATALOGUE = (
    CatalogueEntry("qwen-1.5b-orin-fp16", "qwen-1.5b", ORIN, "FP16", 1.5, 40.6, ("fit", 1.5), 25.4, 8.0),
    CatalogueEntry("llama3.2-3b-orin-w4", "llama3.2-3b", ORIN, "W4A16", 3.2, 52.58, ("scale", 3.2), 28.0, 12.0),
    CatalogueEntry("qwen3-4b-orin-w4", "qwen3-4b", ORIN, "W4A16", 4.0, 42.15, ("scale", 4.0), 28.0, 12.0),
    CatalogueEntry("llama3.1-8b-orin-w4", "llama3.1-8b", ORIN, "W4A16", 8.0, 28.14, ("scale", 8.0), 28.0, 16.0),
    CatalogueEntry("llama-8b-orin-fp16", "llama-8b", ORIN, "FP16", 8.0, 9.96, ("fit", 8.0), 27.9, 16.0),
    CatalogueEntry("qwen-14b-orin-fp16", "qwen-14b", ORIN, "FP16", 14.0, 5.36, ("fit", 14.0), 28.1, 21.0),
    CatalogueEntry("phi3-mini-4090d-fp16", "phi3-mini", RTX_4090D, "FP16", 3.8, 29.19, ("rate", 3000.0), 105.2, 150.0),
    CatalogueEntry("mistral-7b-4090d-nf4", "mistral-7b", RTX_4090D, "NF4", 7.2, 17.37, ("rate", 3000.0), 81.5, 150.0),
    CatalogueEntry(
        "qwen2.5-7b-4090d-fp16", "qwen2.5-7b", RTX_4090D, "FP16", 7.6, 37.64, ("rate", 3000.0), 213.5, 250.0
    ),
    CatalogueEntry(
        "llama3-8b-4090-q4km", "llama3-8b", RTX_4090, "Q4_K_M", 8.0, 127.74, ("rate", 6898.71), 300.0, 380.0
    ),
    CatalogueEntry("mistral-24b-4090-q4", "mistral-24b", RTX_4090, "Q4", 24.0, 56.0, ("rate", 2700.0), 330.0, 400.0),
    CatalogueEntry("qwen-32b-4090-q4", "qwen-32b", RTX_4090, "Q4", 32.0, 36.7, ("rate", 2050.0), 350.0, 400.0),
)
"""The twelve experts of the synthetic instance. Speeds are published; the power of entries 1 to 3 and 9 to 11, and
every prefill power and 4090D prefill speed, are our choice."""
