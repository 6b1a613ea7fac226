"""The report's pictures: PNG bytes on white, so that they can be read on a light and on a dark page alike.

Only matplotlib's object interface is used: no pyplot, no window, no state that outlives a picture.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bootstrap import Interval
from models.diagnostics import RocCurve
from models.drift import ColumnDrift
from models.notation import ABSENT, percent, significant
from models.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

WIDE = (10.6, 3.5)
HALF = (5.2, 3.5)
"""Inches; at 100 CSS pixels an inch two halves fill one row of the page."""

_DPI = 140
_COLOURS = 128
_INK, _FAINT, _RULE = "#30353c", "#767d87", "#dfe3e8"
_GREY = "#c3c9d1"
_BLUE, _AMBER, _RED = "#2463a8", "#b8711d", "#b3262e"

_STYLE: Any = {
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def roc(curve: RocCurve, beside: Mapping[str, RocCurve], label: str) -> bytes:
    """ROC of the direction with its band, and the same as height above the diagonal, where small skill shows.

    Args:
        curve: The candidate's.
        beside: Name → curve of a simpler score, drawn thinly.
        label: Legend of the candidate's curve.
    """

    def draw(figure: "Figure") -> None:
        whole, above = figure.subplots(1, 2, width_ratios=[1, 1.9])
        for axes, base in ((whole, 0.0), (above, curve.false_positive)):
            x = curve.false_positive
            axes.axhline(0, color=_FAINT, lw=0.8) if axes is above else axes.plot([0, 1], [0, 1], color=_FAINT, lw=0.8)
            axes.fill_between(x, curve.low - base, curve.high - base, color=_BLUE, alpha=0.17, lw=0)
            axes.plot(x, curve.true_positive - base, color=_BLUE, label=label, zorder=3)
            for (name, other), colour, dashes in zip(beside.items(), (_AMBER, _INK), ("--", ":"), strict=False):
                axes.plot(x, other.true_positive - base, dashes, color=colour, lw=1.0, label=name)
            axes.set(xlim=(0, 1), xlabel="downs called up")
        whole.set(ylim=(0, 1), aspect="equal", ylabel="ups called up", title="ROC of direction")
        above.set(ylabel="ups − downs called up", title="The same, above the diagonal")
        above.set_ylim(top=1.5 * max(float(np.max(curve.high - curve.false_positive)), 0.01))
        above.legend(loc="upper left")

    return _picture(draw, (10.6, 3.7))


def reliability(bins: pd.DataFrame) -> bytes:
    """Predicted P(up) against what happened, with standard errors; a perfect forecast lies on the diagonal."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        x = bins["predicted"].to_numpy("float64")
        axes.axline((0.5, 0.5), slope=1, color=_FAINT, lw=0.8, ls="--")
        axes.errorbar(
            x,
            bins["realised"].to_numpy("float64"),
            yerr=bins["standard_error"].to_numpy("float64"),
            fmt="o-",
            ms=4,
            lw=1.2,
            elinewidth=1,
            color=_BLUE,
            ecolor=_FAINT,
        )
        pad = max(0.05 * float(np.ptp(x)), 0.002)
        axes.set(xlim=(x.min() - pad, x.max() + pad), xlabel="predicted P(up), mean of each tenth of the rows")
        axes.set(ylabel="share that went up, ± 1 SE", title="Reliability of direction")

    return _picture(draw, HALF)


