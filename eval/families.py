"""What evaluation needs of an environment family; one module per family has these functions."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..envs.core.errors import InvalidInputError

if TYPE_CHECKING:
    from ..train.config import TrainConfig
    from ..train.learners import Policy
    from ..train.run_folder import RunFolder
    from .evaluate import Request
    from .results import AnyEvaluation

_MODULES = {"aoi_offload": ".aoi.family", "model_caching": ".caching.family", "edge_experts": ".experts.family"}


class Family(Protocol):
    """The evaluation of one environment family: a module with these functions."""

    evaluation: type[AnyEvaluation]
    """Model of ``evaluation.json``."""

    def check(self, config: TrainConfig, request: Request) -> None:
        """Refuse what the family does not have, before the policy is loaded.

        Raises:
            InvalidInputError: it is asked for.
        """

    def evaluate(self, policy: Policy, config: TrainConfig, request: Request) -> AnyEvaluation:
        """Evaluate a policy beside its family's baselines and bounds, on seeds disjoint from training's."""

    def with_earlier(self, folder: Path, evaluation: AnyEvaluation) -> AnyEvaluation:
        """Keep what an earlier evaluation in this folder has and this one lacks."""

    def repeat(self, stored: AnyEvaluation) -> dict[str, Any]:
        """Keywords of `evaluate_run` that compute a stored evaluation again."""

    def result(self, evaluation: AnyEvaluation) -> tuple[float, list[float]]:
        """The learner's figure and its values per seed: what repeats exactly."""

    def score(self, policy: Policy, config: TrainConfig) -> dict[str, float]:
        """Score a policy during training: ``score``, lower is better, and more."""

    def show(self, evaluation: AnyEvaluation, console: Any) -> None:
        """Print tables and verdict."""

    def page(self, run: RunFolder, evaluation: AnyEvaluation, rows: list[dict[str, Any]]) -> str:
        """The report, one self-contained HTML page."""


def of(config: TrainConfig) -> Family:
    """The evaluation of a configuration's family.

    Raises:
        InvalidInputError: the family has none.
    """
    name = _MODULES.get(config.env.family)
    if name is None:
        raise InvalidInputError(f"runs of the family {config.env.family} cannot be evaluated")
    return cast(Family, importlib.import_module(name, __package__))
