"""The report of a backtest: one well-formed file that asks nothing of anybody, whatever a symbol is called."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from pairscope.research.backtest_html import report_html
from pairscope.research.backtest_request import BacktestRequest
from pairscope.research.judged_backtest import judge_backtest
from pairscope.research.pair_bars import pair_bars_from_closes
from pairscope.research.sweep import sweep_request

ODD = "\"><SCRIPT SRC='//X.EXAMPLE/A.JS'>&AMP;"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Reads a page: its tags, each closed by its own, its attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def bars() -> Any:
    """Four days of minutes of a pair whose spread comes back."""
    rng = np.random.default_rng(3)
    size = 4 * 1440
    x = np.cumsum(rng.standard_normal(size)) * 1e-4
    spread = np.zeros(size)
    for t in range(1, size):
        spread[t] = 0.95 * spread[t - 1] + 1e-3 * rng.standard_normal()
    times = 1_741_219_200_000_000_000 + 60_000_000_000 * np.arange(size)
    return pair_bars_from_closes(times, 50 * np.exp(x + spread), 20 * np.exp(x), timeframe="1m", source="synthetic")


def request(**change: Any) -> BacktestRequest:
    fields: dict[str, Any] = {"y": "YUSDT", "x": "XUSDT", "lookback": 240, "window": 60, **change}
    return BacktestRequest(**fields).checked()


def document(bars: Any, **change: Any) -> dict[str, Any]:
    judged = judge_backtest(request(**change), bars, nulls=0).document()
    return {"kind": "backtest", "source": "synthetic", "gaps": 0, **judged}


@pytest.fixture(scope="module")
def single(bars: Any) -> dict[str, Any]:
    return document(bars)


@pytest.fixture(scope="module")
def swept(bars: Any, single: dict[str, Any]) -> dict[str, Any]:
    grid = {"entry": [1.5, 2.0, 2.5], "exit": [0.0, 0.5], "stop": [None, 4.0]}
    table = sweep_request(request(), grid, bars)
    values = {name: list(several) for name, several in table.grid.items()}
    return {
        "kind": "sweep", "source": "file a.csv", "request": request().document() | values, "grid": values,
        "rows": table.rows(), "best": table.best(), "best_run": single, "deflated_sharpe": table.deflated_sharpe,
        "pbo": table.pbo, "skipped": 0, "trials": len(table),
    }  # fmt: skip


def test_the_page_says_verdict_figures_source_assumptions_and_parameters(single: dict[str, Any]) -> None:
    page = Page(report_html(single))
    assert page.open == []
    assert page.words.index(single["verdict"]["title"]) < page.words.index("Sharpe, a year")
    for said in (
        "Backtest: YUSDT on XUSDT", "These prices are made: nothing here says anything about a real market",
        *single["verdict"]["sentences"], "max holding", f"{single['metrics']['trades']:,}",
        single["assumptions"]["fill"], "Newest first.", "What was asked for", "240",
    ):  # fmt: skip
        assert said in page.words, said
    assert page.tags.count("tr") > len(single["trades"])
    assert {"equity, in quote", "drawdown, %", "z-score", "spread"} <= set(page.text)


def test_every_trade_is_marked_where_it_was_decided(single: dict[str, Any]) -> None:
    page = report_html(single)
    assert page.count('class="mark"') == 2 * len(single["trades"])
    said = Page(page).words
    times = single["equity"]["timestamp"]
    for trade in single["trades"][:3]:
        assert f"z {trade['entry_zscore']:+.2f}" in said
        # Filled at the bar after the one that decided.
        decided = (trade["entry_timestamp"] - 60_000 - times[0]) / (times[-1] - times[0])
        sign = "L5 4H-5Z" if trade["side"] == "long" else "L5-4H-5Z"
        assert re.search(rf'class="mark" x="{decided:.2%}"[^<]*><path[^>]*{sign}', page)


def test_nothing_in_the_page_reaches_outside_or_runs(single: dict[str, Any], swept: dict[str, Any]) -> None:
    for told in (single, swept):
        text = report_html(told)
        page = Page(text)
        assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href", "action"}]
        assert not re.search(r"https?:|//[a-z]|url\(|@import", text.replace("<!doctype html>", ""))


def test_a_symbol_of_any_name_is_written_as_it_is_and_nothing_more(bars: Any, swept: dict[str, Any]) -> None:
    plain, odd = Page(report_html(document(bars))), Page(report_html(document(bars, y=ODD)))
    assert odd.tags == plain.tags
    assert ODD in odd.words
    told = {**swept, "request": {**swept["request"], "y": ODD}, "source": f"file {ODD}.csv", "grid": swept["grid"]}
    page = Page(report_html(told))
    assert "script" not in page.tags and f"the file {ODD}.csv" in page.words


def test_both_lights_narrow_screens_and_paper_have_their_looks(single: dict[str, Any]) -> None:
    text = report_html(single)
    assert "prefers-color-scheme: dark" in text and "@media print" in text and "max-width: 600px" in text
    assert 'name="viewport" content="width=device-width' in text


def test_a_sweep_shows_its_verdict_a_map_of_each_two_parameters_and_the_best_rule(swept: dict[str, Any]) -> None:
    page = Page(report_html(swept))
    assert page.open == []
    for said in (
        "Parameter sweep: YUSDT on XUSDT", "12 combinations of entry, exit, stop were tried.",
        "Probability of backtest overfitting", "Sharpe over entry and exit, the best of the others",
        "Sharpe over exit and stop", "The best combination on its own", "Equity and drawdown", "none",
    ):  # fmt: skip
        assert said in page.words, said
    assert report_html(swept).count(' best"') == 2


def test_a_run_that_never_traded_has_a_page_too(bars: Any) -> None:
    page = Page(report_html(document(bars, entry=90.0)))
    assert page.open == [] and "No trade." in page.words


def test_a_walk_forward_shows_what_was_earned_out_of_sample_and_the_folds(single: dict[str, Any]) -> None:
    times = single["equity"]["timestamp"]
    fold = {
        "test_start": times[100], "test_end": times[200], "entry": 2.0, "in_sample": single["metrics"],
        "out_of_sample": {"sharpe": None, "total_return": -0.5},
    }  # fmt: skip
    told = {**single, "kind": "walk_forward", "grid": {"entry": [1.5, 2.0]}, "folds": [fold]}
    page = Page(report_html(told))
    assert page.open == []
    assert "Walk-forward: YUSDT on XUSDT" in page.words and "-50.00 %" in page.words


def test_years_of_minutes_make_a_page_of_a_size_to_be_mailed() -> None:
    rng = np.random.default_rng(4)
    size = 300_000
    x = np.cumsum(rng.standard_normal(size)) * 1e-4
    times = 1_741_219_200_000_000_000 + 60_000_000_000 * np.arange(size)
    bars = pair_bars_from_closes(times, np.exp(x + 1e-3 * rng.standard_normal(size)), np.exp(x), timeframe="1m")
    made = document(bars, method="fixed", beta=1.0, fee_bps=(0.0, 0.0), slippage_bps=(0.0, 0.0))
    assert made["metrics"]["trades"] > 5_000
    page = report_html(made)
    assert len(page) < 1_000_000
    assert "How many of the" in page and "By month (UTC)" in page
