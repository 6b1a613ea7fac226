"""Where everything lies: one home, each part movable to a URI of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models.config import StorageConfig, storage_variable
from models.credentials import without_credentials


@dataclass(frozen=True)
class Locations:
    """Paths or URIs of all that Nocturne keeps: as configured, else as this process's environment says."""

    storage: StorageConfig

    @property
    def home(self) -> str:
        return _absolute(self._stated("home") or ".nocturne")

    @property
    def tables(self) -> str:
        return self._part("tables")

    @property
    def deliveries(self) -> str:
        return self._part("deliveries")

    @property
    def nights(self) -> str:
        return self._part("nights")

    @property
    def folds(self) -> str:
        return self._part("folds")

    @property
    def reports(self) -> str:
        return self._part("reports")

    @property
    def data_docs(self) -> str:
        return self._part("data_docs")

    @property
    def tracking_uri(self) -> str:
        return self._stated("tracking_uri") or f"sqlite:///{self.home}/mlflow/mlflow.db"

    @property
    def artifacts(self) -> str | None:
        """Where MLflow shall put its files; None leaves that to an MLflow server, which knows its own place."""
        if self._stated("artifacts") or self.tracking_uri.startswith("sqlite:///"):
            return self._part("artifacts", "mlflow/artifacts")
        return None

    def table(self, name: str) -> str:
        """URI of one Delta table."""
        return f"{self.tables}/{name}"

    def night(self, night_id: str) -> str:
        """Directory of the frames of one night."""
        return f"{self.nights}/{night_id}"

    def placebo(self, recipe: str) -> str:
        """Where the last label placebo of a recipe is kept."""
        return f"{self.home}/placebo/{recipe}.json"

    def _part(self, name: str, below_home: str | None = None) -> str:
        stated = self._stated(name)
        return _absolute(stated) if stated else f"{self.home}/{below_home or name}"

    def _stated(self, name: str) -> str | None:
        return getattr(self.storage, name) or os.environ.get(storage_variable(name))


def is_local(uri: str) -> bool:
    """Whether a location is a plain path of this machine."""
    return "://" not in uri


def open_at(uri: str, mode: str = "rb") -> IO[Any]:
    """Open a file at a path or fsspec URI, making its directory when writing."""
    import fsspec

    if "w" in mode:
        filesystem, path = fsspec.core.url_to_fs(uri)
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    opened: IO[Any] = fsspec.open(uri, mode).open()
    return opened


def write_whole(uri: str, content: bytes) -> None:
    """Write a file so that nobody, not even after a crash, ever sees a part of it."""
    part = f"{uri}.{os.getpid()}.part" if is_local(uri) else uri  # an object appears when its upload is complete
    with open_at(part, "wb") as file:
        file.write(content)
        if part != uri:  # on the disk, not only on its way there, before the name says that it is whole
            file.flush()
            os.fsync(file.fileno())
    if part != uri:
        os.replace(part, uri)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Errors that the client of a remote store has for itself, as the OSError that they are.

    Raises:
        OSError: the place cannot be reached.
    """
    try:
        yield
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:
        if is_local(uri):
            raise
        raise OSError(
            f"{without_credentials(uri)} cannot be reached: {error}. Check network, endpoint and credentials"
        ) from error


def exists(uri: str) -> bool:
    """Whether a file or directory is there."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))


def _absolute(uri: str) -> str:
    uri = uri.removeprefix("file://")
    return str(Path(uri).expanduser().absolute()) if is_local(uri) else uri.rstrip("/")
