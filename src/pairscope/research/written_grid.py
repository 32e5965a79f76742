"""Numbers as people write them for a sweep: one, a list ``1.5,2,2.5``, or a range ``1:3:0.25`` with both its ends."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pairscope.errors import InputError

__all__ = ["MOST_VALUES", "written_values"]

MOST_VALUES: Final = 1_000
"""Values that one parameter may take in a sweep."""

_HINT: Final = "a number, a list like 1.5,2,2.5 or a range like 1:3:0.25"


def written_values(
    text: str, *, loc: str, whole: bool = False, optional: bool = False, words: tuple[str, ...] = ()
) -> list[Any]:
    """Return the values that a text stands for, in its order, each once.

    With ``whole`` they are whole numbers; with ``optional`` the word ``none`` stands for None; ``words`` are taken as
    they are; two numbers with a slash between them, ``4/2``, are one of y and one of x where they are allowed by
    ``words`` holding ``/``. ``InputError`` at ``loc`` where a part is none of that. O(values).

    >>> written_values("1:2:0.25", loc="entry"), written_values("none,3", loc="stop", optional=True)
    ([1.0, 1.25, 1.5, 1.75, 2.0], [None, 3.0])
    >>> written_values("30,60", loc="window", whole=True), written_values("ols,1.5", loc="hedge", words=("ols",))
    ([30, 60], ['ols', 1.5])
    >>> written_values("4/2", loc="fee_bps", words=("/",))
    [(4.0, 2.0)]
    """
    found: list[Any] = []
    for part in (part.strip() for part in text.split(",")):
        if optional and part.lower() == "none":
            made: list[Any] = [None]
        elif part.lower() in words:
            made = [part.lower()]
        elif ":" in part:
            made = _range(part, loc, whole)
        elif "/" in part and "/" in words:
            sides = part.split("/")
            if len(sides) != 2:
                raise InputError(f"{part!r} is not one number of y and one of x", loc=loc, hint="like 4/2")
            made = [(_plain(sides[0], loc, whole), _plain(sides[1], loc, whole))]
        else:
            made = [_plain(part, loc, whole)]
        found += [value for value in made if value not in found]
        if len(found) > MOST_VALUES:
            raise InputError(f"{text} stands for more than {MOST_VALUES:,} values", loc=loc)
    return found


def _plain(text: str, loc: str, whole: bool) -> float | int:  # noqa: FBT001
    """Return one number."""
    return _number(_decimal(text, loc), loc, whole)


def _range(text: str, loc: str, whole: bool) -> list[float | int]:  # noqa: FBT001
    """Return ``start:end:step`` (the step 1 where it is left out) as numbers, in exact decimal steps."""
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise InputError(f"{text!r} is no range", loc=loc, hint="start:end:step, like 1:3:0.25")
    start, end, step = (_decimal(part, loc) for part in (*parts, "1")[:3])
    if step <= 0 or end < start:
        raise InputError(f"{text!r} is no range that ends", loc=loc, hint="the end above the start, the step above 0")
    count = int((end - start) / step) + 1
    if count > MOST_VALUES:
        raise InputError(f"{text} stands for {count:,} values, more than {MOST_VALUES:,}", loc=loc)
    return [_number(start + i * step, loc, whole) for i in range(count)]


def _decimal(text: str, loc: str) -> Decimal:
    """Return a number as it was written, without a rounding to binary."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise InputError(f"{text.strip()!r} is no number", loc=loc, hint=_HINT) from None
    if not value.is_finite() or abs(value) > 10**15:
        raise InputError(f"{text.strip()!r} is no number to work with", loc=loc, hint=_HINT)
    return value


def _number(value: Decimal, loc: str, whole: bool) -> float | int:  # noqa: FBT001
    if not whole:
        return float(value)
    if value != value.to_integral_value():
        raise InputError(f"{value} is no whole number", loc=loc)
    return int(value)
