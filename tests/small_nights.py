"""Nights that take seconds: a small network, a short history, and a gate that a planted edge can pass."""

from pathlib import Path
from typing import Any

import pandas as pd

from models.config import RetrainConfig

# fmt: off
SMALL = {
    "network": {"window": 21, "spans": [1, 3, 8], "hidden": [16], "fusion": 16},
    "targets": {"horizon_sessions": 3},
    "training": {
        "members": 1, "max_epochs": 4, "validation_sessions": 20, "batch_size": 512, "learning_rate": 2e-3
    },
    # The planted edge is far above what real stocks allow, and so above what the gate would believe.
    "gate": {
        "evidence_sessions": 60, "folds": "single", "first_champion": "healthy", "bootstrap_replicates": 100,
        "suspicious_auc_low": 0.7
    },
}
# fmt: on


def config_at(home: Path, **sections: dict) -> RetrainConfig:
    merged = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {*SMALL, *sections}}
    return RetrainConfig.model_validate({**merged, "storage": {"home": str(home)}})


def deliver(bars: pd.DataFrame, directory: Path, name: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    bars.assign(timestamp=bars["session"].dt.date).drop(columns="session").to_csv(path, index=False)
    return str(path)


def settings_of(**sections: dict) -> dict[str, Any]:
    """The settings of a small night as a deployment states them; the storage is left to the workers."""
    return config_at(Path("unused"), **sections).model_dump(mode="json", exclude_defaults=True, exclude={"storage"})
