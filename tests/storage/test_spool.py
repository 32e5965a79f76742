"""Parcels on disk: in order, bounded, and cut where they are torn."""

from __future__ import annotations

import base64
import os
import zlib

import numpy as np
import pytest
import structlog
from numpy.testing import assert_array_equal

from pairscope.errors import SchemaMismatch, WriterOverflow
from pairscope.market.bars import bars_of
from pairscope.market.continuity import Gap
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.ports import Document
from pairscope.storage.parcel import Parcel
from pairscope.storage.spool import Spool

BIG = 1 << 20

FIRST_FORM = zlib.decompress(
    base64.b85decode(
        b"c-jjH4lw-"
        b"A$iU#HwSQmx^5V+er2L%XiOZcroI`_MLe`WgmZTQtCKhGK=M|q9e_psHK6DDhlCu2Fl!=oVIF^=VCTAB<Kf=KP1xExJ7!+P?E_^P"
        b"|aB7$G79f2@fE6mj3KwCAs^&z}#lRro@ZJGLD*$PT2m`|fdkFo*{s<Ez!;+-LqT-"
        b"3oD@!tSQ`3qPb5j=?7GpShd2)VEX>MNeJp8W0ZX<ajDDH%+IS*DNQScqE1_nTC7@=%NxC=4E1VaSjA0`Hd<wdDUrI|S?6DPww4vL"
        b"=5FBBLU!11KK>lDL^vecrK%;b{di8En}7@5|T<`tzDBxV*RCgr3ufy@sWO#&l52><}(%NeW"
    )
)
"""A segment as it was written before parcels had documents: twice the same two trades with what else a parcel had."""


@pytest.fixture
def parcel(ticks_of, market_rows):
    batch = ticks_of(market_rows(trades=50), watermark_ns=123)
    return Parcel(
        batch,
        (bars_of(batch, "1s"), bars_of(batch, "1m")),
        (("BTCUSDT", 1, 2), ("币安人生USDT", 3, 4)),
        (Gap("BTCUSDT", 1, 2, "unrepairable", 2, ended_ns=9),),
        (Document("firings", "币/1", bytes(range(256))), Document("outbox", "", b""), Document("outbox", "x", None)),
    )


def numbered(number: int) -> Parcel:
    return Parcel(TickBatch.empty(Symbols(), number))


def numbers(spool: Spool) -> list[int]:
    found = []
    while (parcel := spool.first()) is not None:
        found.append(parcel.batch.watermark_ns)
        spool.drop_first()
    return found


def test_a_parcel_comes_back_as_it_went_in(tmp_path, parcel):
    Spool(tmp_path, max_bytes=BIG).append(parcel)
    got = Spool(tmp_path, max_bytes=BIG).first()
    assert list(got.batch.symbols) == list(parcel.batch.symbols)
    assert (got.batch.watermark_ns, got.batch.void) == (123, ())
    assert (got.rebuild, got.verdicts, got.documents) == (parcel.rebuild, parcel.verdicts, parcel.documents)
    for mine, theirs in [(parcel.batch, got.batch), *zip(parcel.bars, got.bars, strict=True)]:
        for name in mine.__slots__:
            sent = getattr(mine, name)
            if isinstance(sent, np.ndarray):
                assert_array_equal(getattr(theirs, name), sent)
                assert getattr(theirs, name).dtype == sent.dtype
    assert [bars.timeframe for bars in got.bars] == ["1s", "1m"]


def test_a_spool_of_the_first_form_is_read_and_gone_on_with(tmp_path, parcel):
    (tmp_path / "0000000001.spool").write_bytes(FIRST_FORM)
    with structlog.testing.capture_logs() as said:
        spool = Spool(tmp_path, max_bytes=BIG)
    assert (said, spool.cut_bytes, spool.size) == ([], 0, len(FIRST_FORM))
    spool.append(parcel)
    again = Spool(tmp_path, max_bytes=BIG)
    start_ns = 1_722_470_400_000_000_000
    for _ in range(2):
        old = again.first()
        assert (list(old.batch.symbols), old.batch.watermark_ns) == (["BTCUSDT"], start_ns + 2_000_000_000)
        assert old.batch.trade_id.tolist() == [7, 9]
        assert old.batch.price.tolist() == [64000.5, 64001.0]
        assert old.batch.void == ((0, 8),)
        assert [(bars.timeframe, bars.trades.tolist()) for bars in old.bars] == [("1s", [1, 1])]
        assert old.rebuild == (("BTCUSDT", start_ns, start_ns + 1_000_000_000),)
        assert old.verdicts == (Gap("BTCUSDT", 1, 2, "unrepairable", 2, ended_ns=9),)
        assert old.documents == ()
        again.drop_first()
    assert again.first().documents == parcel.documents


