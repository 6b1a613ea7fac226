"""What must be in the environment before Prefect and TensorFlow are imported; both read it only once.

Whatever the user has set is left alone.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.temporary_server import TemporaryServer
    from models.locations import Locations

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # as in prefect.yaml: by this a run that falls silent is found out
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # Prefect's own default is pickle, which runs what it reads
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's own seven retries of two minutes would hold a night for long before it says anything.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # The command itself tells the stages and the errors (flows/progress.py); the Prefect UI still gets every line.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_API_LEVEL": "INFO",
}

TEMPORARY_SERVER = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
    # Block types serve notifications and deployments, which a temporary server does not have.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
}

PROJECT = Path(__file__).resolve().parents[1]
"""Where the four packages lie: the root of a clone or an image, or the site-packages of an installed wheel."""

OWN_PREFECT = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")
"""Any of these says that the user runs Prefect in a way of their own."""


def prepare(environment: MutableMapping[str, str] = os.environ, debug: bool = False) -> None:
    """No telemetry, and a console that keeps to what people need; `debug` leaves the libraries their say."""
    if debug:
        environment.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO")
    for name, value in QUIET.items():
        environment.setdefault(name, value)


def enter_project() -> dict[str, str]:
    """Stand where the packages of this process lie, whatever machine the deployment was made on.

    It is the pull step of `prefect.yaml`. An address there would be that of the machine that deployed, and one in a
    variable would be one more thing that every worker has to be told.
    """
    os.chdir(PROJECT)
    return {"directory": str(PROJECT)}


def start_prefect(
    locations: "Locations", environment: MutableMapping[str, str] = os.environ
) -> "TemporaryServer | None":
    """Start the temporary Prefect server in the background; None where the user has a Prefect of their own, or where
    the server of `nocturne up` runs, which is then used.

    It takes 3 s, and 10 s on a fresh home (migrations), on one core. Called before the heavy imports it costs a night
    almost nothing.
    """
    prepare(environment)
    if find_prefect(locations, environment):
        return None
    from flows.temporary_server import TemporaryServer

    home = prefect_home(locations)
    make_private(home)
    environment["PREFECT_HOME"] = str(home)
    server = TemporaryServer.start(home, {**environment, **TEMPORARY_SERVER})
    environment["PREFECT_API_URL"] = server.api_url
    _without_proxy(environment)
    return server


def make_private(directory: Path) -> None:
    """Make a directory that its owner alone may enter: Prefect's database holds secrets, and the key to them.

    Raises:
        StoreError: it cannot be made.
    """
    from models.errors import StoreError

    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be made or written: {error.strerror}. Check that NOCTURNE_HOME names a directory that "
            f"this user may write."
        ) from error


def find_prefect(locations: "Locations", environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether there is a Prefect to use: one of the user's own, or the server of `nocturne up`, which is then set."""
    return any(environment.get(name) for name in OWN_PREFECT) or _use_running_server(locations, environment)


def prefect_home(locations: "Locations") -> Path:
    """Where the temporary server keeps its database."""
    from flows.running import local_home

    return local_home(locations) / "prefect"


def _use_running_server(locations: "Locations", environment: MutableMapping[str, str]) -> bool:
    """Point Prefect to the server of `nocturne up`, if that runs for this home.

    Raises:
        ServiceFailed: it asks for credentials that are not in the environment.
    """
    from flows.running import AUTH_OF_CLIENT, Api, place_of, recall

    place = place_of(locations)
    running = recall(place)
    if running is None or running.process("server") is None:
        return False
    api = Api.of(running, environment)
    if not api.answers():
        return False
    api.refuse_wrong_credentials()
    environment["PREFECT_API_URL"] = api.url
    environment["PREFECT_HOME"] = str(place)
    if api.auth:
        environment[AUTH_OF_CLIENT] = api.auth
    _without_proxy(environment)
    return True


def _without_proxy(environment: MutableMapping[str, str]) -> None:
    """A proxy of the house does not know this machine's loopback address."""
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, (environment.get(name), "127.0.0.1")))
