"""Checkpoints from strangers: nothing in them is executed, and every defect gives one sentence that names the file."""

import hashlib
import io
import json
import os
import pickle
import re
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.agents.snapshot import Snapshot
from edgewise.envs.core.errors import CheckpointError, StorageError
from edgewise.train import checkpoint
from edgewise.train.run_folder import open_run

torch = pytest.importorskip("torch", reason="safetensors of a learner need torch")

CANARY = "edgewise-canary"


class Bomb:
    """Unpickling this creates a file: if the file exists, code was run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def snapshot() -> Snapshot:
    records = np.zeros(3, dtype=[("seed", np.uint64), ("time", np.float64)])
    records["seed"] = 2**63 + np.arange(3, dtype=np.uint64)
    return Snapshot(
        tensors={"policy.weight": torch.arange(6.0).reshape(2, 3), "optimizer.step": torch.tensor(7)},
        arrays={
            "buffer": np.arange(12.0).reshape(3, 4, order="F"),
            "empty": np.zeros((0, 2), np.float32),
            "scalar": np.array(2.5),
            "flags": np.array([True, False]),
            "lanes": records,
        },
        meta={"state": 2**127 + 1, "ratio": 0.1 + 0.2, "tuple": [1, "a", None], "7": False},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, snapshot(), step=12, learner="toy", score=1.25, trainer={"seconds": 1.0})
    return tmp_path / checkpoint.folder_name(12)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and make its own hash right again, as an attacker would."""
    content = json.loads((folder / checkpoint.MANIFEST).read_text())
    del content["sha256"]
    change(content)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / checkpoint.MANIFEST).write_text(json.dumps(content))


