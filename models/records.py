"""The small frozen records that cross between stages, processes and tables. Never a frame."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.config import Level
from models.errors import ConfigError

CheckGroup = Literal["health", "leak", "skill", "champion"]
VerdictWord = Literal["promote", "keep"]
Asks = Literal["at least", "above", "at most", "within"]
"""How a check compares its value with its bound."""


def _none_if_not_finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Measured = Annotated[float | None, BeforeValidator(_none_if_not_finite)]
"""A measured number; NaN and infinities become None, which passes no check and is null in JSON."""


class Record(BaseModel):
    """Base: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Account(Record):
    """Where every delivered row went: accepted + revised + duplicate + quarantined = delivered, always."""

    delivered: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    revised: int = 0
    by_rule: dict[str, int] = Field(default_factory=dict)
    """Quarantined rows by the first rule that each broke."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.accepted + self.revised + self.duplicate + self.quarantined
        if total != self.delivered:
            raise ValueError(f"rows lost: {self.delivered} delivered but {total} accounted for in {self!r}")
        if sum(self.by_rule.values()) != self.quarantined:
            raise ValueError(f"{self.quarantined} quarantined but the rules add up to {sum(self.by_rule.values())}")
        return self

    def __add__(self, other: "Account") -> "Account":
        rules = {*self.by_rule, *other.by_rule}
        return Account(
            delivered=self.delivered + other.delivered,
            accepted=self.accepted + other.accepted,
            quarantined=self.quarantined + other.quarantined,
            duplicate=self.duplicate + other.duplicate,
            revised=self.revised + other.revised,
            by_rule={rule: self.by_rule.get(rule, 0) + other.by_rule.get(rule, 0) for rule in sorted(rules)},
        )


class Finding(Record):
    """What one rule of a contract found."""

    rule: str
    level: Level
    count: int
    """Rows (or sessions, for rules about a whole session) that broke it; 0 when it held."""
    why: str
    """One sentence: what was expected and what was found."""
    examples: tuple[str, ...] = ()
    """At most five, readable: `DHR 2010-06-14`."""

    @property
    def held(self) -> bool:
        return self.count == 0


class DeliveryRecord(Record):
    """One delivery as the store remembers it."""

    delivery: str
    """SHA-256 of the delivered file."""
    name: str
    """File name as delivered."""
    status: Literal["accepted", "stopped"]
    repeated: bool = False
    """This very file was ingested before; nothing was written."""
    known_at_rule: Literal["stated", "column", "file name", "arrival", "bar close (bulk load)"]
    received_at: datetime
    first: date | None
    last: date | None
    account: Account
    findings: tuple[Finding, ...] = ()
    origin: str | None = None
    """Address and version of the file at its source, if it was listed there; None where it was named."""

    @property
    def repetition(self) -> "DeliveryRecord":
        """The same file once more: every row of it is there already."""
        again = Account(delivered=self.account.delivered, duplicate=self.account.delivered)
        return self.model_copy(update={"repeated": True, "account": again})


class Snapshot(Record):
    """The rows that one night reads, named by their content and never by a table version."""

    session: date
    as_of: datetime
    hash: str
    """Content hash of the rows read."""
    rows: int
    first: date
    last: date
    symbols: int
    completeness: Measured = None
    """Share of the symbols that usually deliver with a bar of the session; None with too few sessions before it."""
    coverage: Measured = None
    """Share of the session that the bars of the median symbol cover, 1 where daily bars came; None without any."""
    members: int | None = None
    """Symbols that belong to the universe on the session; None in nights of before it was counted."""
    ended: int | None = None
    """Symbols whose last bar lies more than `data.gap_sessions` sessions back: delisted, or no longer delivered."""
    ended_rows: Measured = None
    """Share of the bars that are theirs."""


class Scale(Record):
    """Scale of one bounded head and the percentiles it came from."""

    head: Literal["volatility", "magnitude"]
    scale: float
    proposed: float
    """What tonight's percentiles alone would say; the scale moves only when this has left its band."""
    mean: float
    """Mean of the training targets."""
    median: float
    percentiles: dict[str, float]
    """p1, p5, p25, p50, p75, p95, p99, p99.9 and max of the training targets."""
    clipped_share: float
    """Share of training targets above the scale."""
    rows: int


