"""The README promises commands, extras and snippets: they exist, and the snippets run as they stand."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgewise.cli.main import main


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def test_opens_with_the_two_commands(readme: str, repository: Path) -> None:
    assert re.findall(r"^make \w+", readme.split("```")[1], re.MULTILINE) == ["make demo", "make test"]
    assert "\nmake test" in (repository / ".ci" / "run").read_text()


def test_lists_the_extras_and_the_targets(readme: str, repository: Path, project: dict[str, Any]) -> None:
    table = readme[readme.index("| extra |") :]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(project["project"]["optional-dependencies"])
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", readme, re.MULTILINE)) <= {
        pair for name in targets for pair in ((name, ""), ("", name))
    }


def test_commands_exist(readme: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = set(re.findall(r"^edgewise (\w+)", readme, re.MULTILINE))
    assert commands >= {"train", "evaluate", "simulate"}
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert command in capsys.readouterr().out


def test_snippets_run(readme: str, tmp_path: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert snippets
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", "-c", "\n".join(snippets)],
        capture_output=True, text=True, timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