def replace(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its recorded size and hash."""
    (folder / name).write_bytes(data)

    def change(content: dict[str, Any]) -> None:
        for entry in [content["tensors"], *content["arrays"].values()]:
            if entry["file"] == name:
                entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()

    rewrite(folder, change)


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def object_array(target: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(target)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_everything_comes_back_bit_for_bit(saved: Path) -> None:
    state, expected = checkpoint.load(saved, "toy"), snapshot()
    assert (state.manifest.step, state.manifest.score, state.manifest.finished) == (12, 1.25, False)
    assert state.snapshot.meta == expected.meta
    for name, array in expected.arrays.items():
        found = state.snapshot.arrays[name]
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert found.flags.writeable
    for name, tensor in expected.tensors.items():
        assert torch.equal(state.snapshot.tensors[name], tensor)
        assert state.snapshot.tensors[name].dtype == tensor.dtype


def test_shared_and_strided_tensors_are_saved_as_values(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    checkpoint.save(tmp_path, Snapshot(tensors={"a": base, "b": base.T, "c": base[0]}), step=1, learner="toy")
    found = checkpoint.load(tmp_path / checkpoint.folder_name(1)).snapshot.tensors
    assert torch.equal(found["b"], base.T)
    assert torch.equal(found["c"], base[0])


@pytest.mark.parametrize(
    "bad",
    [
        Snapshot(arrays={"a": np.array([{}], dtype=object)}),
        Snapshot(meta={"a": float("nan")}),
        Snapshot(meta={"a": {1, 2}}),
    ],
    ids=["objects", "nan", "set"],
)
def test_what_cannot_be_stored_plainly_is_refused_and_leaves_nothing(tmp_path: Path, bad: Snapshot) -> None:
    with pytest.raises((ValueError, TypeError)):
        checkpoint.save(tmp_path / "c", bad, step=1, learner="toy")
    assert list((tmp_path / "c").iterdir()) == []


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "object array": (
        lambda f: replace(f, "array_0000.npy", object_array(f.parent / CANARY)),
        r"array_0000\.npy.*(pickle|object)",
    ),
    "pickle as array": (
        lambda f: replace(f, "array_0000.npy", pickle.dumps(Bomb(f.parent / CANARY))),
        r"array_0000\.npy: not a valid \.npy",
    ),
    "pickle as tensors": (
        lambda f: replace(f, checkpoint.TENSORS, pickle.dumps(Bomb(f.parent / CANARY))),
        r"tensors\.safetensors: not a valid safetensors",
    ),
    "torch file as tensors": (
        lambda f: (
            torch.save({"a": Bomb(f.parent / CANARY)}, f / "x"),
            replace(f, checkpoint.TENSORS, (f / "x").read_bytes()),
        ),
        r"tensors\.safetensors: not a valid safetensors",
    ),
    "npy with a huge shape": (
        lambda f: replace(
            f, "array_0000.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}")
        ),
        r"array_0000\.npy.*header says 8796093022208 bytes",
    ),
    "npy with a negative shape": (
        lambda f: replace(
            f, "array_0000.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", b"12345678")
        ),
        r"array_0000\.npy",
    ),
    "npy header with code": (
        lambda f: replace(f, "array_0000.npy", npy(f"__import__('os').mkdir({str(f.parent / CANARY)!r})")),
        r"array_0000\.npy: not a valid \.npy",
    ),
    "npy with nested brackets": (lambda f: replace(f, "array_0000.npy", npy("(" * 9000)), r"array_0000\.npy"),
    "npy of version 3": (
        lambda f: replace(f, "array_0000.npy", b"\x93NUMPY\x03\x00" + b"\0" * 8),
        r"array_0000\.npy.*version",
    ),
    "record with objects": (
        lambda f: replace(
            f, "array_0000.npy", npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", b"12345678")
        ),
        r"array_0000\.npy.*object",
    ),
    "safetensors with a huge header": (
        lambda f: replace(f, checkpoint.TENSORS, struct.pack("<Q", 2**62) + b"{}"),
        r"tensors\.safetensors: not a valid",
    ),
    "safetensors with lying offsets": (
        lambda f: replace(
            f,
            checkpoint.TENSORS,
            (lambda h: struct.pack("<Q", len(h)) + h)(
                b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}'
            ),
        ),
        r"tensors\.safetensors: not a valid",
    ),
    "truncated tensors": (
        lambda f: (f / checkpoint.TENSORS).write_bytes((f / checkpoint.TENSORS).read_bytes()[:-3]),
        r"tensors\.safetensors: truncated",
    ),
    "one flipped bit": (
        lambda f: (f / "array_0000.npy").write_bytes((f / "array_0000.npy").read_bytes()[:-1] + b"\xff"),
        r"array_0000\.npy: its SHA-256 differs",
    ),
    "appended bytes": (
        lambda f: (f / "array_0000.npy").write_bytes((f / "array_0000.npy").read_bytes() + b"x"),
        r"array_0000\.npy: \d+ bytes, at most",
    ),
    "missing file": (lambda f: (f / "array_0001.npy").unlink(), r"array_0001\.npy: missing"),
    "missing manifest": (lambda f: (f / checkpoint.MANIFEST).unlink(), r"manifest\.json: missing"),
    "path out of the folder": (
        lambda f: rewrite(f, lambda c: c["arrays"]["buffer"].update(file="../../../etc/passwd")),
        r"manifest\.json: arrays\.buffer\.file",
    ),
    "absolute path": (
        lambda f: rewrite(f, lambda c: c["tensors"].update(file="/etc/passwd.npy")),
        r"manifest\.json: tensors\.file",
    ),
    "link instead of a file": (
        lambda f: ((f / "array_0000.npy").unlink(), (f / "array_0000.npy").symlink_to("/etc/passwd")),
        r"array_0000\.npy: cannot be opened \(a link\)",
    ),
    "pipe instead of a file": (
        lambda f: ((f / "array_0000.npy").unlink(), os.mkfifo(f / "array_0000.npy")),
        r"array_0000\.npy: not a regular file",
    ),
    "folder instead of a file": (
        lambda f: ((f / "array_0000.npy").unlink(), (f / "array_0000.npy").mkdir()),
        r"array_0000\.npy: not a regular file",
    ),
    "NaN in JSON": (
        lambda f: (f / checkpoint.MANIFEST).write_text('{"format": NaN, "sha256": "0"}'),
        r"manifest\.json: not a checkpoint manifest \(NaN is not allowed\)",
    ),
    "nested JSON": (lambda f: (f / checkpoint.MANIFEST).write_text("[" * 10**6), r"manifest\.json.*nested too deeply"),
    "endless number in JSON": (
        lambda f: (f / checkpoint.MANIFEST).write_text('{"step": ' + "9" * 10**5 + ', "sha256": "0"}'),
        r"manifest\.json",
    ),
    "binary manifest": (
        lambda f: (f / checkpoint.MANIFEST).write_bytes(b"\x80\x04\xff"),
        r"manifest\.json: not a checkpoint",
    ),
    "manifest that is a list": (
        lambda f: (f / checkpoint.MANIFEST).write_text("[1]"),
        r"manifest\.json: not a checkpoint",
    ),
    "edited manifest": (
        lambda f: (f / checkpoint.MANIFEST).write_text(
            (f / checkpoint.MANIFEST).read_text().replace('"step": 12', '"step": 13')
        ),
        r"manifest\.json: its SHA-256 differs",
    ),
    "unknown key": (lambda f: rewrite(f, lambda c: c.update(extra=1)), r"manifest\.json: extra"),
    "foreign format": (lambda f: rewrite(f, lambda c: c.update(format="other")), r"manifest\.json: format"),
    "later version": (lambda f: rewrite(f, lambda c: c.update(version=2)), r"manifest\.json: version"),
    "negative step": (lambda f: rewrite(f, lambda c: c.update(step=-1)), r"manifest\.json: step"),
    "exchanged weights": (
        lambda f: rewrite(f, lambda c: c.update(weights_sha256="0" * 64)),
        r"the weights do not match the hash",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_defect_is_one_sentence_and_runs_nothing(saved: Path, attack: str) -> None:
    spoil, message = ATTACKS[attack]
    spoil(saved)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not (saved.parent / CANARY).exists()


def test_another_learners_checkpoint_is_foreign(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"manifest\.json: written by learner 'toy', this run uses 'other'"):
        checkpoint.load(saved, "other")


def test_archives_and_links_are_never_opened(tmp_path: Path, saved: Path) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Bomb(tmp_path / CANARY)))
    link = tmp_path / "link"
    link.symlink_to(saved)
    for path in (archive, link):
        with pytest.raises(CheckpointError, match="never read, because loading them can run code"):
            checkpoint.load(path)
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a run description"),
        ("{" * 10**5, "not a run description"),
        ("[]", "not a run description"),
        ('{"format": 1}', "not a run description"),
        ('{"format": 2, "config": {}}', "format 2, this version reads 1"),
        ('{"format": 1, "config": []}', "config must be a mapping"),
        ('{"format": 1, "config": {"name": "x"}}', "field is required"),
        ('{"format": 1, "config": {"nam": "x"}}', "unknown field 'nam'; did you mean 'name'"),
    ],
)
def test_a_damaged_run_description_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_run(tmp_path)
    assert "run.json" in str(caught.value)


def test_no_space_left_is_one_sentence_and_leaves_nothing(tmp_path: Path, saved: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            StorageError, match=r"cannot write .*step_000000000013: .*what was saved before is unchanged"
        ):
            checkpoint.save(tmp_path, Snapshot(arrays={"a": np.zeros(10**6)}), step=13, learner="toy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert checkpoint.load(saved).manifest.step == 12


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_to_any_file_is_found(tmp_path: Path, data: st.DataObject) -> None:
    checkpoint.save(tmp_path, snapshot(), step=12, learner="toy")
    folder = tmp_path / checkpoint.folder_name(12)
    file = data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    original = (folder / file).read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if kind == "flip":
        damaged = (
            original[:position]
            + bytes([original[position] ^ data.draw(st.integers(1, 255))])
            + original[position + 1 :]
        )
    elif kind == "cut":
        damaged = original[:position]
    else:
        damaged = original[:position] + data.draw(st.binary(min_size=1, max_size=8)) + original[position:]
    (folder / file).write_bytes(damaged)
    if file == checkpoint.MANIFEST and _same_json(damaged, original):
        return  # white space of the manifest may change
    with pytest.raises(CheckpointError, match=re.escape(str(folder))):
        checkpoint.load(folder)


def _same_json(first: bytes, second: bytes) -> bool:
    try:
        return bool(json.loads(first) == json.loads(second))
    except ValueError:
        return False
