"""The command line: `nocturne`, or `python -m flows`.

Results go to standard output, all else to standard error. Exit status: 0 completed, whatever the verdict; 1 failed;
2 wrong arguments or configuration. Heavy imports stay inside the commands, so that `--help` answers at once.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command_line import (
    AsJson,
    Assignments,
    ConfigFile,
    Debug,
    Demo,
    OnArrival,
    Session,
    settings_of,
    show_result,
    working,
)
from flows.review import quarantine, splits
from models.errors import ConfigError, NocturneError

if TYPE_CHECKING:
    from datetime import date

    from flows.progress import Progress
    from models.config import RetrainConfig
    from models.locations import Locations
    from models.records import DeliveryRecord, VerdictWord
    from models.sources import Delivered

COMPLETED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Retrains a market model every night and lets it serve only if it has earned it.",
    epilog="Exit status: 0 completed, whatever the verdict; 1 failed; 2 wrong arguments or configuration.",
)
app.add_typer(quarantine, name="quarantine")
app.add_typer(splits, name="splits")


@app.command()
def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH…", help="Delivered files, or directories, globs or URI prefixes with them."),
    ] = None,
    demo: Demo = False,
    known_at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            metavar="TIME",
            help="When these files became known, with offset: 2024-05-02T21:30+00:00. Default: by the source's rules.",
        ),
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Validate deliveries and bring them into the store."""
    settings = settings_of(config, assignments, demo)
    deliveries = _deliveries(paths, demo)
    if not deliveries:
        raise typer.BadParameter("Name at least one file, or --demo.", param_hint="PATH")
    with working(debug) as progress:
        from flows import console
        from models.records import Account
        from tasks.ingest import bring_in, take_each

        def bring(one: "Delivered") -> "DeliveryRecord":
            progress.say(f"ingest {one.address}")
            return bring_in(one.address, settings.config, known_at, datetime.now(UTC), one.origin)

        records, failure = take_each(deliveries, settings.config, bring)
        _announce(records, settings.config)
    total = sum((record.account for record in records), Account())
    if failure is None or (records and not as_json):  # of JSON there is one document, and it tells the failure
        show_result(total, as_json, lambda _: console.show_deliveries(records, total))
    if failure is not None:
        raise failure


