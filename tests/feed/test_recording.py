"""Recordings: what was written comes back, and a file that ends early gives what is whole."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairscope.errors import ForeignFile, InputError
from pairscope.feed.recording import FrameRecorder, read_frames

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_tapes = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real recordings is not here")

FRAMES = [
    (1_723_161_255_000_000_000 + i, f'{{"stream":"btcusdt@aggTrade","data":{{"a":{i}}}}}'.encode()) for i in range(500)
]


def write(path: Path, frames: list[tuple[int, bytes]] = FRAMES) -> Path:
    recorder = FrameRecorder(path, url="wss://example.invalid")
    for ts_recv_ns, frame in frames:
        recorder.write(ts_recv_ns, frame)
    recorder.close()
    assert (recorder.written, recorder.dropped) == (len(frames), 0)
    return path


def test_what_was_recorded_is_read_back_in_order(tmp_path: Path):
    reader = read_frames(write(tmp_path / "a.gz"))
    assert list(reader) == FRAMES
    assert (reader.truncated, reader.skipped, reader.header) == (False, 0, {"url": "wss://example.invalid"})


def test_a_recording_is_gzip_that_any_tool_reads(tmp_path: Path):
    text = gzip.decompress(write(tmp_path / "a.gz").read_bytes()).decode().splitlines()
    assert text[0].startswith("# pairscope recording 1 ")
    assert text[1] == f"{FRAMES[0][0]} {FRAMES[0][1].decode()}"
    assert len(text) == 1 + len(FRAMES)


def test_a_recording_is_continued(tmp_path: Path):
    write(tmp_path / "a.gz")
    assert list(read_frames(write(tmp_path / "a.gz", FRAMES[:3]))) == [*FRAMES, *FRAMES[:3]]


def test_line_breaks_in_a_frame_do_not_break_the_file(tmp_path: Path):
    frames = list(read_frames(write(tmp_path / "a.gz", [(FRAMES[0][0], b'{"a":\n1}')])))
    assert frames == [(FRAMES[0][0], b'{"a": 1}')]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_recording_gives_what_is_whole_and_says_so(tmp_path: Path, keep: float):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d %b\n" % frame for frame in FRAMES)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    reader = read_frames(path)
    got = list(reader)
    assert got == FRAMES[: len(got)]
    assert reader.truncated
    assert len(got) >= int(len(FRAMES) * keep * 0.5)


def test_damage_in_the_middle_gives_what_was_before_it(tmp_path: Path):
    path = write(tmp_path / "a.gz")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)
    reader = read_frames(path)
    got = list(reader)
    assert got == FRAMES[: len(got)]
    assert reader.truncated


def test_a_killed_recorder_leaves_all_but_the_last_moment(tmp_path: Path):
    path = tmp_path / "a.gz"
    program = f"""
import time
from pairscope.feed.recording import FrameRecorder
recorder = FrameRecorder({str(path)!r}, flush_s=0.05)
for i in range(10**9):
    recorder.write(1723161255000000000 + i, b'{{"a":%d}}' % i)
    if i % 50 == 0:
        print(i, flush=True)
        time.sleep(0.01)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    deadline = time.monotonic() + 60
    kept = 0
    while kept < 2000:  # so many are on disk while it goes on writing
        assert time.monotonic() < deadline, f"{kept} of {child.stdout.readline()}"
        child.stdout.readline()
        kept = sum(1 for _ in read_frames(path)) if path.exists() else 0
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    got = [frame for _, frame in read_frames(path)]
    assert got == [b'{"a":%d}' % i for i in range(len(got))]
    assert len(got) >= kept


def test_frames_beyond_the_bound_are_counted_and_left_out(tmp_path: Path):
    recorder = FrameRecorder(tmp_path / "a.gz", flush_s=3600, max_bytes=1000)
    for ts_recv_ns, frame in FRAMES:
        recorder.write(ts_recv_ns, frame)
    recorder.close()
    assert recorder.dropped > 0
    assert recorder.written + recorder.dropped == len(FRAMES)
    assert len(list(read_frames(tmp_path / "a.gz"))) == recorder.written


def test_a_disk_that_fails_stops_the_recording_with_its_reason(tmp_path: Path):
    recorder = FrameRecorder(tmp_path / "a.gz", flush_s=3600)
    for ts_recv_ns, frame in FRAMES:
        recorder.write(ts_recv_ns, frame)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert recorder.failure is not None
    assert recorder.dropped == len(FRAMES)


def test_a_torn_recording_is_continued_behind_what_is_whole(tmp_path: Path):
    path = write(tmp_path / "a.gz")
    whole = path.stat().st_size
    write(path, FRAMES[:20])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 7)
    write(path, FRAMES[20:25])
    assert path.stat().st_size > whole
    reader = read_frames(path)
    assert list(reader) == [*FRAMES, *FRAMES[20:25]]
    assert not reader.truncated


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip", b"timestamp,price\n1,2\n", gzip.compress(b"\x00\x01\x02" * 99, mtime=0), b""]
)
def test_a_foreign_file_is_refused_in_one_line_that_says_what_was_expected(tmp_path: Path, content: bytes):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ForeignFile) as refusal:
        list(read_frames(path))
    assert str(path) in str(refusal.value)
    assert "<receive time, ns> <JSON>" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_not_there_or_cannot_be_written_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="no recording at"):
        read_frames(tmp_path / "none.gz")
    with pytest.raises(InputError, match="cannot record to"):
        FrameRecorder(tmp_path / "no" / "folder" / "a.gz")
    (tmp_path / "other").write_text("hello\n")
    with pytest.raises(ForeignFile):
        FrameRecorder(tmp_path / "other")


@needs_tapes
def test_a_tape_has_as_many_frames_as_lines():
    path = SHARED / "tape" / "um_btcusdt_2024-08-08.gz"
    reader = read_frames(path)
    frames = list(reader)
    assert len(frames) == gzip.decompress(path.read_bytes()).count(b"\n")
    assert frames[0][0] == 1723161255030314667
    assert frames[0][1].startswith(b'{"stream":"btcusdt@depth@0ms"')
    assert not reader.truncated


@needs_tapes
def test_the_other_format_is_read_with_its_fractions_of_seconds():
    reader = read_frames(SHARED / "shapes" / "um_aggtrade_kline_2021-07-22.ws.gz")
    frames = list(reader)
    assert frames[0][0] == 1626992741_062_170_000
    assert frames[0][1].startswith(b'{"stream":"sushiusdt@bookTicker"')
    assert len(frames) == 1535
    assert not reader.truncated
