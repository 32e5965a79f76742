"""The Alerts tab without a browser: what the form asks for, what it says of a refusal, and what it asks of a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pairscope.dashboard.alert_choice import AlertChoice, ConditionChoice, changes, conditions_of
from pairscope.dashboard.alert_kinds import CONDITIONS, FREQUENCIES, KINDS, frequencies_of
from pairscope.market.alert_rules import AlertRule
from pairscope.market.alert_terms import FREQUENCIES as KNOWN_FREQUENCIES
from pairscope.market.alert_terms import TYPES
from pairscope.market.alert_terms import conditions_of as conditions_that_fit

from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]
TAB = "Alerts & Monitoring"


def opened(page: Page) -> AppTest:
    app = page(tab=TAB).run()
    assert not app.exception
    return app


def fields(app: AppTest) -> set[str]:
    """Return the labels of the fields that are shown."""
    found = [*app.selectbox, *app.number_input, *app.text_input, *app.text_area, *app.toggle]
    return {field.label for field in found}


def labelled(elements: Any, label: str) -> Any:
    return next(element for element in elements if element.label == label)


def pick(app: AppTest, label: str, value: str) -> None:
    labelled(app.selectbox, label).set_value(value).run()
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    labelled(app.button, label).click().run()
    assert not app.exception


def told(app: AppTest, view: str) -> dict[str, Any]:
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next(data for data in found if data["module"].endswith(f"/{view}.js"))


def said(app: AppTest) -> str:
    found = [*app.caption, *app.markdown, *app.warning, *app.success, *app.info]
    return "\n".join(element.value for element in found)


def test_every_type_and_condition_of_the_rules_is_in_the_form_and_makes_a_rule() -> None:
    assert set(KINDS) == set(TYPES)
    assert set(FREQUENCIES) == set(KNOWN_FREQUENCIES)
    for name, kind in KINDS.items():
        assert set(kind.conditions) <= set(conditions_that_fit(name))
        for condition in kind.conditions:
            subject = {"symbol": "BTCUSDT"} if kind.subject == "symbol" else {"y": "ETHUSDT", "x": "BTCUSDT"}
            part = ConditionChoice(name, condition=condition, threshold=1.5, lower=1.0, upper=2.0, **subject)
            for frequency in frequencies_of([name]):
                body = AlertChoice((part,), frequency=frequency, note="why").body()
                body.pop("note")
                rule = AlertRule.from_document("a", body)
                assert rule.frequency == frequency
                kept = ConditionChoice.body(conditions_of(rule.document())[0], frequency)
                assert kept == part.body(frequency), (name, condition)


def test_all_conditions_that_exist_have_words() -> None:
    assert {condition for name in TYPES for condition in conditions_that_fit(name)} == set(CONDITIONS)


def test_the_form_stands_open_with_the_busiest_symbol_and_its_price(page: Page) -> None:
    app = opened(page)
    assert {"Type", "Symbol", "Condition", "Threshold", "Deliver to", "Note"} <= fields(app)
    assert "Window (bars)" not in fields(app)
    assert labelled(app.number_input, "Threshold").value > 0
    assert labelled(app.button, "Create alert")


def test_a_form_is_filled_again_for_a_browser_that_comes_back_before_it_has_let_go_of_the_fields(page: Page) -> None:
    """Its last message tells of them still; then it makes them anew, empty, and has to be told what they hold."""
    app = opened(page)
    labelled(app.text_input, "Note").set_value("for later").run()
    assert not labelled(app.text_input, "Note").proto.set_value  # what is being typed is not overwritten
    told_last = app._tree.get_widget_states()
    for tab in ("Data Management", TAB):
        app.query_params["tab"] = tab
        app.session_state["tab"] = tab
        app._run(told_last)
        assert ("Note" in fields(app)) == (tab == TAB)
    note = labelled(app.text_input, "Note")
    assert (note.proto.set_value, note.proto.value, note.value) == (True, "for later", "for later")
    labelled(app.text_input, "Message").set_value("{symbol}").run()
    assert not labelled(app.text_input, "Note").proto.set_value


def test_only_what_applies_to_a_type_is_shown(page: Page) -> None:
    app = opened(page)
    pick(app, "Type", "zscore")
    shown = fields(app)
    assert {"Y (what you buy when the spread is low)", "X (its hedge)", "Window (bars)", "Timeframe"} <= shown
    assert "Symbol" not in shown
    pick(app, "Condition", "enters")
    assert {"Lower", "Upper"} <= fields(app)
    assert "Threshold" not in fields(app)
    pick(app, "Type", "cointegration")
    assert not {"Threshold", "Lower", "Timeframe", "Hysteresis"} & fields(app)
    pick(app, "Type", "staleness")
    assert {"Symbol", "Threshold"} <= fields(app)
    assert "Timeframe" not in fields(app)
    pick(app, "How often", "once_per_bar")
    assert "Timeframe" in fields(app)


def test_what_is_entered_is_what_is_asked_for_in_the_units_of_the_api(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    pick(app, "Type", "price_change")
    pick(app, "Symbol", "SOLUSDT")
    pick(app, "Condition", "crosses_below")
    labelled(app.number_input, "Threshold").set_value(-1.2).run()
    labelled(app.number_input, "Window (bars)").set_value(15).run()
    labelled(app.number_input, "Hysteresis (%)").set_value(0.3).run()
    labelled(app.text_input, "Note").set_value("a fall").run()
    press(app, "Create alert")
    assert market.alerts.asked == [
        (
            "create",
            {
                "type": "price_change", "symbol": "SOLUSDT", "condition": "crosses_below", "threshold": -0.012,
                "timeframe": "1m", "window": 15, "hysteresis": 0.003, "frequency": "every", "cooldown_s": 60,
                "note": "a fall",
            },
        )
    ]  # fmt: skip
    assert "Alert created." in said(app)


def test_targets_are_sent_line_by_line_and_what_came_of_their_test_messages_is_said(
    page: Page, market: ScriptedMarket
) -> None:
    app = opened(page)
    text = "  https://good.example/hook \n\nhttps://bad.example/hook\n"
    labelled(app.text_area, "Deliver to").set_value(text).run()
    press(app, "Create alert")
    assert market.alerts.asked[0][1]["notify"] == ["https://good.example/hook", "https://bad.example/hook"]
    assert "not every target took its test message" in said(app)
    assert "no answer" in said(app)
    assert not any("notify" in body or "note" in body for body in market.alerts.previewed)


def test_a_refused_field_is_told_beside_it_in_the_words_of_the_api(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    labelled(app.text_area, "Deliver to").set_value("http://127.0.0.1/hook").run()
    press(app, "Create alert")
    refused = [caption.value for caption in app.caption if "private address" in caption.value]
    assert refused == [":red[▲ A target on a private address is not allowed.]"]
    assert not market.alerts.rules
    labelled(app.text_area, "Deliver to").set_value("").run()
    assert "private address" not in said(app)


def test_a_band_that_is_none_is_refused_before_the_button_is_pressed(page: Page) -> None:
    app = opened(page)
    pick(app, "Type", "zscore")
    pick(app, "Condition", "leaves")
    labelled(app.number_input, "Lower").set_value(3.0).run()
    assert ":red[▲ Must be below upper.]" in said(app)


def test_an_empty_threshold_asks_for_one_and_the_api_refuses_it(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    labelled(app.number_input, "Threshold").set_value(None).run()
    assert "Fill in the threshold" in said(app)
    press(app, "Create alert")
    assert "threshold" not in market.alerts.asked[0][1]
    assert ":red[▲ A number is needed.]" in said(app)


def test_the_preview_says_where_it_stands_and_how_often_it_would_have_fired(page: Page, market: ScriptedMarket) -> None:
    market.alerts.fired = 7
    app = opened(page)
    pick(app, "Type", "volatility")
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Now"] == "42.0 % a year"
    assert figures["Until it fires"] == "58.0 % a year"
    assert figures["Would have fired in 24 h"] == "7 times"
    assert "one-minute bars" in said(app)
    assert market.alerts.previewed[-1]["threshold"] == 1.0


def test_a_volume_is_in_units_of_the_symbol_or_in_times_the_usual(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    pick(app, "Type", "volume")
    assert "In BTC." in said(app)
    labelled(app.number_input, "Against the usual of (bars)").set_value(60).run()
    assert "In times the usual." in said(app)
    assert labelled(app.number_input, "Threshold").value == 3.0
    press(app, "Create alert")
    _, body = market.alerts.asked[0]
    assert (body["threshold"], body["window"], body["baseline"]) == (3.0, 1, 60)


def test_a_pair_is_found_by_one_of_the_continuous_screens(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    pick(app, "Type", "cointegration")
    pick(app, "Screen", "5m:2016")
    labelled(app.toggle, "Any pair of the market").set_value(True).run()
    press(app, "Create alert")
    _, body = market.alerts.asked[0]
    assert body == {
        "type": "cointegration", "condition": "found", "timeframe": "5m", "lookback": 2016, "frequency": "every",
        "cooldown_s": 60,
    }  # fmt: skip


def test_two_conditions_are_joined_and_refused_each_at_its_place(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    press(app, "Add a condition")
    pick(app, "Type (2)", "volatility")
    pick(app, "Joined by", "or")
    press(app, "Create alert")
    _, body = market.alerts.asked[0]
    assert body["join"] == "or"
    assert [part["type"] for part in body["conditions"]] == ["price", "volatility"]
    assert "type" not in body
    labelled(app.number_input, "Threshold (2)").set_value(None).run()
    press(app, "Create alert")
    assert ":red[▲ A number is needed.]" in said(app)
    press(app, "Remove the last")
    assert "Type (2)" not in fields(app)


def test_an_api_without_an_answer_leaves_the_form_and_says_so_once(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    market.down = True
    labelled(app.text_input, "Note").set_value("while it is away").run()
    assert not app.exception
    assert labelled(app.text_input, "Note").value == "while it is away"
    press(app, "Create alert")
    assert "does not answer" in said(app)
    assert not market.alerts.rules


def test_the_views_get_the_words_of_every_type(page: Page) -> None:
    app = opened(page)
    assert set(told(app, "alert_table")["kinds"]) == set(TYPES)
    assert set(told(app, "alert_feed")["kinds"]) == set(TYPES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"threshold": 5.0}, {"threshold": 6.0}),
        ({"threshold": 5.0}, {"condition": "enters", "lower": 4.0, "upper": 5.0}),
        ({"threshold": 5.0}, {"type": "zscore", "symbol": "", "y": "ETHUSDT", "x": "BTCUSDT", "threshold": 2.0}),
        ({"type": "volume", "threshold": 2.0, "baseline": 30}, {"type": "volume", "threshold": 2.0}),
    ],
)
def test_a_change_of_the_form_makes_of_the_rule_what_the_form_shows(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    one = AlertChoice((ConditionChoice(**{"symbol": "BTCUSDT", **before}),))
    other = AlertChoice((ConditionChoice(**{"symbol": "BTCUSDT", **after}),), cooldown_s=5)
    rule = AlertRule.from_document("a", one.body())
    asked = changes(one.body(), other.body())
    assert rule.changed(asked).document() == AlertRule.from_document("a", other.body()).document()
    several = AlertChoice((other.conditions[0], one.conditions[0]), join="or")
    more = rule.changed(changes(one.body(), several.body()))
    assert more.document() == AlertRule.from_document("a", several.body()).document()
    fewer = more.changed(changes(several.body(), other.body()))
    assert fewer.document() == AlertRule.from_document("a", other.body()).document()


def test_a_note_alone_is_changed_alone() -> None:
    part = ConditionChoice("price", "BTCUSDT", threshold=5.0)
    assert changes(AlertChoice((part,), note="a").body(), AlertChoice((part,)).body()) == {"note": None}
