"""One smoke test of the server on PostgreSQL, where that is installed."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real_prefect import end, free_port, server, until

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
OWNER = "nobody" if os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL here (Debian: apt install postgresql)"),
]


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A PostgreSQL of its own on loopback; yields its URL as Prefect takes it."""
    directory.mkdir()
    if OWNER:
        os.chown(directory, pwd.getpwnam(OWNER).pw_uid, -1)
        for parent in directory.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
    port, data = free_port(), str(directory / "data")
    asked = ["--auth=trust", "--username=prefect", "--no-sync", "--pgdata", data]
    subprocess.run([BINARIES[0] / "initdb", *asked], user=OWNER, check=True, capture_output=True, cwd="/")
    process = subprocess.Popen(
        [BINARIES[0] / "postgres", "-D", data, "-p", str(port), "-k", str(directory), "-h", "127.0.0.1"],
        user=OWNER, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    ready = [BINARIES[0] / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
    try:
        until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        end(process)


def test_a_flow_runs_on_a_server_that_keeps_its_runs_in_postgresql(tmp_path):
    with (
        postgres(tmp_path / "postgres") as url,
        server(
            tmp_path / "server", PREFECT_SERVER_DATABASE_CONNECTION_URL=url, NOCTURNE_HOME=str(tmp_path / "home")
        ) as one,
    ):
        one.do("work-pool", "create", "cpu", "--type", "process")
        one.do("deploy", "flows/status.py:status", "--name", "now", "--pool", "cpu")
        with one.client() as client, one.worker("cpu", tmp_path / "here"):
            deployment = client.read_deployment_by_name("status/now")
            run = client.create_flow_run_from_deployment(deployment.id)

            def ended():
                state = client.read_flow_run(run.id).state
                return state if state.is_final() else None

            state = until(ended)
        assert state.is_completed(), state.message
        assert not list((tmp_path / "server").glob("*.db")), "no SQLite was made beside it"