def test_a_spool_of_a_newer_form_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "0000000001.spool"
    path.write_bytes(FIRST_FORM.replace(b"PSP1", b"PSP9"))
    with pytest.raises(SchemaMismatch, match="PSP9"):
        Spool(tmp_path, max_bytes=BIG)
    assert path.stat().st_size == len(FIRST_FORM)


@pytest.mark.parametrize("segment_bytes", [1, 300, BIG])
def test_parcels_come_in_the_order_in_which_they_went(tmp_path, segment_bytes):
    spool = Spool(tmp_path, max_bytes=BIG, segment_bytes=segment_bytes)
    for k in range(5):
        spool.append(numbered(k))
    assert spool.first().batch.watermark_ns == 0
    spool.drop_first()
    for k in range(5, 8):
        spool.append(numbered(k))
    assert numbers(spool) == [1, 2, 3, 4, 5, 6, 7]
    assert not spool
    assert spool.size == 0
    assert list(tmp_path.iterdir()) == []
    spool.append(numbered(9))
    assert numbers(spool) == [9]


def test_what_was_not_taken_away_is_there_after_a_restart(tmp_path):
    spool = Spool(tmp_path, max_bytes=BIG, segment_bytes=1)
    for k in range(4):
        spool.append(numbered(k))
    spool.drop_first()
    assert numbers(Spool(tmp_path, max_bytes=BIG)) == [1, 2, 3]


def test_it_takes_no_more_than_its_bound(tmp_path):
    spool = Spool(tmp_path, max_bytes=2000)
    count = 0
    with pytest.raises(WriterOverflow, match="2000"):
        while True:
            spool.append(numbered(count))
            count += 1
    assert count > 3
    assert spool.size <= 2000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    spool.drop_first()
    spool.append(numbered(count))
    assert numbers(spool) == list(range(1, count + 1))


@pytest.mark.parametrize("cut", [1, 5, 12, 30])
def test_a_torn_tail_is_cut_off_and_told(tmp_path, cut):
    spool = Spool(tmp_path, max_bytes=BIG)
    for k in range(3):
        spool.append(numbered(k))
    [path] = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - cut)
    with structlog.testing.capture_logs() as said:
        again = Spool(tmp_path, max_bytes=BIG)
    [entry] = said
    assert entry["event"] == "spool was cut"
    assert again.cut_bytes == entry["lost_bytes"] > 0
    again.append(numbered(7))
    assert numbers(again) == [0, 1, 7]


def test_a_cut_leaves_nothing_of_the_torn_record(tmp_path, parcel):
    spool = Spool(tmp_path, max_bytes=BIG)
    spool.append(numbered(0))
    spool.append(parcel)
    [path] = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - 1)
    with structlog.testing.capture_logs():
        Spool(tmp_path, max_bytes=BIG).append(numbered(1))
        again = Spool(tmp_path, max_bytes=BIG)
    assert again.cut_bytes == 0
    assert numbers(again) == [0, 1]


def test_a_garbled_record_ends_its_segment_and_not_the_next(tmp_path):
    spool = Spool(tmp_path, max_bytes=BIG, segment_bytes=200)
    for k in range(6):
        spool.append(numbered(k))
    first = min(tmp_path.iterdir())
    with first.open("r+b") as file:
        file.seek(20)
        file.write(b"\xff\xff")
    with structlog.testing.capture_logs():
        again = Spool(tmp_path, max_bytes=BIG)
    left = numbers(again)
    assert left == list(range(6))[-len(left) :]
    assert 0 < len(left) < 6


def test_an_empty_folder_is_made_only_when_it_is_needed(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=BIG)
    assert not (tmp_path / "spool").exists()
    assert spool.first() is None
    spool.append(numbered(1))
    assert numbers(Spool(tmp_path / "spool", max_bytes=BIG)) == [1]
