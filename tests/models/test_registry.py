import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from models.card import file_hashes
from models.config import StorageConfig
from models.errors import RegistryError
from models.locations import Locations
from models.registry import ALIAS, MODEL, Registry, out_of_reach


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home whose database is made once; migrations take some seconds."""
    home = tmp_path_factory.mktemp("registry")
    Registry(Locations(StorageConfig(home=str(home)))).prepare()
    return home


@pytest.fixture
def registry(home, tmp_path) -> Registry:
    shutil.copytree(home / "mlflow", tmp_path / "mlflow")
    artifacts = str(tmp_path / "artifacts")
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'nocturne'", (artifacts,))
    return Registry(Locations(StorageConfig(home=str(tmp_path))))


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """A real MLflow server with a place of its own for artifacts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *stores]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path, start_new_session=True
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_for(url: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def register(registry: Registry, version: str, exported: Path) -> None:
    registry.register(version, exported, {"training.seed": 1}, {"direction_auc": 0.51}, {"config": "c"})


def test_a_place_where_nothing_was_registered_has_no_champion_and_gets_no_database(tmp_path):
    registry = Registry(Locations(StorageConfig(home=str(tmp_path))))
    assert registry.champion() is None
    assert registry.versions() == ()
    assert not (tmp_path / "mlflow").exists()


def test_a_registered_model_is_not_champion(registry, exported):
    register(registry, "v1", exported)
    assert registry.versions() == ("v1",)
    assert registry.champion() is None


def test_registering_twice_is_once(registry, exported):
    register(registry, "v1", exported)
    register(registry, "v1", exported)
    assert registry.versions() == ("v1",)


def test_a_home_that_is_restored_elsewhere_has_its_models_and_keeps_new_ones_there(tmp_path, exported):
    old, new = tmp_path / "old", tmp_path / "new"
    register(Registry(Locations(StorageConfig(home=str(old)))), "v1", exported)
    shutil.copytree(old, new)
    shutil.rmtree(old)
    restored = Registry(Locations(StorageConfig(home=str(new))))
    assert file_hashes(restored.fetch("v1")) == file_hashes(exported)
    register(restored, "v2", exported)
    assert restored.fetch("v2").is_relative_to(new)
    assert not old.exists()


def test_no_error_shows_a_password(tmp_path, monkeypatch):
    monkeypatch.setenv("NOCTURNE_STORAGE__TRACKING_URI", "postgresql+nodriver://user:secret@localhost/db")
    registry = Registry(Locations(StorageConfig(home=str(tmp_path))))
    with pytest.raises(RegistryError) as told:
        registry.champion()
    assert "secret" not in str(told.value)


def test_an_unreachable_server_is_told_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NOCTURNE_STORAGE__TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9") as told:
        Registry(Locations(StorageConfig(home=str(tmp_path)))).champion()
    assert "secret" not in str(told.value)
    assert "Check that the MLflow server runs" in str(told.value)
    assert "driver" not in str(told.value), "a server has no database of ours"


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that answers everything with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    with HTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_address[1]}"
        one.shutdown()


@pytest.mark.parametrize(("status", "why"), [(200, None), (401, None), (503, "503 Service Unavailable")])
def test_a_server_that_answers_is_there_even_if_it_asks_for_a_password(status, why, monkeypatch):
    with answering(status) as host:
        monkeypatch.setenv("NOCTURNE_STORAGE__TRACKING_URI", f"http://user:secret@{host}")
        told = out_of_reach(Locations(StorageConfig()))
    assert told is None if why is None else f"registry at http://{host} does not answer as it should: {why}." in told


def test_a_server_that_is_gone_is_told_with_how_to_mend_it():
    told = out_of_reach(Locations(StorageConfig(tracking_uri="http://127.0.0.1:9/mlflow/")))
    assert "http://127.0.0.1:9/mlflow/ does not answer as it should: Connection refused." in told
    assert "storage.tracking_uri" in told


