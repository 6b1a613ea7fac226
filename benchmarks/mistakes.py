"""Known mistakes, each made in the product's own code for as long as a `with` lasts.

Each is what a tired person might write: an index off by one, a purge forgotten, a scaler fitted on too much. Every
module that holds the function gets the mistaken one, the checks as well, just as if the source had been edited.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pandas as pd

from models import actions, bootstrap, features, market, offset, panel, scores, splits, targets
from models.baselines import baselines
from models.config import TargetsConfig
from models.dataset import Dataset
from models.gate.champion import ChampionEvidence
from models.locations import Locations
from models.night import PACKAGES, local_copy
from models.offset import Standardisation
from models.panel import FloatArray, Panel
from models.records import Scale
from models.registry import Registry
from models.serving import ServedModel
from models.splits import Plan, Split
from models.store import BarsStore
from models.targets import Targets, compute_targets
from tasks.evaluate import champion_evidence, out_of_sample

Making = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mistake:
    """One thing that somebody got wrong."""

    what: str
    """In words."""
    making: Making
    unseen: str = ""
    """Why no check of a night can see it, and what does; empty for a mistake that must be caught."""


MISTAKES: Final[dict[str, Mistake]] = {}
"""By name, in the order in which a night would meet them."""


def mistake(what: str, unseen: str = "") -> Callable[[Making], Making]:
    """Enter a function that makes a mistake into the list."""

    def entered(making: Making) -> Making:
        MISTAKES[making.__name__] = Mistake(what, making, unseen)
        return making

    return entered


@contextmanager
def _replaced(honest: Callable[..., Any], mistaken: Callable[..., Any]) -> Any:
    """A function, wherever a module of the product has it under its name."""
    name = honest.__name__
    holders = [
        module
        for module in tuple(sys.modules.values())
        if module.__name__.partition(".")[0] in PACKAGES and vars(module).get(name) is honest
    ]
    with ExitStack() as stack:
        for module in holders:
            stack.enter_context(patch.object(module, name, mistaken))
        yield


# The bars of the snapshot


def _with_snapshot(change: Callable[[pd.DataFrame], pd.DataFrame]) -> AbstractContextManager[Any]:
    honest = BarsStore.snapshot

    def changed(self: BarsStore, *arguments: Any) -> Any:
        bars, snapshot = honest(self, *arguments)
        return change(bars), snapshot

    return patch.object(BarsStore, "snapshot", changed)


@mistake("a stretch of training bars comes again under later dates")
def history_delivered_twice() -> AbstractContextManager[Any]:
    def again(bars: pd.DataFrame) -> pd.DataFrame:
        days = np.sort(bars["session"].unique())
        first, mine = days[-60], bars["symbol"] == bars["symbol"].iloc[0]
        moved = dict(zip(days[40:100], days[-60:], strict=True))
        copied = bars[mine & bars["session"].isin(days[40:100])]
        copied = copied.assign(session=copied["session"].map(moved).astype(bars["session"].dtype))
        kept = bars[~(mine & (bars["session"] >= first))]
        repeated: pd.DataFrame = pd.concat([kept, copied]).sort_values(["symbol", "session"], ignore_index=True)
        return repeated

    return _with_snapshot(again)


@mistake("volume tells which way the price will go")
def answer_in_the_volume() -> AbstractContextManager[Any]:
    def told(bars: pd.DataFrame) -> pd.DataFrame:
        close = bars.groupby("symbol")["close"]
        rises = close.shift(-3) > bars["close"]
        return bars.assign(volume=bars["volume"] * np.where(rises, 10.0, 1.0))

    return _with_snapshot(told)


@mistake(
    "symbols that are no longer listed are left out of history",
    "What is not in the snapshot leaves no trace in it, and a source of survivors alone delivers the same. The report "
    "tells the number of symbols; whoever chooses the source must ask for those that ended.",
)
def survivors_only() -> AbstractContextManager[Any]:
    def survivors(bars: pd.DataFrame) -> pd.DataFrame:
        listed = bars.loc[bars["session"] == bars["session"].max(), "symbol"]
        kept: pd.DataFrame = bars[bars["symbol"].isin(listed)].reset_index(drop=True)
        return kept

    return _with_snapshot(survivors)


@mistake("a split does not start a new segment")
def split_inside_a_series() -> AbstractContextManager[Any]:
    honest = actions.suspects

    def through(sequence: Any, jump_limit: float, _: Any = None) -> Any:
        return honest(sequence, jump_limit, np.ones(len(sequence), bool))  # as if a person had dismissed every one

    return _replaced(honest, through)


@mistake("each session has the market's return of the next one")
def market_of_tomorrow() -> AbstractContextManager[Any]:
    honest = market.market_of
    return _replaced(honest, lambda *arguments: honest(*arguments).shift(-1, fill_value=0.0))


# Targets


@mistake("all targets are those of the session before")
def labels_a_session_late() -> AbstractContextManager[Any]:
    honest = targets._horizon_returns

    def late(panel: Panel, rows: slice, config: TargetsConfig) -> FloatArray:
        returns = np.roll(honest(panel, rows, config), 1, axis=1)
        returns[:, np.diff(panel.series[rows], prepend=-1) != 0] = np.nan
        return returns

    return _replaced(honest, late)


@mistake("direction alone is that of the session before")
def direction_a_session_late() -> AbstractContextManager[Any]:
    honest = targets._direction

    def late(total: FloatArray, panel: Panel, config: TargetsConfig) -> FloatArray:
        own = pd.Series(honest(total, panel, config)).groupby(panel.series)
        return own.shift(1).to_numpy().astype(np.float64)

    return _replaced(honest, late)


@mistake("up is labelled 0 and down 1")
def classes_swapped_in_the_labels() -> AbstractContextManager[Any]:
    honest = targets._direction
    return _replaced(honest, lambda *arguments: 1.0 - honest(*arguments))


@mistake("the horizon runs on into the next symbol")
def targets_across_symbols() -> AbstractContextManager[Any]:
    honest = targets._ahead
    return _replaced(honest, lambda values, steps, ends: honest(values, steps, np.full_like(ends, len(values))))


@mistake("an unfinished horizon is filled with returns of zero")
def zero_padded_tail() -> AbstractContextManager[Any]:
    def padded(values: FloatArray, steps: int, ends: Any) -> FloatArray:
        later: FloatArray = values[np.minimum(np.arange(len(values)) + steps, ends - 1)]
        return later

    return _replaced(targets._ahead, padded)


def _with_targets(change: Callable[[Targets], Targets]) -> AbstractContextManager[Any]:
    return _replaced(compute_targets, lambda panel, config: change(compute_targets(panel, config)))


@mistake("returns are taken in per cent")
def targets_in_per_cent() -> AbstractContextManager[Any]:
    return _with_targets(lambda one: replace(one, volatility=100 * one.volatility, magnitude=100 * one.magnitude))


@mistake("volatility is annualised")
def annualised_volatility() -> AbstractContextManager[Any]:
    return _with_targets(lambda one: replace(one, volatility=252**0.5 * one.volatility))


@mistake("volatility divides by n in place of n − 1")
def population_volatility() -> AbstractContextManager[Any]:
    return _with_targets(lambda one: replace(one, volatility=(2 / 3) ** 0.5 * one.volatility))


# Features


def _with_averages(change: Callable[[Panel, int, FloatArray], FloatArray]) -> AbstractContextManager[Any]:
    honest = features._averages

    def changed(panel: Panel, start: int, stop: int, window: int, spans: tuple[int, ...]) -> FloatArray:
        return change(panel, start, honest(panel, start, stop, window, spans))

    return _replaced(honest, changed)


@mistake("one feature is that of the next bar")
def feature_of_the_next_bar() -> AbstractContextManager[Any]:
    def next_bar(panel: Panel, start: int, averages: FloatArray) -> FloatArray:
        averages[:-1, 0] = averages[1:, 0].copy()
        return averages

    return _with_averages(next_bar)


@mistake("features are scaled by their standard deviation over all sessions")
def features_scaled_over_all_sessions() -> AbstractContextManager[Any]:
    return _with_averages(lambda panel, start, averages: averages / averages.std(axis=0))


@mistake("the warm-up of a series is filled from behind")
def back_filled_warm_up() -> AbstractContextManager[Any]:
    def filled(panel: Panel, start: int, averages: FloatArray) -> FloatArray:
        for first, last in pairwise(panel.offsets - start):
            if first >= 0 and last - first > 15 and last <= len(averages):
                averages[first : first + 15] = averages[first + 15]
        return averages

    return _with_averages(filled)


@mistake("the filter runs from one symbol into the next")
def windows_that_mix_symbols() -> AbstractContextManager[Any]:
    honest = features._averages

    def one_series(panel: Panel, *arguments: Any) -> FloatArray:
        return honest(replace(panel, offsets=np.array(arguments[:2])), *arguments)

    return _replaced(honest, one_series)


@mistake("the price level is a feature")
def price_level() -> AbstractContextManager[Any]:
    honest = features.bar_features

    def with_level(ops: Any, previous: Any, current: Any) -> dict[str, Any]:
        level = ops.log(ops.maximum(current[..., 3], 1e-30)) * current[..., 6]
        return {**honest(ops, previous, current), "squared_market": level**2}

    return _replaced(honest, with_level)


@mistake("a served window begins in the symbol before")
def served_windows_that_mix_symbols() -> AbstractContextManager[Any]:
    def mixed(panel: Panel, rows: Any, window: int, block: int = 4096) -> Any:
        inputs = panel.inputs()
        for start in range(0, len(rows), block):
            yield inputs[np.maximum(rows[start : start + block, None] + np.arange(-window, 1), 0)]

    return _replaced(panel.windows, mixed)


@mistake("a served window ends with the next bar")
def served_windows_a_bar_late() -> AbstractContextManager[Any]:
    honest = panel.windows

    def late(panel: Panel, rows: Any, window: int, block: int = 4096) -> Any:
        return honest(panel, np.minimum(rows + 1, len(panel.series) - 1), window, block)

    return _replaced(honest, late)


# Splits


def _with_parts(change: Callable[[Split], Split]) -> AbstractContextManager[Any]:
    honest = splits._before
    return _replaced(honest, lambda *arguments: change(honest(*arguments)))


@mistake("recipe folds are trained up to the evening before the sessions that they are judged on")
def no_purge_in_the_folds() -> AbstractContextManager[Any]:
    def closer(split: Split) -> Split:
        first, last = split.validation
        return replace(split, train=(split.train[0], first), validation=(first, last + split.reach))

    return _with_parts(closer)


@mistake("the candidate is trained up to the evening before its own sessions")
def no_purge_before_the_candidate() -> AbstractContextManager[Any]:
    honest = splits.plan

    def closer(*arguments: Any) -> Plan:
        made = honest(*arguments)
        first = made.candidate.evidence[0]
        return replace(made, candidate=replace(made.candidate, train=(made.candidate.train[0], first)))

    return _replaced(honest, closer)


@mistake("rows and not sessions are split: half of the judged ones were trained on")
def split_by_row() -> AbstractContextManager[Any]:
    honest = Dataset.train.fget  # type: ignore[attr-defined]
    return patch.object(Dataset, "train", property(lambda self: np.concatenate([honest(self), self.fresh[::2]])))


@mistake("the sessions that are judged choose the number of epochs")
def early_stopping_on_the_evidence() -> AbstractContextManager[Any]:
    return _with_parts(lambda split: replace(split, validation=split.evidence))


@mistake("trained_until is the last session, not the end of its label")
def trained_until_without_the_label() -> AbstractContextManager[Any]:
    return patch.object(Split, "trained_until", property(lambda self: self.validation[1] - 1))


# What is fitted


@mistake("the scaler is fitted on all rows")
def scaler_fitted_on_everything() -> AbstractContextManager[Any]:
    honest = Standardisation.of.__func__  # type: ignore[attr-defined]
    every = classmethod(lambda cls, summaries, rows: honest(cls, summaries, np.arange(len(summaries))))
    return patch.object(Standardisation, "of", every)


@mistake("percentiles and scales come from the judged rows")
def percentiles_from_the_holdout() -> AbstractContextManager[Any]:
    honest = Dataset.scales

    def of_the_holdout(self: Dataset, history: Any = (), rows: Any = None) -> dict[str, Scale]:
        return honest(self, history, self.evidence)

    return patch.object(Dataset, "scales", of_the_holdout)


@mistake("the line that direction starts from is fitted on all rows")
def direction_line_on_everything() -> AbstractContextManager[Any]:
    honest = offset.fit_direction_line

    def on_everything(summaries: Any, direction: FloatArray, train: Any, *arguments: Any) -> Any:
        return honest(summaries, direction, np.flatnonzero(~np.isnan(direction)), *arguments)

    return _replaced(honest, on_everything)


@mistake("the line that volatility starts from is fitted on all rows")
def volatility_line_on_everything() -> AbstractContextManager[Any]:
    honest = offset.fit_offset

    def on_everything(summaries: Any, targets: Targets, rows: Any, *arguments: Any) -> Any:
        return honest(summaries, targets, np.flatnonzero(targets.known), *arguments)

    return _replaced(honest, on_everything)


@mistake("the baselines are fitted on the rows that they are judged on")
def baselines_on_the_holdout() -> AbstractContextManager[Any]:
    def knowing(panel: Panel, targets: Targets, parts: Any, *arguments: Any) -> pd.DataFrame:
        return baselines(panel, targets, [(rows, rows) for _, rows in parts], *arguments)

    return _replaced(baselines, knowing)


# Predictions


def _with_predictions(change: Callable[[pd.DataFrame, ServedModel], pd.DataFrame]) -> AbstractContextManager[Any]:
    honest = ServedModel.predict

    def changed(self: ServedModel, panel: Panel, rows: Any) -> pd.DataFrame:
        return change(honest(self, panel, rows), self)

    return patch.object(ServedModel, "predict", changed)


@mistake("P(up) is read from the column of down")
def classes_swapped_in_serving() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(p_up=1.0 - frame["p_up"]))


@mistake("one prediction in a thousand is missing")
def missing_predictions() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(p_up=frame["p_up"].where(frame.index % 1000 != 7)))


@mistake("P(up) is the same for all")
def constant_direction() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(p_up=0.52))


@mistake("volatility is the same for all")
def constant_volatility() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(volatility=frame["volatility"].iloc[0]))


@mistake("volatility sits at its bound")
def saturated_head() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(volatility=model.card.scales["volatility"]))


@mistake("the output of volatility is given as magnitude")
def magnitude_copied_from_volatility() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(magnitude=frame["volatility"]))


@mistake("the output of volatility is given as P(up)")
def direction_copied_from_volatility() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(p_up=frame["volatility"]))


@mistake("volatility is told over the horizon and not by the day")
def volatility_over_the_horizon() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(volatility=3**0.5 * frame["volatility"]))


@mistake("P(up) is centred over whatever is asked together")
def prediction_depends_on_the_batch() -> AbstractContextManager[Any]:
    return _with_predictions(lambda frame, model: frame.assign(p_up=0.5 + frame["p_up"] - frame["p_up"].mean()))


@mistake("predictions are joined to the row after theirs")
def predictions_on_the_wrong_rows() -> AbstractContextManager[Any]:
    heads = ["p_up", "volatility", "magnitude"]
    return _with_predictions(lambda frame, model: frame.assign(**frame[heads].shift(1).bfill()))


# The evidence and the gate


def _with_evidence(change: Callable[[pd.DataFrame], pd.DataFrame]) -> AbstractContextManager[Any]:
    return _replaced(out_of_sample, lambda *arguments: change(out_of_sample(*arguments)))


@mistake("some rows are judged twice")
def rows_judged_twice() -> AbstractContextManager[Any]:
    return _with_evidence(lambda frame: pd.concat([frame, frame.iloc[-50:]], ignore_index=True))


@mistake("rows that went wrong are left out")
def rows_that_went_wrong_left_out() -> AbstractContextManager[Any]:
    def flattered(frame: pd.DataFrame) -> pd.DataFrame:
        wrong = (frame["p_up"] > 0.55) & (frame["direction"] == 0)
        return frame[~wrong].reset_index(drop=True)

    return _with_evidence(flattered)


@mistake("direction is judged from the next close on")
def judged_on_another_label() -> AbstractContextManager[Any]:
    return _with_evidence(lambda frame: frame.assign(direction=frame["direction_next_close"]))


@mistake("realised volatility is clipped as in training before it is judged")
def judged_on_clipped_targets() -> AbstractContextManager[Any]:
    def clipped(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(
            volatility_target=frame["volatility_target"].clip(upper=frame["volatility_target"].median())
        )

    return _with_evidence(clipped)


@mistake("a loss of zero volatility is not a number")
def metric_that_is_not_a_number() -> AbstractContextManager[Any]:
    honest = scores.qlike_losses

    def broken(target: Any, forecast: Any) -> FloatArray:
        losses = honest(target, forecast)
        return np.where(np.arange(len(losses)) == 0, np.nan, losses)

    return _replaced(honest, broken)


@mistake("the champion is asked about sessions that it was trained on")
def champion_on_its_training_sessions() -> AbstractContextManager[Any]:
    def knowing(version: str, night: Any, dataset: Dataset, config: Any) -> ChampionEvidence:
        found = champion_evidence(version, night, dataset, config)
        with local_copy(str(Registry(Locations(config.storage)).fetch(version))) as directory:
            return replace(found, stored=ServedModel(directory).predict(dataset.panel, dataset.evidence))

    return _replaced(champion_evidence, knowing)


@mistake(
    "intervals take neighbouring sessions for independent",
    "A night has one sample, and one interval cannot show how often it covers the truth. Coverage is measured where "
    "the truth is known, in tests/models/test_bootstrap.py.",
)
def blocks_of_one_session() -> AbstractContextManager[Any]:
    honest = bootstrap.Resamples.draw.__func__  # type: ignore[attr-defined]
    single = classmethod(lambda cls, n_sessions, *, block, **named: honest(cls, n_sessions, block=1, **named))
    return patch.object(bootstrap.Resamples, "draw", single)
