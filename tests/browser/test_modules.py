"""The rules inside the scripts: joining bars, telling decimals, writing numbers, one socket that comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pairscope.dashboard.live_chart.assets import LIBRARY, PREFIX, VERSION

from .conftest import Watched

pytestmark = pytest.mark.browser

Script = Callable[[str, str], Any]


@pytest.fixture
def script(watched: Watched) -> Script:
    """Run JavaScript with one of our modules as `m`."""
    watched.page.goto(f"{watched.home}/_stcore/health")

    def run(module: str, body: str) -> Any:
        address = f"/{PREFIX}/{VERSION}/{module}.js"
        return watched.page.evaluate(f"async () => {{ const m = await import('{address}'); {body} }}")

    return run


BAR = "const bar = (timestamp, trades, more) => ({timestamp, trades, closed: false, open: 1, close: 1, ...more});"


def test_history_and_live_bars_join_by_time(script: Script) -> None:
    found = script(
        "bars",
        BAR
        + """
        const bars = new m.Bars();
        const said = [];
        bars.merge([bar(1000, 5, {closed: true}), bar(3000, 2)]);
        said.push(bars.apply(bar(3000, 4)));                    // the open bar moved on
        said.push(bars.apply(bar(3000, 3)));                    // an older state of it came late
        said.push(bars.apply(bar(5000, 1)));                    // the next one began
        said.push(bars.apply(bar(3000, 4, {closed: true})));    // the one before was closed
        said.push(bars.apply(bar(3000, 9)));                    // never open again
        said.push(bars.apply(bar(1000, 1, {closed: true, revised: true})));  // a correction, with fewer trades
        said.push(bars.apply(bar(2000, 1, {closed: true})));    // one that was not known
        const before = bars.merge([bar(-1000, 1), bar(0, 1), bar(1000, 7, {closed: true})]);
        return [said, before, bars.list.map(({timestamp, trades}) => [timestamp, trades])];
        """,
    )
    assert found[0] == ["update", "old", "append", "revise", "old", "revise", "insert"]
    assert found[1] == 2
    assert found[2] == [[-1000, 1], [0, 1], [1000, 7], [2000, 1], [3000, 4], [5000, 1]]


def test_a_bar_that_lacks_trades_lacks_them_until_it_is_corrected(script: Script) -> None:
    body = (
        BAR
        + """
        const bars = new m.Bars();
        bars.merge([bar(1000, 5, {gap: true})]);
        const said = [];
        for (const more of [{}, {closed: true}, {closed: true, revised: true}]) {
          bars.apply(bar(1000, 6, more));
          said.push(bars.newest.gap === true);
        }
        return said;
        """
    )
    assert script("bars", body) == [True, True, False]


@pytest.mark.parametrize(("early", "asked"), [(True, 1), (False, 2)])
def test_bars_between_the_history_and_a_stream_that_began_after_it_are_asked_for(
    script: Script, early: bool, asked: int
) -> None:
    body = (
        BAR
        + f"const early = {str(early).lower()};"
        + """
        const pages = [[bar(1000, 1, {closed: true})], [1000, 2000, 3000].map((at) => bar(at, 1, {closed: true}))];
        const listener = {}, asked = [];
        const feed = {subscribe: (topic, heard) => Object.assign(listener, heard) && (() => {})};
        window.fetch = async (url) => ({ok: true, json: async () => ({bars: pages[asked.push(String(url)) - 1]})});
        const silent = {onPage: () => {}, onBar: () => {}, onNotice: () => {}};
        const history = new m.History({symbol: "A", timeframe: "1s", feed, rest: location.origin, ...silent});
        if (early) listener.update(bar(2000, 1, {closed: true}));
        while (!history.loaded) await new Promise((resolve) => setTimeout(resolve, 5));
        for (const at of early ? [3000, 4000] : [4000, 5000]) listener.update(bar(at, 1));
        await new Promise((resolve) => setTimeout(resolve, 200));
        history.stop();
        return [asked.length, history.bars.list.map(({timestamp}) => timestamp).slice(0, 4)];
        """
    )
    assert script("history", body) == [asked, [1000, 2000, 3000, 4000]]


def test_the_oldest_bars_are_let_go(script: Script) -> None:
    body = (
        BAR + "const b = new m.Bars(); b.merge([bar(1, 1), bar(2, 1), bar(3, 1)]); b.trim(2); return b.oldest.timestamp"
    )
    assert script("bars", body) == 2


def test_decimals_are_those_of_the_number_as_it_was_sent(script: Script) -> None:
    expected = {"67000.1": 1, "67000": 0, "0.00001234": 8, "1.234e-7": 10, "1e21": 0, "NaN": 0}
    numbers = ", ".join(expected)
    assert script("bars", f"return [{numbers}].map(m.decimalsOf)") == list(expected.values())


def test_numbers_are_written_as_a_trader_reads_them(script: Script) -> None:
    expected = {
        "price(67012.4, 2)": "67,012.40",
        "price(0.00001234, 8)": "0.00001234",
        "price(null, 2)": "–",
        "amount(1234567)": "1.235 M",
        "amount(0.01234)": "0.01234",
        "change(0.012)": "▲ +1.20 %",
        "change(-0.5)": "▼ -50.00 %",
        "change(0)": "■ 0.00 %",
        "change(null)": "–",
        "age(240)": "0.2 s",
        "age(14000)": "14 s",
        "age(200000)": "3 min",
        "share(0.526)": "53 %",
        "moment(1700000000000, 60)": "11-14 22:13",
        "moment(1700000000000, 1)": "11-14 22:13:20",
        "moment(1700000000000, 86400)": "2023-11-14",
        "baseOf('BTCUSDT')": "BTC",
        "baseOf('币安人生USDT')": "币安人生",
        "baseOf('ODD')": "ODD",
    }
    calls = ", ".join(f"m.{call}" for call in expected)
    assert dict(zip(expected, script("words", f"return [{calls}]"), strict=True)) == expected


FAKE_SOCKET = """
    const made = [];
    window.WebSocket = class {
        static OPEN = 1;
        constructor(url, protocols) { Object.assign(this, {url, protocols, readyState: 0, sent: []}); made.push(this); }
        send(text) { this.sent.push(JSON.parse(text)); }
        close() { this.readyState = 3; }
        open() { this.readyState = 1; this.onopen(); }
        say(topic, seq, data) { this.onmessage({data: JSON.stringify({topic, seq, data})}); }
    };
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
"""


def test_listeners_share_a_topic_and_holes_are_told_to_them(script: Script) -> None:
    found = script(
        "feed",
        FAKE_SOCKET
        + """
        const feed = new m.Feed("ws://nowhere/ws/updates");
        const heard = [];
        const listen = (name) => {
            const hear = (value) => heard.push([name, value]);
            return feed.subscribe("price:A", {update: hear, broken: hear});
        };
        const one = listen("one"), two = listen("two");
        await pause(0);
        made[0].open();
        made[0].say("price:A", 7, 1);
        made[0].say("price:A", 8, 2);
        two();
        made[0].say("price:A", 11, 3);
        const asked = made[0].sent.flatMap(({op, topics}) => op === "subscribe" ? topics : []);
        one();
        await pause(0);
        const last = made[0].sent.at(-1);
        feed.close();
        return {heard, asked: [...new Set(asked)].sort(), last, holes: feed.holes};
        """,
    )
    assert found["heard"] == [["one", 1], ["two", 1], ["one", 2], ["two", 2], ["one", "hole"], ["one", 3]]
    assert found["asked"] == ["price:A", "stats"]
    assert found["last"] == {"op": "unsubscribe", "topics": ["price:A"]}
    assert found["holes"] == 1


def test_a_lost_connection_comes_back_with_every_topic_and_says_that_values_may_be_missing(script: Script) -> None:
    found = script(
        "feed",
        FAKE_SOCKET
        + """
        const feed = new m.Feed("ws://nowhere/ws/updates");
        const heard = [];
        feed.subscribe("price:A", {update: (v) => heard.push(v), broken: (why) => heard.push(why)});
        await pause(0);
        made[0].open();
        made[0].say("price:A", 7, 1);
        made[0].onclose();
        const state = feed.state;
        for (let i = 0; i < 30 && made.length < 2; i += 1) await pause(50);
        made[1].open();
        made[1].say("price:A", 2, 5);
        const again = made[1].sent.flatMap(({topics}) => topics).sort();
        made[1].onmessage({data: JSON.stringify({error: "no such topic"})});
        const later = window.setTimeout;
        window.setTimeout = (act) => later(act, 0);
        made[1].onmessage({data: JSON.stringify({error: "the store is away", topic: "price:A", retry: true})});
        window.setTimeout = later;
        await pause(0);
        const last = made[1].sent.at(-1);
        feed.close();
        return {heard, state, now: feed.state, again, last, reconnects: feed.reconnects, refused: feed.refused};
        """,
    )
    assert found["heard"] == [1, "connection", 5]
    assert (found["state"], found["now"]) == ("lost", "open")
    assert found["again"] == ["price:A", "stats"]
    assert found["reconnects"] == 1
    assert found["refused"] == ["no such topic", "the store is away"]
    assert found["last"] == {"op": "subscribe", "topics": ["price:A"]}, "what was refused for now"


PLOT = f"""
    const at = (name) => import("/{PREFIX}/{VERSION}/" + name + ".js");
    const library = await (await at("library")).loadLibrary("/{PREFIX}/{VERSION}/{LIBRARY}");
    const host = document.body.appendChild(document.createElement("div"));
    host.style.cssText = "width: 600px; height: 300px";
    const palette = (await at("palette")).paletteAt(host, "classic");
    const bar = (second, close) => ({{timestamp: second * 1000, open: 1, high: 9, low: 1, close, volume: close}});
    const shown = (series, field) => series.data().map((point) => [point.time, point[field]]);
