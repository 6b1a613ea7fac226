"""The candidate as files: one SavedModel that takes raw bars, a golden batch, and what it is."""

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from models.card import ModelCard, file_hashes
from models.config import RetrainConfig
from models.network import build_served
from models.panel import Float32Array

GOLDEN_ROWS: Final = 64
"""Rows that a clean process must reproduce before the model may serve."""


def export_candidate(trunk: keras.Model, card: ModelCard, golden_bars: Float32Array, directory: Path) -> dict[str, str]:
    """Write `saved_model/`, `golden.npz` and `metadata.json`; SHA-256 of every file, by relative path.

    Args:
        trunk: The fitted trunk.
        card: What the model is.
        golden_bars: (n, window + 1, 7) real inputs whose outputs a clean process must reproduce.
        directory: Local, empty or absent.
    """
    served = build_served(trunk, RetrainConfig.model_validate(card.config).network)
    export_served(served, directory / "saved_model")
    with tf.device("/CPU:0"):  # where it will serve; a GPU adds in another order
        outputs: dict[str, Any] = {head: np.asarray(output) for head, output in served(golden_bars).items()}
    np.savez(directory / "golden.npz", bars=golden_bars, **outputs)
    (directory / "metadata.json").write_text(card.model_dump_json(indent=1))
    return file_hashes(directory)


def export_served(served: keras.Model, directory: Path) -> None:
    """SavedModel whose signature `serving_default` takes `bars` and returns the heads by name."""
    archive = keras.export.ExportArchive()
    archive.track(served)
    signature = [keras.InputSpec(shape=(None, *served.input.shape[1:]), dtype="float32", name="bars")]
    archive.add_endpoint("serving_default", lambda bars: served(bars, training=False), input_signature=signature)
    archive.write_out(str(directory), verbose=False)
