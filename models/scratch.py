"""Temporary directories that do not outlive their process: what a killed one left is removed by the next."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PREFIX: Final = "nocturne-"
_MARK: Final = ".nocturne-scratch"


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """An empty directory until the end of the body; its mark is locked for as long as this process lives.

    Args:
        purpose: A word for whoever looks into the directory of temporary files.
    """
    _remove_what_was_left()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-") as made, _held(Path(made)):
        content = Path(made) / "content"
        content.mkdir()
        yield content


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    with open(directory / f"{_MARK}.part", "w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        os.replace(mark.name, directory / _MARK)  # it appears locked
        yield


def _remove_what_was_left() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_left(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _is_left(directory: Path) -> bool:
    """Whether it is one of ours whose process has ended. Without the mark it may be anything, somebody's home even."""
    try:
        with open(directory / _MARK) as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False
