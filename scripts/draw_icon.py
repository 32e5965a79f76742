"""Draws the page icon, two candles that move apart and one line that holds them: ``python scripts/draw_icon.py``."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIZE = 64
FINE = 4
Colour = tuple[int, int, int, int]
GROUND: Colour = (11, 14, 17, 255)
UP: Colour = (14, 203, 129, 255)
DOWN: Colour = (246, 70, 93, 255)
LINE: Colour = (240, 185, 11, 255)
CLEAR: Colour = (0, 0, 0, 0)


def colour_at(x: float, y: float) -> Colour:
    """Return the picture's colour at a point of the 64 x 64 square."""
    if not _rounded(x, y, 0, 0, 64, 64, 14):
        return CLEAR
    if abs(y - (45 - 0.42 * x)) < 2.2 and 8 < x < 56:
        return LINE
    for middle, top, bottom, wick_top, wick_bottom, colour in ((22, 26, 46, 17, 54, DOWN), (42, 16, 38, 9, 47, UP)):
        if _rounded(x, y, middle - 6, top, 12, bottom - top, 2):
            return colour
        if abs(x - middle) < 1.5 and wick_top < y < wick_bottom:
            return colour
    return GROUND


def _rounded(x: float, y: float, left: float, top: float, width: float, height: float, radius: float) -> bool:
    dx = max(left + radius - x, 0, x - (left + width - radius))
    dy = max(top + radius - y, 0, y - (top + height - radius))
    return left <= x < left + width and top <= y < top + height and dx * dx + dy * dy <= radius * radius


def pixel(column: int, row: int) -> bytes:
    """Return one pixel, the mean of its finer points."""
    points = [colour_at(column + (i + 0.5) / FINE, row + (k + 0.5) / FINE) for i in range(FINE) for k in range(FINE)]
    alpha = sum(point[3] for point in points)
    mixed = [round(sum(p[c] * p[3] for p in points) / alpha) if alpha else 0 for c in range(3)]
    return bytes([*mixed, round(alpha / len(points))])


def png(rows: list[bytes]) -> bytes:
    """Wrap RGBA rows as a PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


if __name__ == "__main__":
    drawn = [b"".join(pixel(column, row) for column in range(SIZE)) for row in range(SIZE)]
    Path(__file__).parents[1].joinpath("src/pairscope/dashboard/icon.png").write_bytes(png(drawn))
