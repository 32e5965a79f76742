"""Long computations through the API: how far each is, an end to it, and waiting for what it brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from pairscope.client.asking import Ask, Caller, Pause, Steps, call, changed, read, segment
from pairscope.client.frames import FrameKind, table_of
from pairscope.errors import ApiRefused, ApiUnreachable, JobCancelled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JobCalls"]

_COLUMNS: Final = ("id", "kind", "title", "status", "done", "total", "created_ms", "started_ms", "ended_ms", "error")
_FIRST_LOOK_S: Final = 0.05
_LONGEST_LOOK_S: Final = 1.0


class JobCalls(Caller):
    """What is asked of jobs."""

    @call
    def jobs(self, *, kind: str | None = None, frame: FrameKind | None = None) -> Steps[pd.DataFrame]:
        """Return the jobs that wait, run, or ended not long ago, the newest first, a row each."""
        rows = (yield from read("/api/jobs", kind=kind))["jobs"]
        times = ("created_ms", "started_ms", "ended_ms")
        return table_of(self.kind(frame), rows, columns=_COLUMNS, times=times, index="id")

    @call
    def job(self, id: str) -> Steps[dict[str, Any]]:  # noqa: A002 - what everybody calls it
        """Return how far a job is: ``status``, ``done`` of ``total``, ``error``."""
        return dict((yield from read(f"/api/jobs/{segment(id)}")))

    @call
    def cancel_job(self, id: str) -> Steps[dict[str, Any]]:  # noqa: A002
        """Have a job end."""
        answer = yield from changed(Ask("DELETE", f"/api/jobs/{segment(id)}"))
        return dict(answer.json())

    @call
    def wait(
        self,
        job: str | Mapping[str, Any],
        *,
        progress: Callable[[Mapping[str, Any]], object] | None = None,
        timeout_s: float | None = None,
    ) -> Steps[dict[str, Any]]:
        """Wait for a job's end and return what it found; ``progress`` is called with the job whenever it came further.

        ``JobCancelled`` where somebody ended it, ``ApiRefused`` in the job's own words where it failed, and
        ``ApiUnreachable`` after ``timeout_s``, if given: the job goes on.
        """
        name = job if isinstance(job, str) else str(job["id"])
        since, look_s, told = monotonic(), _FIRST_LOOK_S, None
        while True:
            said = dict((yield from read(f"/api/jobs/{segment(name)}")))
            if progress is not None and said != told:
                progress(said)
                told = said
            match said["status"]:
                case "done":
                    return dict((yield from read(str(said["result"])))) if said.get("result") else said
                case "cancelled":
                    raise JobCancelled(f"the job {said.get('title') or name} was cancelled")
                case "failed":
                    raise ApiRefused(str(said.get("error") or "the job failed"), http_status=200)
            if timeout_s is not None and monotonic() - since + look_s > timeout_s:
                raise ApiUnreachable(
                    f"the job {said.get('title') or name} is not done after {timeout_s:g} s",
                    hint="it goes on; wait again, or cancel_job",
                )
            yield Pause(look_s)
            look_s = min(look_s * 1.5, _LONGEST_LOOK_S)
