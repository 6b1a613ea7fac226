import shutil
import subprocess
import sys

import numpy as np
import pytest

from models import clean_process
from models.clean_process import CleanProcess
from models.errors import CandidateRejected


@pytest.fixture
def candidate(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "candidate")


def test_a_clean_process_reproduces_the_golden_batch(exported):
    with CleanProcess.start() as clean:
        transcript = clean.reproduce(exported)
    assert transcript.rows == 16
    assert set(transcript.differences) == {"direction", "volatility", "magnitude"}


def test_a_golden_batch_that_was_altered_is_noticed(candidate):
    with np.load(candidate / "golden.npz") as golden:
        arrays = dict(golden)
    arrays["volatility"] = arrays["volatility"] + 1e-4
    np.savez(candidate / "golden.npz", **arrays)
    with CleanProcess.start() as clean, pytest.raises(CandidateRejected, match="volatility"):
        clean.reproduce(candidate)


def test_a_golden_nan_never_passes(candidate):
    with np.load(candidate / "golden.npz") as golden:
        arrays = dict(golden)
    arrays["magnitude"] = np.full_like(arrays["magnitude"], np.nan)
    np.savez(candidate / "golden.npz", **arrays)
    with CleanProcess.start() as clean, pytest.raises(CandidateRejected, match="magnitude"):
        clean.reproduce(candidate)


def test_a_model_that_cannot_be_loaded_is_told_with_its_last_words(candidate):
    (candidate / "saved_model" / "saved_model.pb").write_bytes(b"nothing")
    with CleanProcess.start() as clean, pytest.raises(CandidateRejected, match="cannot load"):
        clean.reproduce(candidate)


def test_it_cannot_import_this_project(tmp_path):
    script = clean_process._SCRIPT.read_text().split("    import numpy as np")[0] + "    import models.config\n"
    (tmp_path / "script.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, "-I", "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "must not be needed to load an exported model" in ended.stderr


def test_leaving_it_ends_the_process():
    with CleanProcess.start() as clean:
        process = clean._process
    assert process.poll() is not None