def auc_by_session(auc: pd.Series, window: int) -> bytes:
    """AUC of each session and its rolling mean.

    Args:
        auc: Indexed by session, ascending.
        window: Sessions in the rolling mean.
    """

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        sessions = auc.index.to_numpy()
        axes.axhline(0.5, color=_FAINT, lw=0.8, ls="--")
        axes.plot(sessions, auc.to_numpy("float64"), "o", ms=3, color=_FAINT, alpha=0.6, label="one session")
        rolling = auc.rolling(window, min_periods=max(window // 2, 1)).mean()
        axes.plot(sessions, rolling.to_numpy("float64"), color=_BLUE, label=f"mean of {window} sessions")
        axes.set(ylabel="AUC across symbols", title="Direction AUC by session")
        axes.legend(loc="best", ncols=2)
        _dates(axes)

    return _picture(draw, HALF)


def histograms(head: str, predicted: FloatArray, realised: FloatArray, scale: float) -> bytes:
    """Predicted against realised values of a bounded head, with its bound; the last bin holds all beyond the axis."""

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        end = 1.05 * max(scale, min(float(realised.max(initial=0.0)), 1.6 * scale))
        edges = np.linspace(0.0, end, 61)
        floor = 0.6 / max(len(realised), len(predicted), 1)
        axes.stairs(_shares(realised, edges), edges, baseline=floor, fill=True, color=_GREY, label="realised")
        axes.stairs(_shares(predicted, edges), edges, baseline=None, color=_BLUE, lw=1.6, label="predicted")
        axes.axvline(scale, color=_RED, lw=1.4, label="bound")
        beyond = percent(float(np.mean(realised > scale)), 3) if len(realised) else ABSENT
        axes.set(title=f"{head.capitalize()}: {beyond} of the realised above the bound {significant(scale)}")
        axes.set(yscale="log", ylim=(floor, 1.5), xlim=(0, end))
        axes.set(xlabel=f"{head} over the horizon", ylabel="share of rows in each bin (log)")
        axes.legend(loc="upper center")

    return _picture(draw, HALF)


def learning_curves(curves: pd.DataFrame) -> bytes:
    """Loss by epoch: the whole in training and validation, then the validation loss of each head."""
    panels = {"all heads": {"loss": "training", "val_loss": "validation"}}
    panels |= {head: {f"val_{head}": "validation"} for head in ("direction", "volatility", "magnitude")}
    panels = {title: lines for title, lines in panels.items() if set(lines) <= set(curves.columns)}

    def draw(figure: "Figure") -> None:
        for axes, (title, lines) in zip(_row(figure, len(panels)), panels.items(), strict=True):
            for (column, name), colour in zip(reversed(lines.items()), (_BLUE, _FAINT), strict=False):
                axes.plot(curves["epoch"], curves[column].to_numpy("float64"), "o-", ms=3, color=colour, label=name)
            for epoch in curves.loc[curves["chosen"], "epoch"] if "chosen" in curves else ():
                axes.axvline(epoch, color=_AMBER, lw=1.2, ls="--", label=f"chosen: epoch {epoch}")
            axes.set(title=f"Loss, {title}", xlabel="epoch")
            axes.locator_params(axis="x", integer=True, nbins=6)
            axes.locator_params(axis="y", nbins=5)
        figure.axes[0].legend(loc="best")

    return _picture(draw, (10.6, 2.9))


def nights(history: pd.DataFrame, heads: Sequence[str]) -> bytes:
    """Percentiles and bound of each bounded head, and the direction AUC, night by night; the last point is tonight.

    Args:
        history: `session` and the ledger's fact columns, oldest first, tonight last.
        heads: Bounded heads to draw.
    """

    def draw(figure: "Figure") -> None:
        sessions = pd.to_datetime(history["session"]).to_numpy()
        *panels, direction = _row(figure, len(heads) + 1)
        for axes, head in zip(panels, heads, strict=True):
            for name, colour in _NIGHT_LINES.items():
                values = _column(history, f"{head}_{name}")
                axes.plot(sessions, values, "-" if name != "scale" else "--", color=colour, label=name, lw=1.3)
                axes.plot(sessions[-1:], values[-1:], "o", ms=4, color=colour)
            axes.set(title=f"{head.capitalize()} target", ylim=(0, None))
            _dates(axes)
        if heads:
            figure.axes[0].legend(loc="best", ncols=2)
        direction.axhline(0.5, color=_FAINT, lw=0.8, ls="--")
        direction.plot(sessions, _column(history, "direction_auc"), "o-", ms=3, lw=1.2, color=_BLUE)
        direction.set(title="Direction AUC")
        _dates(direction)

    return _picture(draw, (10.6, 2.9))


def drift(measured: Sequence[ColumnDrift]) -> bytes:
    """Distance of tonight's session and of each session before, one line a column or feature."""
    height = -np.arange(len(measured))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for y, one in zip(height, measured, strict=True):
            axes.plot(one.earlier, np.full(len(one.earlier), y), "o", ms=3.5, color=_GREY, alpha=0.7)
            axes.plot([one.believed], [y], "|", ms=11, mew=1.4, color=_FAINT)
            axes.plot([one.tonight], [y], "o", ms=6, color=_RED if one.excess > 1 else _BLUE, zorder=3)
        axes.set_yticks(height, [one.name for one in measured], parse_math=False)
        axes.set(xlim=(0, 1), xlabel="distance from the last sessions: grey each of them, coloured tonight, | believed")
        axes.set(title="Drift")
        axes.grid(axis="y", visible=False)

    return _picture(draw, (10.6, 1.0 + 0.24 * len(measured)))


def slices(parts: Sequence[Slice]) -> bytes:
    """Direction AUC and relative QLIKE of parts of the evidence with their intervals; the first part is the whole.

    An interval without ends is drawn as its point alone.
    """
    steps = [1.0 if one.kind == before.kind else 1.7 for before, one in pairwise(parts)]
    height = np.concatenate([[0.0], -np.cumsum(steps)])

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        _intervals(left, [one.auc for one in parts], height, 0.5)
        _intervals(right, [one.to_har for one in parts], height, 1.0)
        left.set(title="Direction AUC", xlabel="no direction: 0.5; dotted: all rows")
        right.set(title="QLIKE of volatility / log-HAR", xlabel="as good as log-HAR: 1; dotted: all rows")
        # A name from a delivery may hold a dollar sign, which would open a formula.
        left.set_yticks(height, [one.name for one in parts], parse_math=False)
        right.tick_params(left=False)

    return _picture(draw, (10.6, 1.1 + 0.22 * float(np.ptp(height, axis=0)) + 0.22))


def _intervals(axes: "Axes", intervals: Sequence[Interval], height: FloatArray, nothing: float) -> None:
    value, low, high = np.array(intervals, dtype=float).T
    axes.axvline(nothing, color=_FAINT, lw=0.8, ls="--")
    axes.axvline(value[0], color=_BLUE, lw=0.8, ls=":")
    axes.hlines(height, low, high, color=_BLUE, lw=1.4)
    axes.plot(value, height, "o", ms=4, color=_BLUE)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=6)


_NIGHT_LINES = {"scale": _RED, "max": _FAINT, "p99.9": _AMBER, "p99": _BLUE}


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    """Share of the values in each bin; what lies outside counts in the outermost bins."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    shares: FloatArray = counts / max(counts.sum(), 1)
    return shares


def _column(history: pd.DataFrame, name: str) -> FloatArray:
    if name not in history:
        return np.full(len(history), np.nan)
    return pd.to_numeric(history[name], errors="coerce").to_numpy("float64")


def _row(figure: "Figure", n_panels: int) -> Iterator["Axes"]:
    return iter(figure.subplots(1, n_panels, squeeze=False)[0])


def _dates(axes: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=4))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]


def _picture(draw: Callable[["Figure"], None], size: tuple[float, float]) -> bytes:
    """Draw and compress: with a palette a picture has a third of the bytes and looks the same."""
    drawn, compressed = io.BytesIO(), io.BytesIO()
    with _quiet():
        import matplotlib
        from matplotlib.figure import Figure
        from PIL import Image

        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
            draw(figure)
            figure.savefig(drawn, format="raw")
            width, height = (int(side) for side in figure.bbox.size)
    image = Image.frombuffer("RGBA", (width, height), drawn.getvalue()).convert("RGB")
    image.quantize(_COLOURS).save(compressed, "png", optimize=True)
    return compressed.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of a first run (no writable font cache, cache being built): nobody can act on them."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
