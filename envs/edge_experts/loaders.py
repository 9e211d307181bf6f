"""Routing tables of published data sets, read from a path that the user gives; nothing is downloaded or unpickled.

Formats: RouteLLM (one boolean column per model), RouterDC (JSON lists of questions with scores), RouterBench as CSV,
and EmbedLLM (one row per question and model). RouterDC and EmbedLLM carry no licence: keep their files where they are.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.errors import InvalidInputError
from .features import hashed_features
from .hardware import CATALOGUE
from .instance import Expert, FloatArray, Instance, IntArray, Prompts
from .synthetic import catalogue_expert

CHARACTERS_PER_TOKEN = 4
"""Input tokens are characters over this."""
OUTPUT_TOKENS = {"choice": 4, "maths": 200, "code": 250}
"""Output tokens of an answer, where the data does not say (our choice)."""
_TASKS = {  # answers are written out; MMLU's subjects of mathematics are multiple choice
    "maths": ("gsm8k", "grade-school-math", "grade_school_math", "math_", "prealgebra"),
    "code": ("humaneval", "mbpp", "javascript"),
}
HYPOTHETICAL_ROUTELLM = {"mistralai/Mixtral-8x7B-Instruct-v0.1": (3, 4, 9), "gpt-4-1106-preview": (5, 10, 11)}
"""Catalogue rows that lend RouteLLM's two models a device. Hypothetical: neither model runs on them."""
ROUTERDC_DEVICES = (3, 4, 9, 8)
"""Catalogue rows over which seven-billion models are cycled: Orin W4, Orin FP16, 4090 Q4, 4090D FP16 (our choice)."""


@dataclass(frozen=True, eq=False)
class RoutingTable:
    """Questions, and how well every model answers them.

    Attributes:
        questions: M prompts.
        models: names of the m models.
        quality: (M, m) in [0, 1].
        tasks: names of the tasks.
        task: (M,) index of the task.
        source: format and place.
    """

    questions: tuple[str, ...]
    models: tuple[str, ...]
    quality: FloatArray
    tasks: tuple[str, ...]
    task: IntArray
    source: str

    def accuracy(self) -> dict[str, float]:
        """Mean quality of every model."""
        return dict(zip(self.models, self.quality.mean(axis=0).tolist(), strict=True))

    def instance(self, rows: Mapping[str, Sequence[int]] | None = None, *, features: int = 128) -> Instance:
        """Put the models on devices of the catalogue.

        Args:
            rows: catalogue rows for every model; each gives one expert. Default: RouteLLM's models on
                `HYPOTHETICAL_ROUTELLM`, others cycled over `ROUTERDC_DEVICES`.
            features: dimensions of the hashed character n-gram features; 0 for none.

        Raises:
            InvalidInputError: a model is missing, or a row does not exist.
        """
        if rows is None:
            known = set(self.models) <= set(HYPOTHETICAL_ROUTELLM)
            cycled = {model: (ROUTERDC_DEVICES[i % len(ROUTERDC_DEVICES)],) for i, model in enumerate(self.models)}
            rows = HYPOTHETICAL_ROUTELLM if known else cycled
        experts: list[Expert] = []
        columns: list[int] = []
        for column, model in enumerate(self.models):
            if model not in rows:
                raise InvalidInputError(f"rows: no catalogue row for model {model!r}")
            for row in rows[model]:
                if not 0 <= row < len(CATALOGUE):
                    raise InvalidInputError.of("rows", f"indices in [0, {len(CATALOGUE) - 1}]", row)
                experts.append(_hosted(model, row, len(experts)))
                columns.append(column)
        characters = np.array([len(question) for question in self.questions], float)
        outputs = np.array([OUTPUT_TOKENS[_kind(task)] for task in self.tasks], float)
        prompts = Prompts.make(
            category=self.task,
            Q=self.quality[:, columns],
            I=np.maximum(1.0, np.round(characters / CHARACTERS_PER_TOKEN)),
            O=outputs[self.task],
            n_categories=len(self.tasks),
            phi=hashed_features(self.questions, features) if features else None,
        )
        source = f"{self.source}; devices are hypothetical: rates and power of the catalogue rows in the experts' names"
        return Instance(tuple(experts), self.tasks, prompts, source=source)

    def merged(self, name: str) -> RoutingTable:
        """The same table with all tasks as one category of that name."""
        return replace(self, tasks=(name,), task=np.zeros(len(self.questions), np.int64))


