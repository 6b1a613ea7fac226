"""Temporary directories: gone with their process, however it ends, and nobody else's are touched."""

import subprocess
import sys
import tempfile

import pytest

from models.scratch import scratch
from tests.real_prefect import ROOT

HOLD = "from models.scratch import scratch\nwith scratch('test') as one: print(one, flush=True); input()"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A place of its own for temporary files, of this process and of those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def holder(place):
    """A process that holds a temporary directory until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_it_is_gone_afterwards(place):
    with scratch("test") as directory:
        (directory / "file").write_text("content")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(place, holder):
    holder.kill()
    holder.wait()
    assert len(list(place.iterdir())) == 1
    with scratch("test") as mine:
        assert list(place.iterdir()) == [mine.parent]


def test_what_a_living_process_holds_stays(place, holder):
    with scratch("test"):
        assert len(list(place.iterdir())) == 2


def test_a_directory_of_the_same_name_that_is_not_ours_stays(place):
    (place / "nocturne-home").mkdir()
    with scratch("test"):
        assert (place / "nocturne-home").is_dir()
