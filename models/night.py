"""A night: its identity, and the files that its stages hand to one another."""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import pandas as pd

from models.config import RetrainConfig, config_hash, recipe_hash
from models.locations import Locations, exists, open_at
from models.records import NightResult, Record, Snapshot

PACKAGES: Final = ("flows", "tasks", "expectations", "models")


class NightRecord(Record):
    """What a night is a function of; `night_id` is the hash of it all."""

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
        identity = [str(snapshot.session), snapshot.as_of.isoformat(), snapshot.hash, settings, code]
        return cls(
            night_id=hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16],
            snapshot=snapshot,
            config_hash=settings,
            code_hash=code,
            recipe=recipe_hash(config, code_hash(("models",))),
        )

    @property
    def version(self) -> str:
        """Name of the model that this night makes."""
        return f"{self.snapshot.session}-{self.night_id[:8]}"


@cache
def code_hash(packages: Iterable[str]) -> str:
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
        with open_at(self.uri(f"{name}.parquet"), "wb") as file:
            frame.to_parquet(file, index=False, compression="zstd")

    def read_frame(self, name: str) -> pd.DataFrame:
        with open_at(self.uri(f"{name}.parquet")) as file:
            return pd.read_parquet(file)

    def write_json(self, name: str, value: object) -> None:
        with open_at(self.uri(f"{name}.json"), "w") as file:
            file.write(json.dumps(value, indent=1))

    def read_json(self, name: str) -> object:
        with open_at(self.uri(f"{name}.json"), "r") as file:
            return json.loads(file.read())

    def write_result(self, result: NightResult) -> None:
        self.write_json("result", result.model_dump(mode="json"))

    def read_result(self) -> NightResult:
        return NightResult.model_validate(self.read_json("result"))
