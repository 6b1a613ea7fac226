"""Results as people read them in a terminal. With `--json` none of this is used."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import BaseModel

from models.credentials import without_credentials
from models.explanation import ExplainedCheck, Explanation, heaviest
from models.locations import Locations, is_local
from models.night import NightFiles
from models.notation import ABSENT, count, duration, flip, moment, passed_or_not, significant, value_and_bound
from models.records import Account, Check, DeliveryRecord, Finding, NightResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from flows.automations import Applied
    from models.quarantine import Quarantined
    from models.rulings import ActionsSeen
    from models.settings import Settings
    from models.verification import Verification
    from tasks.score import ScoreResult
    from tasks.status import StatusReport

GROUPS = {
    "health": "healthy",
    "leak": "free of leaks",
    "skill": "skilled",
    "champion": "as good as the champion",
}
"""What the gate asks, by group of checks."""

WIDTH_IN_FILES = 120
"""Characters a line where no terminal says how many it has."""


def show_night(result: NightResult, locations: Locations, file: IO[str] | None = None) -> None:
    """The night's checks, bounds and verdict, and where to look further."""
    console = _console(file)
    if result.checks:
        console.print(_checks(result))
    for check in result.checks:
        if not check.passed:
            would_pass = f" ({words})" if (words := flip(check)) else ""
            console.print(f"✗ {check.name}: {check.why}{would_pass}")
    if result.bounds:
        bounds = ", ".join(f"{head} in [0, {significant(bound)}]" for head, bound in result.bounds.items())
        console.print(f"Bounds of the heads: {bounds}")
    console.print(_verdict(result))
    console.print()
    _places(console, result, locations)


def show_deliveries(deliveries: Sequence[DeliveryRecord], total: Account, file: IO[str] | None = None) -> None:
    """Where every delivered row went, and what the contract found."""
    console = _console(file)
    if not deliveries:
        console.print("Nothing new has been delivered.")
        return
    table = _table("delivery", *_ACCOUNT, "known at by")
    for one in deliveries:
        name = f"{one.name} (repeated: nothing written)" if one.repeated else one.name
        table.add_row(name, *(count(getattr(one.account, field)) for field in _ACCOUNT), one.known_at_rule)
    console.print(table)
    for rule, rows in total.by_rule.items():
        console.print(f"  quarantined by {rule}: {count(rows)}")
    for one in deliveries:
        for finding in (finding for finding in one.findings if not finding.held):
            console.print(f"  {one.name}: {_finding(finding)}")


def show_score(result: "ScoreResult", file: IO[str] | None = None) -> None:
    """What was published, or why nothing was."""
    _console(file).print(result.sentence)


def show_status(report: "StatusReport", file: IO[str] | None = None) -> None:
    """What serves, since when, why, and the last decisions."""
    console = _console(file)
    console.print("✓ All is well." if report.well else "To look at:")
    for concern in report.concerns:
        console.print(f"✗ {concern}")
    if report.champion is None:
        console.print("A first champion: see docs/gate.md.")
    else:
        champion = report.champion
        console.print(f"Champion {champion.version}, trained for session {champion.session}")
        console.print(f"serves since {moment(champion.since)}: {champion.reason}")
    if not report.nights:
        meant = "If another home is meant, name it in NOCTURNE_HOME or storage.home."
        console.print(f"Looked in {report.home}. {meant}", soft_wrap=True)
        return
    table = _table("session", "decided at", "verdict", "version", "serves after", "reason")
    for night in report.nights:
        table.add_row(
            str(night.session),
            moment(night.decided_at),
            night.verdict,
            night.version or ABSENT,
            night.champion or ABSENT,
            night.reason,
        )
    console.print(table)


def show_explanation(told: Explanation, file: IO[str] | None = None) -> None:
    """What a night decided and why: failed checks in full, passed ones by group, and what to do next."""
    console = _console(file)
    console.print(f"Session {told.session}, night {told.night_id}: {told.verdict.upper()}. {told.reason}")
    before, after = (
        f"{one} served" if one else "nothing served" for one in (told.champion_before, told.champion_after)
    )
    console.print(f"Candidate {told.version or ABSENT}. Before {before}, afterwards {after}.")
    by_force = ", by force" if told.forced else ""
    console.print(f"Decided {moment(told.decided_at)} by {told.decided_by}{by_force}.")
    if told.missing:
        console.print(told.missing)
    for check in told.failed:
        _failed(console, check)
    if told.passed:
        console.print(_passed(told))
    elif told.metrics and not told.failed:
        show_record(told.metrics, file)
    console.print("What to do next")
    for step in told.next_steps:
        console.print(f"• {step}", soft_wrap=True)  # unbroken, so that a command can be copied
    if told.same_session:
        console.print(f"Other nights of this session: {', '.join(told.same_session)}")


