"""Where the seconds of a night go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


class Timings:
    """Seconds by stage, in the order in which the stages ran."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self._started = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - began

    def split(self, stage: str, part: str, seconds: float) -> None:
        """Tell a part of a stage apart, as far as the stage took so long just now; zero seconds are not told."""
        taken = min(seconds, self._seconds[stage])
        if taken:
            self._seconds[stage] -= taken
            self._seconds[part] = taken

    @property
    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds; `total` runs from the making of this object."""
        total = time.monotonic() - self._started
        return {stage: round(value, 3) for stage, value in {**self._seconds, "total": total}.items()}
