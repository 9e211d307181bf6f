"""The configurations whose comparison shows what each defect of the released code does."""

from __future__ import annotations

from typing import Any

from ..config import RECURRENT_DEFECTS, RecurrentD3QNPPOConfig


def ablation_variants(*, repairs: bool = False, **settings: Any) -> dict[str, RecurrentD3QNPPOConfig]:
    """The corrected learner, the released one, and the corrected one with each single defect.

    Args:
        repairs: add the released one without each single defect.
        **settings: further fields of `RecurrentD3QNPPOConfig`, the same for all.

    Returns:
        Configurations by name: ``corrected``, ``paper``, ``corrected+DEFECT`` and ``paper-DEFECT``.
    """
    variants = {
        "corrected": RecurrentD3QNPPOConfig(**settings),
        "paper": RecurrentD3QNPPOConfig(fidelity="paper", **settings),
    }
    for defect in RECURRENT_DEFECTS:
        variants[f"corrected+{defect}"] = RecurrentD3QNPPOConfig(defects=(defect,), **settings)
    for defect in RECURRENT_DEFECTS if repairs else ():
        others = tuple(name for name in RECURRENT_DEFECTS if name != defect)
        variants[f"paper-{defect}"] = RecurrentD3QNPPOConfig(fidelity="paper", defects=others, **settings)
    return variants