@app.command()
def retrain(
    session: Session = None,
    demo: Demo = False,
    delivery: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Delivery to ingest first, a path or a URI. Repeatable."),
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", metavar="", help="Judge the candidate, but leave the champion where it is.")
    ] = False,
    force_promote: Annotated[
        bool,
        typer.Option(
            "--force-promote", metavar="", help="Promote whatever skill and champion checks say, if it is sound."
        ),
    ] = False,
    force_keep: Annotated[
        bool, typer.Option("--force-keep", metavar="", help="Keep the champion whatever the gate says.")
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why the decision is forced; it goes to the ledger, and to people.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Say what would be done and read; do nothing.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """One night: ingest, validate, train, judge, and promote if the candidate has earned it."""
    settings = settings_of(config, assignments, demo)
    force = _forced(force_promote, force_keep, reason, promote=not no_promote)
    deliveries = _deliveries(delivery, demo)
    day = session.date() if session else None
    if dry_run:
        _print_plan(day, settings.config, deliveries, as_json, debug)
        return
    with working(debug) as progress:
        from flows import console

        asks = settings.config.gate.approval == "required" and not (no_promote or force)
        with _prefect(settings.config, progress, trains=True, asks=asks) as locations:
            from flows.retrain import retrain as night

            progress.listen()
        result = night(
            session=day,
            config=settings.config,
            deliveries=deliveries,
            promote=not no_promote,
            force=force,
            force_reason=reason,
        )
    show_result(result, as_json, lambda result: console.show_night(result, locations))


@app.command()
def score(
    session: Session = None,
    allow_stale: Annotated[
        bool,
        typer.Option(
            "--allow-stale", metavar="", help="Score on the last good bars although the newest delivery was stopped."
        ),
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """The champion's predictions for the latest bars, into the table of predictions."""
    settings = settings_of(config, assignments)
    with working(debug) as progress:
        from flows import console

        with _prefect(settings.config, progress):
            from flows.score import score as predict

            progress.listen()
        result = predict(session=session.date() if session else None, config=settings.config, allow_stale=allow_stale)
    show_result(result, as_json, console.show_score)


@app.command()
def status(
    nights: Annotated[int, typer.Option(min=1, help="How many of the last decisions to show.")] = 10,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """What serves now, since when and why; the last nights with their verdicts."""
    settings = settings_of(config, assignments)
    from flows import console
    from tasks.status import status as look

    show_result(look(settings.config, nights), as_json, console.show_status)


@app.command()
def explain(
    night: Annotated[
        str | None,
        typer.Argument(
            metavar="NIGHT",
            help="Its id or the beginning of it, its version, or its session (YYYY-MM-DD). Default: the last night.",
        ),
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Why a night ended as it did: what failed, what would have changed it, what weighs most, what to do."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.explain import explain as look

        result = look(night, settings.config)
    show_result(result, as_json, console.show_explanation)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded in the ledger.")],
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Version that shall serve. Default: the previous champion.")
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Move the champion back to an earlier version, and record it."""
    settings = settings_of(config, assignments)
    with working(debug) as progress:
        from flows import console

        with _prefect(settings.config, progress):
            from flows.rollback import rollback as move

            progress.listen()
        result = move(reason=reason, to=to, config=settings.config)
    show_result(result, as_json, console.show_record)


@app.command()
def verify(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Model that a night decided on.")],
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Prove a past decision once more: every file and field, the rows, the gate's answer. Status 1: one differs."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.verify import verify as prove

        result = prove(version, settings.config)
    show_result(result, as_json, console.show_verification)
    if not result.agrees:
        raise typer.Exit(FAILED)


@app.command()
def synthetic(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Where to write the bars: Parquet.")],
    symbols: Annotated[int | None, typer.Option(metavar="N", help="Symbols. Default: 200.")] = None,
    sessions: Annotated[int | None, typer.Option(metavar="N", help="Sessions. Default: 1500.")] = None,
    edge: Annotated[
        float | None, typer.Option(metavar="R", help="Strength of what can be known of direction; 0: none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of all that is drawn.")] = None,
    gaps: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of bars that are absent.")] = None,
    splits: Annotated[int | None, typer.Option(metavar="N", help="Symbols with an unadjusted split.")] = None,
    stuck: Annotated[
        int | None, typer.Option(metavar="N", help="Symbols whose price stands still for a while.")
    ] = None,
    delistings: Annotated[int | None, typer.Option(metavar="N", help="Symbols that end early.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a synthetic market to try the tool on, and tell the best that anybody could forecast of it."""
    asked = {
        "symbols": symbols, "sessions": sessions, "edge": edge, "seed": seed,
        "gaps": gaps, "splits": splits, "stuck": stuck, "delistings": delistings,
    }  # fmt: skip
    with working(debug):
        from flows import console
        from models.synthetic import write_market

        result = write_market(path, {name: value for name, value in asked.items() if value is not None})
    show_result(result, as_json, console.show_record)


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where the server listens. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the server. Default: 4200.")] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of MLflow's pages, on 127.0.0.1. Default: 5000.")
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="TYPE/NAME", help="Notification block that is told: slack-webhook/ops.")
    ] = None,
    on_arrival: OnArrival = False,
    demo: Demo = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Prefect server, workers, nightly schedule and MLflow's pages on this machine, until `nocturne down`."""
    settings = settings_of(config, assignments, demo)
    deliveries = _deliveries(None, demo)
    with working(debug) as progress:
        from flows import console, services
        from flows.nightly import parameters_of

        given = parameters_of(settings, deliveries)
        chosen = given if config or assignments or demo or given["config"] else None
        report = services.up(
            settings, services.Wanted(host, port, mlflow_port, block, on_arrival, chosen), progress.say
        )
    show_result(report, as_json, console.show_record)


@app.command()
def down(
    config: ConfigFile = None, assignments: Assignments = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """End what `nocturne up` has started."""
    settings = settings_of(config, assignments)
    with working(debug) as progress:
        from flows import console, services
        from models.locations import Locations

        report = services.down(Locations(settings.config.storage), progress.say)
    show_result(report, as_json, console.show_record)


@app.command()
def show_config(
    demo: Demo = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """The effective configuration, with where each value came from."""
    settings = settings_of(config, assignments, demo)
    if as_json:
        print(json.dumps({"config": settings.effective.model_dump(mode="json"), "origins": settings.origins}, indent=1))
    else:
        from flows import console

        console.show_settings(settings)


automations = typer.Typer(no_args_is_help=True, help="Who is told, by the Prefect server, when it matters.")
app.add_typer(automations, name="automations")


@automations.command()
def apply(
    block: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE/NAME", help="Notification block to send to: slack-webhook/ops. Default: mark lost runs only."
        ),
    ] = None,
    heartbeat: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the workers; never less than theirs. Default: 30 on the server "
            "of `nocturne up`, elsewhere Prefect's own 180.",
        ),
    ] = None,
    late_after: Annotated[
        float | None,
        typer.Option(
            min=10,
            metavar="SECONDS",
            help="How late a run may begin before somebody is told. Default: as it is, and 300 at first.",
        ),
    ] = None,
    on_arrival: OnArrival = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Create or update the automations on the server of PREFECT_API_URL, or of `nocturne up`; as often as you like."""
    settings = settings_of(None, None)
    with working(debug):
        from datetime import timedelta

        from flows.environment import find_prefect
        from models.locations import Locations

        of_up = "PREFECT_API_URL" not in os.environ and find_prefect(Locations(settings.config.storage))
        from flows import automations as rules
        from flows import console
        from flows.services import HEARTBEAT_S

        beat = timedelta(seconds=heartbeat or (HEARTBEAT_S if of_up else rules.PREFECT_HEARTBEAT_S))
        late = timedelta(seconds=late_after) if late_after else None
        applied = rules.apply(block, beat, late, on_arrival)
    show_result(applied, as_json, console.show_automations)


class Interrupted(NocturneError):
    """Somebody pressed Ctrl-C."""


def main() -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:]
    try:
        status = int(app(args=arguments, prog_name="nocturne", standalone_mode=False) or COMPLETED)
        if status == INTERRUPTED:  # how typer tells a KeyboardInterrupt
            raise Interrupted("Interrupted. Tables and champion are whole; the same command goes on from there.")
        return status
    except Exception as error:
        return _tell(error, as_json="--json" in arguments, debug="--debug" in arguments)


def _forced(force_promote: bool, force_keep: bool, reason: str, promote: bool) -> "VerdictWord | None":
    """The verdict that is forced, with its reason; refused before anything heavy is imported."""
    from models.records import Forced

    if force_promote and force_keep:
        raise typer.BadParameter("A night is promoted or kept, not both.", param_hint="--force-promote, --force-keep")
    what: VerdictWord | None = "promote" if force_promote else "keep" if force_keep else None
    Forced.asked(what, reason, "", promote=promote)
    return what


def _deliveries(paths: Sequence[str] | None, demo: bool) -> list[str]:
    from models.delivery import demo_delivery, refuse_secret

    for path in paths or []:
        refuse_secret(path)
    return [*([demo_delivery()] if demo else []), *(paths or [])]


@contextmanager
def _prefect(
    config: "RetrainConfig", progress: "Progress", trains: bool = False, asks: bool = False
) -> "Iterator[Locations]":
    """Start Prefect's temporary server, do the imports in the body meanwhile, and wait for it."""
    from expectations.gx import load_great_expectations
    from flows.environment import start_prefect
    from models.locations import Locations
    from models.quiet import load_tensorflow

    locations = Locations(config.storage)
    server = start_prefect(locations)
    if server is not None and asks:
        raise ConfigError(
            "gate.approval = required: a person is asked in the Prefect UI, and the temporary server of this command "
            "has none. Run `nocturne up` first, or set PREFECT_API_URL to your server; or add --no-promote."
        )
    progress.say("starting Prefect")
    yield locations
    if server is not None:
        if server.fresh and trains:  # ten seconds of migrations: long enough for what a night imports anyway
            load_great_expectations()
            load_tensorflow()
        server.wait()


def _announce(records: "Sequence[DeliveryRecord]", config: "RetrainConfig") -> None:
    from flows.arrival import announce
    from flows.environment import find_prefect
    from models.locations import Locations

    try:
        if find_prefect(Locations(config.storage)):
            for record in records:
                announce(record)
    except (OSError, NocturneError) as error:  # the bars are in the store: the night begins at its hour
        print(f"warning: the Prefect server could not be told of the delivery: {error}", file=sys.stderr)


def _print_plan(
    session: "date | None", config: "RetrainConfig", deliveries: list[str], as_json: bool, debug: bool
) -> None:
    with working(debug):
        from flows import console
        from flows.retrain import plan

        steps = plan(session, config, deliveries)
    if as_json:
        print(json.dumps(steps, indent=1, default=str))
    else:
        console.show_record(steps)


def _tell(error: Exception, as_json: bool, debug: bool) -> int:
    """Say what went wrong and return the exit status."""
    misused = hasattr(error, "format_message")  # wrong arguments; the class itself is private to typer
    expected = isinstance(error, NocturneError)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if debug or not (misused or expected):
        traceback.print_exception(error)
    if misused:
        error.show()  # type: ignore[attr-defined]
    elif expected:
        print(f"nocturne: {message}", file=sys.stderr)
    else:
        print(f"nocturne: a fault of Nocturne itself ({type(error).__name__}: {message}).", file=sys.stderr)
    if as_json:
        kind = "UsageError" if misused else type(error).__name__
        print(json.dumps({"error": {"type": kind, "message": message}}))
    if isinstance(error, Interrupted):
        return INTERRUPTED
    return REFUSED if misused or isinstance(error, ConfigError) else FAILED


if __name__ == "__main__":
    sys.exit(main())
