"""The whole configuration: frozen, typed, with range and help per field. It is also the form in the Prefect UI."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from models.credentials import holds_secret

Level = Literal["stop", "wait", "quarantine", "warn"]
RefusedLevel = Literal["stop", "quarantine"]
"""For rules whose breach cannot be stored at all."""
RowLevel = Literal["stop", "quarantine", "warn"]
"""For rules about one row."""
WholeLevel = Literal["stop", "warn"]
"""For rules about more than one row, so that there is none to put in quarantine."""
SessionLevel = Literal["stop", "wait", "warn"]
"""For a session that may be completed later: its rows are stored, and its night waits for the rest."""
Ratio = Annotated[float, Field(gt=0)]
"""New shares for one old."""
BoundedHead = Literal["volatility", "magnitude"]
Head = Literal["direction", "volatility", "magnitude"]
BoundedLoss = Literal["mse", "huber", "qlike", "relative_l1", "bce"]
CatchUp = Literal["latest", "all", "none"]
Functional = Literal["mean", "median", "root mean square"]
FUNCTIONALS: Final[Mapping[BoundedLoss, Functional]] = {
    "mse": "mean",
    "huber": "mean",
    "bce": "mean",
    "qlike": "root mean square",
    "relative_l1": "median",
}
"""What each loss teaches its head to predict."""

PositiveInt = Annotated[int, Field(ge=1)]


def _without_password(setting: str, uri: str) -> str:
    if holds_secret(uri):
        raise ValueError(
            f"{setting} holds a password, and settings are shown and recorded. Leave it out, and give it in fsspec's "
            f"own configuration (~/.config/fsspec/) instead"
        )
    return uri


Day = Annotated[date, Field(json_schema_extra={"pattern": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"})]
"""A date as a parameter of a flow. The pattern is what refuses `yesterday` before a run is made of it: `format: date`,
which a date has by itself, is a hint for forms, and Prefect does not check it."""

_BOUNDS: Final = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def bounds_in_words(schema: Mapping[str, Any]) -> str:
    """`≥ 0 and < 1` from the JSON schema of a number; empty where any will do."""
    return " and ".join(f"{sign} {schema[name]:.10g}" for name, sign in _BOUNDS.items() if name in schema)


def _tell_bounds(schema: dict[str, Any]) -> None:
    """Put the range of each number behind its help: forms refuse what is beyond it, but do not show it."""
    for field in schema.get("properties", {}).values():
        if bounds := bounds_in_words(field):
            field["description"] = f"{field.get('description', '')} Range: {bounds}.".strip()


RECORDED: Final = "recorded"
"""Context of validation for what a night of before was run with: what is refused since then is read all the same."""


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown keys, the text under a field is its help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        json_schema_extra=_tell_bounds,
    )


class PerHead(Section):
    """One positive number for each bounded head."""

    volatility: float = Field(gt=0)
    magnitude: float = Field(gt=0)


class HeadLosses(Section):
    """Loss of each bounded head."""

    volatility: BoundedLoss = "qlike"
    magnitude: BoundedLoss = "bce"


class GradientShares(Section):
    """Share of the gradient on the fusion layer that each head gets; only their ratios matter."""

    direction: float = Field(0.7, gt=0)
    volatility: float = Field(0.2, gt=0)
    magnitude: float = Field(0.1, gt=0)


class StorageConfig(Section):
    """Where everything is kept: what is empty here each process reads from its environment, NOCTURNE_HOME and
    NOCTURNE_STORAGE__TABLES and so on. Left out of the configuration hash: moving a store changes no model."""

    home: str | None = None
    """Directory or URI under which all else lies unless named below. Default: .nocturne."""
    tables: str | None = None
    """Delta tables: bars, deliveries, quarantine, rulings, market, predictions, ledger. Default: home/tables."""
    deliveries: str | None = None
    """Raw delivered files, by their SHA-256. Default: home/deliveries."""
    nights: str | None = None
    """Frames passed between the stages of a night; every worker must reach it. Default: home/nights."""
    folds: str | None = None
    """Recipe folds, to be used again by later nights; what trains must reach it. Default: home/folds."""
    reports: str | None = None
    """The night's report as HTML. Default: home/reports."""
    data_docs: str | None = None
    """Great Expectations Data Docs, a local directory. Default: home/data_docs."""
    tracking_uri: str | None = None
    """MLflow tracking and registry. Default: SQLite under home/mlflow."""
    artifacts: str | None = None
    """MLflow artifacts. Default: home/mlflow/artifacts."""

    @field_validator("*")
    @classmethod
    def _no_password(cls, uri: str | None, info: ValidationInfo) -> str | None:
        if uri and holds_secret(uri):
            raise ValueError(
                f"storage.{info.field_name} holds a password, and settings are shown and recorded. Put the address "
                f"into the environment instead, as {storage_variable(str(info.field_name))}"
            )
        return uri


