"""The page: self-contained, complete, honest about a bad result, escaped, and drawn from stored data only."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest

from edgewise.envs.core.errors import CheckpointError
from edgewise.eval.aoi import results
from edgewise.eval.aoi.verdict import verdict
from edgewise.eval.estimates import Estimate
from edgewise.eval.formats import interval, seconds, signed
from edgewise.eval.report import write_report
from edgewise.eval.results import FILE_NAME, write

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

VOID = {"meta", "link", "br", "img", "input", "hr"}
SVG_EMPTY = {"path", "use", "rect", "circle", "line", "image"}


class Page(HTMLParser):
    """Collects what the tests ask about; raises on badly nested tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.figures, self.open, self.text = [], [], {}, [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "figure":
            self.current = self.figures.setdefault(attributes["id"], {"svg": 0, "marks": 0, "alt": "", "caption": ""})
        if tag == "svg" and "figure" in self.open:
            self.current["svg"] += 1
            self.current["alt"] = attributes.get("aria-label", "")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if "svg" in self.open and tag in SVG_EMPTY:
            self.current["marks"] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "figcaption" in self.open:
            self.current["caption"] += data


@pytest.fixture
def page(run_dir):
    return Page(write_report(run_dir).read_text())


def test_nothing_points_outside_the_file(run_dir, page):
    text = (run_dir / "report.html").read_text()
    assert "://" not in text  # no address of any scheme, namespaces included
    assert not {"script", "iframe", "object", "embed", "base", "form", "img", "audio", "video"} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert value.startswith("#") or (tag == "link" and value == "data:,"), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text


def test_every_figure_is_there_drawn_captioned_and_described(page):
    expected = {"learning", "ratio", "wait", "server", "shares", "seeds", "sawtooth", "queues"}
    assert set(page.figures) == {f"figure-{name}" for name in expected}
    for name, figure in page.figures.items():
        assert figure["svg"] == 1, name
        assert figure["marks"] >= 5, name
        assert len(figure["alt"]) > 30, name
        assert len(figure["caption"]) > 30, name
    for name in ("learning", "ratio", "wait", "sawtooth"):
        assert "(s)" in page.figures[f"figure-{name}"]["caption"], name


def test_ids_are_unique_and_references_resolve(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    references = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    clips = {match for _, _, value in page.attributes for match in re.findall(r"url\(#([^)]*)\)", value)}
    assert references | clips <= set(ids)
    assert clips


def test_no_placeholder_colour_is_left(run_dir, page):
    svg = "".join(re.findall(r"<svg.*?</svg>", (run_dir / "report.html").read_text(), flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000", "#ffffff"}
    css = (run_dir / "report.html").read_text().split("</style>")[0]
    for variable in set(re.findall(r"var\(--(\w+)\)", svg)):
        assert css.count(f"--{variable}:") == 2, variable  # a light value and a dark one


def test_the_headline_numbers_are_on_the_page(page):
    text = " ".join(page.text)
    assert "1.75" in text
    assert "JSQ, best fixed wait" in text
    assert "lower bound" in text
    assert "0123456789abcdef with local changes" in text
    assert str(2**63 + 7) in text
    assert "env.preset" in text
    assert "numpy" in text


def test_text_from_the_run_is_escaped(run_dir, page):
    text = (run_dir / "report.html").read_text()
    assert "a &amp; &lt;b&gt;.yaml" in text
    assert "<odd name>" not in text


def test_drawing_again_gives_the_same_bytes_and_needs_no_learner(run_dir, monkeypatch):
    first = write_report(run_dir).read_bytes()
    for name in [name for name in sys.modules if name.split(".")[0] == "stable_baselines3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert write_report(run_dir).read_bytes() == first


def test_a_learner_that_loses_to_never_waiting_is_flagged(run_dir, build):
    assert verdict(build())["tone"] != "bad"
    losing = build(learner_age=1.80)
    assert losing.worse_than_zero_wait
    write(run_dir, losing)
    text = write_report(run_dir).read_text()
    assert re.search(r'class="verdict bad"[^>]*>The learner loses to', text)


def test_a_system_without_edges_shows_activity_instead_of_queues(run_dir, build):
    write(run_dir, build(n_edges=0))
    page = Page(write_report(run_dir).read_text())
    assert "figure-server" not in page.figures
    assert "waits" in page.figures["figure-queues"]["caption"]


def test_a_run_without_metrics_says_so(run_dir):
    (run_dir / "metrics.jsonl").unlink()
    page = Page(write_report(run_dir).read_text())
    assert "figure-learning" not in page.figures
    assert "No metrics were recorded." in " ".join(page.text)


def test_a_run_without_scored_checkpoints_shows_the_exploring_policy(run_dir):
    rows = [{"kind": "train", "step": k, "fractional/measured_ratio": 2.0, "fractional/ratio": 3.0} for k in (1, 2)]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = Page(write_report(run_dir).read_text())
    assert "exploring policy" in page.figures["figure-learning"]["caption"]
    assert "from 3 to 3 s" in page.figures["figure-ratio"]["alt"]


def test_an_unevaluated_run_is_told_what_to_do(run_dir):
    (run_dir / FILE_NAME).unlink()
    with pytest.raises(CheckpointError, match="edgewise evaluate"):
        write_report(run_dir)
    assert not (run_dir / "report.html").exists()


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 2}', "nan"])
def test_a_damaged_evaluation_is_one_clear_error(run_dir, damage):
    (run_dir / FILE_NAME).write_text(damage)
    with pytest.raises(CheckpointError, match=r"evaluation\.json"):
        write_report(run_dir)


def test_evaluations_survive_the_file(run_dir, evaluation):
    assert results.read(run_dir) == evaluation
    assert "NaN" not in (run_dir / FILE_NAME).read_text()
    stored = json.loads((run_dir / FILE_NAME).read_text())
    assert stored["first_seed"] == 2**63 + 7  # exact, beyond the range of a double


def test_numbers_are_printed_with_care():
    assert [seconds(v) for v in (None, 0.0, 0.46651, 1.90120, 12.3456)] == ["–", "0.0000", "0.4665", "1.901", "12.35"]
    assert [signed(v) for v in (None, 0.0012, -0.5)] == ["–", "+0.12 %", "−50.0 %"]
    one = Estimate(estimate=1.0, low=None, high=None, confidence=0.95, n=1)
    assert interval(one) == ""
    assert interval(one.model_copy(update={"low": -0.01, "high": 0.02}), relative=True) == "[−1.00, +2.00] %"


def test_a_game_shows_both_horizons_and_what_deviating_brings(game_dir):
    page = Page(write_report(game_dir).read_text())
    expected = {
        "plane",
        "deviations",
        "gains",
        "learning",
        "wait",
        "queue-wait",
        "server",
        "shares",
        "devices",
        "seeds",
    }
    assert set(page.figures) == {f"figure-{name}" for name in (*expected, "sawtooth", "queues")}
    for name, figure in page.figures.items():
        assert figure["svg"] == 1, name
        assert figure["marks"] >= 5, name
        assert len(figure["alt"]) > 30, name
        assert len(figure["caption"]) > 30, name
    for name in ("plane", "deviations", "gains"):
        assert "authors:1.5" in page.figures[f"figure-{name}"]["caption"], name
    text = " ".join(" ".join(page.text).split())
    for words in ("20000 s", "episodes of 300 s", "cooperative optimum", "30.0 %", "at most 33.0 %", "worst device"):
        assert words in text, words
    assert "Nash check" in text
    assert str(2**63 + 2**17) in text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_a_game_without_a_check_says_how_to_do_it(tmp_path, build_game, game_run):
    path = game_run(tmp_path / "unchecked", build_game(gain=None))
    page = Page(write_report(path).read_text())
    assert "figure-plane" not in page.figures
    assert "--exploitability" in " ".join(page.text)


@pytest.mark.parametrize(
    ("objective", "age", "gain", "tone", "words"),
    [
        ("team", 1.0, 0.3, "good", "below the cooperative optimum of the fixed waits"),
        ("team", 1.2, None, "plain", "above the cooperative optimum of the fixed waits"),
        ("team", 1.9, 0.3, "bad", "above the equilibrium"),
        ("selfish", 1.7, 0.02, "good", "Near an equilibrium"),
        ("selfish", 1.0, 0.3, "bad", "Not an equilibrium"),
        ("selfish", 1.0, None, "plain", "not measured"),
    ],
)
def test_a_team_is_judged_by_its_age_and_selfish_devices_by_their_gains(build_game, objective, age, gain, tone, words):
    found = verdict(build_game(objective, age, gain))
    assert found["tone"] == tone
    assert words in found["text"]
    assert ("95 % interval up to" in found["text"]) is (gain is not None)


def test_evaluations_of_games_survive_the_file(tmp_path, build_game, game_run):
    evaluation = build_game()
    path = game_run(tmp_path / "kept", evaluation)
    assert results.read(path) == evaluation
    assert evaluation.age == evaluation.learner.stretch.mean_age.estimate
    assert evaluation.baseline("JSQ, zero wait").against.estimate == pytest.approx(1.02 / 1.75 - 1, abs=0.01)