def _hosted(model: str, row: int, number: int) -> Expert:
    host = catalogue_expert(row, number)
    return host.model_copy(update={"id": f"{model}@{host.id}#{number}", "model": model})


def _kind(task: str) -> str:
    for kind, words in _TASKS.items():
        if any(word in task.lower() for word in words):
            return kind
    return "choice"


def _score(text: Any, where: str) -> float:
    """A quality: a number in [0, 1] or a truth value."""
    words = {"true": 1.0, "false": 0.0}
    try:
        value = words[str(text).strip().lower()] if str(text).strip().lower() in words else float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise InvalidInputError(f"{where}: a score must be True, False or a number in [0, 1], got {str(text)[:40]!r}")
    return value


def _rows(path: Path) -> Iterator[dict[str, str]]:
    usual = csv.field_size_limit(2**24)  # of the process: prompts are long
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path}: not a readable CSV file ({error})") from None
    finally:
        csv.field_size_limit(usual)


def _files(path: str | Path, pattern: str) -> list[Path]:
    place = Path(path)
    found = sorted(place.glob(pattern)) if place.is_dir() else [place]
    if not found or not all(file.is_file() for file in found):
        raise InvalidInputError(f"{path}: no such file, and no folder with {pattern}")
    return found


def _table(
    rows: Iterable[tuple[str, str, Mapping[str, float]]], models: Sequence[str] | None, source: str
) -> RoutingTable:
    """Put (task, question, scores by model) together; every row must have the same models."""
    tasks: dict[str, int] = {}
    questions: list[str] = []
    labels: list[int] = []
    scores: list[list[float]] = []
    for task, question, values in rows:
        models = tuple(values) if models is None else models
        if set(values) != set(models):
            raise InvalidInputError(f"{source}: question {len(questions)} has scores of other models than the first")
        questions.append(question)
        labels.append(tasks.setdefault(task, len(tasks)))
        scores.append([values[model] for model in models])
    if not questions or not models:
        raise InvalidInputError(f"{source}: holds no question with scores")
    return RoutingTable(
        tuple(questions), tuple(models), np.array(scores), tuple(tasks), np.array(labels, np.int64), source
    )


def load_routellm(path: str | Path) -> RoutingTable:
    """RouteLLM's evaluation files (Ong et al., arXiv 2406.18665): a CSV file, or a folder of them.

    The columns are ``prompt`` and one boolean per model; response columns are left out. A task is a file's name without
    ``mmlu_`` and ``_responses``.

    Raises:
        InvalidInputError: a file is missing or has other columns.
    """

    def rows() -> Iterator[tuple[str, str, dict[str, float]]]:
        for file in _files(path, "*.csv"):
            task = file.stem.removeprefix("mmlu_").removesuffix("_responses")
            for number, row in enumerate(_rows(file), 1):
                if "prompt" not in row:
                    raise InvalidInputError(f"{file}: lacks the column 'prompt'")
                models = [name for name in row if name and name != "prompt" and not name.endswith("_response")]
                yield task, row["prompt"], {name: _score(row[name], f"{file}, row {number}") for name in models}

    return _table(rows(), None, f"RouteLLM {Path(path).name}")


