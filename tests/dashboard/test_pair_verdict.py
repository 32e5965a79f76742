"""A pair's numbers in words: what is claimed, what is not, and what is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from pairscope.dashboard.pair_tables import hedge_rows, measure_rows
from pairscope.dashboard.pair_tables import test_rows as rows_of_tests
from pairscope.dashboard.pair_verdict import verdict_of

TEST = {"statistic": -4.2, "pvalue": 0.003, "lags": 2, "critical_values": {"1%": -3.9, "5%": -3.3, "10%": -3.0}}


def document(p: tuple[float | None, float | None] = (0.003, 0.008), **changed: Any) -> dict[str, Any]:
    """A report of ETHUSDT against BTCUSDT as the API writes it."""
    ways = dict(zip(("y_on_x", "x_on_y"), ({**TEST, "pvalue": value} for value in p), strict=True))
    return {
        "y": "ETHUSDT",
        "x": "BTCUSDT",
        "timeframe": "1m",
        "price_space": "log",
        "n": 1440,
        "as_of": 1_700_000_040_000,
        "hedge_ratio": {
            "ols": {"alpha": -1.0, "beta": 0.8, "stderr": 0.01, "interval": [0.78, 0.82]},
            "kalman": {"alpha": -1.0, "beta": 0.9, "stderr": 0.1},
            "tls": {"alpha": None, "beta": None, "stderr": None, "reason": "x: is constant"},
        },
        "spread": {
            "zscore": 2.3,
            "half_life": 42.0,
            "half_life_interval": {"low": 30.0, "high": 65.0},
            "hurst": 0.3,
            "variance_ratio": {"ratio": 0.8, "pvalue": 0.01, "lags": [2, 16]},
        },
        "cointegration": {"engle_granger": ways, "johansen": {}},
        "adf": {**TEST, "stationary": True},
        "kpss": {
            "statistic": 0.1,
            "pvalue": 0.1,
            "is_bound": True,
            "lags": 9,
            "critical_values": {},
            "stationary": True,
        },
        "sentinel": {"status": "ok"},
        "reasons": {},
        "warnings": [],
        **changed,
    }


def test_a_pair_that_both_directions_accept_looks_mean_reverting_and_says_how_far_it_strayed() -> None:
    verdict = verdict_of(document())
    assert (verdict.tone, verdict.badge) == ("relation", "● Looks mean-reverting")
    assert verdict.sentence == (
        "Engle-Granger rejects “no cointegration” at 1% in both directions; half-life 42 min (30 min to 65 min); "
        "at the last close the spread was 2.3 deviations above its mean: ETH is rich ▲."
    )


def test_the_weaker_direction_names_the_level() -> None:
    assert "at 5% in both directions" in verdict_of(document((0.001, 0.04))).sentence


def test_both_directions_at_ten_per_cent_are_some_evidence_only() -> None:
    assert verdict_of(document((0.07, 0.09))).tone == "some"


def test_one_direction_alone_is_some_evidence_and_names_it() -> None:
    verdict = verdict_of(document((0.2, 0.01)))
    assert verdict.tone == "some"
    assert "at 1% with BTC explained by ETH, not the other way round (p = 0.200)" in verdict.sentence


def test_a_pair_that_no_test_accepts_is_no_bargain() -> None:
    verdict = verdict_of(document((0.43, 0.51)))
    assert (verdict.tone, verdict.badge) == ("none", "○ No evidence of a relation")
    assert "does not reject “no cointegration” (p = 0.430 and 0.510)" in verdict.sentence
    assert "not a bargain" in verdict.sentence


def test_few_bars_without_evidence_are_too_short_and_not_evidence_of_absence() -> None:
    verdict = verdict_of(document((0.43, 0.51), n=90))
    assert verdict.tone == "short"
    assert "proves little either way" in verdict.sentence


def test_tests_that_could_not_be_made_say_why() -> None:
    bare = document((None, None), reasons={"cointegration.engle_granger.y_on_x": "needs 20 bars, has 12"})
    verdict = verdict_of(bare)
    assert verdict.tone == "short"
    assert "needs 20 bars, has 12" in verdict.sentence


@pytest.mark.parametrize(
    ("z", "words"), [(-2.5, "ETH is cheap ▼"), (0.4, "inside ±2, no entry"), (None, "no z-score yet")]
)
def test_the_z_score_is_told_as_rich_cheap_or_inside(z: float | None, words: str) -> None:
    assert words in verdict_of(document(spread={"zscore": z, "half_life": 9.0})).sentence


def test_the_entry_is_the_traders_own() -> None:
    assert "inside ±3, no entry" in verdict_of(document(), entry=3.0).sentence


def test_a_tripped_sentinel_overrules_every_test_and_names_the_time() -> None:
    verdict = verdict_of(document(sentinel={"status": "broken", "tripped": 1_700_000_000_000}))
    assert (verdict.tone, verdict.badge) == ("broken", "▼ Broken")
    assert "has stopped reverting since 2023-11-14 22:13 UTC: do not treat this as a wide spread" in verdict.sentence


def test_a_spread_that_does_not_come_back_has_no_half_life() -> None:
    assert "no half-life" in verdict_of(document(spread={"zscore": 1.0, "half_life": None})).sentence


def test_an_interval_without_an_end_says_so() -> None:
    open_ended = {"zscore": 1.0, "half_life": 42.0, "half_life_interval": {"low": 30.0, "high": None}}
    assert "half-life 42 min (30 min or more)" in verdict_of(document(spread=open_ended)).sentence


def test_johansen_is_heard_beside_engle_granger() -> None:
    critical = {"10%": 13.4, "5%": 15.5, "1%": 19.9}
    for statistic, words in ((31.0, "and Johansen finds a relation"), (9.0, "but Johansen finds none")):
        report = document()
        report["cointegration"]["johansen"] = {"trace": [{"statistic": statistic, "critical_values": critical}]}
        assert words in verdict_of(report).sentence


def test_the_apis_own_warnings_are_passed_on() -> None:
    assert verdict_of(document(warnings=["BTCUSDT has not traded for 15 min"])).warnings == (
        "BTCUSDT has not traded for 15 min",
    )


def test_an_empty_answer_is_words_too() -> None:
    assert verdict_of({}).tone == "short"
    assert len(rows_of_tests({})) == 6
    assert hedge_rows({}) == []
    assert [row["Value"] for row in measure_rows({})] == ["–", "–", "–"]


def test_each_hedge_ratio_has_its_interval_or_its_reason() -> None:
    ols, kalman, tls = hedge_rows(document())
    assert (ols["Hedge ratio (beta)"], ols["95 % interval"]) == ("0.8", "0.78 to 0.82")
    assert ols["Against 1,000 USDT of ETH"] == "800 USDT of BTC"
    assert kalman["95 % interval"] == "0.704 to 1.096"
    assert (tls["Hedge ratio (beta)"], tls["What it is"]) == ("–", "x: is constant")


def test_a_hedge_ratio_of_prices_is_told_in_units() -> None:
    assert hedge_rows(document(price_space="linear"))[0]["Against 1 of ETH"] == "0.8 BTC"


def test_each_test_has_its_null_its_numbers_and_its_meaning() -> None:
    rows = {row["Test"]: row for row in rows_of_tests(document((0.003, 0.3)))}
    first = rows["Engle-Granger, ETH on BTC"]
    assert first["Null hypothesis"] == "no cointegration"
    assert (first["Statistic"], first["p-value"], first["Lags"]) == ("-4.200", "0.003", "2")
    assert first["Critical 1 / 5 / 10 %"] == "-3.90 / -3.30 / -3.00"
    assert first["What it says"].startswith("rejects at 1%")
    assert rows["Engle-Granger, BTC on ETH"]["What it says"].startswith("does not reject")
    assert rows["KPSS of the spread"]["p-value"] == "≥ 0.100"
    assert rows["Johansen, trace"]["What it says"] == "not computed"


def test_measures_have_units_in_bars_and_minutes() -> None:
    half_life, hurst, ratio = measure_rows(document(timeframe="5m"))
    assert half_life["Value"] == "42 bars = 210 min (3.5 h)"
    assert half_life["95 % interval"] == "30 to 65 bars"
    assert hurst["What it says"].startswith("comes back")
    assert ratio["Value"] == "0.8 over 16 bars"
    assert ratio["What it says"].startswith("reverts")


def test_a_variance_ratio_that_may_be_chance_claims_nothing() -> None:
    report = document(spread={"variance_ratio": {"ratio": 0.97, "pvalue": 0.77, "lags": [2, 16]}})
    assert measure_rows(report)[2]["What it says"].startswith("cannot be told from a random walk")


def test_a_measure_without_an_answer_says_why() -> None:
    report = document(spread={"hurst": None}, reasons={"spread.hurst": "needs 100 bars, has 12"})
    assert measure_rows(report)[1]["What it says"] == "not computed: needs 100 bars, has 12"


def test_a_stale_leg_takes_the_call_to_trade_out_of_the_verdict() -> None:
    said = verdict_of(document(stale=True, spread={"zscore": -2.5, "half_life": 42.0})).sentence
    assert "2.5 deviations below its mean; a leg has not traded since" in said
    assert "cheap" not in said
