"""Tapes: aggregation against an independent computation, and recordings that hold aggTrades already."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscope.errors import ForeignFile
from pairscope.feed.agg_trades import decimal_text
from pairscope.feed.tape import load_tape

SHARED = Path(__file__).parents[3] / "shared" / "data"
TAPES = [SHARED / "tape" / f"um_{name}usdt_2024-08-08.gz" for name in ("btc", "eth")]
needs_tapes = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real recordings is not here")


def recorded_trades() -> dict[str, list[dict[str, Any]]]:
    """Return the tapes' market trades by symbol, in order of trade id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in TAPES:
        for line in gzip.decompress(path.read_bytes()).splitlines():
            if b'"e":"trade"' in line:
                event = json.loads(line.split(b" ", 1)[1])["data"]
                found.setdefault(event["s"], []).append(event)
    return {symbol: sorted(events, key=lambda event: event["t"]) for symbol, events in found.items()}


def aggregates_by_hand(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Work out (price, size, first id, last id, time, maker) with decimals, one trade after the other."""
    out: list[tuple[Any, ...]] = []
    for event in events:
        if out:
            price, size, first, _, at, maker = out[-1]
            if event["p"] == price and event["m"] == maker and event["T"] <= at + 100:
                out[-1] = (price, size + Decimal(event["q"]), first, event["t"], at, maker)
                continue
        out.append((event["p"], Decimal(event["q"]), event["t"], event["t"], event["T"], event["m"]))
    return out


def trade(t: int, price: str, size: str, at_ms: int, *, maker: bool = False, kind: str = "MARKET") -> dict[str, Any]:
    return {
        "e": "trade",
        "E": at_ms + 3,
        "T": at_ms,
        "s": "BTCUSDT",
        "t": t,
        "p": price,
        "q": size,
        "X": kind,
        "m": maker,
    }


def agg(a: int, price: str, size: str, at_ms: int, **more: Any) -> dict[str, Any]:
    body = {
        "e": "aggTrade",
        "E": at_ms + 120,
        "s": "BTCUSDT",
        "a": a,
        "p": price,
        "q": size,
        "f": 10 * a,
        "l": 10 * a + 3,
    }
    return body | {"T": at_ms, "m": True} | more


def tape_file(path: Path, events: list[dict[str, Any]], *, combined: bool = True) -> Path:
    lines = []
    for i, event in enumerate(events):
        body = {"stream": f"btcusdt@{event['e']}", "data": event} if combined else event
        lines.append(f"{1_723_161_255_000_000_000 + i} {json.dumps(body, separators=(',', ':'))}\n")
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


@needs_tapes
def test_the_tapes_aggregate_as_a_count_by_hand_says():
    tape = load_tape(TAPES, public=False)
    recorded = recorded_trades()
    assert sum(map(len, recorded.values())) == 21_313 + 14_076
    assert len(tape.trades) == 8325 + 5063
    assert tape.public == ()
    for row, listing in enumerate(tape.listings):
        own = tape.trades.take(tape.trades.symbol_id == row)
        ours = [
            (decimal_text(p, listing.price_decimals), Decimal(decimal_text(q, listing.size_decimals)), f, x, t, m)
            for p, q, f, x, t, m in zip(
                *(column.tolist() for column in (own.price, own.size, own.first_id, own.last_id)),
                own.trade_ms.tolist(),
                own.buyer_is_maker.tolist(),
                strict=True,
            )
        ]
        assert ours == aggregates_by_hand(recorded[listing.symbol])
        assert np.all(np.diff(own.agg_id) == 1)
        assert own.agg_id[0] == own.first_id[0]
        assert np.all(np.diff(own.event_ms) >= 0)
    assert [(x.price_decimals, x.size_decimals, x.tick) for x in tape.listings] == [(2, 3, 10), (2, 3, 1)]


def test_trades_of_one_price_and_side_within_100_ms_of_the_first_are_one(tmp_path: Path):
    path = tape_file(
        tmp_path / "t.gz",
        [
            trade(1, "10.0", "1.5", 1000),
            trade(2, "10.0", "0.5", 1100),
            trade(3, "10.0", "1.0", 1101),  # 101 ms after the first of them
            trade(4, "10.0", "1.0", 1102, maker=True),  # the other side
            trade(5, "10.1", "1.0", 1102, maker=True),  # another price
            trade(6, "10.0", "1.0", 1103, maker=True),  # not adjacent any more
        ],
    )
    trades = load_tape([path]).trades
    assert trades.agg_id.tolist() == [1, 2, 3, 4, 5]
    assert trades.size.tolist() == [20, 10, 10, 10, 10]
    assert list(zip(trades.first_id.tolist(), trades.last_id.tolist(), strict=True)) == [
        (1, 2),
        (3, 3),
        (4, 4),
        (5, 5),
        (6, 6),
    ]
    assert trades.trade_ms.tolist() == [1000, 1101, 1102, 1102, 1103]


def test_what_is_no_market_trade_is_left_out_before_aggregation(tmp_path: Path):
    path = tape_file(
        tmp_path / "t.gz",
        [
            trade(1, "10.0", "1.0", 1000),
            trade(2, "20.0", "9.0", 1001, kind="INSURANCE_FUND"),
            trade(3, "0", "0", 1002, kind="NA"),
            trade(4, "0", "0", 1002),
            trade(5, "10.0", "2.0", 1003),
        ],
    )
    tape = load_tape([path])
    assert (tape.trades.size.tolist(), tape.trades.first_id.tolist(), tape.trades.last_id.tolist()) == ([30], [1], [5])
    assert len(tape.public) == 5, "/public still has them all"


def test_recorded_aggregates_are_taken_as_they_are_and_each_once(tmp_path: Path):
    events = [agg(7, "10.5", "1", 1000), agg(9, "10.25", "2.5", 2000, nq="2.5", st=1), agg(7, "10.5", "1", 1000)]
    tape = load_tape([tape_file(tmp_path / "t.gz", [*events, trade(70, "10.5", "1", 1000)])])
    assert tape.trades.agg_id.tolist() == [7, 9]
    assert tape.trades.price.tolist() == [1050, 1025]
    assert tape.trades.event_ms.tolist() == [1120, 2120]
    assert tape.trades.net_size.tolist() == [-1, 25]
    assert tape.stamped


def test_bare_frames_of_a_raw_connection_are_read_too(tmp_path: Path):
    tape = load_tape([tape_file(tmp_path / "t.gz", [agg(7, "10.5", "1", 1000)], combined=False)])
    assert tape.trades.agg_id.tolist() == [7]


def test_a_broken_frame_costs_itself_alone(tmp_path: Path):
    path = tmp_path / "t.txt"
    good = json.dumps(agg(7, "10.5", "1", 1000), separators=(",", ":"))
    path.write_text(
        f"1723161255000000000 {good[:-9]}\n1723161255000000001 {good}\n1723161255000000002 " + '{"e":"aggTrade"}\n'
    )
    assert load_tape([path]).trades.agg_id.tolist() == [7]


def test_a_recording_without_a_trade_is_refused(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_text('1723161255000000000 {"e":"depthUpdate"}\n')
    with pytest.raises(ForeignFile, match="holds no trade"):
        load_tape([path])


@needs_tapes
def test_a_truncated_tape_is_played_as_far_as_it_goes(tmp_path: Path):
    whole = TAPES[1].read_bytes()
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole[: len(whole) // 3])
    tape = load_tape([cut])
    assert tape.truncated
    assert 500 < len(tape.trades) < 5000
