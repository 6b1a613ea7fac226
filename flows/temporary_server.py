"""A Prefect server for one command, gone when the command ends.

Prefect starts one by itself where no API is configured, but late (at the first request), and imports the whole server
into the client as well. This one starts at once in a process of its own, behind a socket that is open from the first
moment: an early request waits in the socket's queue instead of failing. Its standard input is a pipe from the
command, so it also ends when the command is killed.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from models.errors import NocturneError

MODULE = "flows.temporary_server"
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 5.0


class PrefectUnavailable(NocturneError):
    """The temporary Prefect server did not come up."""


@dataclass(frozen=True)
class TemporaryServer:
    """The server's process, held by the command that started it."""

    process: subprocess.Popen[bytes]
    api_url: str
    home: Path
    fresh: bool
    """There was no database yet: the migrations take most of the start."""

    @classmethod
    def start(cls, home: Path, environment: Mapping[str, str]) -> Self:
        """Start the server and return at once.

        Args:
            home: PREFECT_HOME of the server, an existing directory.
            environment: Variables of its process.
        """
        fresh = not (home / "prefect.db").exists()
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=2,  # standard output belongs to the command's result
                pass_fds=[listener.fileno()],
                cwd=Path(__file__).parents[1],
                env={**environment, "PREFECT_HOME": str(home)},
                process_group=0,  # Ctrl-C is for the command; the server is still needed to record it
            )
            server = cls(process, f"http://127.0.0.1:{listener.getsockname()[1]}/api", home, fresh)
        # Registered before Prefect is imported, hence called after Prefect has sent its last logs.
        atexit.register(server.stop)
        return server

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server answers.

        Raises:
            PrefectUnavailable: it ended, or did not answer in time.
        """
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            direct.open(f"{self.api_url}/health", timeout=timeout_s).close()
        except OSError as error:
            self.stop()
            raise PrefectUnavailable(
                f"The temporary Prefect server did not come up ({error}); nothing was run. What it said is above. "
                f"Its database lies in {self.home}: if that is damaged or from a newer Prefect, move the directory "
                f"away (it holds the history of runs, no data and no model). To use a server of your own, set "
                f"PREFECT_API_URL."
            ) from error

    def stop(self) -> None:
        """End the server; it writes first what it has accepted. More calls do nothing."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


def _serve(listener: socket.socket) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listener])


def _end_with_parent() -> None:
    # Nothing comes before the parent's end of the pipe closes, however the parent ended. Read without sys.stdin, whose
    # lock would make this process abort if it ends by itself.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _serve(socket.socket(fileno=int(sys.argv[1])))
