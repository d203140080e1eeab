"""The campaign's own diary: one JSON line for each thing that happened, with its time."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Events:
    """Writes the diary, and counts by kind. No codes and no keys go in."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        """What must never happen, whatever KrosAI and the chaos do; each is a difference."""

    def note(self, kind: str, **facts: Any) -> None:
        self.counts[kind] += 1
        self._file.write(json.dumps({"at": round(time.time(), 4), "kind": kind, **facts}, default=str) + "\n")

    def trouble(self, says: str, **facts: Any) -> None:
        self.troubles.append(f"{says} {facts}")
        self.note("trouble", says=says, **facts)

    def close(self) -> None:
        self._file.close()