def load_routerdc(
    path: str | Path,
    *,
    split: Literal["train", "test"] = "test",
    correctness: Literal["auto", "score", "positive"] = "auto",
) -> RoutingTable:
    """RouterDC's score files (arXiv 2409.19886): a JSON file, or a folder of them.

    Of a folder the files named ``TASK_test.json`` or ``TASK-test.json`` are read, or the ``train`` ones. A file is a
    list of ``{"question": str, "scores": {model: number}}``. For multiple choice a score is the probability of the
    right option if the model is right, else 0; for generated answers the share of right samples.

    Args:
        path: file or folder.
        split: which half of a folder, ``"test"`` or ``"train"``.
        correctness: ``"score"`` keeps the scores, ``"positive"`` makes them 1 where positive; ``"auto"`` does the
            latter for multiple-choice tasks.

    Raises:
        InvalidInputError: unknown split, or a file is missing or damaged.
    """
    if split not in ("train", "test"):
        raise InvalidInputError.of("split", "train or test", split)

    def rows() -> Iterator[tuple[str, str, dict[str, float]]]:
        for file in _files(path, f"*[-_]{split}.json"):
            task = re.sub("[-_](train|test)$", "", file.stem)
            binary = correctness == "positive" or (correctness == "auto" and _kind(task) == "choice")
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
                entries = [(str(entry["question"]), dict(entry["scores"])) for entry in content]
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise InvalidInputError(f"{file}: not a list of questions with scores ({error})") from None
            for number, (question, scores) in enumerate(entries):
                values = {name: _score(value, f"{file}, entry {number}") for name, value in scores.items()}
                yield task, question, {name: float(v > 0) if binary else v for name, v in values.items()}

    return _table(rows(), None, f"RouterDC {Path(path).name}")


def load_routerbench(path: str | Path) -> RoutingTable:
    """RouterBench as CSV (arXiv 2403.12031): a file, or a folder of them.

    Columns: ``prompt``, ``eval_name``, one score per model, and per model ``NAME|model_response`` and
    ``NAME|total_cost``. The published pickles are not read.

    Raises:
        InvalidInputError: a file is missing or has other columns.
    """

    def rows() -> Iterator[tuple[str, str, dict[str, float]]]:
        for file in _files(path, "*.csv"):
            for number, row in enumerate(_rows(file), 1):
                models = [name for name in row if name and f"{name}|total_cost" in row]
                if not {"prompt", "eval_name"} <= set(row) or not models:
                    raise InvalidInputError(f"{file}: needs prompt, eval_name, and NAME beside NAME|total_cost")
                values = {name: _score(row[name], f"{file}, row {number}") for name in models}
                yield row["eval_name"], row["prompt"], values

    return _table(rows(), None, f"RouterBench {Path(path).name}")


def load_embedllm(path: str | Path) -> RoutingTable:
    """EmbedLLM's correctness file (arXiv 2410.02223): one row per question and model.

    A path is that of a file, or of a folder with a single one. Columns: ``prompt_id``, ``prompt``, ``label`` (0 or 1),
    ``model_name`` or ``model_id``, and, where given, ``category``. Repeated rows keep the best label; a question that
    some model did not answer counts as wrong there.

    Raises:
        InvalidInputError: the file is missing or has other columns.
    """
    files = _files(path, "*.csv")
    if len(files) > 1:
        raise InvalidInputError(f"{path}: holds {len(files)} CSV files (train and test?): name one")
    file = files[0]
    questions: dict[str, tuple[str, str]] = {}
    labels: dict[tuple[str, str], float] = {}
    models: dict[str, None] = {}
    for number, row in enumerate(_rows(file), 1):
        name = row.get("model_name") or row.get("model_id")
        if not {"prompt_id", "prompt", "label"} <= set(row) or not name:
            raise InvalidInputError(f"{file}: needs the columns prompt_id, prompt, label and model_name or model_id")
        key = row["prompt_id"], name
        models[name] = None
        questions.setdefault(row["prompt_id"], (row.get("category") or "all", row["prompt"]))
        labels[key] = max(labels.get(key, 0.0), _score(row["label"], f"{file}, row {number}"))
    rows = (
        (task, question, {model: labels.get((number, model), 0.0) for model in models})
        for number, (task, question) in questions.items()
    )
    return _table(rows, tuple(models), f"EmbedLLM {file.name}")


FORMATS = {
    "routellm": load_routellm,
    "routerdc": load_routerdc,
    "routerbench": load_routerbench,
    "embedllm": load_embedllm,
}


def load_routing_table(path: str | Path, form: str) -> RoutingTable:
    """Read a table in a named format: ``routellm``, ``routerdc``, ``routerbench`` or ``embedllm``.

    Raises:
        InvalidInputError: unknown format, or what the loader of that format raises.
    """
    if form not in FORMATS:
        raise InvalidInputError.of("form", f"one of {', '.join(FORMATS)}", form)
    return FORMATS[form](path)
