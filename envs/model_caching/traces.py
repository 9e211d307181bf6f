"""Readers of public request traces: Azure LLM 2023, Mooncake, BurstGPT, Qwen-Bailian.

Every reader gives the same canonical columns. A malformed row is an error that names file, line and column; what a
format's rule leaves out is counted, never dropped silently. No trace comes with the project: cite its authors (Azure:
Splitwise, ISCA 2024; BurstGPT: arXiv 2401.17644; Mooncake: FAST 2025; Qwen-Bailian: arXiv 2506.02634).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InvalidInputError

MAX_TOKENS = 10**9
MAX_LINE = 1 << 24
"""Longest line that is read, characters."""


@dataclass(frozen=True)
class Trace:
    """Requests in the order of the file; arrays (n,).

    Attributes:
        time: arrival, s since the first request.
        input_tokens: tokens of the prompt.
        output_tokens: generated tokens.
        new_tokens: prompt without the prefix that an earlier request has brought, tokens.
        first_row: row that began the request's session (its own row where it has none): rows count from 0.
        turn: position within the session, from 0.
        tier: 0 for a small model, 1 for a large one, -1 where the trace does not say.
        left_out: rows that the format's rule leaves out (BurstGPT: no response).
    """

    time: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    new_tokens: NDArray[np.int64]
    first_row: NDArray[np.int64]
    turn: NDArray[np.int64]
    tier: NDArray[np.int64]
    left_out: int = 0

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.time)


class _Row:
    """One line: its fields by column, and errors that say where."""

    def __init__(self, path: Path, line: int, fields: dict[str, Any]) -> None:
        self.path, self.line, self.fields = path, line, fields

    def fail(self, column: str, allowed: str, got: object) -> NoReturn:
        raise _malformed(self.path, self.line, column, allowed, got)

    def text(self, column: str) -> str:
        value = self.fields.get(column)
        if not isinstance(value, str) or not value:
            self.fail(column, "a non-empty text", value)
        return value

    def integer(self, column: str, least: int = 0, most: int = MAX_TOKENS) -> int:
        value = self.fields.get(column)
        if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(column, f"an integer in [{least}, {most}]", value)
        return value

    def number(self, column: str) -> float:
        value = self.fields.get(column)
        try:
            found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            found = math.nan
        if not 0 <= found < 1e15:
            self.fail(column, "a finite number >= 0", value)
        return found

    def integers(self, column: str) -> list[int]:
        value = self.fields.get(column)
        if not isinstance(value, list) or not all(type(item) is int and abs(item) < 2**63 for item in value):
            self.fail(column, "a list of integers", value)
        return value


def _malformed(path: Path, line: int, column: object, allowed: str, got: object) -> InvalidInputError:
    return InvalidInputError.of(f"{path}, line {line}, column {column}:", allowed, got)


def _lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    """Numbered lines of bounded length."""
    number = 0
    while text := file.readline(MAX_LINE + 1):
        number += 1
        if len(text) > MAX_LINE:
            raise _malformed(path, number, MAX_LINE, f"at most {MAX_LINE} characters", text[:20])
        yield number, text


def _csv_rows(path: Path, file: TextIO, columns: tuple[str, ...]) -> Iterator[_Row]:
    """Rows of a comma-separated file whose header has these columns."""
    numbered = _lines(path, file)
    header: list[str] | None = None
    for number, text in numbered:
        (cells,) = csv.reader([text.rstrip("\r\n")]) if text.strip() else ([],)
        if header is None:
            header = cells
            for column in columns:
                if column not in header:
                    raise _malformed(path, number, column, f"in the header ({', '.join(columns)})", ", ".join(header))
            continue
        if len(cells) != len(header):
            where = header[len(cells)] if len(cells) < len(header) else len(header) + 1
            raise _malformed(path, number, where, f"one of {len(header)} fields", f"{len(cells)} fields")
        yield _Row(path, number, dict(zip(header, cells, strict=True)))
    if header is None:
        raise InvalidInputError(f"{path}: the file is empty")


def _json_rows(path: Path, file: TextIO) -> Iterator[_Row]:
    """Rows of a file with one JSON object a line."""
    for number, text in _lines(path, file):
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise _malformed(path, number, error.colno, f"JSON ({error.msg})", text[:20]) from None
        except (RecursionError, ValueError):
            raise _malformed(path, number, 1, "a flat JSON object", text[:20]) from None
        if not isinstance(fields, dict):
            raise _malformed(path, number, 1, "a JSON object", fields)
        yield _Row(path, number, fields)


class _Table:
    """Collects canonical rows."""

    def __init__(self) -> None:
        self.columns: list[tuple[float, int, int, int, int, int, int]] = []
        self.left_out = 0

    def add(
        self, time: float, into: int, out: int, new: int | None = None, first: int | None = None, turn: int = 0,
        tier: int = -1,
    ) -> None:  # fmt: skip
        row = len(self.columns)
        self.columns.append(
            (time, into, out, into if new is None else new, row if first is None else first, turn, tier)
        )

    def trace(self, path: Path) -> Trace:
        if not self.columns:
            raise InvalidInputError(f"{path}: the file holds no requests")
        time, *rest = zip(*self.columns, strict=True)
        arrival = np.array(time, np.float64)
        into, out, new, first, turn, tier = (np.array(column, np.int64) for column in rest)
        return Trace(arrival - arrival.min(), into, out, new, first, turn, tier, self.left_out)


def _azure(path: Path, file: TextIO) -> _Table:
    """TIMESTAMP (seven fractional digits), ContextTokens, GeneratedTokens; no sessions."""
    table = _Table()
    for row in _csv_rows(path, file, ("TIMESTAMP", "ContextTokens", "GeneratedTokens")):
        text = row.text("TIMESTAMP")
        whole, _, fraction = text.partition(".")
        try:
            moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S")
            if fraction and not (fraction.isascii() and fraction.isdigit()):
                raise ValueError(fraction)
        except ValueError:
            row.fail("TIMESTAMP", "a time such as 2023-11-16 18:17:03.9799600", text)
        since = moment - datetime(1970, 1, 1)
        time = since.total_seconds() + (float(f"0.{fraction[:6]}") if fraction else 0.0)
        table.add(time, row.integer("ContextTokens"), row.integer("GeneratedTokens"))
    return table


def _mooncake(path: Path, file: TextIO) -> _Table:
    """Timestamp (ms), input_length, output_length, hash_ids (512 tokens each); sessions share more than the root."""
    table, prefixes = _Table(), _Prefixes(512)
    for row in _json_rows(path, file):
        into = row.integer("input_length")
        shared, new = prefixes.add(row.integers("hash_ids"), into, len(table.columns), root_counts=False)
        first, turn = shared or (None, 0)
        table.add(row.number("timestamp") / 1000.0, into, row.integer("output_length"), new, first, turn)
    return table


def _qwen(path: Path, file: TextIO) -> _Table:
    """chat_id, parent_chat_id (-1 at the root), timestamp (s), lengths, hash_ids of 16-token blocks."""
    table, prefixes = _Table(), _Prefixes(16)
    chats: dict[int, tuple[int, int]] = {}  # chat -> first row of its session, turn
    for row in _json_rows(path, file):
        into, number = row.integer("input_length"), len(table.columns)
        _, new = prefixes.add(row.integers("hash_ids"), into, number, root_counts=True)
        chat, parent = row.integer("chat_id", -(2**62), 2**62), row.integer("parent_chat_id", -1, 2**62)
        first, turn = number, 0
        if parent in chats:  # a parent before the trace's beginning leaves the chat a session of its own
            first, turn = chats[parent][0], chats[parent][1] + 1
        chats[chat] = first, turn
        table.add(row.number("timestamp"), into, row.integer("output_length"), new, first, turn)
    return table


class _Prefixes:
    """Which leading blocks of a prompt an earlier request has brought, and whose session that was.

    The traces hash a block together with all blocks before it, so equal ids mean equal prefixes.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self.owner: dict[int, tuple[int, int]] = {}  # block -> first row of the session, latest turn that had it

    def add(self, blocks: list[int], tokens: int, row: int, root_counts: bool) -> tuple[tuple[int, int] | None, int]:
        """((session, turn) of the request or None, tokens that are new)."""
        shared = 0
        while shared < len(blocks) and blocks[shared] in self.owner:
            shared += 1
        session = None
        if shared > (0 if root_counts else 1):
            first, turn = self.owner[blocks[shared - 1]]
            session = first, turn + 1
        for block in blocks:
            self.owner[block] = session or (row, 0)
        return session, max(0, tokens - self.block * shared)


