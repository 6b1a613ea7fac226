"""The night's report: what a person reads in the morning, the verdict and its reason first.

`NightMaterial` is all that a report is made of; every part but the result may be empty, since a night can end early.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from models import diagnostics, pictures
from models.bootstrap import Interval
from models.config import GateConfig
from models.drift import BEYOND, ColumnDrift
from models.explanation import ROLL_BACK, TRY, advice, heaviest
from models.notation import (
    ABSENT,
    count,
    duration,
    fixed,
    flip,
    moment,
    passed_or_not,
    percent,
    shortfall,
    significant,
    value_and_bound,
)
from models.page import (
    Block,
    Bullets,
    Column,
    Command,
    Page,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
    to_html,
    to_markdown,
)
from models.records import CandidateRecord, Check, CheckGroup, Finding, NightResult, Scale, Snapshot
from models.slices import Slice, slices
from models.universe import TRADED_SESSIONS

_QUESTIONS: dict[CheckGroup, str] = {
    "health": "Is it healthy?",
    "leak": "Has anything seen what it is judged on?",
    "skill": "Has it skill?",
    "champion": "Is it at least as good as the champion?",
}
_PERCENTILES = ("p1", "p5", "p25", "p75", "p95", "p99", "p99.9", "max")
_STATISTICS = {
    "mean": "mean",
    "median": "median",
    **{name: name for name in _PERCENTILES},
    "proposed": "bound by tonight alone",
    "scale": "bound in force",
}
_SYMBOLS_SHOWN = 15
_BESIDE = (
    ("5-day reversal", "reversal", "direction_auc_reversal"),
    ("volatility only", "p_up_volatility_only", "direction_auc_volatility_only"),
)
"""Curves beside the candidate's: name, column of the evidence, and the metric that the gate has of it."""
_ROLLING_SESSIONS = 21
_DRIFT_SHOWN = 12


@dataclass(frozen=True)
class NightMaterial:
    """Everything that the report of one night shows."""

    result: NightResult
    findings: tuple[Finding, ...]
    scales: Mapping[str, Scale]
    """Bounded head → its scale and percentiles; empty when the night ended before the targets."""
    history: pd.DataFrame
    """Last nights from the ledger, oldest first: `session, version, verdict` and fact columns; tonight not included."""
    curves: pd.DataFrame
    """`epoch, loss, val_loss, val_direction, val_volatility, val_magnitude, chosen`."""
    evidence: pd.DataFrame
    """The out-of-sample frame that the gate judged on."""
    drift: Sequence[ColumnDrift] = ()
    """How far tonight's columns and features lie from those of the last sessions."""
    candidate: CandidateRecord | None = None
    """How it was trained; None when the night ended before."""
    sectors: Mapping[str, str] | None = None
    """Symbol → sector, where the source has them."""
    note: str | None = None
    """A sentence that the reader must know before the numbers."""
    gate: GateConfig = field(default_factory=GateConfig)
    """Confidence and replicates of the intervals."""
    reach: int = 5
    """Sessions that one label looks ahead."""
    relative: bool = True
    """Whether direction is relative to the session's median."""
    block_sessions: int = 10
    """Block of the ROC band's bootstrap; at least twice the horizon."""


def render_html(material: NightMaterial) -> str:
    """The report as one self-contained HTML page."""
    return to_html(night_page(material))


def render_markdown(material: NightMaterial) -> str:
    """The same report as Markdown with inline pictures, for a Prefect artifact."""
    return to_markdown(night_page(material))


def night_page(material: NightMaterial) -> Page:
    """The report before it takes a form; both forms can be made of one page."""
    result = material.result
    sections = (
        _checks(result),
        _data(material),
        _targets(material),
        _training(material),
        _direction(material),
        _bounded_heads(material),
        _slices(material),
        _groups(material),
        _timings(result),
        _next_steps(result),
    )
    return Page(
        overline=f"Nocturne · the night of {result.session.isoformat()}",
        headline=_headline(result),
        passed=result.verdict == "promote",
        lead=result.reason,
        note=_note(material),
        facts=_facts(result),
        sections=tuple(section for section in sections if section.blocks),
    )


def _note(material: NightMaterial) -> str | None:
    """What the reader must know before the numbers: first of all that it was not the gate that decided."""
    forced = material.result.forced
    word = f"{forced.by} decided this night in place of the gate: {forced.reason}" if forced else ""
    return " · ".join(filter(None, (word, material.note))) or None


