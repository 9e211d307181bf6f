"""The pages: up to date, complete, with units, with links that lead somewhere and snippets that run."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import pytest

import edgewise  # noqa: F401  # registers the ids

LEARNERS = {
    "Dinkelbach",
    "FractionalQLearning",
    "HybridActorCriticPolicy",
    "FractionalPPO",
    "ExpertPolicy",  # what sb3-contrib's MaskablePPO and fractional PPO act with on edge experts
    "FractionalD3QNDDPG",
    "AsyncFractional",
    "RecurrentD3QNPPO",
    "SMDPReplayBuffer",
    "T2DRL",
    "DinkelbachCallback",
    "DQMSB",
}
USES = "| Discrete | Box | hybrid | masks | recurrent | asynchronous multi-agent | SMDP | resume |"


def test_page_is_up_to_date(page: Path, build: ModuleType) -> None:
    text = page.read_text()
    assert build.fill(text) == text, "run `make docs`"


def test_the_readme_shows_the_committed_results(repository: Path, build: ModuleType) -> None:
    text = (repository / "README.md").read_text()
    assert "generated: results aoi_single" in text
    assert build.fill(text) == text, "run `make docs`"


OWN_UNITS = {  # of costs and of times, or of what else a page is about; pages about ages have s² and seconds
    "expert": (r"[Ee]nergies are in J\b", r"delays.* in seconds"),
    "masked_ppo": (r"energies are in J\b", r"delays in seconds"),
    "caching": (r"cost units?\b", r"\bslots?\b"),
    "t2drl": (r"cost units\b", r"in slots"),
    "dutch_clock": (r"unit of the agents' values", r"clock ticks"),
    "dqmsb": (r"unit of value", r"round"),
}


def test_page_mentions_units(page: Path) -> None:
    own = [units for name, units in OWN_UNITS.items() if name in page.stem]
    for unit in own[0] if own else (r"s²", r"seconds|in s\b"):
        assert re.search(unit, page.read_text()), unit


def test_links_lead_somewhere(page: Path, repository: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert not target.startswith("http"), "an external address cannot be checked here: cite the paper instead"
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(repository)
        assert file.is_file(), f"{page.name} links to {target}"
        headings = re.findall(r"(?m)^#+ (.+)$", file.read_text()) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}


def test_snippets_run(page: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert snippets or page.parent.name != "learners"
    exec(compile("\n".join(snippets), str(page), "exec"), {"__name__": "page"})


def test_no_region_is_left_empty_or_unclosed(page: Path) -> None:
    text = page.read_text()
    regions = re.findall(r"<!-- generated: .*? -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL)
    assert len(regions) == text.count("<!-- generated:") == text.count("<!-- end -->")
    assert all(region.strip() for region in regions)


def test_every_id_and_every_learner_has_a_page(repository: Path) -> None:
    titles = {p.read_text().split("\n")[0] for p in (repository / "docs" / "environments").glob("*.md")}
    ids = {name for name in gymnasium.registry if name.startswith("edgewise/")}
    assert {title.removeprefix("# ").partition(":")[0] for title in titles} == ids
    pages = [p.read_text() for p in (repository / "docs" / "learners").glob("*.md")]
    assert {re.findall(r"^Class `[\w.]+\.(\w+)`$", text, re.MULTILINE)[0] for text in pages} == LEARNERS


def test_every_learner_says_what_it_can_be_used_for(repository: Path) -> None:
    for path in (repository / "docs" / "learners").glob("*.md"):
        lines = path.read_text().splitlines()
        ticks = [lines[number + 2] for number, line in enumerate(lines) if line == USES]
        assert ticks, path.name
        for row in ticks:  # a page may show a variant of its learner
            assert re.fullmatch(r"\|( (✔️|❌)( \([a-z ]+\))? \|){8}", row), path.name


def test_tables_hold_what_the_code_says(repository: Path) -> None:
    text = (repository / "docs" / "environments" / "aoi_offload.md").read_text()
    assert "| `z_max` | `3.0` | s | (0, 1e6] | longest waiting time Z_max |" in text
    assert "| `paper` | `drop = 'authors:1.5'` |" in text
    assert "| `jsq` | join the shortest edge queue, ties at random |" in text
    contract = (repository / "docs" / "contract.md").read_text()
    assert re.search(r"\| `duration` \| always \| .*elapsed time, s", contract)
    assert "| `device` | where it applies |" in contract
    assert "| `check_smdp` |" in contract


class Sample:
    """Does a thing.

    Uses ``code`` and

    ===== =====
    key   value
    ===== =====
    ``a`` one
    ``b`` two
    ===== =====

    >>> 1 + 1
    2

    Args:
        first: what it is,
            continued: here.
        second: a | b.

    Raises:
        ValueError: never.

    *Source*: nowhere.
    """

    def __init__(self, first: int, second: str = "x") -> None: ...


def test_docstrings_become_markdown(build: ModuleType) -> None:
    prose, sections = build.split(Sample.__doc__)
    assert "*Source*: nowhere." in prose
    assert build.entries(sections["Args"]) == [("first", "what it is, continued: here."), ("second", "a | b.")]
    text = build.markdown(prose)
    assert "| key | value |\n| --- | --- |\n| `a` | one |\n| `b` | two |" in text
    assert "Uses `code` and" in text
    assert "```pycon\n>>> 1 + 1\n2\n```\n" in text
    assert "| `second` | `'x'` | a \\| b. |" in build.arguments(Sample, sections["Args"])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1_000_000}, "[1, 1e6]"),
        ({"type": "number", "exclusiveMinimum": 0}, "(0, inf)"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 0.5}, "[0, 0.5)"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 3}, "list of any integer, at most 3"),
        ({"anyOf": [{"type": "number", "maximum": 2}, {"type": "null"}]}, "(-inf, 2]; or none"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
    ],
)
def test_ranges_in_words(build: ModuleType, schema: dict[str, Any], words: str) -> None:
    assert build.bounds(schema) == words


def test_a_stale_page_is_noticed(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    page = docs / "page.md"
    page.write_text(
        "# Page\n\n<!-- generated: presets edgewise.envs.aoi_offload.params.PRESETS -->\nold\n<!-- end -->\n"
    )
    monkeypatch.setattr(build, "DOCS", docs)
    assert build.main(["--check"]) == 1
    assert "old" in page.read_text()
    assert build.main([]) == 0
    assert "heterogeneous" in page.read_text()
    assert build.main(["--check"]) == 0
