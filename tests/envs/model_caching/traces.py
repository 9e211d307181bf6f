"""Small synthetic trace files in every format: lognormal lengths, sessions with geometric turns."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np


def records(rows=200, seed=0, mean_turns=2.0):
    """(time s, input, output, chat, parent, first row, turn) of every request."""
    rng = np.random.default_rng(seed)
    time, found, open_chats = 0.0, [], []
    for row in range(rows):
        time += float(rng.exponential(0.5))
        into, out = (max(1, int(x)) for x in rng.lognormal((6.5, 4.5), 0.8))
        parent, first, turn = -1, row, 0
        if open_chats and rng.random() < 1 - 1 / mean_turns:
            parent = open_chats.pop(int(rng.integers(len(open_chats))))
            first, turn = found[parent][5], found[parent][6] + 1
            into += found[parent][1] + found[parent][2]
        open_chats.append(row)
        found.append((time, into, out, row, parent, first, turn))
    return found


def write_azure(path, rows=200, seed=0):
    begin = datetime(2023, 11, 16, 18, 15, 46)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for time, into, out, *_ in records(rows, seed):
        moment = begin + timedelta(microseconds=round(time * 1e6))
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S.%f}0,{into},{out}")
    path.write_text("\n".join(lines) + "\n")


def write_burstgpt(path, rows=200, seed=0):
    lines = ["Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    for time, into, out, chat, _, first, _ in records(rows, seed):
        model, out = ("GPT-4" if first % 3 == 0 else "ChatGPT"), 0 if chat % 50 == 49 else out
        lines.append(f"{time:.3f},s{first},1.5,{model},{into},{out},{into + out},Conversation log")
    path.write_text("\n".join(lines) + "\n")


def blocks(found, row, size):
    """Ids of full blocks: those of the chat so far, then new ones; block 0 is everybody's."""
    _, into, _, chat, parent, *_ = found[row]
    ids = [0]
    if parent >= 0:
        ids = blocks(found, parent, size)
    ids = ids[: into // size]
    return ids + [1 + chat * 100_000 + k for k in range(into // size - len(ids))]


def write_mooncake(path, rows=200, seed=0):
    found = records(rows, seed)
    lines = [
        json.dumps({"timestamp": round(1000 * time), "input_length": into, "output_length": out,
                    "hash_ids": blocks(found, row, 512)})
        for row, (time, into, out, *_) in enumerate(found)
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def write_qwen(path, rows=200, seed=0):
    found = records(rows, seed)
    lines = [
        json.dumps({"chat_id": chat, "parent_chat_id": parent, "timestamp": round(time, 3), "input_length": into,
                    "output_length": out, "type": "text", "turn": turn + 1, "hash_ids": blocks(found, row, 16)})
        for row, (time, into, out, chat, parent, _, turn) in enumerate(found)
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


WRITERS = {"azure": write_azure, "burstgpt": write_burstgpt, "mooncake": write_mooncake, "qwen": write_qwen}
