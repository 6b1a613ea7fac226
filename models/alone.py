"""One process at a time: a lock that the system frees when its holder ends, however that comes."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.locations import is_local


@contextmanager
def alone(directory: str, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes that ask for the same directory out until the end.

    Args:
        directory: Path or URI; made if it is not there. Object stores have no locks, so there nobody is kept out.
        wait: Called once if another process is in, before waiting for its end.
    """
    if not is_local(directory):
        yield
        return
    Path(directory).mkdir(parents=True, exist_ok=True)
    with open(f"{directory}/lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