"""


def test_a_point_that_comes_late_is_drawn_at_its_place_and_what_is_newer_stays(script: Script) -> None:
    found = script(
        "time_chart",
        PLOT
        + """
        const plot = new m.TimeChart(library, host, palette);
        const [line, other] = [0, 1].map(() => plot.chart.addSeries(library.LineSeries));
        const steps = [];
        plot.setPoints(line, [{time: 10, value: 1}, {time: 20, value: 2}, {time: 40, value: 4}]);
        plot.setPoints(other, [{time: 10, value: 1}]);
        for (const [time, value] of [[20, 2.5], [30, 3], [40, 4.5]]) plot.setPoint(line, {time, value});
        plot.setPoint(line, {time: 50});
        steps.push(shown(line, "value"));
        plot.setPoint(other, {time: 20, value: 7});        // the other line has it, this one goes on with it
        plot.setPoint(line, {time: 40, value: 4.75});      // behind a newest that has no value
        plot.setPoint(line, {time: 50, value: 5});
        steps.push(shown(line, "value"), shown(other, "value"));
        plot.setPoints(line, []);
        plot.setPoint(line, {time: 5, value: 0.5});        // another timeframe's, older than all that was there
        steps.push(shown(line, "value"));
        plot.destroy();
        return steps;
        """,
    )
    assert found == [
        [[10, 1], [20, 2.5], [30, 3], [40, 4.5]],
        [[10, 1], [20, 2.5], [30, 3], [40, 4.75], [50, 5]],
        [[10, 1], [20, 7]],
        [[5, 0.5]],
    ]


def test_colours_that_change_between_a_bar_and_its_drawing_leave_the_volume_going_on(script: Script) -> None:
    found = script(
        "plot",
        PLOT
        + """
        const plot = new m.Plot(library, host, palette);
        plot.setBars([bar(1, 2), bar(2, 3)]);
        plot.recolour([bar(1, 2), bar(2, 4), bar(3, 5)]);  // the third has come, and is drawn in a moment
        for (const each of [bar(2, 4), bar(3, 5), bar(3, 6)]) plot.setBar(each);
        const drawn = [shown(plot.candles, "close"), shown(plot.volume, "value")];
        plot.destroy();
        return drawn;
        """,
    )
    assert found == [[[1, 2], [2, 4], [3, 6]]] * 2


def test_what_was_told_of_a_moving_bar_gives_way_to_what_follows_from_the_closed_one(script: Script) -> None:
    body = """
        const drawn = [], asked = [];
        const key = (time, value) => ({timestamp: time, values: {"sma:2": value}});
        let said;
        const history = {
          symbol: "BTCUSDT", timeframe: "1m", bars: {list: [{timestamp: 0}], indexOf: (time) => time / 60000},
          ask: async (_, params) => {
            asked.push(params.start);
            return params.start
              ? {timestamp: [60000, 120000], closed: [true, false], values: {"sma:2": [5, 8]}}
              : {timestamp: [0], closed: [true], values: {"sma:2": [3]}};
          },
        };
        const feed = {subscribe: (_, {update}) => { said = update; return () => {}; }};
        const plot = {
          setIndicators: () => ["sma:2"], setIndicatorColumns: () => {},
          setIndicatorValue: (_, time, values) => drawn.push([time, values["sma:2"]]),
        };
        let changed = () => {};
        const studies = new m.Studies({history, feed, plot, onChange: () => changed()});
        const loaded = new Promise((done) => { changed = done; });
        studies.choose(["sma:2"]);
        await loaded;
        changed = () => {};
        for (const [time, value] of [[60000, 4], [120000, 9]]) { said(key(time, value)); studies.draw(); }
        const settled = new Promise((done) => { changed = done; });
        studies.settle(60000);
        await settled;
        const late = key(60000, 4.5);
        studies.now = late;
        studies.draw();
        studies.stop();
        return [asked, drawn, [0, 60000, 120000].map((time) => studies.at("sma:2", time))];
    """
    assert script("studies", body) == [[0, 60000], [[60000, 4], [120000, 9], [60000, 5]], [3, 5, 9]]


def test_bars_that_come_late_are_not_drawn_over_the_moment_that_was_chosen_since(script: Script) -> None:
    found = script(
        "alert_moment",
        PLOT
        + f"const libraryAddress = '/{PREFIX}/{VERSION}/{LIBRARY}';"
        + """
        let answer;
        const asked = new Promise((resolve) => (answer = {asked: resolve}));
        const late = new Promise((resolve) => (answer.go = resolve));
        window.fetch = async (url) => {
            const {pathname} = new URL(url);
            if (!pathname.includes("/ohlc/")) return {ok: false, json: async () => ({})};
            const close = pathname.endsWith("LATE") ? 2 : 3;
            if (close === 2) answer.asked(), await late;
            return {ok: true, json: async () => ({bars: [bar(60, close)]})};
        };
        const kinds = {price: {label: "Price", unit: "quote", scale: 1, decimals: 2}};
        const moment = new m.AlertMoment({rest: location.origin, libraryAddress, kinds, onClose: () => {}});
        host.append(moment.node);
        const condition = {type: "price", condition: "above", threshold: 2, value: 2};
        const firing = (symbol) => ({...condition, symbol, id: symbol, alert_id: symbol, timestamp: 60000});
        const first = moment.show(firing("LATE"), palette);
        await asked;
        await moment.show(firing("SOON"), palette);
        answer.go();
        await first;
        const drawn = [moment.node.dataset.drawn, shown(moment.plot.candles, "close")];
        moment.destroy();
        return drawn;
        """,
    )
    assert found == ["SOON", [[60, 3]]]


SERIES = """
    const told = {}, feed = {subscribe: (topic, listener) => { told[topic] = listener; return () => {}; }};
    const settings = {y: "A", x: "B", timeframe: "1m", lookback: 9, window: 3, method: "kalman", price_space: "log"};
    const live = (timestamp, closed, beta) => ({...settings, timestamp, closed, prices: {y: 2, x: 1},
        spread: {last: beta, mean: 0, std: 1, zscore: beta}, correlation: {rolling: 0.5},
        hedge_ratio: {ols: {beta: 1}, kalman: {alpha: 0, beta}}});
    const asked = [];
    window.fetch = async (url) => {
        asked.push(new URL(url).searchParams.get("recursion"));
        const column = (last) => [0.1, last];
        return {ok: true, json: async () => ({series: {timestamp: [0, 60000], spread: column(0.2), mean: [0, 0],
            std: [1, 1], zscore: column(0.2), correlation: [0.5, 0.5], price_y: [2, 2], price_x: [1, 1],
            beta_ols: [1, 1], beta_kalman: column(0.2)}, hedge_ratio: {kalman: {alpha: 0, beta: 0.2}}})};
    };
    const drawn = [];
    const series = new m.PairSeries({settings, feed, rest: location.origin, onNow: () => {}, onNotice: () => {},
        onRow: (row) => drawn.push(row.timestamp), onRows: () => drawn.push("all")});
    while (!series.report) await new Promise((resolve) => setTimeout(resolve, 10));
    const hear = (message) => told["pair:A:B"].update(message);
