"""Charts as inline SVG: what is drawn where, at which size, and what stays out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pairscope.research.svg_charts import Curve, Marks, Panel, bar_chart, heat_map, time_chart

MINUTE_MS = 60_000


def parsed(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)


def panel(values: np.ndarray, **more: object) -> Panel:
    return Panel("name <&>", 100, [Curve(values, "main")], "{:g}".format, **more)  # type: ignore[arg-type]


def test_a_curve_goes_from_edge_to_edge_and_up_where_values_grow() -> None:
    times = MINUTE_MS * np.arange(3)
    chart = parsed(time_chart(times, [panel(np.array([1.0, 3.0, 2.0]))], said="a & b"))
    assert chart.get("aria-label") == "a & b"
    drawn = next(path.get("d") or "" for path in chart.iter("path"))
    points = [tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn)]
    assert [x for x, _ in points] == [0.0, 500.0, 1000.0]
    assert points[1][1] < points[2][1] < points[0][1]
    assert all(0.0 < y < 100.0 for _, y in points)


def test_where_there_is_no_value_the_curve_is_broken() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 4.0])
    chart = time_chart(MINUTE_MS * np.arange(5), [panel(values)], said="")
    drawn = next(path.get("d") or "" for path in parsed(chart).iter("path"))
    assert drawn.count("M") == 2 and "nan" not in chart


def test_a_million_bars_keep_their_highest_and_lowest_in_few_points() -> None:
    values = np.zeros(1_000_000)
    values[[123_456, 654_321]] = 5.0, -7.0
    chart = time_chart(MINUTE_MS * np.arange(values.size), [panel(values)], said="")
    drawn = next(path.get("d") or "" for path in parsed(chart).iter("path"))
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn)]
    assert len(heights) < 1_500 and len(chart) < 50_000
    assert (max(heights), min(heights)) == pytest.approx((100 - 100 * 0.06 / 1.12, 100 * 0.06 / 1.12), abs=0.1)


@pytest.mark.parametrize("values", [np.array([]), np.array([2.0]), np.full(4, 3.0), np.full(4, np.nan), np.zeros(3)])
def test_few_constant_or_missing_values_are_drawn_without_a_fault(values: np.ndarray) -> None:
    chart = time_chart(MINUTE_MS * np.arange(values.size), [panel(values)], said="")
    parsed(chart)
    assert not re.search(r"nan|inf", chart)
    parsed(bar_chart(values, [str(i) for i in range(values.size)], written="{:g}".format, said=""))


@pytest.mark.parametrize(
    ("minutes", "first", "form"),
    [
        (30, "10:35", r"\d\d:\d\d"),
        (3 * 1440, "03-07 00:00", r"\d\d-\d\d \d\d:\d\d"),
        (30 * 1440, "2025-03-13", r"\d{4}-\d\d-\d\d"),
        (200 * 1440, "2025-04-01", r"\d{4}-\d\d-01"),
        (4 * 365 * 1440, "2026-01-01", r"\d{4}-01-01"),
    ],
)
def test_times_are_written_as_their_span_asks(minutes: int, first: str, form: str) -> None:
    times = 1_741_257_000_000 + MINUTE_MS * np.arange(minutes)
    chart = parsed(time_chart(times, [panel(np.arange(float(minutes)))], said=""))
    names = [text.text or "" for text in chart.iter("text") if text.get("text-anchor") == "middle"]
    assert names[0] == first and 2 <= len(names) <= 6
    assert all(re.fullmatch(form, name) for name in names)


def test_marks_stand_at_their_bars_and_tell_what_they_are() -> None:
    values = np.array([0.0, 1.0, 2.0, np.nan])
    marks = Marks(np.array([2, 3]), values[[2, 3]], "up", "good", ["<first>", "none"])
    chart = parsed(time_chart(MINUTE_MS * np.arange(4), [panel(values, marks=[marks])], said=""))
    found = [svg for svg in chart.iter("svg") if svg.get("class") == "mark"]
    assert [svg.get("x") for svg in found] == ["66.67%"]
    assert [title.text for title in chart.iter("title")] == ["<first>"]
    assert "name <&>" in [text.text for text in chart.iter("text")]


def test_bars_hang_from_the_line_of_zero() -> None:
    chart = parsed(bar_chart(np.array([2.0, -1.0, np.nan]), ["a", "b", "c"], written="{:g}".format, said=""))
    up, down = chart.iter("rect")
    assert (up.get("class"), down.get("class")) == ("good", "bad")
    zero = float(down.get("y") or 0)
    assert float(up.get("y") or 0) + float(up.get("height") or 0) == pytest.approx(zero, abs=0.11)
    assert float(up.get("height") or 0) == pytest.approx(2 * float(down.get("height") or 0), abs=0.2)
    assert [text.text for text in chart.iter("text")][-2:] == ["a", "c"]


def test_a_map_colours_by_sign_and_size_and_frames_the_best() -> None:
    values = np.array([[1.0, -2.0], [np.nan, 0.5]])
    chart = parsed(
        heat_map(values, ["r1", "r2"], ["c1", "c2"], names=("r", "c"), written="{:g}".format, said="", best=(0, 0))
    )
    cells = [*chart.iter("rect")]
    assert [cell.get("class") for cell in cells] == ["good best", "bad", "good"]
    assert [cell.get("fill-opacity") for cell in cells] == ["0.44", "0.80", "0.26"]
    assert [title.text for title in chart.iter("title")] == ["r r1, c c1: 1", "r r1, c c2: -2", "r r2, c c2: 0.5"]


def test_a_wide_map_keeps_its_numbers_in_the_tooltips() -> None:
    values = np.ones((2, 40))
    drawn = heat_map(
        values, ["a", "b"], [f"{i}" for i in range(40)], names=("r", "c"), written="{:.2f}".format, said=""
    )
    texts = [text.text for text in parsed(drawn).iter("text")]
    assert "1.00" not in texts and len(texts) <= 2 + 2 + 14
    assert drawn.count("<title>") == 80
