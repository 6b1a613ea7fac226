"""Pictures are real PNGs on white, small enough to travel inside a page, and quiet."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models import pictures
from models.bootstrap import Interval
from models.diagnostics import roc_curve
from models.slices import Slice
from tests import synthetic_night


@pytest.fixture(scope="module")
def roc_picture() -> bytes:
    frame = synthetic_night.evidence(30, 60)
    return pictures.roc(roc_curve(frame), {"reversal": roc_curve(frame, "reversal")}, "candidate")


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_picture_is_white_where_nothing_is_drawn(roc_picture):
    assert opened(roc_picture).getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_weighs_less_than_80_kilobytes(roc_picture):
    assert 2_000 < len(roc_picture) < 80_000


def test_the_bound_is_drawn_even_when_nothing_comes_near_it():
    values = np.full(500, 0.01)
    near, far = (np.asarray(opened(pictures.histograms("volatility", values, values, scale))) for scale in (0.02, 0.5))
    red = [((image[..., 0] > 150) & (image[..., 1] < 80)).sum() for image in (near, far)]
    assert min(red) > 500


def test_a_fit_of_the_direction_alone_has_its_learning_curves():
    curves = synthetic_night.curves()[["epoch", "loss", "val_loss", "val_direction"]]
    assert opened(pictures.learning_curves(curves)).width > 1000


def test_one_session_is_enough_for_a_picture():
    auc = pd.Series([0.52], index=pd.to_datetime(["2010-08-19"]))
    assert opened(pictures.auc_by_session(auc, 1)).width > 500


@pytest.mark.parametrize("ends", [(0.5, 0.56), (np.nan, np.nan), (0.5, np.inf)])
def test_parts_are_drawn_whatever_their_names_and_whether_or_not_they_have_intervals(ends):
    whole = Slice("all", "all rows", 10, 5, Interval(0.53, *ends), Interval(1.0, *ends))
    part = Slice("sector", "$\\frac{A$", 5, 5, Interval(np.nan, *ends), Interval(np.inf, *ends))
    drawn, alone = (np.asarray(opened(pictures.slices(parts))) for parts in ((whole, part), (whole,)))
    assert drawn.shape[0] > alone.shape[0]


def test_drawing_leaves_the_logger_of_matplotlib_as_it_was(roc_picture):
    assert logging.getLogger("matplotlib").level == logging.NOTSET


def test_a_home_that_cannot_be_written_to_is_no_word_of_noise():
    code = (
        "from tests.synthetic_night import curves; from models.pictures import learning_curves; "
        "print(len(learning_curves(curves())) > 0)"
    )
    environment = {"MPLCONFIGDIR": "/proc/nowhere", "HOME": "/proc/nowhere", "PATH": ""}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("True\n", "")
