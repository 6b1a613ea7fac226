"""What is told while a night runs, from Prefect's own log records."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.progress import STAGES, Progress
from tasks.run_log import SUMMARY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def told():
    file = io.StringIO()
    progress = Progress(Console(file=file))

    def tell(message: str, level: int = logging.INFO, name: str = STAGES, **run: object) -> str:
        record = logging.LogRecord(name, level, __file__, 1, message, (), None)
        record.__dict__.update(run)
        progress.emit(record)
        return file.getvalue()

    return tell


STAGE = {"task_run_id": "1", "task_name": "fit and export"}


def test_a_stage_is_told_when_it_starts_and_when_it_ends(told):
    assert "fit and export …" in told("Executing task", logging.DEBUG, **STAGE)
    ended = told("Finished in state Completed()", **STAGE).splitlines()[-1]
    assert ended.split() == ["fit", "and", "export", "0.0", "s"]


def test_the_messages_of_a_stage_are_told(told):
    told("Executing task", logging.DEBUG, **STAGE)
    assert "epoch 3 of at most 12" in told("epoch 3 of at most 12", **STAGE)


def test_what_a_stage_came_to_is_left_to_the_result_at_the_end(told):
    told("Executing task", logging.DEBUG, **STAGE)
    assert "12 epochs" not in told("v1 trained in 12 epochs", **STAGE, **{SUMMARY: True})


def test_warnings_are_told_from_anywhere(told):
    assert "warning: disk nearly full" in told("disk nearly full", logging.WARNING, name="somewhere")


def test_an_error_that_is_raised_as_well_is_not_told_twice(told):
    assert told("Finished in state Failed()", logging.ERROR, **STAGE) == ""


def test_the_address_of_the_temporary_server_is_not_shown(told):
    assert told("View at http://127.0.0.1:1/runs", name="prefect.flow_runs") == ""


def test_stray_output_of_libraries_and_child_processes_never_reaches_standard_output():
    code = (
        "import os\n"
        "from flows.progress import results_only_on_stdout\n"
        "with results_only_on_stdout():\n"
        "    print('library'); os.system('echo child'); os.write(1, b'native')\n"
        "print('result')"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == f"result{os.linesep}"
    assert all(word in ended.stderr for word in ("library", "child", "native"))
