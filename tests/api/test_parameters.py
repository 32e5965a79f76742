"""Times are read in every usual form, naive ones as UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscope.api.parameters import MAX_NS, PageQuery, RangeQuery, check_range, parse_time_ns
from pairscope.errors import InputError

AT_NS = 1_723_075_200_123_000_000


@pytest.mark.parametrize(
    "written",
    [
        1_723_075_200_123,
        "1723075200123",
        " 1723075200123 ",
        "2024-08-08T00:00:00.123Z",
        "2024-08-08T00:00:00.123",
        "2024-08-08 00:00:00.123",
        "2024-08-08T00:00:00,123Z",
        "2024-08-08T02:00:00.123+02:00",
        "2024-08-08T02:00:00.123 02:00",
        "2024-08-08T02:00:00.123 0200",
        "2024-08-07T18:30:00.123-05:30",
        "20240808T000000.123Z",
    ],
)
def test_every_usual_form_names_the_same_moment(written: int | str) -> None:
    assert parse_time_ns(written) == AT_NS


def test_a_date_is_its_midnight_utc() -> None:
    assert parse_time_ns("2024-08-08") == 1_723_075_200_000_000_000


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10)),
    st.integers(-840, 840).map(lambda m: timezone(timedelta(minutes=m))),
)
def test_any_moment_with_an_offset_is_read_to_the_microsecond(moment: datetime, zone: timezone) -> None:
    local = moment.replace(tzinfo=UTC).astimezone(zone)
    microseconds = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert parse_time_ns(local.isoformat()) == microseconds * 1000


@given(st.integers(0, MAX_NS // 1_000_000))
def test_milliseconds_are_read_exactly(ms: int) -> None:
    assert parse_time_ns(str(ms)) == ms * 1_000_000


@given(st.text())
def test_any_text_is_a_time_within_bounds_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_time_ns(text) <= MAX_NS
    except ValueError as refused:
        assert "must" in str(refused)


@pytest.mark.parametrize(
    "written",
    ["", "x", "-1", "1.5", "1e3", "٣", "0001-01-01", "9999-12-31", "2024-13-01", "9" * 30, "24:00"],
)
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_time_ns(written)


def test_a_range_is_open_where_nothing_is_said_and_refused_where_it_is_empty() -> None:
    assert check_range(RangeQuery()) == (0, MAX_NS)
    assert PageQuery().newest
    assert not PageQuery(start=1).newest
    for start, end in ((5, 5), (6, 5)):
        with pytest.raises(InputError) as refused:
            check_range(RangeQuery(start=start, end=end))
        assert refused.value.loc == "end"