class ColumnNames(Section):
    """The source's name of each of our columns. Empty: the same name, whatever its case."""

    symbol: str | None = None
    """Name of the instrument."""
    timestamp: str | None = None
    """Date of the session, or an instant within it."""
    open: str | None = None
    """First price of the session."""
    high: str | None = None
    """Highest price."""
    low: str | None = None
    """Lowest price."""
    close: str | None = None
    """Last price."""
    volume: str | None = None
    """Shares traded, or lots (see volume_factor)."""
    split_ratio: str | None = None
    """Shares after for each share before; 1 on most days. Not needed."""
    dividend: str | None = None
    """Cash per share. Not needed."""
    adj_close: str | None = None
    """Close as the source adjusts it; kept beside ours. Not needed."""


class SourceConfig(Section):
    """How the files of one source are read."""

    columns: ColumnNames = ColumnNames()
    timestamp_format: str | None = None
    """strptime format of the timestamps, for example %Y%m%d. Default: ISO 8601 or a typed column."""
    time_zone: str = "UTC"
    """Time zone of timestamps that carry none."""
    bar_minutes: float | None = Field(None, gt=0, le=720)
    """Length of intraday bars, in minutes. Default: the usual time between two bars of a symbol and day, and daily bars
    where a delivery holds one of each. State it where single bars are delivered."""
    bar_stamp: Literal["start", "end"] = "start"
    """Whether the timestamp of an intraday bar is its start or its end."""
    volume_factor: float = Field(1.0, gt=0)
    """Delivered volume × this = shares. 100 where the source counts round lots."""
    known_at_column: str | None = None
    """Column with the time (or date, taken as 23:59 exchange time) at which a row became known."""
    known_at_pattern: str | None = None
    """Regular expression on the file name whose first group is the date of delivery, e.g. (\\d{4}-\\d{2}-\\d{2})."""
    bulk_sessions: PositiveInt = 20
    """A delivery of more sessions than this without a stated time is a bulk load of history: each bar is taken
    as known at its own close, and the assumption is recorded with the delivery."""

    sectors: Annotated[str, AfterValidator(partial(_without_password, "source.sectors"))] | None = None
    """CSV with the columns symbol and sector, a path or a URI; demo for the list beside the demo's bars. The report
    then shows its parts by sector; no model reads it."""

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"source.time_zone = {zone!r} is no IANA time zone such as America/New_York") from None
        return zone

    @field_validator("timestamp_format")
    @classmethod
    def _format_is_known(cls, pattern: str | None) -> str | None:
        try:
            datetime.strptime("", pattern or "")
        except ValueError as error:
            if "does not match" not in str(error):
                raise ValueError(f"source.timestamp_format = {pattern!r} is no strptime format: {error}") from None
        return pattern

    @field_validator("known_at_pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"source.known_at_pattern = {pattern!r} is no regular expression: {error}") from None
        return pattern


class UniverseConfig(Section):
    """Who belongs, session by session; all symbols where nothing is asked (docs/data.md, 'The universe')."""

    file: Annotated[str, AfterValidator(partial(_without_password, "data.universe.file"))] | None = None
    """CSV, a path or URI: symbol and, for names that came or went, from and until (YYYY-MM-DD, both included)."""
    min_history: int = Field(0, ge=0)
    """A name needs bars in min_present of so many last sessions."""
    min_dollar_volume: float = Field(0.0, ge=0)
    """And a median close × volume of the last 21 sessions of at least this much, as known then."""

    @property
    def asks(self) -> bool:
        """Whether anybody is left out."""
        return self != UniverseConfig()

    @property
    def in_words(self) -> str:
        """What is asked, where anything is."""
        asked = self.model_dump(exclude_defaults=True)
        return " and ".join(f"{name} {value}" for name, value in asked.items()) or "all symbols"


class DataConfig(Section):
    """Market, universe and the reading of series."""

    exchange: str = "XNYS"
    """Calendar name of exchange-calendars; 24/7 for markets that never close."""
    cutoff_hours: float = Field(6.0, ge=0, le=24)
    """Where a session opens as the last one closes (24/7): a night may use what was known so many hours later."""
    lookback_sessions: PositiveInt = 5040
    """Sessions of history that a night reads."""
    universe: UniverseConfig = UniverseConfig()
    min_universe: PositiveInt = 20
    """Fewer symbols than this: no relative features, and direction is absolute."""
    jump_limit: float = Field(0.4, gt=0.05, lt=1)
    """A close that falls overnight by more than this fraction, or rises by more than the inverse of such a fall (0.4:
    × 1.67), without a stated split starts a new segment, unless the day's range and volume say that it was traded
    through. Smaller moves start one where they look like a split that nobody has stated."""
    splits: dict[str, dict[date, Ratio]] = {}
    """Splits that the source does not state: symbol → session → new shares for one old, {DHR: {2010-06-14: 2}}."""
    renames: dict[str, tuple[date, ...]] = {}
    """Symbol → first sessions of another company under it: its series breaks there for good."""
    suspect_bars: Literal["absent", "keep"] = "absent"
    """absent: bars whose close is no price of that session (unit errors, spikes, stale runs, moves without a trade) are
    absent, and busted prints inside a bar are taken out of its range. keep: as delivered."""
    stale_sessions: PositiveInt = 5
    """After the same four prices on more sessions in a row than this the next ones count as absent."""
    gap_sessions: PositiveInt = 20
    """A symbol absent for more sessions than this starts a new segment."""
    min_present: float = Field(0.9, gt=0, le=1)
    """Share of a window's sessions that must have a bar for a row to be eligible."""

    @field_validator("exchange")
    @classmethod
    def _calendar_exists(cls, exchange: str) -> str:
        if exchange == "XNYS":  # the default is known, and the library takes a second to import
            return exchange
        import exchange_calendars

        if exchange not in exchange_calendars.get_calendar_names(include_aliases=True):
            raise ValueError(
                f"data.exchange = {exchange!r} is no calendar of exchange-calendars. Use an ISO 10383 code such as "
                f"XNYS, XLON or XTKS, or 24/7 for a market that never closes"
            )
        return exchange


class RuleLevels(Section):
    """What breaking each rule does: stop the night or let it wait, quarantine the row, or be told (docs/data.md)."""

    empty_delivery: WholeLevel = "stop"
    """The delivery has rows."""
    missing_value: RefusedLevel = "quarantine"
    """No symbol, time, price or volume is missing."""
    unsafe_symbol: RefusedLevel = "quarantine"
    """A symbol is 1 to 32 plain characters."""
    not_finite: RefusedLevel = "quarantine"
    """No number is infinite."""
    nonpositive_price: RowLevel = "quarantine"
    """Every price is above zero."""
    implausible_price: RowLevel = "quarantine"
    """Every price is below max_price."""
    ohlc_order: RowLevel = "quarantine"
    """low ≤ open, close ≤ high."""
    negative_volume: RowLevel = "quarantine"
    """Volume is zero or more."""
    conflicting_rows: RefusedLevel = "quarantine"
    """Rows of one symbol and time say the same."""
    future_session: RowLevel = "quarantine"
    """No session is later than today at the exchange."""
    not_a_session: RowLevel = "quarantine"
    """The exchange was open that day."""
    outside_session: RowLevel = "quarantine"
    """An intraday bar lies within the trading hours. warn: it counts to the session of its date."""
    symbol_case: RowLevel = "warn"
    """No symbol differs from a known or another new one in nothing but its case."""
    jump: RowLevel = "warn"
    """A close moves by no more than jump_limit."""
    stale_run: RowLevel = "warn"
    """Prices do not stand still for longer than stale_sessions."""
    saturated_volume: RowLevel = "warn"
    """Volume is below a full counter."""
    suspect_split: RowLevel = "warn"
    """A price that moves overnight as in a split comes with a stated one. In the panel: a new segment."""
    contradicted_split: RowLevel = "warn"
    """Prices move as a stated split says. In the panel: the split is not applied."""
    busted_print: RowLevel = "warn"
    """Open, high and low lie near what else was traded. In the panel: taken out of the bar's range."""
    spike: RowLevel = "warn"
    """A price does not go far out and back within two sessions. In the panel: an absent bar."""
    unit_error: RowLevel = "warn"
    """Prices are in the unit of those before, not 100 times or a hundredth. In the panel: an absent bar."""
    zero_volume_move: RowLevel = "warn"
    """A price without a trade is the one before. In the panel: an absent bar."""
    partial_session: WholeLevel = "warn"
    """Bars cover min_coverage of each session that has ended."""
    completeness: SessionLevel = "stop"
    """The newest session brings most of the symbols that usually deliver. wait: its rows are stored, and its night
    trains nothing until the rest has come."""
    missing_sessions: WholeLevel = "warn"
    """Every session of the exchange brings bars."""


class ContractConfig(Section):
    """The contract of delivered bars: limits, and what a broken rule does."""

    ohlc_tolerance: float = Field(1e-6, ge=0, le=0.01)
    """Relative slack of low ≤ open, close ≤ high; absorbs rounding in the source."""
    max_price: float = Field(1e9, gt=0)
    """A price at or above this is no price: a counter that ran full, a time, a volume. Raise it for currencies with
    many zeros."""
    completeness_floor: float = Field(0.5, ge=0, le=1)
    """The newest session must bring at least this share of the symbols that usually deliver: those with a bar in half
    of the last 30 sessions."""
    min_coverage: float = Field(0.9, ge=0, le=1)
    """Share of a session that its intraday bars must cover; below it the session is partial, and a night of it stops or
    waits by the level of completeness."""
    stale_sessions: PositiveInt = 5
    """The same four prices on more sessions in a row than this is a stale run."""
    saturated_volume: float = Field(2_147_483_647, gt=0)
    """A delivered volume (before the factor) at or above this is a saturated counter."""
    levels: RuleLevels = RuleLevels()


class TargetsConfig(Section):
    """What the heads learn to predict, and the scales of the bounded ones."""

    horizon_sessions: int = Field(5, ge=2, le=60)
    """Sessions ahead that each target looks."""
    entry: Literal["close", "next_open", "next_close"] = "close"
    """Price from which the forward return runs."""
    direction: Literal["relative", "absolute"] = "relative"
    """Against the median return of the session's symbols, or against zero."""
    scale_rule: Literal["percentile", "headroom", "fixed"] = "percentile"
    """percentile: max(3 × p99, 1.5 × p99.9); headroom: factor × maximum; both rounded up to two digits.
    fixed: as given."""
    headroom: PerHead = PerHead(volatility=1.4, magnitude=1.2)
    """Factor on the maximum, for scale_rule = headroom."""
    fixed_scales: PerHead = PerHead(volatility=0.15, magnitude=0.6)
    """Scales for scale_rule = fixed."""
    scale_band: float = Field(0.15, ge=0, le=1)
    """scale_rule = percentile: last night's scale stays while tonight's proposal lies within this share of it."""
    scale_nights: PositiveInt = 3
    """Nights in a row, tonight included, that a proposal must lie outside the band before the scale moves."""
    max_p99: PerHead = PerHead(volatility=0.25, magnitude=0.8)
    """Absolute limit on the 99th percentile of each target; above it the night stops before training."""
    drift_ratio: float = Field(2.0, gt=1)
    """The mean target must lie within this factor of the median of the last nights; otherwise the night stops."""
    max_zero_share: float = Field(0.01, ge=0, le=1)
    """Largest share of exact zeros among the volatility targets."""
    max_clipped_share: float = Field(1e-3, ge=0, le=1)
    """Largest share of training targets above the scale."""

    @property
    def reach(self) -> int:
        """Sessions from a row to the end of its label."""
        return self.horizon_sessions + (self.entry == "next_close")


class NetworkConfig(Section):
    """Features, filter bank, fusion and heads."""

    window: int = Field(128, ge=4, le=1024)
    """Sessions of history that one prediction looks at."""
    spans: tuple[PositiveInt, ...] = (1, 2, 5, 10, 21, 64)
    """Spans of the exponential filters, in sessions, ascending."""
    allow_long_spans: bool = False
    """Relax the rule that no span exceeds half the window (a longer filter is cut off by it)."""
    hidden: tuple[PositiveInt, ...] = (128,)
    """Units of the dense layers before fusion."""
    fusion: PositiveInt = 128
    """Units of the fusion layer, where the branches meet."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the heads, in training only."""
    heads: tuple[Head, ...] = ("direction", "volatility", "magnitude")
    """Heads to build; direction alone is allowed."""
    offset: Literal["log_har", "none"] = "log_har"
    """What the bounded heads start from: a ridge on the log volatilities of the filter bank, or their bias alone."""
    direction_offset: Literal["ridge", "none"] = "ridge"
    """What direction starts from: a ridge on all summaries, held back as strongly as suits the validation sessions, or
    nothing."""
    bias: Literal["target_mean", "zero"] = "target_mean"
    """Without an offset, the starting bias of the bounded heads. zero starts every prediction at half the scale."""

    @model_validator(mode="after")
    def _spans_fit(self) -> Self:
        if list(self.spans) != sorted(set(self.spans)):
            raise ValueError(f"network.spans = {self.spans}: must ascend without repeats")
        longest = self.window if self.allow_long_spans else self.window // 2
        if self.spans[-1] > longest:
            raise ValueError(
                f"network.spans: the longest span {self.spans[-1]} exceeds {longest}, half of network.window = "
                f"{self.window}; widen the window or set network.allow_long_spans"
            )
        if "direction" not in self.heads:
            raise ValueError(f"network.heads = {self.heads}: direction is always needed, the gate decides on it")
        return self


class TrainingConfig(Section):
    """How the network is fitted."""

    seed: int = Field(1, ge=0, le=2**31 - 1)
    """Seed of weights and shuffling."""
    members: int = Field(3, ge=1, le=32)
    """Networks trained together and averaged."""
    batch_size: PositiveInt = 1024
    """Rows per step."""
    learning_rate: float = Field(3e-4, gt=0, le=1)
    """Adam's step size."""
    weight_decay: float = Field(1e-4, ge=0, le=1)
    """Decoupled weight decay (AdamW); never on biases or the heads."""
    max_epochs: PositiveInt = 12
    """Upper limit of passes over the training rows."""
    patience: PositiveInt = 2
    """Epochs without a better validation loss before the fit stops."""
    validation_sessions: PositiveInt = 60
    """Last sessions of the training part that choose the number of epochs."""
    losses: HeadLosses = HeadLosses()
    """Loss of each bounded head."""
    gradient_shares: GradientShares | None = GradientShares()
    """Share of the gradient on the fusion layer that each head gets, set once after the bias. None: weights of one."""
    max_seconds: float = Field(3600.0, gt=0)
    """The fit ends with the best weights so far when this much time has passed."""
    threads: PositiveInt = 2
    """CPU threads of TensorFlow; results are reproducible for one number of threads."""
    deterministic: bool = True
    """Bit-identical weights from the same snapshot, configuration and code, at some cost in speed."""
    require_gpu: bool = False
    """Refuse to train where TensorFlow finds no GPU. Otherwise it takes a GPU if there is one."""
    mixed_precision: bool = False
    """Hidden layers in bfloat16; heads and losses stay float32. Of use on a GPU with tensor cores."""
    xla: Literal["auto", "always", "never"] = "auto"
    """Compile the training loop with XLA: a second or more once, then shorter steps. auto: from 100,000 training rows
    on."""


class GateConfig(Section):
    """What a candidate must reach before it may serve."""

    evidence_sessions: PositiveInt = 250
    """Sessions of out-of-sample predictions that the gate judges on."""
    folds: Literal["quarterly", "single"] = "quarterly"
    """quarterly: one model a calendar quarter, trained only on what came before it, tells how good the recipe is; it is
    kept and used again by later nights. The candidate learns from all but the fresh sessions. single: the candidate
    itself leaves out all sessions that it is judged on."""
    min_evidence_sessions: PositiveInt = 40
    """With fewer the night is kept: too little history."""
    fresh_sessions: PositiveInt = 21
    """Latest sessions on which a broken candidate is caught."""
    direction_floor: float = Field(0.5, ge=0.5, le=1)
    """The lower end of the interval of the direction AUC must exceed this."""
    suspicious_auc: float = Field(0.56, gt=0.5, le=1)
    """An AUC above this on at least 125 sessions is too good to be true."""
    suspicious_auc_low: float = Field(0.54, gt=0.5, le=1)
    """On fewer sessions, a lower end of the interval above this is too good to be true."""
    margin_auc: float = Field(0.006, gt=0, le=0.1)
    """Non-inferiority margin against the champion, in AUC."""
    margin_qlike: float = Field(0.02, gt=0, le=0.5)
    """Non-inferiority margin against the champion, relative QLIKE of volatility."""
    guard_factor: float = Field(3.0, ge=1)
    """The margins are this many times wider on the fresh sessions alone."""
    anchor_sessions: PositiveInt = 63
    """The candidate is also compared with what served this many sessions ago, so that small losses cannot add up."""
    anchor_margin_factor: float = Field(1.5, ge=1)
    """The margins are this many times wider against what served then."""
    bootstrap_replicates: int = Field(1000, ge=100, le=100_000)
    """Replicates of the block bootstrap over sessions."""
    confidence: float = Field(0.90, gt=0.5, lt=1)
    """Two-sided confidence of every interval; where a check reads one, it reads one end."""
    min_different_recipe_sessions: PositiveInt = 60
    """Sessions after the champion's trained_until that a comparison of different recipes needs."""
    first_champion: Literal["skilled", "healthy"] = "skilled"
    """What a candidate must show when nothing serves yet. healthy promotes without proven direction skill, and
    says so."""
    max_champion_age_sessions: PositiveInt = 60
    """A champion from further back than this is told as a concern."""
    approval: Literal["none", "required"] = "none"
    """required: what the gate would promote waits for a person's word, in a form of the Prefect UI."""
    approval_hours: float = Field(12.0, gt=0, le=168)
    """Hours after which a night that nobody has approved keeps the champion."""
    policy: Literal["non_inferior", "always_if_healthy", "manual"] = "non_inferior"
    """When a candidate replaces the champion."""

    @model_validator(mode="after")
    def _can_be_enough(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        if self.evidence_sessions < self.min_evidence_sessions:
            raise ValueError(
                f"gate.evidence_sessions = {self.evidence_sessions} is less than gate.min_evidence_sessions = "
                f"{self.min_evidence_sessions}, so every night would be kept for too little history. "
                f"Raise the first or lower the second."
            )
        if self.evidence_sessions < self.min_different_recipe_sessions:
            raise ValueError(
                f"gate.evidence_sessions = {self.evidence_sessions} is less than gate.min_different_recipe_sessions = "
                f"{self.min_different_recipe_sessions}, so no champion of another recipe could ever be replaced. "
                f"Raise the first or lower the second."
            )
        return self


class OperationConfig(Section):
    """How a night is run. Left out of the configuration hash: it changes no answer."""

    train_deployment: str = "train/gpu"
    """Deployment to which the training is sent. Where the Prefect server has none of this name, the night trains in
    its own process."""
    dispatch_timeout: float = Field(900.0, gt=0)
    """Seconds within which a worker must take the training; after that the night fails."""
    catch_up: CatchUp = "latest"
    """Scheduled nights that were missed, as in an outage: latest runs only the newest of them, all runs each, oldest
    first, none runs none. Each is as of its own session."""
    must_finish_by: str = "next_open"
    """When a night gives its retraining up and the champion scores: next_open, none, or a time of day at the exchange,
    such as 08:30: the first after the close."""
    keep_nights_days: PositiveInt = 90
    """Days after its decision for which a night's own copy of the bars is kept. Its result and its candidate stay, and
    the bars can be read again from the tables."""

    @field_validator("must_finish_by", mode="before")
    @classmethod
    def _as_written(cls, text: object) -> object:
        return f"{text // 60:02}:{text % 60:02}" if type(text) is int else text  # YAML takes 16:30 for base 60

    @field_validator("must_finish_by")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        if text not in ("next_open", "none") and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
            raise ValueError(f"operation.must_finish_by = {text!r}: next_open, none, or a time of day such as 08:30")
        return text


class RetrainConfig(Section):
    """One night: data, contract, targets, network, training and gate."""

    data: DataConfig = DataConfig()
    source: SourceConfig = SourceConfig()
    contract: ContractConfig = ContractConfig()
    targets: TargetsConfig = TargetsConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    gate: GateConfig = GateConfig()
    storage: StorageConfig = StorageConfig()
    operation: OperationConfig = OperationConfig()
    note: str = ""
    """A sentence that the night's report opens with; it changes nothing else."""

    @model_validator(mode="after")
    def _evidence_has_blocks(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        two_blocks = 4 * self.targets.reach + 1  # models.bootstrap.block_length: a block is twice as long as labels
        if self.gate.evidence_sessions < two_blocks:
            raise ValueError(
                f"gate.evidence_sessions = {self.gate.evidence_sessions} is too short for targets.horizon_sessions = "
                f"{self.targets.horizon_sessions}: without two blocks of sessions whose labels do not overlap, "
                f"{two_blocks} in all, nothing has an interval and every night would be kept. Raise the first or lower "
                f"the second."
            )
        return self


DEFAULT: Final = RetrainConfig()


def storage_variable(name: str) -> str:
    """Environment variable that says where a part of the storage is, unless the configuration does."""
    return "NOCTURNE_HOME" if name == "home" else f"NOCTURNE_STORAGE__{name.upper()}"


def config_hash(config: RetrainConfig) -> str:
    """Hash of all that can change a night's answer: storage, operation and remarks are left out."""
    return _digest(config.model_dump(mode="json", exclude={"storage", "operation", "note"}))


_NO_RECIPE: Final = {
    "training": {"seed", "max_seconds", "threads", "deterministic", "require_gpu"},
    "targets": {"drift_ratio", "max_p99", "max_zero_share", "max_clipped_share"},
    "data": {"cutoff_hours"},
}
"""Settings that make no other model: luck, the machine, limits of alarms, the hour."""


def recipe_hash(config: RetrainConfig, models_code: str) -> str:
    """Hash of how a model is made; equal hashes mean refreshes of one another. The seed and the gate are no part of it.

    Args:
        config: The night's configuration.
        models_code: Hash over the source of `models/`.
    """
    parts = config.model_dump(mode="json", include={"data", "targets", "network", "training"}, exclude=_NO_RECIPE)
    return _digest({**parts, "models_code": models_code})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
