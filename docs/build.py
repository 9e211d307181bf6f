"""Fill the generated parts of the pages: `make docs`, or `python docs/build.py`.

A page is Markdown. What stands between ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- end -->`` is written by the
function NAME below from docstrings and schemas; the rest is written by hand. ``--check`` writes nothing and fails if a
page is out of date.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from study_tables import caching_results, caching_tables, experts_tables, game_results, game_tables, results, table

DOCS = Path(__file__).resolve().parent
_REGION = re.compile(r"(<!-- generated: (\w+) ?(\S*) -->\n).*?(<!-- end -->)", re.DOTALL)
_SECTION = re.compile(r"(Args|Attributes|Returns|Raises):")


# --- docstrings -------------------------------------------------------------------------------------------------------


def load(dotted: str) -> Any:
    """The object behind a dotted name; a class or function of a module, or the module."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


def split(doc: str) -> tuple[str, dict[str, str]]:
    """A Google-style docstring as prose and its sections; what follows a section unindented is prose again."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    current = prose
    for line in inspect.cleandoc(doc).splitlines():
        if match := _SECTION.fullmatch(line):
            current = sections.setdefault(match[1], [])
            continue
        if line and not line.startswith(" "):
            current = prose
        current.append(line)
    return "\n".join(prose), {name: inspect.cleandoc("\n" + "\n".join(lines)) for name, lines in sections.items()}


def entries(section: str) -> list[tuple[str, str]]:
    """``name: text`` entries of a section, continuation lines joined."""
    joined = re.sub(r"\n\s+", " ", section)
    pairs = (line.partition(": ") for line in joined.splitlines() if line)
    return [(name, text) for name, _, text in pairs]


def markdown(prose: str) -> str:
    """Prose of a docstring as Markdown: code in single backticks, doctests fenced, reStructuredText tables as pipes."""

    def pipes(match: re.Match[str]) -> str:
        columns = [slice(*run.span()) for run in re.finditer("=+", match[1])]
        columns[-1] = slice(columns[-1].start, None)
        head, *lines = ([line[c].strip() for c in columns] for line in (match[2], *match[3].splitlines()))
        body: list[list[str]] = []
        for line in lines:
            if line[0]:
                body.append(line)
            else:  # goes on with the row above
                body[-1] = [" ".join(filter(None, pair)) for pair in zip(body[-1], line, strict=True)]
        return table(head, body) + "\n"

    text = re.sub(r"(?m)^(=+ [= ]+)\n(.+)\n\1\n((?:(?!=).+\n)+)\1\n?", pipes, prose + "\n")
    text = re.sub(r"(?m)^(>>> (?:.+\n?)+)", lambda m: f"```pycon\n{m[1].rstrip()}\n```\n", text)
    return re.sub(r"``(.+?)``", r"`\1`", text).strip()


def summary(doc: str) -> str:
    """The first paragraph of a docstring on one line."""
    return markdown(inspect.cleandoc(doc).split("\n\n")[0].replace("\n", " "))


def arguments(callable_: Any, section: str) -> str:
    """The arguments of a class or function with their defaults."""
    signature = inspect.signature(callable_).parameters

    def default(name: str) -> str:
        value = getattr(signature.get(name), "default", inspect.Parameter.empty)
        if value is inspect.Parameter.empty:
            return ""
        return f"`{type(value).__name__}.{value.name}`" if isinstance(value, enum.Enum) else f"`{value!r}`"

    rows = ((f"`{name}`", default(name), markdown(text)) for name, text in entries(section))
    return table(("argument", "default", "meaning"), rows)


# --- what a page may ask for ------------------------------------------------------------------------------------------


def docstring(dotted: str) -> str:
    """Prose, arguments, attributes and errors of a class or function, or the prose of a module."""
    thing = load(dotted)
    prose, sections = split(thing.__doc__)
    parts = []
    if not inspect.ismodule(thing):
        parts.append(f"{'Class' if inspect.isclass(thing) else 'Function'} `{dotted}`")
    parts.append(markdown(prose))
    if "Args" in sections:
        parts.append("**Arguments**\n\n" + arguments(thing, sections["Args"]))
    if "Attributes" in sections:
        rows = ((f"`{name}`", markdown(text)) for name, text in entries(sections["Attributes"]))
        parts.append("**Attributes**\n\n" + table(("attribute", "meaning"), rows))
    if "Returns" in sections:
        parts.append("**Returns** " + markdown(re.sub(r"\s+", " ", sections["Returns"])))
    if "Raises" in sections:
        lines = (f"- `{name}`: {markdown(text)}" for name, text in entries(sections["Raises"]))
        parts.append("**Raises**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def subsection(dotted: str) -> str:
    """A docstring whose headings are one level deeper."""
    return re.sub(r"(?m)^#", "##", docstring(dotted))


def members(dotted: str) -> str:
    """The public methods and properties that a class defines itself."""
    cls = load(dotted)
    rows = []
    for name, member in vars(cls).items():
        target = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
        if name.startswith("_") or not inspect.isfunction(target) or not target.__doc__:
            continue
        names = [p for p in inspect.signature(target).parameters if p != "self"]
        call = f"`{name}`" if isinstance(member, property) else f"`{name}({', '.join(names)})`"
        rows.append((call, summary(target.__doc__)))
    return table(("member", "meaning"), rows)


def parameters(dotted: str) -> str:
    """Fields of a pydantic model: default, unit, range, meaning."""
    rows = []
    for name, schema in load(dotted).model_json_schema()["properties"].items():
        if schema.keys() & {"$ref", "discriminator"}:
            continue  # a section: it has a table of its own
        if "default" in schema and schema["default"] is None and "description" not in schema:
            continue  # a physical field that may replace the preset's: the environment's page has it
        found = re.fullmatch(r"\[(.+?)\] (.*)", schema.get("description", ""))
        unit, meaning = found.groups() if found else ("-", schema.get("description", ""))
        default = schema.get("default")
        rows.append((f"`{name}`", f"`{default}`", unit, bounds(schema), meaning))
    return table(("parameter", "default", "unit", "range", "meaning"), rows)


def bounds(schema: dict[str, Any]) -> str:
    """The range of a JSON schema in words."""
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return "; or ".join(bounds(part) for part in schema["anyOf"])
    kind = schema.get("type")
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} numbers, each {bounds(schema['prefixItems'][0])}"
    if kind == "array":
        limit = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {bounds(schema['items'])}{limit}"
    if kind not in ("integer", "number"):
        return {"null": "none", "boolean": "true, false"}.get(str(kind), "see meaning")
    if not schema.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}:
        return f"any {kind}"
    low = f"({schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else f"[{schema.get('minimum', -inf):g}"
    high = f"{schema['exclusiveMaximum']:g})" if "exclusiveMaximum" in schema else f"{schema.get('maximum', inf):g}]"
    return f"{low}, {high}".replace("[-inf", "(-inf").replace("inf]", "inf)").replace("e+0", "e")


inf = float("inf")


def presets(dotted: str) -> str:
    """What each preset changes against the defaults."""
    rows = (
        (f"`{name}`", ", ".join(f"`{field} = {value!r}`" for field, value in changes.items()) or "nothing")
        for name, changes in load(dotted).items()
    )
    return table(("preset", "differs from the defaults in"), rows)


def schema(dotted: str) -> str:
    """Keys of a TypedDict: whether they are always there, and their meaning."""
    cls = load(dotted)
    hints = typing.get_type_hints(cls, include_extras=True)
    optional = {key for key, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
    rows = (
        (f"`{key}`", "always" if cls.__total__ and key not in optional else "where it applies", markdown(text))
        for key, text in entries(split(cls.__doc__)[1]["Attributes"])
    )
    return table(("key", "present", "meaning"), rows)


def summaries(dotted: str) -> str:
    """First sentence of every function that a package exports."""
    package = load(dotted)
    functions = {name: getattr(package, name) for name in package.__all__}
    rows = ((f"`{name}`", summary(f.__doc__)) for name, f in functions.items() if inspect.isfunction(f))
    return table(("function", "meaning"), rows)


def commands(dotted: str) -> str:
    """Every command of the command line: what it does, and its arguments with their defaults."""
    module = load(dotted)
    parts = []
    for name in _ORDER:
        function = getattr(module, name)
        prose, sections = split(function.__doc__)
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function).parameters
        meanings = dict(entries(sections.get("Args", "")))
        positional = [key for key in signature if "Positional" in map(str, typing.get_args(hints[key])[1:])]
        usage = ["edgewise", name.replace("_", " "), *(_metavar(key, hints[key], signature[key]) for key in positional)]
        rows = [
            (
                f"`{_option(key, hints[key], signature[key], key in positional)}`",
                _default(signature[key]),
                markdown(meanings[key]),
            )
            for key in signature
        ]
        body = [f"## edgewise {name.replace('_', ' ')}", markdown(prose.replace("\n", " ")), f"`{' '.join(usage)}`"]
        parts.append("\n\n".join(body + ([table(("argument", "default", "meaning"), rows)] if rows else [])))
    return "\n\n".join(parts)


_ORDER = ("train", "evaluate", "report", "compare", "verify", "simulate_aoi", "simulate_caching", "select")
_ORDER += ("reproduce", "bench", "envs")
_WORDS = {int: "INT", float: "FLOAT", str: "TEXT"}


def _metavar(name: str, hint: Any, parameter: inspect.Parameter) -> str:
    """What stands for the value of an argument, in brackets where it may be left out."""
    found = [item.metavar for item in typing.get_args(hint)[1:] if getattr(item, "metavar", None)]
    text = found[0] if found else name.upper()
    return text if parameter.default is inspect.Parameter.empty else f"[{text}]"


def _option(name: str, hint: Any, parameter: inspect.Parameter, positional: bool) -> str:
    """An argument as it is written on the command line."""
    if positional:
        return _metavar(name, hint, parameter).strip("[]")
    inner, *marks = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    found = [item.metavar for item in marks if getattr(item, "metavar", None)]
    if inner is bool:
        value = ""
    elif found:
        value = found[0]
    elif typing.get_origin(inner) is typing.Literal:
        value = "{" + ",".join(typing.get_args(inner)) + "}"
    elif typing.get_origin(inner) is tuple:
        value = f"{_WORDS[typing.get_args(inner)[0]]} ..."
    else:
        value = _WORDS[inner]
    return f"--{name.replace('_', '-')} {value}".strip()


def _default(parameter: inspect.Parameter) -> str:
    """A default, where there is one to speak of."""
    value = parameter.default
    if value is inspect.Parameter.empty or value is None or value is False or value == ():
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def configurations(folder: str) -> str:
    """The packaged configurations of a folder, each with the comment at its top."""
    configs = DOCS.parent / "configs"
    rows = []
    for path in sorted((configs / folder).rglob("*.yaml"), key=lambda path: (len(path.parts), path.name)):
        lines = path.read_text().splitlines()
        comment = " ".join(line.removeprefix("# ") for line in lines[: [line[:1] for line in lines].index("n")])
        rows.append((f"`{path.relative_to(configs).with_suffix('')}`", comment))
    return table(("name", "what it is"), rows)


def pages(folder: str) -> str:
    """Links to the pages or scripts of a folder, each with its title."""
    lines = []
    for path in sorted((DOCS / folder).iterdir()):
        if path.suffix == ".md":
            title = path.read_text().split("\n", 1)[0].removeprefix("# ")
        elif path.suffix == ".py":
            title = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n", 1)[0].rstrip(".")
        else:
            continue
        lines.append((title, f"- [{title}]({folder}/{path.name})"))
    return "\n".join(line for _, line in sorted(lines))


GENERATORS: dict[str, Callable[[str], str]] = {
    f.__name__: f
    for f in (
        *(docstring, subsection, members, parameters, presets, schema, summaries, commands, configurations, pages),
        *(results, game_results, game_tables, caching_results, caching_tables, experts_tables),
    )
}


# --- pages ------------------------------------------------------------------------------------------------------------


def fill(text: str) -> str:
    """A page with its generated parts renewed."""

    def renew(match: re.Match[str]) -> str:
        return f"{match[1]}\n{GENERATORS[match[2]](match[3])}\n\n{match[4]}"

    return _REGION.sub(renew, text)


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` report those that are out of date."""
    stale = []
    for path in [*DOCS.parent.glob("README.md"), *sorted(DOCS.rglob("*.md"))]:
        old = path.read_text()
        new = fill(old)
        if new != old:
            stale.append(path.relative_to(DOCS.parent))
            if "--check" not in arguments:
                path.write_text(new)
    done = "out of date" if "--check" in arguments else "written"
    print("\n".join(f"{path}: {done}" for path in stale) or "docs: up to date")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
