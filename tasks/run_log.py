"""What a stage says in the log of its run. It imports no Prefect: the console needs the mark before that."""

import logging
from typing import Any, Final

SUMMARY: Final = "nocturne_summary"
"""Mark of the one line that says what a stage came to. The console leaves it out (flows/progress.py): there the result
says the same at the end."""


def run_log() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The log of the run; an ordinary one where a stage is called as a plain function."""
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def sum_up(sentence: str) -> None:
    """Say what a stage came to, in one sentence with its main numbers."""
    run_log().info("%s", sentence, extra={SUMMARY: True})
