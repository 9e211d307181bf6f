"""What the environment sections of all families share."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, create_model, model_serializer


class Section(BaseModel):
    """Base of every section: frozen, finite, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EnvSection(Section):
    """The training environment.

    Attributes:
        family: the folder of `envs` that it is from, and of `configs`.
        time_unit: unit of the environment's clock.
    """

    family: ClassVar[str]
    time_unit: ClassVar[str] = "s"

    num_envs: int = Field(default=16, ge=1, le=65536, description="[-] independent systems stepped together")

    @property
    def learners(self) -> frozenset[str]:
        """Algorithms that can train here."""
        raise NotImplementedError

    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make`` and ``make_vec`` (without ``num_envs``)."""
        raise NotImplementedError

    def given(self, model: type[BaseModel]) -> dict[str, Any]:
        """The fields of a physical model that were given; one may have been given as None."""
        own = type(self).model_fields
        return {name: getattr(self, name) for name in model.model_fields if name in own and self._is_given(name)}

    def _is_given(self, name: str) -> bool:
        return name in self.model_fields_set or getattr(self, name) is not None

    @model_serializer(mode="wrap")
    def _without_the_rest(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what was not given: read again, a None would be one that was."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value is not None or name in self.model_fields_set}


def optional_fields(model: type[BaseModel], leave_out: frozenset[str] = frozenset()) -> type[EnvSection]:
    """A section with the fields of a physical model, each None unless given: the model checks them.

    Args:
        model: such as `CachingParams`.
        leave_out: fields that the family's section sets in another way.
    """
    fields: dict[str, Any] = {
        name: (field.annotation if type(None) in get_args(field.annotation) else field.annotation | None, None)
        for name, field in model.model_fields.items()
        if name not in leave_out and field.annotation is not None
    }
    made: type[EnvSection] = create_model(f"{model.__name__}Fields", __base__=EnvSection, **fields)
    return made
