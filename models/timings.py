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
        """Tell a part of a stage apart; one that took longer than the stage just now was done before, and is not."""
        if 0 < seconds <= self._seconds[stage]:
            self._seconds[stage] -= seconds
            self._seconds[part] = seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds; `total` runs from the making of this object."""
        total = time.monotonic() - self._started
        return {stage: round(value, 3) for stage, value in {**self._seconds, "total": total}.items()}
