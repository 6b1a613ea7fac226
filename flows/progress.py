"""What people see on standard error while a night runs: a spinner on a terminal, plain lines elsewhere.

The stages are those that Prefect runs: its own log of task runs is read, so no stage has to report itself.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.notation import duration
from tasks.run_log import SUMMARY

if TYPE_CHECKING:
    from rich.console import Console

STAGES = "prefect.task_runs"
OURS = ("flows", "tasks", "expectations", "models")
ENGINE = ("Beginning flow run", "Beginning subflow run", "View at", "Finished in state", "Running hook", "Hook ")
"""Starts of what Prefect itself says about a flow run; its address is gone with the temporary server."""
HANDED_ON = ("prefect.flow_runs", STAGES)
"""Errors logged here are raised as well, and told once, at the end."""


@contextlib.contextmanager
def results_only_on_stdout() -> Iterator[None]:
    """Whatever is printed meanwhile, by any library or child process, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class Progress(logging.Handler):
    """Tells the stages as they start and end, their messages, and warnings from anywhere."""

    def __init__(self, console: "Console") -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._spinner = console.status("starting")
        self._since: dict[str, float] = {}

    def say(self, text: str) -> None:
        """What is going on now."""
        if self._console.is_terminal:
            self._spinner.update(f"[bold]{text}[/] …")
        else:
            self._console.print(f"{text} …", markup=False, soft_wrap=True)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(STAGES) and record.levelno <= logging.INFO:
            self._stage(record)
        elif record.levelno <= logging.INFO:
            if not record.getMessage().startswith(ENGINE):
                self._message(record)
        elif record.levelno == logging.WARNING or not record.name.startswith(HANDED_ON):
            self._console.print(f"{record.levelname.lower()}: {record.getMessage()}", markup=False, soft_wrap=True)

    def _stage(self, record: logging.LogRecord) -> None:
        run, stage = str(getattr(record, "task_run_id", "")), str(getattr(record, "task_name", ""))
        if record.getMessage().startswith("Finished in state"):
            took = duration(time.monotonic() - self._since.pop(run, time.monotonic()))
            self._console.print(f"  {stage:<24} {took:>10}", markup=False)
        elif run not in self._since:
            self._since[run] = time.monotonic()
            self.say(stage)
        elif record.levelno == logging.INFO and not hasattr(record, SUMMARY):
            self._message(record)

    def _message(self, record: logging.LogRecord) -> None:
        if not self._console.is_terminal:
            self._console.print(f"    {record.getMessage()}", markup=False, soft_wrap=True)
        else:
            self._spinner.update(f"[bold]{getattr(record, 'task_name', 'night')}[/] … {record.getMessage()}")

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._spinner.stop()
        logging.getLogger().removeHandler(self)

    def listen(self) -> None:
        """Begin to hear the log; to be called when Prefect is imported, since that resets all logging."""
        logging.getLogger().addHandler(self)
        logging.getLogger(STAGES).setLevel(logging.DEBUG)  # the start of a stage is logged at this level only
        for name in OURS:
            logging.getLogger(name).setLevel(logging.INFO)


def progress() -> Progress:
    """Progress on standard error."""
    from rich.console import Console

    return Progress(Console(stderr=True, highlight=False))