def _burstgpt(path: Path, file: TextIO) -> _Table:
    """Timestamp (s), Model, Request tokens, Response tokens, and in later releases Session ID.

    A request without a response failed: it is left out and counted. Without a Session ID every request stands alone,
    as the file then does not tell users apart.
    """
    table = _Table()
    sessions: dict[str, tuple[int, int]] = {}
    tiers = {"ChatGPT": 0, "GPT-4": 1}
    for row in _csv_rows(path, file, ("Timestamp", "Model", "Request tokens", "Response tokens")):
        into, out, model = row.integer("Request tokens"), row.integer("Response tokens"), row.text("Model")
        if model not in tiers:
            row.fail("Model", " or ".join(tiers), model)
        time = row.number("Timestamp")
        if out == 0:
            table.left_out += 1
            continue
        session = row.fields.get("Session ID", "")
        first, turn = sessions.get(session, (len(table.columns), 0)) if session else (None, 0)
        if session:
            sessions[session] = (len(table.columns) if first is None else first), turn + 1
        table.add(time, into, out, None, first, turn, tiers[model])
    return table


_READERS: dict[str, Callable[[Path, TextIO], _Table]] = {
    "azure": _azure,
    "mooncake": _mooncake,
    "burstgpt": _burstgpt,
    "qwen": _qwen,
}


def read_trace(path: str | Path, trace_format: str) -> Trace:
    """Read a trace file.

    Args:
        path: the file.
        trace_format: ``azure``, ``mooncake``, ``burstgpt`` or ``qwen``.

    Raises:
        InvalidInputError: unknown format, unreadable file, or a malformed row (file, line and column are named).
    """
    if trace_format not in _READERS:
        raise InvalidInputError.of("trace_format", f"one of {', '.join(_READERS)}", trace_format)
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return _READERS[trace_format](path, file).trace(path)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: byte {error.start} is not UTF-8 text") from None
    except OSError as error:
        raise InvalidInputError(f"trace {path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise InvalidInputError(f"{path}: {error}") from None
