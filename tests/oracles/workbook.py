"""The numbers of an old Excel workbook (BIFF8 in a compound file), read with nothing but the standard library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

SECTOR = 512
END_OF_CHAIN = 0xFFFFFFFE


def read_sheet(path: Path) -> pd.DataFrame:
    """The first sheet, whose first row holds the names; a column ``Date`` comes back as dates."""
    strings: list[str] = []
    cells: dict[tuple[int, int], float | str] = {}
    sheets = 0
    for kind, body in records(stream(path.read_bytes(), "Workbook")):
        sheets += kind == 0x0809
        if kind == 0x00FC:
            strings = list(shared_strings(body))
        elif sheets == 2:
            cells.update(cells_of(kind, body, strings))
    width = 1 + max(column for row, column in cells if row == 0)
    height = 1 + max(row for row, _ in cells)
    columns = {str(cells[0, k]): [cells.get((row, k)) for row in range(1, height)] for k in range(width)}
    frame = pd.DataFrame(columns)
    frame["Date"] = pd.Timestamp("1899-12-30") + pd.to_timedelta(frame["Date"].astype(float), unit="D")
    return frame


def stream(file: bytes, name: str) -> bytes:
    """A stream of a compound file; the small ones below 4,096 bytes are kept elsewhere and not asked for."""
    assert file[:8] == bytes.fromhex("d0cf11e0a1b11ae1")
    places = [place for place in struct.unpack_from("<109I", file, 76) if place < END_OF_CHAIN]
    table = [entry for place in places for entry in struct.unpack_from("<128I", file, (place + 1) * SECTOR)]

    def chain(start: int) -> bytes:
        parts = []
        while start < END_OF_CHAIN:
            parts.append(file[(start + 1) * SECTOR : (start + 2) * SECTOR])
            start = table[start]
        return b"".join(parts)

    directory = chain(struct.unpack_from("<I", file, 48)[0])
    for at in range(0, len(directory), 128):
        length = struct.unpack_from("<H", directory, at + 64)[0]
        if directory[at : at + max(length - 2, 0)].decode("utf-16-le") == name:
            start, size = struct.unpack_from("<II", directory, at + 116)
            assert size >= 4096
            return chain(start)[:size]
    raise AssertionError(name)


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def shared_strings(body: bytes) -> Iterator[str]:
    """The table of texts, as far as its first record goes: the names stand at its head."""
    at = 8
    while at + 3 <= len(body):
        length, flags = struct.unpack_from("<HB", body, at)
        wide = 1 + (flags & 1)
        text = body[at + 3 : at + 3 + length * wide]
        yield text.decode("utf-16-le" if wide == 2 else "latin-1")
        at += 3 + length * wide


def cells_of(kind: int, body: bytes, strings: list[str]) -> Iterator[tuple[tuple[int, int], float | str]]:
    if kind not in {0x0203, 0x027E, 0x00BD, 0x00FD, 0x0006}:
        return
    row, column = struct.unpack_from("<HH", body)
    if kind == 0x00FD:
        yield (row, column), strings[struct.unpack_from("<I", body, 6)[0]]
    elif kind in {0x0203, 0x0006}:
        yield (row, column), struct.unpack_from("<d", body, 6)[0]
    elif kind == 0x027E:
        yield (row, column), packed(struct.unpack_from("<I", body, 6)[0])
    else:
        for k in range((len(body) - 6) // 6):
            yield (row, column + k), packed(struct.unpack_from("<I", body, 6 + 6 * k)[0])


def packed(code: int) -> float:
    """A number in four bytes: 30 bits of an integer or of a float, perhaps in hundredths."""
    if code & 2:
        value = float(struct.unpack("<i", struct.pack("<I", code))[0] >> 2)
    else:
        value = struct.unpack("<d", struct.pack("<Q", (code & 0xFFFFFFFC) << 32))[0]
    return value / 100 if code & 1 else value