@pytest.mark.parametrize("uri", [None, "sqlite:////nowhere/mlflow.db", "postgresql://db/mlflow"])
def test_a_registry_that_is_no_server_is_not_asked(uri):
    assert out_of_reach(Locations(StorageConfig(tracking_uri=uri))) is None


def test_settings_and_numbers_stand_beside_the_model(registry, exported):
    register(registry, "v1", exported)
    run = registry._client.get_run(registry._known("v1").run_id)
    assert run.data.params == {"training.seed": "1"}
    assert run.data.metrics == {"direction_auc": 0.51}


def test_a_trial_that_is_decided_later_is_no_trial_any_more(registry, exported):
    for trial in ("true", "false"):
        registry.register("v1", exported, {}, {}, {"trial": trial})
    known = registry._known("v1")
    assert known.tags["trial"] == "false"
    assert registry._client.get_run(known.run_id).data.tags["trial"] == "false"


def test_the_alias_means_the_files_that_are_fetched_after_a_killed_night_ran_again(registry, exported, tmp_path):
    register(registry, "v1", exported)
    registry.move_champion("v1")
    other = shutil.copytree(exported, tmp_path / "other")
    (other / "evidence.parquet").write_bytes(b"another run of the same night")
    register(registry, "v1", other)
    registry.move_champion("v1")
    aliased = registry._client.get_model_version_by_alias(MODEL, ALIAS)
    assert Path(aliased.source) == registry.fetch("v1")


@pytest.mark.slow
def test_a_server_that_serves_its_own_artifacts_gives_them_back(server, exported, tmp_path):
    registry = Registry(Locations(StorageConfig(home=str(tmp_path / "home"), tracking_uri=server)))
    register(registry, "v1", exported)
    assert file_hashes(registry.fetch("v1")) == file_hashes(exported)
    assert registry.kept_beside("v1", "decision.json") is None
    registry.keep_beside("v1", "decision.json", b"promote")
    assert registry.kept_beside("v1", "decision.json") == b"promote"


def test_what_is_kept_beside_a_model_is_none_of_its_files_and_the_last_word_counts(registry, exported):
    register(registry, "v1", exported)
    assert registry.kept_beside("v1", "decision.json") is None
    for word in (b"keep", b"promote"):
        registry.keep_beside("v1", "decision.json", word)
        assert registry.kept_beside("v1", "decision.json") == word
    assert file_hashes(registry.fetch("v1")) == file_hashes(exported)


def test_the_alias_moves_and_goes(registry, exported):
    register(registry, "v1", exported)
    register(registry, "v2", exported)
    registry.move_champion("v1")
    registry.move_champion("v2")
    assert registry.champion() == "v2"
    registry.move_champion(None)
    assert registry.champion() is None


def test_what_is_fetched_is_what_was_registered(registry, exported):
    register(registry, "v1", exported)
    fetched = registry.fetch("v1")
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.is_file()} == names
    assert (fetched / "golden.npz").read_bytes() == (exported / "golden.npz").read_bytes()


def test_nothing_that_is_registered_is_pickled(registry, exported):
    register(registry, "v1", exported)
    assert not [path for path in registry.fetch("v1").rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]


def test_an_unknown_version_names_the_known_ones(registry, exported):
    register(registry, "v1", exported)
    with pytest.raises(RegistryError, match=r"no model v9.*Known, newest first: v1"):
        registry.move_champion("v9")


def test_lost_files_are_told_with_what_to_do(registry, exported):
    register(registry, "v1", exported)
    shutil.rmtree(registry.fetch("v1") / "saved_model")
    with pytest.raises(RegistryError, match="rollback --to"):
        registry.fetch("v1")


def test_a_database_of_a_newer_schema_is_refused_with_what_to_do(registry, tmp_path):
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(RegistryError, match="newer MLflow"):
        registry.versions()


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").write_text("no database")
    with pytest.raises(RegistryError, match="cannot be read"):
        Registry(Locations(StorageConfig(home=str(tmp_path)))).champion()
