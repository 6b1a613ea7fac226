"""The same snapshot, configuration and code give the same weights, bit for bit, wherever and whenever they are run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIT = """
import hashlib
import sys
from models.config import RetrainConfig
from models.dataset import Dataset
from models.features import summaries
from models.panel import build_panel
from models.synthetic import MarketSettings, synthetic_market
from models.fit import Material, fit

config = RetrainConfig.model_validate({
    "network": {"window": 21, "spans": [1, 3, 8]},
    "training": {"validation_sessions": 20, "max_epochs": 2, "batch_size": 256, "xla": sys.argv[1]},
    "gate": {"folds": "single"},
})
bars = synthetic_market(MarketSettings(symbols=25, sessions=200)).bars
dataset = Dataset.of(bars, build_panel(bars, config.data).market, config)
seen = summaries(dataset.panel, 21, (1, 3, 8))
fitted = fit(Material(seen, dataset.targets, dataset.train, dataset.validation, dataset.scales()), config)
digest = hashlib.sha256()
for weights in fitted.trunk.get_weights():
    digest.update(weights.tobytes())
print(digest.hexdigest(), fitted.threads, fitted.device)
"""
NIGHT = """
import sys
from models.config import RetrainConfig, StorageConfig
from models.dataset import Dataset
from models.features import summaries
from models.fit import Material, fit
from models.folds import course_of, recipe_folds
from models.locations import Locations
from models.panel import build_panel
from models.synthetic import MarketSettings, synthetic_market

config = RetrainConfig.model_validate({
    "network": {"window": 21, "spans": [1, 3, 8], "hidden": [8], "fusion": 8},
    "targets": {"horizon_sessions": 3},
    "training": {"validation_sessions": 20, "max_epochs": 1, "threads": 1},
    "gate": {"evidence_sessions": 90},
})
bars = synthetic_market(MarketSettings(symbols=25, sessions=341)).bars
dataset = Dataset.of(bars, build_panel(bars, config.data).market, config)
seen = summaries(dataset.panel, 21, (1, 3, 8))
folds = recipe_folds(dataset, seen, "recipe", Locations(StorageConfig(home=sys.argv[1])))
material = Material(seen, dataset.targets, dataset.train, dataset.validation, dataset.scales())
fitted = fit(material, config, course=course_of(folds))
print({fold.record.reused for fold in folds}, fitted.threads)
"""


def elsewhere(directory: Path, script: str, argument: str, **environment: str) -> subprocess.Popen:
    directory.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", script, argument],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("xla", ["never", pytest.param("always", marks=pytest.mark.slow)])
def test_two_processes_in_other_directories_on_other_days_make_the_same_weights(tmp_path, xla):
    """The two time zones never have the same date."""
    runs = [
        elsewhere(tmp_path / "one", FIT, xla, PYTHONHASHSEED="1", TZ="Pacific/Kiritimati"),
        elsewhere(tmp_path / "two", FIT, xla, PYTHONHASHSEED="2", TZ="Pacific/Pago_Pago"),
    ]
    first, second = (run.communicate(timeout=300)[0].split() for run in runs)
    assert len(first[0]) == 64
    assert first == second
    assert first[1:] == ["2", "CPU"]


def test_a_night_that_finds_its_folds_stored_trains_with_as_many_threads_as_the_first(tmp_path):
    nights = [elsewhere(tmp_path / name, NIGHT, str(tmp_path / "home")).communicate(timeout=300)[0] for name in "ab"]
    assert nights == ["{False} 1\n", "{True} 1\n"]
