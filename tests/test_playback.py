"""Recording the live feed: it ends when it is asked to, and says so where not all of it could be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pairscope import playback
from pairscope.feed.recording import FrameRecorder
from pairscope.market.symbols import Symbols
from pairscope.market.ticks import TickBatch
from pairscope.playback import record_feed
from pairscope.process import load_settings


class FullDisk(FrameRecorder):
    """Records to a disk that takes nothing."""

    def __init__(self, path: Path, **given: Any) -> None:
        super().__init__(path, **given)
        self._file.close()
        self._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115 - closed by the recorder


class Frames:
    """A feed that hands a frame to its recorder with each batch."""

    def __init__(self, symbols: Symbols, _follow: Any, *, recorder: FrameRecorder, **_given: Any) -> None:
        self._symbols, self._recorder, self._closed = symbols, recorder, False

    async def batches(self) -> AsyncIterator[TickBatch]:
        while not self._closed:
            self._recorder.write(1_723_161_255_000_000_000, b"{}")
            yield TickBatch.empty(self._symbols, 0)
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._closed = True


def test_a_stop_is_heard_while_the_exchange_does_not_say_whom_to_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stop: list[asyncio.Event] = []
    monkeypatch.setattr(playback, "stop_event", lambda: stop.append(asyncio.Event()) or stop[0])
    settings = load_settings(exchange_rest_url="http://127.0.0.1:9", data_dir=tmp_path)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        stop[0].set()  # as a signal does

    assert record_feed(settings, tmp_path / "market.gz", seconds=None, say=say) == 1
    assert "stopped before there was anything to record" in said[-1]
    assert not (tmp_path / "market.gz").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is full")
def test_a_recording_that_the_disk_does_not_take_ends_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(playback, "FrameRecorder", FullDisk)
    monkeypatch.setattr(playback, "WebSocketFeed", Frames)
    monkeypatch.setattr(playback, "stop_event", asyncio.Event)
    said: list[str] = []
    path = tmp_path / "market.gz"
    assert record_feed(load_settings(symbols="BTCUSDT"), path, seconds=30.0, say=said.append) == 1
    assert "0 frames" in said[-1] and "No space left on device" in said[-1]