def show_verification(result: "Verification", file: IO[str] | None = None) -> None:
    """All that was compared, and what differs once more below."""
    console = _console(file)
    table = _table("compared", "", "")
    for one in result.comparisons:
        table.add_row(one.what, _SIGNS[one.outcome], one.why)
    console.print(table)
    differing = [one for one in result.comparisons if one.outcome == "differs"]
    decided = f"{result.version}: {result.verdict}, decided at {moment(result.decided_at)}"
    told = f"{count(len(differing))} of {count(len(result.comparisons))} things differ" if differing else "it is proven"
    console.print(f"{decided}: {told}.")
    for one in differing:
        console.print(f"✗ {one.what}: {one.why}")


def show_actions(seen: "ActionsSeen", file: IO[str] | None = None) -> None:
    """Splits and what looks like one, and how a person settles them."""
    console = _console(file)
    if not seen.actions:
        console.print("No open question: no suspect split, none that prices contradict.")
        return
    table = _table("symbol", "session", "state", "new for one old", "close before ÷ open")
    for action in seen.actions:
        ratio = ABSENT if action.ratio is None else significant(action.ratio)
        table.add_row(action.symbol, str(action.session), action.state, ratio, significant(action.fall))
    console.print(table)
    console.print("nocturne splits confirm SYMBOL DATE [RATIO] --reason TEXT, or dismiss, settles one.")


def show_quarantine(seen: "Quarantined", file: IO[str] | None = None) -> None:
    """Rows that broke the contract, and how a person settles them."""
    console = _console(file)
    if not seen.groups:
        console.print("Nothing waits: no row that was asked for is in quarantine without a decision.")
        return
    table = _table("delivery", "file", "received at", "rule", "waiting", "released", "dropped", "first line")
    for group in seen.groups:
        settled = [count(number) for number in (group.waiting, group.released, group.dropped)]
        received, line = moment(group.received_at), str(group.first_line)
        table.add_row(group.delivery[:12], group.name, received, group.rule, *settled, line)
    console.print(table)
    if seen.rows:
        rows = _table("line", "rule", "state", "as delivered")
        for row in seen.rows:
            rows.add_row(str(row.line), row.rule, row.state, row.raw)
        console.print(rows)
        if seen.more:
            console.print(f"And {count(seen.more)} more: --limit shows them.")
    console.print(
        "nocturne quarantine release DELIVERY LINE… --reason TEXT, or drop, settles them; list DELIVERY shows it."
    )


def show_automations(applied: "Applied", file: IO[str] | None = None) -> None:
    """Which automations the server has now, and where they send to."""
    console = _console(file)
    table = _table("automation", "", "")
    for one in applied.automations:
        table.add_row(one.name, one.done, "" if one.enabled else "paused in the Prefect UI")
    console.print(table)
    console.print(applied.why.capitalize() + ".")


def show_settings(settings: "Settings", file: IO[str] | None = None) -> None:
    """The effective configuration with the origin of each value; what was set stands out."""
    console = _console(file)
    table = _table("setting", "value", "from")
    for key, origin in settings.origins.items():
        set_by_somebody = origin != "default"
        table.add_row(key, str(settings.value(key)), origin, style="bold" if set_by_somebody else "")
    console.print(table)


def show_record(record: BaseModel | Mapping[str, object], file: IO[str] | None = None) -> None:
    """A small result, one line a field."""
    console = _console(file)
    values = record.model_dump(mode="json") if isinstance(record, BaseModel) else record
    table = _table("", "", header=False)
    for name, value in values.items():
        table.add_row(name.replace("_", " "), _in_lines(value))
    console.print(table)


_SIGNS = {"same": "✓ same", "differs": "✗ differs", "not checked": "– not checked", "note": "note"}
_ACCOUNT = ("delivered", "accepted", "revised", "duplicate", "quarantined")


def _checks(result: NightResult) -> "Table":
    from rich.text import Text

    table = _table("is it", "check", "value", "bound", "")
    for column in table.columns[2:4]:
        column.justify = "right"
    asked = ""
    checks = _without_passed_leak_checks(result.checks)
    for check in checks:
        question = GROUPS[check.group] if check.group != asked else ""
        asked = check.group
        sign = Text(passed_or_not(check.passed), style="green" if check.passed else "bold red")
        table.add_row(question, check.name, *value_and_bound(check), sign)
    return table


