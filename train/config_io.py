"""Reading configs: YAML files, packaged configs by name, dotted overrides, and errors that say what is allowed.

Every value goes through the same pydantic model, wherever it came from.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Hashable, Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ..envs.core.errors import InvalidInputError

ModelT = TypeVar("ModelT", bound=BaseModel)
_SIZE_LIMIT = 2**20  # bytes; a config is a few hundred


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a repeated key is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for index, key in enumerate(keys) if key in keys[:index]]
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {repeated[0]!r} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def packaged() -> list[str]:
    """Names of the configs shipped with the package, for example ``aoi_offload/demo``."""
    return sorted(_names(resources.files("edgewise") / "configs"))


def _names(folder: Traversable, prefix: str = "") -> Iterator[str]:
    """Names of the configs in a folder and below."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _names(entry, f"{prefix}{entry.name}/")
        elif prefix and entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")


def read_yaml(name: str) -> dict[str, Any]:
    """Read a config file as plain data.

    Args:
        name: a path, or the name of a packaged config with or without ``configs/`` and ``.yaml``.

    Raises:
        InvalidInputError: no such file or packaged config, not YAML, or not a mapping.
    """
    path = Path(name)
    if path.is_file():
        if path.stat().st_size > _SIZE_LIMIT:
            raise InvalidInputError(f"{name}: {path.stat().st_size} bytes, a config has at most {_SIZE_LIMIT}")
        data = path.read_bytes()
    else:
        short = name.removeprefix("configs/").removesuffix(".yaml")
        known = packaged()
        if short not in known:
            raise InvalidInputError(f"config {name!r}: no such file or packaged config{_suggest(short, known)}")
        data = (resources.files("edgewise") / "configs" / f"{short}.yaml").read_bytes()
    return _parse_mapping(name, data)