class FoldRecord(Record):
    """A recipe fold: the model of one calendar quarter, trained on nothing but its past."""

    fold: int
    """Its number among tonight's, 0 for the oldest."""
    key: str
    """Hash of all that decides its weights: what it is kept under."""
    version: str
    """`fold-<quarter>-<first eight of its key>`."""
    trained_until: date
    """Last label end of anything that it was fitted on, early stopping included."""
    rows: int
    """Training rows."""
    epochs: int
    penalty: float | None
    """Of the line that its direction starts from."""
    threads: int | None = None
    """CPU threads of its fit."""
    device: str = ""
    """What it was trained on: CPU, or the name of the GPU."""
    seconds: float
    """That its training took, when it was trained."""
    cut_short: bool = False
    """Whether `training.max_seconds` ended its fit; it is not kept then."""
    reused: bool
    """Trained on an earlier night."""


class CandidateRecord(Record):
    """The trained model of tonight: all that the other stages may know of it."""

    version: str
    """Name of the model, unique: `<session>-<first eight of the night id>`."""
    uri: str
    """Directory of the exported SavedModel, golden batch and metadata."""
    hashes: dict[str, str]
    """File below the directory → SHA-256."""
    scales: dict[str, float]
    trained_until: date
    """Last label end of anything that was fitted on, early stopping included."""
    recipe: str
    epochs: int
    seconds: float
    head_weights: dict[str, float]
    """Loss weight of each head, set once so that it gets its share of the gradient."""
    head_shares: dict[str, float] = Field(default_factory=dict)
    """Share of the gradient on the fusion layer that each head has with its weight, when training starts."""
    threads: int | None = None
    """CPU threads of the fit; its weights are reproducible for one number of threads."""
    device: str = ""
    """What it ran on: CPU, or the name of the GPU."""
    cut_short: bool = False
    """Whether `training.max_seconds` ended the fit: then its weights depend on how fast the machine was."""
    folds: tuple[FoldRecord, ...] = ()
    """The recipe folds that are judged beside it and chose its number of epochs."""


class Influence(Record):
    """A session or a symbol, and what a check would say without its rows."""

    name: str
    value_without: Measured
    """The check's value; an end of an interval is moved as far as the estimate moves."""


class Weighs(Record):
    """What speaks most against a candidate in one check: without it the value would lie nearer to its bound."""

    sessions: tuple[Influence, ...] = ()
    """At most five, the heaviest first."""
    symbols: tuple[Influence, ...] = ()
    """Likewise."""


class Check(Record):
    """One question of the gate and its answer. A missing value never passes."""

    name: str
    group: CheckGroup
    value: Measured
    bound: float | tuple[float, float] | None
    """The limit, or (low, high) for a range; None where the check is not a comparison of numbers."""
    passed: bool
    why: str
    """One sentence with the numbers in it."""
    asks: Asks | None = None
    """How value and bound are compared; None where they are not, and in records from before this was kept."""
    weighs: Weighs | None = None
    """Of a check that failed, if it rests on a statistic over rows."""

    @model_validator(mode="after")
    def _nothing_missing_passes(self) -> Self:
        if self.passed and self.value is None and self.bound is not None:
            raise ValueError(f"check {self.name!r} passes without a value")
        return self

    @property
    def change(self) -> float | None:
        """The smallest change of the value, with its sign, that would have let the check pass.

        None for a check that passed, and where there is no number to change. Where it is not known how the check
        compares, the change that reaches the bound.
        """
        if self.passed or self.value is None or self.bound is None:
            return None
        ends = self.bound if isinstance(self.bound, tuple) else (self.bound,)
        nearest = min(ends, key=lambda end: abs(end - float(self.value or 0.0)))
        target = math.nextafter(nearest, math.inf) if self.asks == "above" else nearest
        change = target - self.value
        if self.asks is None or _holds(self.value + change, self.asks, self.bound):
            return change
        return math.nextafter(change, math.copysign(math.inf, change))  # the difference itself was rounded


def _holds(value: float, asks: Asks, bound: float | tuple[float, float]) -> bool:
    low, high = bound if isinstance(bound, tuple) else (bound, bound)
    match asks:
        case "at least":
            return bool(value >= low)
        case "above":
            return bool(value > low)
        case "at most":
            return bool(value <= high)
        case "within":
            return bool(low <= value <= high)


def _compared(
    name: str, group: CheckGroup, value: float, asks: Asks, bound: float | tuple[float, float], why: str
) -> Check:
    passed = math.isfinite(value) and _holds(value, asks, bound)
    return Check(name=name, group=group, value=value, bound=bound, passed=passed, why=why, asks=asks)


