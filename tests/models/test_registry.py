import shutil
import sqlite3
from pathlib import Path

import pytest

from models.config import StorageConfig
from models.errors import RegistryError
from models.locations import Locations
from models.registry import Registry


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


def test_no_error_shows_a_password(tmp_path):
    uri = "postgresql+nodriver://user:secret@localhost/db"
    registry = Registry(Locations(StorageConfig(home=str(tmp_path), tracking_uri=uri)))
    with pytest.raises(RegistryError) as told:
        registry.champion()
    assert "secret" not in str(told.value)


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
