"""The Prefect server that lives as long as one command. Real processes, a few seconds each."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.environment import prepare, start_prefect
from flows.temporary_server import PrefectUnavailable
from models.config import StorageConfig
from models.locations import Locations

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from flows.environment import start_prefect
from models.config import StorageConfig
from models.locations import Locations
server = start_prefect(Locations(StorageConfig(home=sys.argv[1])))
server.wait()
print(server.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def own_environment() -> dict[str, str]:
    """This process's environment without the Prefect that other tests may have set up in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def gone(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks the process up under /proc")
def test_the_server_answers_and_ends_with_its_command_even_if_that_is_killed(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, env=own_environment(), stdout=subprocess.PIPE, text=True, check=False)
    pid = int(killed.stdout)  # printed only once the server had answered
    assert gone(pid)


def test_a_damaged_database_is_named_with_what_to_do(tmp_path):
    home = tmp_path / "prefect"
    home.mkdir()
    (home / "prefect.db").write_bytes(b"no database " * 1000)
    server = start_prefect(Locations(StorageConfig(home=str(tmp_path))), own_environment())
    assert server is not None
    with pytest.raises(PrefectUnavailable, match=str(home)):
        server.wait()


def test_a_server_that_cannot_start_says_why_and_does_not_abort():
    command = [sys.executable, "-m", "flows.temporary_server", "999"]  # no such file descriptor
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.read()
    assert "Bad file descriptor" in said
    assert "Fatal Python error" not in said
    assert server.returncode == 1


def test_a_prefect_of_the_users_own_is_left_alone(tmp_path):
    environment = {"PREFECT_API_URL": "http://prefect.example/api"}
    assert start_prefect(Locations(StorageConfig(home=str(tmp_path))), environment) is None
    assert environment["PREFECT_API_URL"] == "http://prefect.example/api"
    assert "PREFECT_HOME" not in environment


def test_what_the_user_has_set_is_kept():
    environment = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"}
    prepare(environment)
    assert environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "DEBUG"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
