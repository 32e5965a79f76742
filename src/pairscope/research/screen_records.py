"""The discoveries of continuous screens as records: kept after every screen, taken up again at the next start."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
import structlog

from pairscope.errors import StorageError
from pairscope.ports import Records
from pairscope.research.screen_line import ScreenLine

__all__ = ["COLLECTION", "ScreenRecords"]

COLLECTION: Final = "screens"

_log = structlog.get_logger(__name__)


class ScreenRecords:
    """Keeps and restores the discoveries of screens; ``refused`` counts what the store did not take."""

    def __init__(self, records: Records) -> None:
        self.refused = 0
        self._records = records

    async def restore(self, line: ScreenLine) -> None:
        """Take up a screen's discoveries as they were kept."""
        documents, prefix = [], f"{line.name}:"
        try:
            async for key, document in self._records.scan(COLLECTION, after=prefix):
                if not key.startswith(prefix):
                    break
                line.keys.append(key)
                with suppress(ValueError):  # what is no JSON is let go of when its time has come
                    documents.append(orjson.loads(document))
            line.discoveries.restore(documents[-line.discoveries.kept :])
        except (StorageError, LookupError, TypeError, ValueError) as error:
            _log.warning("the history of a screen cannot be read", screen=line.name, error=str(error))

    async def keep(self, line: ScreenLine, document: Mapping[str, Any]) -> None:
        """Keep what a screen discovered, and let go of what is older than the history reaches."""
        key = f"{line.name}:{document['as_of']:015d}"
        try:
            await self._records.put(COLLECTION, key, orjson.dumps(document))
            if key not in line.keys:
                line.keys.append(key)
            while len(line.keys) > line.discoveries.kept:
                await self._records.delete(COLLECTION, line.keys[0])
                line.keys.popleft()
        except StorageError as error:
            self.refused += 1
            _log.warning("the discoveries of a screen could not be kept", screen=line.name, error=str(error))