def _headline(result: NightResult) -> str:
    serving = f"{result.champion} goes on serving" if result.champion else "nothing serves yet"
    by_force = " by force" if result.forced else ""
    if result.verdict == "keep":
        return f"Kept{by_force}: {serving}"
    if result.champion == result.version:
        return f"✓ Promoted{by_force}: {result.version} serves"
    return f"✓ Passed, not promoted: {serving}"


def _facts(result: NightResult) -> tuple[tuple[str, str], ...]:
    n_passed = sum(check.passed for check in result.checks)
    trained_until = result.trained_until
    age = f", {(result.session - trained_until).days} days earlier" if trained_until else ""
    return (
        ("Candidate", result.version or ABSENT),
        ("Serves after this night", result.champion or ABSENT),
        ("Checks passed", f"{n_passed} of {len(result.checks)}"),
        ("Trained until", f"{trained_until or ABSENT}{age}"),
        ("As of", moment(result.as_of)),
        ("Night", result.night_id),
    )


def _checks(result: NightResult) -> Section:
    tables = tuple(
        _check_table(question, [check for check in result.checks if check.group == group])
        for group, question in _QUESTIONS.items()
        if any(check.group == group for check in result.checks)
    )
    if not tables:
        return Section("The gate", (Paragraph("The night ended before any check could be made."),))
    return Section("The gate", (*tables, *_what_would_flip(result)))


def _what_would_flip(result: NightResult) -> tuple[Table, ...]:
    """Of each failed check with a number, the change that it takes and what weighs most; nothing where none failed."""
    rows = tuple(
        (check.name, *value_and_bound(check), words, *heaviest(check))
        for check in result.checks
        if (words := flip(check)) is not None
    )
    columns = (
        Column("failed check", width=20),
        Column("value", numeric=True, width=8),
        Column("bound", numeric=True, width=10),
        Column("smallest change", width=16),
        Column("sessions that weigh most"),
        Column("symbols that weigh most"),
    )
    caption = "What would have let them pass, and what weighs most: in brackets the value without it"
    return (Table(columns, rows, caption),) if rows else ()


def _check_table(question: str, checks: list[Check]) -> Table:
    columns = (
        Column("check", width=24),
        Column("value", numeric=True, width=10),
        Column("bound", numeric=True, width=14),
        Column("result", width=9),
        Column("why"),
    )
    rows = tuple((check.name, *value_and_bound(check), passed_or_not(check.passed), check.why) for check in checks)
    failed = frozenset(position for position, check in enumerate(checks) if not check.passed)
    return Table(columns, rows, question, failed)


def _data(material: NightMaterial) -> Section:
    broken = [finding for finding in material.findings if not finding.held]
    held = [finding for finding in material.findings if finding.held]
    blocks: list[Block] = [_account_table(material.result)]
    if broken:
        blocks.append(_finding_table(f"Rules that were broken ({len(broken)})", broken))
    if held:
        blocks.append(_finding_table(f"Rules that held ({len(held)})", held, folded=True))
    if material.result.snapshot is not None:
        blocks.append(_snapshot_table(material.result))
        if material.result.snapshot.members is not None:
            blocks.append(Paragraph(_universe(material.result.snapshot)))
    if material.drift:
        blocks += _drift(material.drift)
    return Section("The data", tuple(blocks))


def _account_table(result: NightResult) -> Table:
    account = result.delivery
    parts = {
        "accepted": account.accepted,
        "revised": account.revised,
        "duplicate": account.duplicate,
        "quarantined": account.quarantined,
    }
    rows = [(name, count(n), _share(n, account.delivered), "") for name, n in parts.items()]
    rules = ", ".join(f"{rule} {count(n)}" for rule, n in account.by_rule.items())
    rows[-1] = (*rows[-1][:3], rules)
    rows.append(("delivered", count(account.delivered), "", "the sum of the four"))
    columns = (
        Column("rows", width=16),
        Column("count", numeric=True, width=12),
        Column("share", numeric=True, width=12),
        Column("by rule"),
    )
    return Table(columns, tuple(rows), "Account of the delivery")


