"""Where everything lies, as configured or as the environment of the process says."""

import traceback

from models.config import StorageConfig
from models.credentials import untelling, without_credentials
from models.locations import Locations


def test_a_stated_place_wins_over_the_environment_and_that_over_the_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOCTURNE_HOME", raising=False)
    assert Locations(StorageConfig()).home == str(tmp_path / ".nocturne")
    monkeypatch.setenv("NOCTURNE_HOME", "/srv/nocturne")
    monkeypatch.setenv("NOCTURNE_STORAGE__TABLES", "s3://desk/tables")
    assert Locations(StorageConfig()).deliveries == "/srv/nocturne/deliveries"
    assert Locations(StorageConfig()).table("bars") == "s3://desk/tables/bars"
    assert Locations(StorageConfig(home="/here")).nights == "/here/nights"


def test_a_tracking_server_chooses_the_place_of_its_files_unless_told(monkeypatch):
    monkeypatch.delenv("NOCTURNE_HOME", raising=False)
    monkeypatch.setenv("NOCTURNE_STORAGE__TRACKING_URI", "https://mlflow.example")
    assert Locations(StorageConfig()).artifacts is None
    assert Locations(StorageConfig(artifacts="s3://desk/models")).artifacts == "s3://desk/models"


def test_credentials_are_not_shown():
    assert without_credentials("at postgresql://user:word@db:5432/x, s3://y") == "at postgresql://db:5432/x, s3://y"


def test_neither_an_error_nor_what_led_to_it_tells_a_password():
    try:
        try:
            raise OSError("http://desk:secret@host/x refused")
        except OSError as cause:
            raise ValueError("request to http://desk:secret@host/x failed") from cause
    except ValueError as error:
        told = "".join(traceback.format_exception(untelling(error)))
    assert "http://host/x refused" in told
    assert "request to http://host/x failed" in told
