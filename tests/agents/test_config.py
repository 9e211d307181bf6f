"""The learners' settings explain themselves: a description for every field, a unit for every number."""

import types
import typing

import pytest

from edgewise.agents.config import (
    AsyncFractionalConfig,
    ClusterConfig,
    FractionalD3QNDDPGConfig,
    FractionalPPOConfig,
    LagrangianPPOConfig,
    LearnerSection,
    MaskedPPOConfig,
    PPOConfig,
    RecurrentD3QNPPOConfig,
    T2DRLConfig,
)


def numeric(annotation: object) -> bool:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is tuple:
        return any(numeric(part) for part in typing.get_args(annotation))
    return annotation in (int, float)


@pytest.mark.parametrize(
    "section",
    [
        FractionalPPOConfig,
        PPOConfig,
        MaskedPPOConfig,
        LagrangianPPOConfig,
        FractionalD3QNDDPGConfig,
        AsyncFractionalConfig,
        RecurrentD3QNPPOConfig,
        T2DRLConfig,
        ClusterConfig,
    ],
)
def test_every_field_has_a_description_and_every_number_a_unit(section: type[LearnerSection]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, name
        has_unit = field.description.startswith(("[-] ", "[s] ", "[rollouts] ", "[MiB] "))
        assert has_unit == numeric(field.annotation), name