def _parse_mapping(name: str, data: bytes) -> dict[str, Any]:
    try:
        content = yaml.load(data, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InvalidInputError(f"{name}: not valid YAML: {reason}") from None
    if not isinstance(content, dict):
        raise InvalidInputError(f"{name}: must be a mapping of fields, got {type(content).__name__}")
    return content


def split_overrides(tokens: Sequence[str], own_flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate ``--field.path VALUE...`` from a command's own arguments.

    Args:
        tokens: the command line after the command's name.
        own_flags: the command's own options, for example ``("--out", "--overwrite")``; all others are config fields.

    Returns:
        The command's own tokens, and the overrides as ``field.path=VALUE`` (several values as a YAML list), which
        `parse_overrides` reads.

    Raises:
        InvalidInputError: an override without a value.
    """
    own: list[str] = []
    values: dict[str, list[str]] = {}
    current = own
    for token in tokens:
        flag, equals, inline = token.partition("=")
        if not token.startswith("--"):
            current.append(token)
        elif flag in own_flags:
            current = own
            own.append(token)
        else:
            current = values[flag[2:].replace("-", "_")] = [inline] if equals else []
    for path, texts in values.items():
        if not texts:
            raise InvalidInputError(f"--{path}: a value is missing{_suggest(f'--{path}', own_flags)}")
    return own, [
        f"{path}={texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}" for path, texts in values.items()
    ]


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``field.path=VALUE`` texts; a value is read as YAML.

    Raises:
        InvalidInputError: not of this form, or the value is not YAML.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        try:
            if not (path and equals):
                raise ValueError("no assignment")
            overrides[path] = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
        except (yaml.YAMLError, RecursionError, ValueError):
            raise InvalidInputError(f"{assignment!r}: must be FIELD.PATH=VALUE with a YAML value") from None
    return overrides


def apply_overrides(content: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of nested `content` with values set by dotted path.

    Raises:
        InvalidInputError: a path goes through something that is not a mapping.
    """
    result = dict(content)
    for path, value in overrides.items():
        *parents, last = path.split(".")
        place = result
        for depth, name in enumerate(parents):
            child = place.get(name, {})
            if not isinstance(child, dict):
                raise InvalidInputError(f"--{path}: {'.'.join(parents[: depth + 1])} is a single value, not a section")
            place[name] = place = dict(child)
        place[last] = value
    return result


def validate(model: type[ModelT], content: dict[str, Any], source: str) -> ModelT:
    """Turn plain data into the model.

    Raises:
        InvalidInputError: one sentence with the source, the field's path, what is allowed, and for an unknown field or
            choice the nearest known one.
    """
    if wrong := _truth_value(model, content):
        raise InvalidInputError(f"{source}: {wrong}: must not be a truth value (quote the text if it was meant)")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InvalidInputError(f"{source}: {explain(model, error)}") from None


def explain(model: type[BaseModel], error: ValidationError, prefix: str = "") -> str:
    """One sentence about the first problem that pydantic found (an unknown field before all others)."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    names, field, owner = _locate(model, problem["loc"])
    path = ".".join([*([prefix] if prefix else []), *names])
    if problem["type"] == "extra_forbidden":
        here = ".".join([*([prefix] if prefix else []), *names[:-1], ""])
        hint = _suggest(names[-1], [*owner.model_fields], here)
        if not hint:  # elsewhere; what begins alike belongs to another choice, such as another algorithm
            hint = _suggest(path, [name for name in _paths(model) if not here or not name.startswith(here)])
        return f"unknown field {path!r}{hint or '; known: ' + ', '.join(owner.model_fields)}"
    context = problem.get("ctx", {})
    if problem["type"] == "missing":
        return f"{path}: this field is required"
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(context.get("discriminator", "")).strip("'")
        expected = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        given = context.get("tag")
        if given is None:
            return f"{path}.{tag}: this field is required" + (f"; one of {', '.join(expected)}" if expected[0] else "")
        return f"{path}.{tag}: must be one of {', '.join(expected)}, got {given!r}{_suggest(given, expected)}"
    shown = repr(problem["input"])
    got = f", got {shown if len(shown) <= 60 else shown[:57] + '...'}"
    if problem["type"] == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        subject = re.match(r"\w*", message).group()  # type: ignore[union-attr]  # \w* always matches
        if names and subject == names[-1]:
            return path + message[len(subject) :]
        return (
            f"{path}.{message}" if path and subject in owner.model_fields else ": ".join(filter(None, [path, message]))
        )
    if problem["type"] == "literal_error" and field is not None:
        choices = [str(choice) for choice in _choices(field.annotation)]
        return f"{path}: must be one of {', '.join(choices)}{got}{_suggest(str(problem['input']), choices)}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    allowed = f" (allowed: {_allowed(field)})" if field is not None and _allowed(field) else ""
    return f"{path}: {message}{allowed}{got}"


def _truth_value(model: type[BaseModel], content: dict[str, Any], prefix: str = "") -> str | None:
    """Path of the first truth value that stands for a number or text: YAML reads `no` and `off` as false."""
    for name, value in content.items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        if isinstance(value, bool) and bool not in (field.annotation, *get_args(field.annotation)):
            return f"{prefix}{name}"
        if isinstance(value, dict):
            nested = list(_models(field.annotation))
            chosen = [_tagged(field.annotation, tag) for tag in value.values() if isinstance(tag, str)]
            inner = nested[0] if len(nested) == 1 else next(filter(None, chosen), None)
            if inner is not None and (found := _truth_value(inner, value, f"{prefix}{name}.")):
                return found
    return None


def _suggest(name: str, known: Sequence[str], prefix: str = "") -> str:
    leaf = name.rpartition(".")[2]
    near = [path for path in known if path.rpartition(".")[2] == leaf] or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix + near[0]!r}?" if near else ""


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], FieldInfo | None, type[BaseModel]]:
    """Follow an error's location: the path as a user writes it, the field it ends at, the model that holds it."""
    names: list[str] = []
    owner, field = model, None
    for part in loc:
        if isinstance(part, str) and part in owner.model_fields:
            field = owner.model_fields[part]
            names.append(part)
            nested = list(_models(field.annotation))
            if len(nested) == 1:
                owner = nested[0]
        elif field is not None and isinstance(part, str) and (tagged := _tagged(field.annotation, part)):
            owner = tagged  # the tag of a union: not a part of the path
        elif isinstance(part, int):
            names.append(str(part))
        elif field is None or list(_models(field.annotation)):
            names.append(str(part))
            field = None
    return names, field, owner


def _members(annotation: Any) -> Iterator[Any]:
    """The types inside a possibly annotated or united type."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member


def _tagged(annotation: Any, tag: str) -> type[BaseModel] | None:
    for model in _models(annotation):
        if any(tag in _choices(field.annotation) for field in model.model_fields.values()):
            return model
    return None


def _choices(annotation: Any) -> list[Any]:
    return [choice for member in _members(annotation) if get_origin(member) is Literal for choice in get_args(member)]


def _paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all fields below the top level."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        for nested in _models(field.annotation):
            found += [f"{prefix}{name}.{inner}" for inner in nested.model_fields]
            found += _paths(nested, f"{prefix}{name}.")
    return found


def _allowed(field: FieldInfo) -> str:
    """The range of a number, from the field's own bounds or those inside its annotation."""
    bounds = [*field.metadata]
    pending = [field.annotation]
    while pending:
        current = pending.pop()
        for argument in get_args(current):
            if isinstance(argument, FieldInfo):
                bounds += argument.metadata
            elif isinstance(argument, Ge | Gt | Le | Lt):
                bounds.append(argument)
            else:
                pending.append(argument)
    low = next((f"[{b.ge}" if isinstance(b, Ge) else f"({b.gt}" for b in bounds if isinstance(b, Ge | Gt)), "(-inf")
    high = next((f"{b.le}]" if isinstance(b, Le) else f"{b.lt})" for b in bounds if isinstance(b, Le | Lt)), "inf)")
    return "" if (low, high) == ("(-inf", "inf)") else f"{low}, {high}"
