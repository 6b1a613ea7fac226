"""What an exported model says of itself, and the fingerprints of its files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from models.config import FUNCTIONALS, RECORDED, RetrainConfig
from models.records import Record


class ModelCard(Record):
    """`metadata.json` of an exported model: all that scoring and comparing it needs."""

    version: str
    recipe: str
    session: str
    """Session of the night that made it."""
    trained_until: str
    window: int
    heads: tuple[str, ...]
    scales: dict[str, float]
    functionals: dict[str, str]
    """What each bounded head predicts: mean, median or root mean square."""
    epochs: int
    members: int
    relative: bool | None = None
    """Whether its direction is told against the universe; None in models from before this was noted."""
    config: dict[str, Any]
    """The night's configuration without its storage."""

    @classmethod
    def of(cls, config: RetrainConfig, scales: dict[str, float], **facts: Any) -> "ModelCard":
        """The card of a model made with this configuration."""
        losses = config.training.losses.model_dump()
        return cls(
            window=config.network.window,
            heads=config.network.heads,
            scales=scales,
            functionals={head: FUNCTIONALS[losses[head]] for head in scales},
            members=config.training.members,
            config=config.model_dump(mode="json", exclude={"storage"}),
            **facts,
        )

    @property
    def retrain_config(self) -> RetrainConfig:
        """The configuration that the model was made with."""
        return RetrainConfig.model_validate(self.config, context=RECORDED)


def read_card(directory: Path) -> ModelCard:
    """The card of an exported model."""
    return ModelCard.model_validate(json.loads((directory / "metadata.json").read_text()))


def file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