"""


def test_a_pair_s_rows_go_on_with_what_the_stream_says_by_the_same_settings(script: Script) -> None:
    found = script(
        "pair_series",
        SERIES
        + """
        hear(live(120000, false, 0.25));
        hear(live(120000, true, 0.3));
        hear(live(180000, false, 0.4));
        hear({...live(180000, false, 9), window: 4});
        series.stop();
        const rows = series.rows.map((row) => [row.timestamp, row.closed, row.beta_kalman, row.price_y]);
        return {asked, drawn, rows};
        """,
    )
    assert found["asked"] == ["live"]
    assert found["rows"] == [[0, True, 0.1, 2], [60000, True, 0.2, 2], [120000, True, 0.3, 2], [180000, False, 0.4, 2]]
    assert found["drawn"] == ["all", 120000, 120000, 180000]


def test_a_bar_that_closes_without_its_other_leg_leaves_no_row(script: Script) -> None:
    body = "hear(live(120000, false, 5)); hear(live(240000, false, 0.3)); series.stop();"
    found = script("pair_series", SERIES + body + "return [series.rows.map(({timestamp}) => timestamp), drawn]")
    assert found == [[0, 60000, 240000], ["all", 120000, "all"]]


def test_hindsight_puts_every_bar_under_the_newest_hedge_ratio(script: Script) -> None:
    found = script(
        "pair_hindsight",
        """
        const rows = [[8, 2], [4, 2], [8, 4], [2, 1]].map(([price_y, price_x]) => ({price_y, price_x}));
        const settings = {window: 2, price_space: "linear"};
        const said = m.inHindsight(rows, settings, {alpha: 1, beta: 2});
        const logs = m.inHindsight(rows, {...settings, price_space: "log"}, {alpha: 0, beta: 1});
        return [said.map(({spread, mean, std, zscore}) => [spread, mean, std, zscore]), logs.map(({spread}) => spread),
            m.inHindsight(rows, settings, {alpha: null}) === rows];
        """,
    )
    root = 0.5**0.5
    assert found[0][0] == [3, None, None, None]
    assert found[0][1] == [-1, 1, pytest.approx(4 * root), pytest.approx(-root)]
    assert found[0][2:] == [[-1, -1, 0, None], [-1, -1, 0, None]]
    assert found[1] == pytest.approx([1.3862943611198906, *[0.6931471805599453] * 3])
    assert found[2] is True
