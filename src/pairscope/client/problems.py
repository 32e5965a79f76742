"""Errors that the API answered, as errors of this program, in the server's own words."""

from __future__ import annotations

from typing import Any

import httpx2

from pairscope.errors import ApiRefused, InputError, PairscopeError, StoreUnavailable, UnknownSymbol

__all__ = ["error_of", "json_object"]


def json_object(answer: httpx2.Response) -> dict[str, Any]:
    """Return the body where it is a JSON object, else an empty one."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def error_of(answer: httpx2.Response) -> PairscopeError:
    """Make the error that a problem+json answer tells of, with its words."""
    problem = json_object(answer)
    kind = str(problem.get("type", "")).rpartition(":")[2]
    faults = [fault for fault in problem.get("errors") or [] if isinstance(fault, dict)]
    where = faults[0].get("loc") if faults else None
    loc = str(where[-1]) if isinstance(where, list) and where else str(where or "")
    detail = str(problem.get("detail") or problem.get("title") or answer.reason_phrase or "no reason given")
    hint = str(problem.get("hint") or "")
    error: PairscopeError
    match answer.status_code:
        case 404 if kind == "unknown-symbol" or loc == "symbol":
            error = UnknownSymbol("")
            error.args = (detail,)
        case 422:
            error = InputError(detail, loc=loc, hint=hint)
        case 503 if kind != "busy":
            error = StoreUnavailable(detail, hint=hint)
        case status:
            after = answer.headers.get("Retry-After", "")
            after_s = float(after) if after.isdigit() else None
            error = ApiRefused(detail, http_status=status, loc=loc, retry_after_s=after_s, hint=hint)
    error.problem = problem or None
    return error