def at_least(name: str, group: CheckGroup, value: float, bound: float, why: str) -> Check:
    """Passes when value ≥ bound; NaN and infinity never do."""
    return _compared(name, group, value, "at least", bound, why)


def above(name: str, group: CheckGroup, value: float, bound: float, why: str) -> Check:
    """Passes when value > bound; NaN and infinity never do."""
    return _compared(name, group, value, "above", bound, why)


def at_most(name: str, group: CheckGroup, value: float, bound: float, why: str) -> Check:
    """Passes when value ≤ bound; NaN and infinity never do."""
    return _compared(name, group, value, "at most", bound, why)


def within(name: str, group: CheckGroup, value: float, bound: tuple[float, float], why: str) -> Check:
    """Passes when low ≤ value ≤ high; NaN and infinity never do."""
    return _compared(name, group, value, "within", bound, why)


class Forced(Record):
    """A person's word in place of the gate's, for one night."""

    what: VerdictWord
    reason: str
    by: str

    @classmethod
    def asked(
        cls, what: VerdictWord | None, reason: str, by: str, *, promote: bool = True, scheduled: bool = False
    ) -> "Forced | None":
        """What somebody asked for; None where nobody forces anything.

        Args:
            what: The verdict that is forced.
            reason: Why, for whoever reads the ledger later.
            by: Who asks.
            promote: Whether the night is to decide anything.
            scheduled: Whether a schedule started it.

        Raises:
            ConfigError: a reason without a verdict or a verdict without a reason, and where nothing is decided or
                nobody is there who could have decided it.
        """
        named = f"force = {what} (--force-{what})"
        if what is None:
            if reason.strip():
                raise ConfigError("A reason without what it is for: add --force-promote or --force-keep, or leave it.")
            return None
        if not reason.strip():
            raise ConfigError(f"{named} needs its reason, for whoever reads the ledger later: say why with --reason.")
        if not promote:
            raise ConfigError(
                f"{named} decides the night and promote = off (--no-promote) does not: leave one of them."
            )
        if scheduled:
            raise ConfigError(f"{named} is a person's word for one night; a schedule has none. Run that night by hand.")
        return cls(what=what, reason=" ".join(reason.split()), by=by)


class Verdict(Record):
    """What the gate decided and on what grounds."""

    verdict: VerdictWord
    reason: str
    checks: tuple[Check, ...] = ()
    metrics: dict[str, Measured] = Field(default_factory=dict)
    decided_by: str | None = None
    """Whoever had the last word; None where the gate alone decided."""
    forced: Forced | None = None
    """Whose word stands in place of the gate's; None where the gate's own does."""

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


class LedgerEntry(Record):
    """One decision: a night's verdict or a rollback. Rows of the ledger are only ever appended."""

    night_id: str
    session: date
    as_of: datetime
    decided_at: datetime
    verdict: Literal["promote", "keep", "rollback"]
    reason: str
    version: str | None
    champion_before: str | None
    champion_after: str | None
    actor: str
    hashes: dict[str, str] = Field(default_factory=dict)
    """snapshot, config, code, recipe and model files: what the decision rests on."""
    facts: dict[str, Measured] = Field(default_factory=dict)
    """Numbers that later nights read: target means and percentiles, scales."""


class NightResult(Record):
    """What a night ends with; `nocturne retrain --json` prints exactly this."""

    session: date
    as_of: datetime
    night_id: str
    repeated: bool = False
    verdict: VerdictWord
    reason: str
    version: str | None
    champion: str | None
    """Version that serves after this night."""
    trained_until: date | None
    checks: tuple[Check, ...] = ()
    bounds: dict[str, float] = Field(default_factory=dict)
    percentiles: dict[str, dict[str, float]] = Field(default_factory=dict)
    metrics: dict[str, Measured] = Field(default_factory=dict)
    delivery: Account = Account()
    snapshot: Snapshot | None
    timings: dict[str, float] = Field(default_factory=dict)
    report: str | None = None
    forced: Forced | None = None
    """Who decided this night in place of the gate, and why; None where the gate did."""


def names(checks: Iterable[Check]) -> str:
    """The checks' names in one readable list."""
    return ", ".join(check.name for check in checks)


def percentiles_by_head(scales: Mapping[str, Scale]) -> dict[str, dict[str, float]]:
    """The percentiles of each bounded head, as the night's result shows them."""
    return {head: scale.percentiles for head, scale in scales.items()}