def _finding_table(caption: str, findings: list[Finding], folded: bool = False) -> Table:
    columns = (
        Column("rule", width=18),
        Column("level", width=11),
        Column("count", numeric=True, width=9),
        Column("what was found", width=38),
        Column("for example"),
    )
    rows = tuple(
        (finding.rule, finding.level, count(finding.count), finding.why, ", ".join(finding.examples))
        for finding in findings
    )
    stops = frozenset(i for i, finding in enumerate(findings) if finding.level == "stop" and not finding.held)
    return Table(columns, rows, caption, stops, folded)


def _snapshot_table(result: NightResult) -> Table:
    snapshot = result.snapshot
    assert snapshot is not None
    columns = (Column("rows", numeric=True), Column("symbols", numeric=True), Column("first"), Column("last"))
    row = (count(snapshot.rows), count(snapshot.symbols), str(snapshot.first), str(snapshot.last))
    return Table(
        (*columns, Column("content hash")), ((*row, snapshot.hash),), f"Snapshot, as known at {moment(snapshot.as_of)}"
    )


def _drift(measured: Sequence[ColumnDrift]) -> tuple[Block, ...]:
    """The columns and features that lie farthest out, whether or not they are still believed."""
    farthest = sorted(measured, key=lambda one: -one.excess)[:_DRIFT_SHOWN]
    beyond = sum(one.excess > 1 for one in measured)
    told = Paragraph(
        f"Farther from the last sessions than {BEYOND:g} times the farthest of these: {count(beyond)} of "
        f"{count(len(measured))} columns and features. Distance is the Kolmogorov-Smirnov statistic of a session's "
        "symbols against those of all the sessions before: 0 for the same distribution, 1 for no overlap."
    )
    picture = Picture(pictures.drift(farthest), f"Drift of the {len(farthest)} columns and features farthest out")
    return told, Pictures((picture,))


def _universe(snapshot: Snapshot) -> str:
    """Who belongs tonight, and how many of all names have ended: without any, only survivors are there."""
    ended = f"{count(snapshot.ended)} of {count(snapshot.symbols)} symbols ended before tonight, delisted or no longer"
    if snapshot.ended:
        told = f"{ended} delivered; {percent(snapshot.ended_rows, 1)} of the bars are theirs."
    else:
        told = (
            "None of them ended before tonight. A long history without delisted names holds the survivors only, and "
            "every number measured on it flatters."
        )
    return f"{count(snapshot.members)} symbols belong to the universe on {snapshot.session}. {told}"


def _targets(material: NightMaterial) -> Section:
    if not material.scales:
        return Section("Targets and bounds", ())
    blocks: list[Block] = [_scale_table(material.scales, material.history)]
    by_night = _with_tonight(material)
    if len(by_night) > 1:
        drawn = pictures.nights(by_night, tuple(material.scales))
        blocks.append(Pictures((Picture(drawn, "Percentiles and bounds of the targets, night by night"),)))
    return Section("Targets and bounds", tuple(blocks))