def _without_passed_leak_checks(checks: Sequence[Check]) -> list[Check]:
    """The checks to show: those for leaks in one row while all pass, since they ask how numbers came about."""
    leaks = [check for check in checks if check.group == "leak"]
    if len(leaks) < 2 or not all(check.passed for check in leaks):
        return list(checks)
    whole = leaks[0].model_copy(update={"name": f"all {len(leaks)} checks", "value": None, "bound": None})
    first = checks.index(leaks[0])
    return [*checks[:first], whole, *(check for check in checks[first:] if check.group != "leak")]


def _failed(console: "Console", check: ExplainedCheck) -> None:
    from rich.padding import Padding

    value, bound = value_and_bound(check)
    would_pass = f"; {check.would_pass}" if check.would_pass else ""
    console.print(f"\n✗ {check.name}: {value} ({bound}){would_pass}", style="bold")
    for line in (check.why, *_weighing(check)):
        console.print(Padding(line, (0, 0, 0, 2)))


def _weighing(check: ExplainedCheck) -> tuple[str, ...]:
    if check.weighs is not None:
        sessions, symbols = heaviest(check)
        return (
            f"sessions that weigh most (value without): {sessions}",
            f"symbols that weigh most (value without): {symbols}",
        )
    if check.value is None:
        return ("it has no value, so nothing weighs more than anything else",)
    if check.asks is None and check.bound is not None:
        return ("what weighs most was not recorded then",)
    return ("it is no average over sessions and symbols",)


def _passed(told: Explanation) -> "Table":
    table = _table("passed: it is", "checks", "")
    table.columns[1].justify = "right"
    for group, names in told.passed.items():
        table.add_row(GROUPS[group], count(len(names)), ", ".join(names))
    return table


def _verdict(result: NightResult) -> str:
    lines = [f"Session {result.session}: {result.verdict.upper()}. {result.reason}"]
    if result.repeated:
        lines.append("This night was decided before: its recorded result is shown, nothing was run or written.")
    serves = f"{result.champion} serves" if result.champion else "Nothing serves yet"
    trained = f"; trained until {result.trained_until}" if result.trained_until else ""
    lines.append(f"{serves}. Candidate {result.version or ABSENT}{trained}.")
    if result.timings and not result.repeated:
        lines.append("Took " + ", ".join(f"{stage} {duration(took)}" for stage, took in result.timings.items()) + ".")
    return "\n".join(lines)


def _places(console: "Console", result: NightResult, locations: Locations) -> None:
    from flows.environment import prefect_home
    from flows.running import place_of, recall

    tools = Path(sys.executable).parent  # where the commands of this very environment are
    prefect = f"PREFECT_HOME={_short(str(prefect_home(locations)))} {_short(str(tools / 'prefect'))} server start"
    if (running := recall(place_of(locations))) is not None and running.process("server"):
        prefect = running.address
    mlflow = (
        f"{_short(str(tools / 'mlflow'))} ui --backend-store-uri {_short(without_credentials(locations.tracking_uri))}"
    )
    decided = NightFiles(locations, result.night_id).has("result.json")
    places = {
        **({"Why": f"{_short(str(tools / 'nocturne'))} explain {result.night_id[:8]}"} if decided else {}),
        "Report": _short(result.report or ABSENT),
        "Data Docs": _short(f"{locations.data_docs}/index.html"),
        "Models": mlflow,
        "Runs": prefect,
    }
    for what, where in places.items():
        console.print(f"{what:<11} {where}", soft_wrap=True)  # unbroken, so that it can be copied


def _short(location: str) -> str:
    """A local path as seen from here."""
    if not is_local(location) or not location.startswith("/"):
        return location.replace(f"sqlite:///{os.getcwd()}/", "sqlite:///")
    relative = os.path.relpath(location)
    return location if relative.startswith("..") else relative


def _finding(finding: Finding) -> str:
    examples = f" ({', '.join(finding.examples)})" if finding.examples else ""
    return f"{finding.level}: {finding.rule}, {count(finding.count)}: {finding.why}{examples}"


def _in_lines(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {one}" for name, one in value.items()) or ABSENT
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value)) or ABSENT
    return ABSENT if value is None else str(value)


def _table(*columns: str, header: bool = True) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _console(file: IO[str] | None) -> "Console":
    from rich.console import Console

    console = Console(file=file, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    return console
