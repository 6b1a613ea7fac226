"""A night: its identity, and the files that its stages hand to one another."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import fsspec
import pandas as pd
from pydantic import BaseModel

from models.alone import alone
from models.config import RetrainConfig, StorageConfig, config_hash, recipe_hash
from models.dataset import Dataset
from models.locations import Locations, exists, is_local, open_at, write_whole
from models.records import Record, Snapshot
from models.scratch import scratch

RecordType = TypeVar("RecordType", bound=BaseModel)

PACKAGES: Final = ("flows", "tasks", "expectations", "models")


class NightRecord(Record):
    """What a night is a function of. `night_id` is the hash of it all but `as_of`: of two moments at which the same
    rows were known, the night is the same."""

    night_id: str
    snapshot: Snapshot
    config_hash: str
    code_hash: str
    recipe: str

    @classmethod
    def of(cls, snapshot: Snapshot, config: RetrainConfig) -> "NightRecord":
        """The night of these rows under this configuration and the present code."""
        code = code_hash(PACKAGES)
        settings = config_hash(config)
        return cls(
            night_id=night_id_of(snapshot, settings, code),
            snapshot=snapshot,
            config_hash=settings,
            code_hash=code,
            recipe=recipe_hash(config, code_hash(("models",))),
        )

    @property
    def version(self) -> str:
        """Name of the model that this night makes."""
        return f"{self.snapshot.session}-{self.night_id[:8]}"


def night_id_of(snapshot: Snapshot, settings: str, code: str) -> str:
    """The name of the night of these rows, under settings and code with these hashes."""
    identity = [str(snapshot.session), snapshot.hash, settings, code]
    return hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]


@cache
def code_hash(packages: tuple[str, ...]) -> str:
    """Hash over the source files of these packages, in the checkout or where they are installed."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class NightFiles:
    """Frames and records of one night, under a location that every worker can reach."""

    def __init__(self, locations: Locations, night_id: str) -> None:
        self.root = locations.night(night_id)

    def uri(self, name: str) -> str:
        return f"{self.root}/{name}"

    def has(self, name: str) -> bool:
        return exists(self.uri(name))

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        content = frame.to_parquet(index=False, compression="zstd")
        write_whole(self.uri(f"{name}.parquet"), content)

    def read_frame(self, name: str) -> pd.DataFrame:
        with open_at(self.uri(f"{name}.parquet")) as file:
            return pd.read_parquet(file)

    def write_record(self, name: str, record: BaseModel) -> None:
        write_whole(self.uri(f"{name}.json"), record.model_dump_json(indent=1).encode())

    def read_record(self, name: str, kind: type[RecordType]) -> RecordType:
        with open_at(self.uri(f"{name}.json"), "r") as file:
            return kind.model_validate_json(file.read())

    def write_whole(self, name: str, content: bytes) -> None:
        """Write a file of any kind so that nobody ever sees a part of it."""
        write_whole(self.uri(name), content)

    def read_whole(self, name: str) -> bytes | None:
        """A file of any kind; None where it is not there."""
        if not self.has(name):
            return None
        with open_at(self.uri(name)) as file:
            content: bytes = file.read()
        return content

    def read_dataset(self, config: RetrainConfig) -> Dataset:
        """The night's dataset, from the bars and the market's returns that its snapshot wrote."""
        market = self.read_frame("market").set_index("session")["market_return"]
        return Dataset.of(self.read_frame("bars"), market, config)

    def read_config(self, storage: StorageConfig) -> RetrainConfig:
        """The night's configuration, with the storage as this process sees it."""
        return self.read_record("config", RetrainConfig).model_copy(update={"storage": storage})

    def alone(self, wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Keep other processes of this night out; on object stores the deployment's limit of one run has to do.

        Args:
            wait: Called once if another process is at work on this night, before waiting for its end.
        """
        return alone(self.root, wait)

    def store_directory(self, name: str, local: Path) -> str:
        """Copy a local directory here; one that was there before gives way. Returns its URI.

        On a local place it appears whole. On an object store a kill leaves a part, so whoever reads it compares the
        hashes of its files with the record that is written after it.
        """
        target = self.uri(name)
        if not is_local(target):
            filesystem, path = fsspec.core.url_to_fs(target)
            if filesystem.exists(path):
                filesystem.rm(path, recursive=True)
            filesystem.put(f"{local}/", f"{path}/", recursive=True)
            return target
        part = f"{target}.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(local, part)  # it may come from another disk, from where nothing moves as a whole
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        return target


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A directory at any location as a local path: itself if it is local, else a copy for as long as it is needed."""
    if is_local(uri):
        yield Path(uri)
        return
    with scratch("copy") as temporary:
        filesystem, path = fsspec.core.url_to_fs(uri)
        filesystem.get(f"{path}/", f"{temporary}/", recursive=True)
        yield temporary
