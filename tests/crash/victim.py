"""Real work in processes that are killed. What it needs is imported once; each piece of work is forked from there.

Run as a program it takes orders, one JSON document a line, and answers each with one. A killed child leaves nothing
behind but the last line of our source that it had begun, which lies in memory that both processes share. A child is
killed either as it begins the n-th line of its commit, or by its parent after some seconds of it: the first way finds
every gap between two steps, the second also the inside of Delta's and SQLite's own code.
"""

import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = str(Path(__file__).parents[2])
OURS = tuple(f"{ROOT}/{package}/" for package in ("tasks", "expectations", "models"))
KEPT = 4096
_HEAD = struct.Struct("<II")
Json = dict[str, Any]


@dataclass
class Trace:
    """Counts the lines of our source that a commit begins, and remembers the last of them."""

    starts_in: str
    """Name of the function with which the commit begins; all before it is neither counted nor killed."""
    kill_at: int | None = None
    begun: Callable[[], object] = lambda: None
    memory: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, KEPT))
    began_at: float = 0.0
    _lines: int = 0

    def called(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return None
        if not self._lines:
            if code.co_name != self.starts_in:
                return None
            self.began_at = time.monotonic()
            self.begun()
        return self.line

    def line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._lines += 1
            code = frame.f_code
            place = f"{code.co_filename.removeprefix(ROOT + '/')}:{code.co_qualname}:{frame.f_lineno}".encode()
            self.memory[: _HEAD.size + len(place)] = _HEAD.pack(self._lines, len(place)) + place
            if self._lines == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line

    @property
    def seen(self) -> tuple[int, str]:
        """Lines begun, and where the last of them is: `file:function:line`."""
        lines, size = _HEAD.unpack(self.memory[: _HEAD.size])
        return lines, self.memory[_HEAD.size : _HEAD.size + size].decode()


def do(order: Json, jobs: dict[str, Callable[[Json], Json]]) -> Json:
    """Fork a child for the order's job, kill it if and when the order says so, and tell what became of it."""
    trace = Trace(order.get("starts_in", ""), order.get("kill_at"))
    answers, answer = os.pipe()
    starts, start = os.pipe()
    trace.begun = lambda: os.write(start, b"!")
    child = os.fork()
    if child == 0:
        os.close(answers)
        _work(order, jobs, trace, answer)
    for end in (answer, start):
        os.close(end)
    after_s = order.get("kill_after_s")
    if after_s is not None and os.read(starts, 1) and not select.select([answers], [], [], after_s)[0]:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(answers, "rb") as told:
        said = told.read()
    os.close(starts)
    _, status = os.waitpid(child, 0)
    lines, place = trace.seen
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return {"killed": killed, "lines": lines, "place": place, "said": None if killed else json.loads(said)}


def _work(order: Json, jobs: dict[str, Callable[[Json], Json]], trace: Trace, answer: int) -> None:
    if trace.starts_in:
        sys.settrace(trace.called)
    try:
        said = jobs[order["job"]](order) | {"commit_s": time.monotonic() - trace.began_at}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    sys.settrace(None)
    with os.fdopen(answer, "wb") as told:
        told.write(json.dumps(said).encode())
    os._exit(0)


def take_orders() -> None:
    """Answer every order from standard input until it ends."""
    from tests.crash.work import JOBS, load

    load()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # standard output is for answers alone
    print(json.dumps({"loaded": sorted(name for name in HEAVY if name in sys.modules)}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line), JOBS)), file=answers, flush=True)


HEAVY = ("tensorflow", "great_expectations", "mlflow", "deltalake")

if __name__ == "__main__":
    take_orders()
