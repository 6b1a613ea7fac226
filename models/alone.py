"""One process at a time: a lock that the system frees when its holder ends, however that comes."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.errors import StoreError
from models.locations import is_local


@contextmanager
def alone(directory: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes that ask for the same directory out until the end.

    Args:
        directory: Path or URI; made if it is not there. Object stores have no locks, so there nobody is kept out.
        wait: Called once if another process is in, before waiting for its end.

    Raises:
        StoreError: the directory cannot be made or written.
    """
    if not is_local(directory):
        yield
        return
    with _opened(directory) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _opened(directory: str) -> IO[str]:
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        return open(f"{directory}/lock", "a")
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be made or written: {error.strerror}. Check that NOCTURNE_HOME, or the setting of "
            f"storage behind this place, names a directory that this user may write."
        ) from error
