"""What all commands share: options, the settings that they ask for, and how a result is shown."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flows.progress import Progress
    from models.settings import Settings

Session = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Session to run for. Default: the last in the store."),
]
Demo = Annotated[bool, typer.Option("--demo", metavar="", help="Real S&P 500 bars and configs/demo.yaml.")]
ConfigFile = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Configuration in YAML, a path or a URI.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. training.seed=2. Wins over all. Repeatable."),
]
OnArrival = Annotated[
    bool,
    typer.Option(
        "--on-arrival", metavar="", help="Start the night when its delivery is ingested; its hour is then the latest."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="One JSON document on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Traces of errors, and the logs of the libraries.")]


def settings_of(config: str | None, assignments: Sequence[str] | None, demo: bool = False) -> "Settings":
    """The effective settings of a command.

    Raises:
        ConfigError: one of them is wrong.
    """
    from models.settings import load_settings, shipped

    return load_settings(config, assignments or (), os.environ, base=shipped("demo.yaml") if demo else None)


@contextmanager
def working(debug: bool) -> "Iterator[Progress]":
    """The body does the work: it may say how far it is, and standard output is left to the result."""
    from flows import environment
    from flows.progress import progress, results_only_on_stdout

    environment.prepare(debug=debug)
    with results_only_on_stdout(), progress() as shown:
        yield shown


def show_result(result: "BaseModel", as_json: bool, for_people: Callable[[Any], None]) -> None:
    """Print a result as JSON, or as `for_people` does."""
    if as_json:
        print(result.model_dump_json(indent=1))
    else:
        for_people(result)
