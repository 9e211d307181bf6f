"""Prompt features without a language model: hashed character n-grams, TF-IDF, leading singular vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .instance import FloatArray

BUCKETS = 1 << 14
"""Columns of the hashed count table."""
NGRAMS = (2, 3, 4)
"""Lengths of the n-grams, in bytes of the lower-case text."""
LONGEST = 4000
"""Bytes of a prompt that count."""


def _buckets(text: str) -> np.ndarray:
    """Hashed n-grams of a text, as column indices."""
    raw = np.frombuffer(text.lower().encode()[:LONGEST], np.uint8).astype(np.uint64)
    found = []
    for size in NGRAMS:
        if len(raw) < size:
            continue
        code = np.full(len(raw) - size + 1, size, np.uint64)
        for offset in range(size):
            code = code * np.uint64(257) + raw[offset : len(raw) - size + 1 + offset]
        code *= np.uint64(0x9E3779B97F4A7C15)  # multiplicative hashing: the high bits are well mixed
        found.append(code >> np.uint64(50))
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def hashed_features(texts: Sequence[str], dimensions: int = 128) -> FloatArray:
    """Features of M texts: TF-IDF of hashed 2- to 4-grams on their leading singular vectors.

    Shape (M, at most `dimensions` and at most M - 1).
    Deterministic; the vectors depend on all texts given, so training and test prompts are transformed together.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    counts, columns, ends = [], [], [0]
    for text in texts:
        column, count = np.unique(_buckets(text), return_counts=True)
        columns.append(column.astype(np.int64))
        counts.append(1.0 + np.log(count))
        ends.append(ends[-1] + len(column))
    data, where = np.concatenate(counts), np.concatenate(columns)
    frequency = np.bincount(where, minlength=BUCKETS)
    data = data * np.log((1.0 + len(texts)) / (1.0 + frequency[where]) + 1.0)
    table = csr_matrix((data, where, ends), shape=(len(texts), BUCKETS))
    norm = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    table = csr_matrix((data / np.repeat(np.maximum(norm, 1e-12), np.diff(ends)), where, ends), shape=table.shape)
    rank = min(dimensions, len(texts) - 1, BUCKETS - 1)
    if rank < 1 or not table.nnz:
        return np.zeros((len(texts), 0))
    left, values, right = svds(table, k=rank, v0=np.ones(min(table.shape)))
    order = np.argsort(-values)
    signs = np.sign(right[order, np.abs(right[order]).argmax(axis=1)])  # a singular vector's sign is arbitrary
    return np.ascontiguousarray(left[:, order] * values[order] * signs)