def _scale_table(scales: Mapping[str, Scale], history: pd.DataFrame) -> Table:
    columns = [Column("training targets", width=20)]
    for head in scales:
        titles = (f"{head} tonight", "last night", "median of the nights", "tonight / median")
        columns += [Column(title, numeric=True, width=80 // (4 * len(scales))) for title in titles]
    rows = []
    for name, title in _STATISTICS.items():
        compared = [_compared(scale, name, history) for scale in scales.values()]
        rows.append((title, *(cell for cells in compared for cell in cells)))
    shares = [percent(scale.clipped_share, 3) for scale in scales.values()]
    sizes = [count(scale.rows) for scale in scales.values()]
    for title, shown in (("share above the bound", shares), ("rows", sizes)):
        rows.append((title, *(cell for text in shown for cell in (text, "", "", ""))))
    caption = (
        f"Tonight against the last {len(history)} nights" if len(history) else "Tonight; no earlier night is known"
    )
    return Table(tuple(columns), tuple(rows), caption)


def _compared(scale: Scale, name: str, history: pd.DataFrame) -> tuple[str, str, str, str]:
    """One statistic of one head: tonight, last night, the median of the last nights, and tonight over that median."""
    own = {"mean": scale.mean, "median": scale.median, "proposed": scale.proposed, "scale": scale.scale}
    value = own.get(name, scale.percentiles.get(name))
    past = _past(history, f"{scale.head}_{name}")
    last, usual = (float(past.iloc[-1]), float(past.median())) if len(past) else (None, None)
    ratio = fixed(value / usual, 3) if value is not None and usual else ABSENT
    return fixed(value, 5), fixed(last, 5), fixed(usual, 5), ratio


def _past(history: pd.DataFrame, column: str) -> pd.Series:
    if column not in history:
        return pd.Series(dtype="float64")
    return pd.to_numeric(history[column], errors="coerce").dropna()


def _with_tonight(material: NightMaterial) -> pd.DataFrame:
    """The last nights and tonight as their last row; the session's own earlier tries are left out of the picture."""
    session = pd.Timestamp(material.result.session)
    facts: dict[str, object] = {"session": session, "direction_auc": material.result.metrics.get("direction_auc")}
    for head, scale in material.scales.items():
        facts |= {f"{head}_scale": scale.scale, **{f"{head}_{name}": p for name, p in scale.percentiles.items()}}
    if material.history.empty:
        return pd.DataFrame([facts])
    past = material.history.assign(session=pd.to_datetime(material.history["session"]))
    return pd.concat([past[past["session"] < session], pd.DataFrame([facts])], ignore_index=True)


def _training(material: NightMaterial) -> Section:
    curves, candidate = material.curves, material.candidate
    if curves.empty:
        return Section("Training", ())
    whose = "Training and validation loss by epoch, the chosen epoch marked"
    if candidate and candidate.folds:
        whose = f"Loss of {candidate.folds[-1].version} by epoch; the candidate took the middle of the folds' epochs"
    if candidate and candidate.cut_short:
        whose += ". training.max_seconds ended its fit early"
    drawn = Picture(pictures.learning_curves(curves), whose)
    if candidate is None:
        return Section("Training", (Pictures((drawn,)),))
    folds = (_fold_table(candidate, material.result.session),) if candidate.folds else ()
    return Section("Training", (Pictures((drawn,)), *folds, _head_table(candidate)))


def _fold_table(candidate: CandidateRecord, session: date) -> Table:
    columns = (
        Column("model", width=26),
        Column("trained until", width=16),
        *(Column(name, numeric=True) for name in ("age, days", "training rows", "epochs", "trained in")),
    )
    rows = [
        (
            fold.version,
            str(fold.trained_until),
            str((session - fold.trained_until).days),
            count(fold.rows),
            str(fold.epochs),
            "an earlier night" if fold.reused else _trained_in(fold.seconds, fold.cut_short),
        )
        for fold in candidate.folds
    ]
    age = str((session - candidate.trained_until).days)
    own = (candidate.version, str(candidate.trained_until), age, ABSENT, str(candidate.epochs))
    caption = "Recipe folds, each judged on the sessions after its training, and the candidate on the last ones"
    return Table(columns, (*rows, (*own, _trained_in(candidate.seconds, candidate.cut_short))), caption)


def _trained_in(seconds: float, cut_short: bool) -> str:
    return f"{duration(seconds)}, cut short by training.max_seconds" if cut_short else duration(seconds)


def _head_table(candidate: CandidateRecord) -> Table:
    columns = (Column("head", width=16), *(Column(name, numeric=True) for name in ("share of the gradient", "weight")))
    rows = tuple(
        (head, percent(share, 1), f"{candidate.head_weights[head]:.3g}")
        for head, share in candidate.head_shares.items()
    )
    where = f" on {candidate.device} with {candidate.threads} threads" if candidate.device else ""
    caption = f"Heads on the fusion layer when training started; {candidate.seconds:.0f} s{where}"
    return Table(columns, rows, caption)


def _direction(material: NightMaterial) -> Section:
    evidence = material.evidence
    curve = diagnostics.roc_curve(evidence, block_sessions=material.block_sessions, confidence=material.gate.confidence)
    if curve is None:
        return Section("Direction, out of sample", ())
    beside = {}
    for name, score, metric in _BESIDE:
        other = diagnostics.roc_curve(evidence, score, replicates=1)
        if other is not None:
            area = material.result.metrics.get(metric)
            beside[f"{name}, AUC {fixed(other.area if area is None else area)}"] = other
    by_session = diagnostics.auc_by(evidence, "session").dropna()
    window = max(1, min(_ROLLING_SESSIONS, len(by_session) // 3))
    label = _auc_label(material, curve)
    rows = diagnostics.directed(evidence)
    blocks: list[Block] = [
        Paragraph(
            f"{count(len(rows))} rows of {count(rows['session'].nunique())} sessions, {_span(rows['session'])}. "
            f"The band is drawn from blocks of {material.block_sessions} sessions, all symbols of a session together, "
            "because rows of one session move together and labels overlap. Curves pool all rows; AUCs are the gate's."
        ),
        Pictures((Picture(pictures.roc(curve, beside, label), f"ROC of the direction: {label}"),)),
        Pictures(
            (
                Picture(pictures.reliability(diagnostics.reliability(evidence)), "Reliability of the direction"),
                Picture(pictures.auc_by_session(by_session, window), "AUC of the direction by session"),
            )
        ),
        _metric_table(material.result),
    ]
    return Section("Direction, out of sample", tuple(blocks))


def _auc_label(material: NightMaterial, curve: diagnostics.RocCurve) -> str:
    metrics = material.result.metrics
    auc, low, high = (metrics.get(f"direction_auc{end}") for end in ("", "_low", "_high"))
    label = f"candidate, AUC {fixed(curve.area if auc is None else auc)}"
    if low is None or high is None:
        return label
    return f"{label} ({percent(material.gate.confidence, 0)} interval {fixed(low)} … {fixed(high)})"


def _metric_table(result: NightResult) -> Table:
    rows = tuple((name.replace("_", " "), significant(value)) for name, value in result.metrics.items())
    columns = (Column("metric", width=70), Column("value", numeric=True))
    return Table(columns, rows, "All metrics of the evidence", folded=True)


def _bounded_heads(material: NightMaterial) -> Section:
    drawn = []
    for head in diagnostics.bounded_heads(material.evidence):
        if head not in material.scales or material.evidence.empty:
            continue
        predicted, realised = (_finite(material.evidence[column]) for column in (head, f"{head}_target"))
        png = pictures.histograms(head, predicted, realised, material.scales[head].scale)
        drawn.append(Picture(png, f"Histogram of predicted and realised {head}, with the bound"))
    return Section("Bounded heads, out of sample", (Pictures(tuple(drawn)),) if drawn else ())


def _slices(material: NightMaterial) -> Section:
    evidence, gate = material.evidence, material.gate
    if diagnostics.directed(evidence).empty:
        return Section("Parts of the evidence", ())
    parts = slices(evidence, gate, reach=material.reach, relative=material.relative, sectors=material.sectors)
    shown = Picture(pictures.slices(parts), "Direction AUC and relative QLIKE of parts of the evidence, with intervals")
    return Section("Parts of the evidence", (Paragraph(_caution(parts, gate)), Pictures((shown,)), _slice_table(parts)))


def _caution(parts: Sequence[Slice], gate: GateConfig) -> str:
    missed = (1 - gate.confidence) * 2 * (len(parts) - 1)
    return (
        f"A description; no check reads it. Of {2 * (len(parts) - 1)} intervals at {percent(gate.confidence, 0)} about "
        f"{fixed(missed, 0)} miss the truth by chance, and whoever looks for the best or the worst part finds one that "
        "does: take what stands out as a question for later nights, never as a reason to choose rows. Liquidity is the "
        f"median dollar volume of the {TRADED_SESSIONS} sessions up to the prediction, in thirds of each session; "
        "volatility is the session's median forecast of log-HAR."
    )


def _slice_table(parts: Sequence[Slice]) -> Table:
    columns = (
        Column("by", width=10),
        Column("part", width=24),
        *(Column(name, numeric=True) for name in ("rows", "sessions", "direction AUC", "interval")),
        *(Column(name, numeric=True) for name in ("QLIKE / log-HAR", "interval")),
    )
    rows = tuple(
        (
            part.kind,
            part.name,
            count(part.rows),
            count(part.sessions),
            *(_ends(part.auc, 4)),
            *(_ends(part.to_har, 3)),
        )
        for part in parts
    )
    return Table(columns, rows, "Each part by itself, measured as the gate measures the whole")


def _ends(interval: Interval, decimals: int) -> tuple[str, str]:
    """The value and its interval; a part of few sessions has none."""
    low, high = fixed(interval.low, decimals), fixed(interval.high, decimals)
    return fixed(interval.value, decimals), ABSENT if low == ABSENT else f"{low} … {high}"


def _groups(material: NightMaterial) -> Section:
    evidence = material.evidence
    if evidence.empty:
        return Section("By symbol", ())
    symbols = diagnostics.by_group(evidence, "symbol")
    shown = symbols if len(symbols) <= 2 * _SYMBOLS_SHOWN else None
    blocks: list[Block] = [Paragraph(_luck(symbols))]
    if shown is not None:
        blocks.append(_group_table(f"All {len(symbols)} symbols", shown, material.sectors))
    else:
        most, fewest = symbols.head(_SYMBOLS_SHOWN), symbols.tail(_SYMBOLS_SHOWN)
        blocks.append(_group_table(f"The {_SYMBOLS_SHOWN} symbols with the most rows", most, material.sectors))
        blocks.append(_group_table(f"The {_SYMBOLS_SHOWN} symbols with the fewest rows", fewest, material.sectors))
        blocks.append(_group_table(f"All {len(symbols)} symbols", symbols, material.sectors, folded=True))
    return Section("By symbol", tuple(blocks))


def _luck(symbols: pd.DataFrame) -> str:
    """How far one symbol's AUC strays without any skill: Mann-Whitney, n / 2 rows of each class."""
    n_rows = float(symbols["rows"].median())
    spread = float(np.sqrt((n_rows + 1) / 3) / n_rows)
    return (
        f"Half of the symbols have {count(n_rows)} rows or more. On so many rows the AUC of a single symbol strays "
        f"from 0.5 by ± {fixed(spread, 2)} (one standard deviation) by luck alone, further where labels overlap: read "
        "these rows for errors in the data, not for skill. Among symbols of equally many rows the largest error of "
        "the volatility comes first."
    )


def _group_table(caption: str, table: pd.DataFrame, sectors: Mapping[str, str] | None, folded: bool = False) -> Table:
    heads = [head for head in ("volatility", "magnitude") if f"{head}_mae" in table]
    columns = [Column(str(table.index.name)), *([Column("sector")] if sectors else [])]
    columns += [Column("rows", numeric=True), Column("AUC", numeric=True)]
    for head in heads:
        columns += [Column(f"{head} {what}", numeric=True) for what in ("MAE", "predicted", "realised")]
    rows = []
    for name, row in table.iterrows():
        labels = [str(name), *([sectors.get(str(name), "unknown")] if sectors else [])]
        numbers = [fixed(row[key]) for head in heads for key in (f"{head}_mae", head, f"{head}_target")]
        rows.append((*labels, count(row["rows"]), fixed(row["auc"], 3), *numbers))
    return Table(tuple(columns), tuple(rows), caption, folded=folded)


def _timings(result: NightResult) -> Section:
    if not result.timings:
        return Section("Timings", ())
    whole = result.timings.get("total", sum(result.timings.values()))
    rows = [(stage, duration(seconds), _share(seconds, whole)) for stage, seconds in result.timings.items()]
    columns = (Column("stage", width=60), Column("time", numeric=True), Column("share", numeric=True))
    return Section("Timings", (Table(columns, tuple(rows)),))


def _next_steps(result: NightResult) -> Section:
    failed = [check for check in result.checks if not check.passed]
    blocks: list[Block] = []
    if failed:
        opening = "It passed without these checks:" if result.verdict == "promote" else "The checks that failed:"
        if result.forced is not None and result.verdict == "promote":
            opening = "It was forced past these checks:"
        blocks += [Paragraph(opening), Bullets(tuple(_missed(check) for check in failed))]
    if result.verdict == "keep":
        decided = Paragraph("No check failed; the reason at the top decided.")
        blocks.append(Bullets(advice(failed)) if failed else decided)
        blocks.append(Paragraph("Try a change on this very night, without promoting anything:"))
        blocks.append(Command(TRY.format(session=result.session)))
    elif result.champion != result.version:
        blocks.append(Paragraph("The candidate passed, but promotion was not asked for: the alias has not moved."))
    else:
        blocks.append(Paragraph("Nothing needs to be done. If the model misbehaves in service, move back with:"))
        blocks.append(Command(ROLL_BACK))
    return Section("What to do next", tuple(blocks))


def _missed(check: Check) -> str:
    gap = shortfall(check)
    by = f"missed its bound by {gap}" if gap else "has no value" if check.value is None else "failed"
    return f"{check.name} {by}. {check.why}"


def _finite(values: pd.Series) -> pictures.FloatArray:
    numbers = values.to_numpy("float64")
    finite: pictures.FloatArray = numbers[np.isfinite(numbers)]
    return finite


def _span(sessions: Iterable[object]) -> str:
    days = pd.to_datetime(pd.Series(sessions))
    return f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}"


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else ABSENT
