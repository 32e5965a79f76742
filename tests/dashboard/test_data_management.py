"""Data Management without a browser: what is asked of the API, what is said of its answers, what is confirmed first."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pairscope.dashboard.data_source import forget_stored

from .scripted_data import FIRST_MS, day
from .scripted_market import ScriptedMarket

Page = Callable[..., AppTest]

GOOD = b"timestamp,open,high,low,close,volume\n" + b"".join(
    f"{FIRST_MS + 60_000 * i},1.5,1.6,1.4,1.55,10\n".encode() for i in range(3)
)
BAD = GOOD + f"{FIRST_MS + 180_000},1.5,1.3,1.4,1.55,10\n".encode()


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Every test begins without the last one's answers."""
    forget_stored()


def opened(page: Page, view: str = "Export and upload", **query: str) -> AppTest:
    app = page(tab="Data Management", data_view=view, **query).run()
    assert not app.exception
    return app


def told(app: AppTest) -> dict[str, Any]:
    """Return what the button that downloads was given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next(data for data in found if data["module"].endswith("/download.js"))


def text_of(app: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*app.markdown, *app.caption, *app.warning, *app.info, *app.success])


def asked(market: ScriptedMarket, what: str) -> list[dict[str, Any]]:
    return [body for name, body in market.data.asked if name == what]


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_figures_tell_what_is_stored_and_how_fast_more_comes(page: Page, market: ScriptedMarket) -> None:
    metrics = {metric.label: metric.value for metric in opened(page).metric}
    assert list(metrics) == ["Trades stored", "Symbols", "Coming in", "On disk", "Missing trades", "Running for"]
    assert metrics["On disk"] == "49.0 MB"  # 40 in the store, 9 in the archive
    assert metrics["Symbols"] == "6"
    assert metrics["Missing trades"] == "0"


# ── export ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_is_estimated_and_its_button_named_by_its_format(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    assert told(app)["label"] == "Download CSV"
    app.multiselect(key="ex_symbols").set_value(["ETHUSDT", "BTCUSDT"]).run()
    app.selectbox(key="ex_rows").set_value("tick").run()
    app.selectbox(key="ex_format").set_value("parquet").run()
    assert told(app)["label"] == "Download Parquet"
    assert told(app)["name"] == "ETHUSDT-BTCUSDT-tick.parquet"
    last = asked(market, "estimate")[-1]
    assert last == {"name": "ETHUSDT,BTCUSDT", "timeframe": "tick", "format": "parquet"}
    assert "**1,440 rows**, about 92.2 kB" in text_of(app)


def test_a_range_that_ends_before_it_begins_offers_no_file(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    app.selectbox(key="ex_range").set_value("From … to …").run()
    first = app.datetime_input(key="ex_from").value
    app.datetime_input(key="ex_to").set_value(first).run()
    assert "ends before it begins" in text_of(app)
    assert not [e for e in app.get("bidi_component") if "download.js" in e.proto.json]


def test_an_export_of_nothing_says_what_to_do(page: Page, market: ScriptedMarket) -> None:
    market.data.rows = 0
    app = opened(page)
    app.selectbox(key="ex_rows").set_value("4h").run()
    assert "Nothing is stored in this range" in text_of(app)


def test_pairs_and_histories_are_exported_too(page: Page, market: ScriptedMarket) -> None:
    app = opened(page)
    app.button_group(key="ex_what").set_value("A pair").run()
    assert not app.exception
    assert told(app)["name"].endswith("-1m.csv")
    app.button_group(key="ex_what").set_value("History").run()
    assert told(app)["name"] == "alerts.csv"


# ── upload ────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_file(app: AppTest, content: bytes, symbol: str = "mycoin") -> AppTest:
    app.text_input(key="up_symbol").set_value(symbol)
    app.file_uploader(key="up_file").set_value(("bars.csv", content, "text/csv"))
    return app.run()


def test_a_good_file_is_previewed_and_stored_only_by_the_button(page: Page, market: ScriptedMarket) -> None:
    app = with_file(opened(page), GOOD)
    assert not app.exception
    assert "3 rows of MYCOIN, 1m: 2023-11-14 22:14 to 22:16 UTC" in text_of(app)
    assert app.table[0].value["Close"].tolist() == ["1.55"] * 3
    assert not market.data.uploads
    app.button(key="upload").click().run()
    assert not app.exception
    assert "Stored: 3 new bars of MYCOIN." in text_of(app)
    assert "**MYCOIN** 1m: 3 bars" in text_of(app)
    assert [body.get("preview") for body in asked(market, "upload")] == ["true", None]


def test_bad_rows_are_named_by_row_and_column_and_nothing_is_stored(page: Page, market: ScriptedMarket) -> None:
    app = with_file(opened(page), BAD)
    assert "1 row cannot be stored. As it is, nothing of the file would be." in text_of(app)
    assert app.table[1].value.iloc[0].to_dict() == {
        "Row": "4", "Column": "high", "What is wrong": "1.3 is below low",
    }  # fmt: skip
    app.button(key="upload").click().run()
    assert "Nothing was stored" in app.error[0].value
    assert not market.data.uploads


def test_the_good_rows_alone_are_stored_where_a_person_says_so(page: Page, market: ScriptedMarket) -> None:
    app = with_file(opened(page), BAD)
    app.checkbox(key="up_partial").check().run()
    app.button(key="upload").click().run()
    assert "Stored: 3 new bars of MYCOIN, 1 left out." in text_of(app)
    assert market.data.uploads["MYCOIN", "1m"]["rows"] == 3


def test_what_is_wrong_with_the_whole_file_is_said_once(page: Page, market: ScriptedMarket) -> None:
    app = with_file(opened(page), GOOD, symbol="")
    assert [warning.value for warning in app.warning] == [
        "Symbol: is missing: name it, or give the file a column symbol."
    ]


def test_uploaded_bars_are_deleted_after_a_question(page: Page, market: ScriptedMarket) -> None:
    market.data.upload("MYCOIN")
    app = opened(page)
    app.button(key="remove-MYCOIN-1m").click().run()
    assert "This cannot be undone" in text_of(app)
    assert market.data.uploads
    app.button(key="remove-upload").click().run()
    assert asked(market, "remove") == [{"symbol": "MYCOIN", "timeframe": "1m"}]
    assert "No bars were uploaded yet" in text_of(app)


# ── back-fill ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_back_fill_is_started_watched_and_cancelled(page: Page, market: ScriptedMarket) -> None:
    app = opened(page, "Back-fill")
    assert app.button(key="backfill").disabled
    app.multiselect(key="bf_symbols").set_value(["BTCUSDT", "ETHUSDT"]).run()
    app.button(key="backfill").click().run()
    (body,) = asked(market, "backfill")
    assert body["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert body["kind"] == "bars"
    assert body["since"] % 86_400_000 == 0
    job = market.data.jobs[0]
    job |= {"done": 50, "total": 200}
    forget_stored()
    app.run()
    assert [bar.proto.value for bar in app.get("progress")] == [25]
    app.button(key=f"cancel-data-{job['id']}").click().run()
    assert job["status"] == "cancelled"
    forget_stored()
    app.run()
    assert "cancelled. What was done until then stays" in text_of(app)


def test_what_a_back_fill_came_to_is_told_in_words(page: Page, market: ScriptedMarket) -> None:
    job = market.data.begin("backfill", "x", {"kind": "bars", "symbols": ["BTCUSDT"], "stored": 1440, "failed": {}})
    market.data.end(job)
    market.data.end(market.data.begin("exchange", "y"), "failed", "the zip file is damaged")
    text = text_of(opened(page, "Back-fill"))
    assert "BTCUSDT: 1,440 bars stored." in text
    assert "the zip file is damaged" in text


def test_a_refused_back_fill_says_why(page: Page, market: ScriptedMarket) -> None:
    market.data.refusal = "lies in the future"
    app = opened(page, "Back-fill")
    app.multiselect(key="bf_symbols").set_value(["BTCUSDT"]).run()
    app.button(key="backfill").click().run()
    assert "Not started: Since: lies in the future." in text_of(app)


# ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whole_data_are_said_to_be_whole(page: Page, market: ScriptedMarket) -> None:
    assert "No trade is missing in the last 14 days" in text_of(opened(page, "Gaps"))


def test_the_calendar_shows_lost_days_in_colour_and_text(page: Page, market: ScriptedMarket) -> None:
    market.data.lose("BTCUSDT", 2)
    market.data.lose("ETHUSDT", 1, status="repaired")
    app = opened(page, "Gaps")
    assert "**120 trades** are missing in the last 14 days, of BTCUSDT, on 1 day" in text_of(app)
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["data"][0]["y"] == ["BTCUSDT", "ETHUSDT"]
    row = dict(zip(figure["data"][0]["x"], figure["data"][0]["text"][0], strict=True))
    assert {date: text for date, text in row.items() if text} == {day(2): "✗ 120"}
    assert app.dataframe[0].value["State"].tolist() == ["✗ Lost", "↻ Repaired"]


# ── store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_store_tells_where_everything_lies(page: Page, market: ScriptedMarket) -> None:
    app = opened(page, "Store")
    text = text_of(app)
    assert "**40.0 MB** in the store (`/data/pairscope.duckdb`), 80.0 GB free" in text
    assert "after 3 days they move to the archive" in text
    table = app.dataframe[0].value
    assert table["Symbol"].tolist() == ["BTCUSDT", "ETHUSDT"]
    assert table["Size"].tolist() == [45_000_000, 15_000_000]
    assert table["Lies in"].tolist() == ["store and archive"] * 2


def test_archiving_is_looked_at_before_it_is_done(page: Page, market: ScriptedMarket) -> None:
    app = opened(page, "Store")
    app.button(key="archive-try").click().run()
    assert f"3 days ({day(2)} to {day(0)}) of BTCUSDT and ETHUSDT: 12,000 trades" in text_of(app).replace("\\", "")
    assert asked(market, "archive") == [{"older_than_days": 3, "dry_run": True}]
    app.button(key="archive-do").click().run()
    assert asked(market, "archive")[-1] == {"older_than_days": 3, "dry_run": False}
    assert [job["kind"] for job in market.data.jobs] == ["archive"]


def test_deleting_asks_for_a_yes_that_says_what_goes_and_that_it_is_gone(page: Page, market: ScriptedMarket) -> None:
    app = opened(page, "Store")
    assert app.button(key="retention-try").disabled
    app.number_input(key="keep_days").set_value(4).run()
    app.button(key="retention-try").click().run()
    app.button(key="retention-do").click().run()
    text = text_of(app).replace("\\", "")
    assert f"This will be deleted: 1 day ({day(4)}) of BTCUSDT and ETHUSDT: 10,000 trades" in text
    assert "It cannot be undone." in text
    assert app.button(key="retention-yes").disabled
    assert not market.data.jobs
    app.checkbox(key="retention-sure").check().run()
    app.button(key="retention-yes").click().run()
    assert asked(market, "retention")[-1] == {"days": 4, "gb": 0, "dry_run": False}
    assert [job["kind"] for job in market.data.jobs] == ["retention"]


def test_other_settings_than_were_looked_at_delete_nothing(page: Page, market: ScriptedMarket) -> None:
    app = opened(page, "Store")
    app.number_input(key="keep_days").set_value(4).run()
    app.button(key="retention-try").click().run()
    app.number_input(key="keep_days").set_value(1).run()
    assert not [button for button in app.button if button.key == "retention-do"]


def test_the_findings_of_a_check_are_listed_with_what_they_mean(page: Page, market: ScriptedMarket) -> None:
    finding = {"symbol": "BTCUSDT", "date": "2024-01-01", "kind": "bar", "detail": "high differs", "repaired": False}
    finding |= {"means": "charts of that day are wrong", "repair": "made anew from trades"}
    result = {"ok": False, "found": 1, "left": 1, "checked": {"bars": 60}, "findings": [finding]}
    market.data.end(market.data.begin("check", "check", result))
    app = opened(page, "Store")
    assert "1 finding, 1 of them left as it is; 60 bars were looked at." in text_of(app)
    assert app.table[-1].value.iloc[0].tolist() == [
        "BTCUSDT 2024-01-01", "high differs", "charts of that day are wrong", "made anew from trades",
    ]  # fmt: skip


# ── trouble ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("view", ["Export and upload", "Back-fill", "Gaps", "Store"])
def test_an_api_that_is_away_gets_one_warning_and_the_last_figures_stay(
    page: Page, market: ScriptedMarket, view: str
) -> None:
    market.data.lose("BTCUSDT", 2)
    app = opened(page, view)
    before = [metric.label for metric in app.metric]
    tables = len(app.dataframe)
    market.down = True
    forget_stored()
    app.run()
    assert not app.exception
    assert len(app.warning) == 1
    assert [metric.label for metric in app.metric] == before
    assert len(app.dataframe) == tables
