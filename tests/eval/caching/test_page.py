"""The report of model caching: self-contained, complete, every figure described."""

import re
from pathlib import Path

import numpy as np
import pytest

from edgewise.envs.model_caching import parallel_env
from edgewise.eval.caching.results import CachingEvaluation
from edgewise.eval.caching.terminal import print_evaluation
from edgewise.eval.report import write_report
from edgewise.train.run_folder import load_policy

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
FIGURES = {"cache", "demand", "terms", "parts", "accuracy", "learning", "clocks", "bids", "trades"}


@pytest.fixture(scope="module")
def page(evaluation: CachingEvaluation, runs: dict[str, Path]) -> str:
    return write_report(runs["t2drl"]).read_text()


def test_every_figure_is_drawn_and_described(page: str) -> None:
    assert set(re.findall(r'<figure id="figure-(\w+)"', page)) == FIGURES
    labels = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', page)
    assert len(labels) == len(FIGURES)
    assert all(len(label) > 30 for label in labels)
    assert page.count("<path") > 100
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_nothing_points_outside_the_file(page: str) -> None:
    assert "://" not in page
    assert not re.findall(r"<(script|img|iframe|form|object)\b", page)
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', page) if target != "data:,")
    assert "#0" not in "".join(re.findall(r"(?:fill|stroke): (#\w{6})", page))  # colours are the page's


def test_loads_and_evictions_are_marked(page: str, evaluation: CachingEvaluation) -> None:
    cache = evaluation.episode.cache
    pairs = list(zip([[0] * len(cache[0]), *cache[:-1]], cache, strict=True))
    loads = sum(now > before for old, new in pairs for before, now in zip(old, new, strict=True))
    evictions = sum(now < before for old, new in pairs for before, now in zip(old, new, strict=True))
    assert f"{loads} loads, {evictions} evictions" in page
    drawing = page[page.index('id="figure-cache"') : page.index('id="figure-demand"')]
    assert len(re.findall(r"<use ", drawing)) >= loads + evictions


def test_the_markets_record_is_what_several_servers_trade(evaluation: CachingEvaluation, runs: dict[str, Path]) -> None:
    market = evaluation.market
    assert market is not None
    policy, config = load_policy(runs["t2drl"])
    env = parallel_env(market.servers, params=config.env.params(), horizon=evaluation.horizon, market=True)
    observations, _ = env.reset(seed=evaluation.first_seed)
    trades, surplus = [], 0.0
    policy.reset()
    while env.agents:
        actions = policy.act(np.stack(list(observations.values())))
        each = {agent: {k: v[n] for k, v in actions.items()} for n, agent in enumerate(env.agents)}
        observations, _, _, _, infos = env.step(each)
        trades.append(sum(info["sold"] for info in infos.values()))
        surplus += next(iter(infos.values()))["surplus"]
    assert trades == market.trades
    assert surplus == pytest.approx(market.surplus)
    auction = market.auction
    assert trades[market.slot] == max(trades) == auction.traded > 0
    best = sorted(auction.bids)[::-1][auction.traded - 1], sorted(auction.asks)[auction.traded - 1]
    assert best[0] >= auction.paid >= auction.received >= best[1]  # winners gain, and the auctioneer loses nothing


def test_the_table_shows_every_policy(page: str, evaluation: CachingEvaluation) -> None:
    comparison = page[page.index('id="comparison"') : page.index('id="control"')]
    for row in evaluation.rows:
        assert f"{row.cost.estimate:.2f}" in comparison
        assert row.label in comparison
    assert "Without drift" in page


def test_the_terminal_says_the_same(evaluation: CachingEvaluation, capsys: pytest.CaptureFixture[str]) -> None:
    rich_console = pytest.importorskip("rich.console")
    console = rich_console.Console(width=160, force_terminal=False)
    print_evaluation(evaluation, console)
    out = capsys.readouterr().out
    for row in [*evaluation.rows, *evaluation.control]:
        assert row.label in out
        assert f"{row.cost.estimate:.2f}" in out
    assert "ms per decision" in out
