"""Where everything lies: one home, each part movable to a URI of its own."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models.config import StorageConfig


@dataclass(frozen=True)
class Locations:
    """Paths or URIs of all that Nocturne keeps, from the storage configuration."""

    storage: StorageConfig

    @property
    def home(self) -> str:
        return _absolute(self.storage.home)

    @property
    def tables(self) -> str:
        return self._part(self.storage.tables, "tables")

    @property
    def deliveries(self) -> str:
        return self._part(self.storage.deliveries, "deliveries")

    @property
    def nights(self) -> str:
        return self._part(self.storage.nights, "nights")

    @property
    def reports(self) -> str:
        return self._part(self.storage.reports, "reports")

    @property
    def data_docs(self) -> str:
        return self._part(self.storage.data_docs, "data_docs")

    @property
    def tracking_uri(self) -> str:
        return self.storage.tracking_uri or f"sqlite:///{self.home}/mlflow/mlflow.db"

    @property
    def artifacts(self) -> str:
        return self._part(self.storage.artifacts, "mlflow/artifacts")

    def table(self, name: str) -> str:
        """URI of one Delta table."""
        return f"{self.tables}/{name}"

    def night(self, night_id: str) -> str:
        """Directory of the frames of one night."""
        return f"{self.nights}/{night_id}"

    def _part(self, stated: str | None, below_home: str) -> str:
        return _absolute(stated) if stated else f"{self.home}/{below_home}"


def is_local(uri: str) -> bool:
    """Whether a location is a plain path of this machine."""
    return "://" not in uri


def without_credentials(uri: str) -> str:
    """The URI, or a text with URIs in it, as it may be shown: no user and no password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", uri)


def open_at(uri: str, mode: str = "rb") -> IO[Any]:
    """Open a file at a path or fsspec URI, making its directory when writing."""
    import fsspec

    if "w" in mode:
        filesystem, path = fsspec.core.url_to_fs(uri)
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    opened: IO[Any] = fsspec.open(uri, mode).open()
    return opened


def exists(uri: str) -> bool:
    """Whether a file or directory is there."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))


def _absolute(uri: str) -> str:
    return str(Path(uri).expanduser().absolute()) if is_local(uri) else uri.rstrip("/")
