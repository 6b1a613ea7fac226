"""Commands by which people settle what the machine cannot: splits that nobody stated, rows in quarantine."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.command_line import AsJson, Assignments, ConfigFile, Debug, settings_of, show_result, working

splits = typer.Typer(
    no_args_is_help=True, help="Splits that nobody has stated: what is suspect, and what people say of it."
)

Symbol = Annotated[str, typer.Argument(metavar="SYMBOL", help="As in the bars.")]
SplitSession = Annotated[
    datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="DATE", help="First session at the new price.")
]
RulingReason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the ruling.")]


@splits.command(name="list")
def list_splits(
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Applied and dismissed ones too, not only open questions.")
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """What looks like a split and is not stated, and what is stated and prices contradict."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.splits import see_actions

        seen = see_actions(settings.config, datetime.now(UTC))
    show_result(seen if every else seen.open_questions, as_json, console.show_actions)


@splits.command()
def confirm(
    symbol: Symbol,
    session: SplitSession,
    reason: RulingReason,
    ratio: Annotated[
        str | None, typer.Argument(metavar="RATIO", help="New shares for one old: 2, 3/2, 1/10. Default: as suspected.")
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say that a symbol has split: from the next night on its series is joined and adjusted."""
    new_for_one = _ratio(ratio)
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.splits import confirm as rule

        ruling = rule(symbol, session.date(), new_for_one, reason, settings.config, datetime.now(UTC))
    show_result(ruling, as_json, console.show_record)


@splits.command()
def dismiss(
    symbol: Symbol,
    session: SplitSession,
    reason: RulingReason,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say that a move was genuine: from the next night on it is part of its series."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.splits import dismiss as rule

        ruling = rule(symbol, session.date(), reason, settings.config, datetime.now(UTC))
    show_result(ruling, as_json, console.show_record)


@splits.command()
def renames(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Of map files in LEAN's format.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Where other companies begin under their symbols, from map files: for `data.renames`."""
    with working(debug):
        from flows import console
        from models.renames import read_map_files

        found = read_map_files(folder)
    show_result(found, as_json, console.show_record)


quarantine = typer.Typer(no_args_is_help=True, help="Delivered rows that broke the contract, and what becomes of them.")

DeliveryName = Annotated[
    str, typer.Argument(metavar="DELIVERY", help="Beginning of its SHA-256, as `quarantine list` shows it.")
]
LineNumbers = Annotated[
    list[int] | None, typer.Argument(metavar="LINE…", help="Of the delivered file. Default: all, with --rule.")
]
RuleName = Annotated[str | None, typer.Option("--rule", metavar="RULE", help="Rows that broke this rule first.")]
DecisionReason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")]


@quarantine.command(name="list")
def list_quarantine(
    delivery: Annotated[
        str | None,
        typer.Argument(metavar="DELIVERY", help="Beginning of its SHA-256, to see its rows. Default: counts of all."),
    ] = None,
    rule: RuleName = None,
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Released and dropped rows too, not only those that wait.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Rows to show.")] = 50,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """What waits for a decision: by delivery and rule, or the rows of one delivery as they came."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.quarantine import see

        seen = see(settings.config, delivery, rule, every, limit)
    show_result(seen, as_json, console.show_quarantine)


@quarantine.command()
def release(
    delivery: DeliveryName,
    reason: DecisionReason,
    lines: LineNumbers = None,
    rule: RuleName = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Bring rows into the store as they were delivered, known from now on; past nights do not see them."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.quarantine import release as bring

        record = bring(delivery, lines or (), rule, reason, settings.config, datetime.now(UTC))
    show_result(record, as_json, lambda record: console.show_deliveries([record], record.account))


@quarantine.command()
def drop(
    delivery: DeliveryName,
    reason: DecisionReason,
    lines: LineNumbers = None,
    rule: RuleName = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say that rows are wrong for good: nobody is asked of them again. They stay in the table and in the account."""
    settings = settings_of(config, assignments)
    with working(debug):
        from flows import console
        from tasks.quarantine import drop as settle

        settlement = settle(delivery, lines or (), rule, reason, settings.config, datetime.now(UTC))
    show_result(settlement, as_json, console.show_record)


def _ratio(text: str | None) -> float | None:
    """2, 3/2 or 0.1 as a number."""
    from fractions import Fraction

    try:
        return None if text is None else float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"{text!r} is no ratio of new shares to old, such as 2, 3/2 or 1/10.", param_hint="RATIO"
        ) from None
