"""The model registry, over MLflow: exported directories as artifacts, and one alias that says what serves.

What is registered is a directory of plain files: a SavedModel, a golden batch, a card and the out-of-sample frame.
Nothing in it is pickled. The alias `champion` moves in one statement, so at every moment exactly one model serves.
"""

import hashlib
import logging
import os
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

from models.alone import alone
from models.card import file_hashes
from models.credentials import untelling, without_credentials
from models.errors import RegistryError
from models.locations import Locations, is_local, write_whole
from models.scratch import scratch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL: Final = "nocturne"
ALIAS: Final = "champion"
_VERSION: Final = "nocturne.version"
_CONTENT: Final = "nocturne.content"
_SQLITE: Final = "sqlite:///"
_ANSWER_S: Final = 10.0
_OF_A_SERVER: Final = (
    "Check that the MLflow server runs and that this machine reaches it, that storage.tracking_uri is its address, and "
    "that MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are set if it asks for a password."
)
_OF_A_DATABASE: Final = (
    "Check that it is there and writable, and that its database driver is installed; if it was made by a newer MLflow, "
    "use that MLflow here too, or name another registry in storage.tracking_uri."
)
"""How to mend a registry, by what it is."""


class Registry:
    """Versions of the model, and which of them is champion."""

    def __init__(self, locations: Locations) -> None:
        self.locations = locations

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever registered here: known without making a database."""
        uri = self.locations.tracking_uri
        return uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists()

    def prepare(self) -> None:
        """Make the database, if it is not there: migrations take some seconds the first time."""
        with self._explained("opened"):
            self._experiment()

    def champion(self) -> str | None:
        """The version that bears the alias; None where none does. The ledger decides, the alias follows it."""
        if self.is_new:
            return None
        with self._explained("read"):
            numbers = [one.aliases.get(ALIAS) for one in self._client.search_registered_models(f"name = '{MODEL}'")]
            if not numbers or numbers[0] is None:
                return None
            return str(self._client.get_model_version(MODEL, numbers[0]).tags[_VERSION])

    def versions(self) -> tuple[str, ...]:
        """All registered versions, newest first."""
        if self.is_new:
            return ()
        with self._explained("read"):
            return tuple(dict.fromkeys(one.tags[_VERSION] for one in self._versions()))

    def metrics(self, version: str) -> dict[str, float]:
        """What was measured of a registered version; nothing where nothing was ever registered.

        Raises:
            RegistryError: no such version, or the registry cannot be read.
        """
        if self.is_new:
            return {}
        with self._explained("read"):
            run = self._client.get_run(str(self._known(version).run_id))
            return dict(run.data.metrics)

    def register(
        self,
        version: str,
        directory: Path,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """Keep an exported model under its version, with what it was made of and what was measured.

        The same files again change only the tags: a trial that is decided later is no trial any more. A night that was
        killed and run again may bring other files: they are kept beside the first ones, and from then on the version
        means them.

        Args:
            version: Name of the model, unique.
            directory: Local directory with all its files.
            params: Settings, for the tracking pages.
            metrics: Finite numbers.
            tags: Hashes and whatever else finds it again.
        """
        with self._explained("written"):
            content = hashlib.sha256(repr(sorted(file_hashes(directory).items())).encode()).hexdigest()
            known = self._find(version)
            if known is not None and known.tags.get(_CONTENT) == content:
                for tag, text in tags.items():
                    self._client.set_model_version_tag(MODEL, known.version, tag, text)
                    self._client.set_tag(known.run_id, tag, text)
                return
            named = {_VERSION: version, _CONTENT: content, **tags}
            run = self._client.create_run(self._experiment(), run_name=version, tags=named)
            for name, value in params.items():
                self._client.log_param(run.info.run_id, name, value, synchronous=False)
            for name, value in metrics.items():
                self._client.log_metric(run.info.run_id, name, value, synchronous=False)
            self._client.log_artifacts(run.info.run_id, str(directory), "model")
            self._client.set_terminated(run.info.run_id)
            if not self._client.search_registered_models(f"name = '{MODEL}'"):
                self._client.create_registered_model(MODEL)
            source = f"{run.info.artifact_uri}/model"
            self._client.create_model_version(MODEL, source, run.info.run_id, tags=named)

    def move_champion(self, version: str | None) -> None:
        """Let the newest files of this version serve, or none: one alias moves, in one statement."""
        if version is None and self.champion() is None:
            return
        with self._explained("written"):
            if version is None:
                self._client.delete_registered_model_alias(MODEL, ALIAS)
            else:
                self._client.set_registered_model_alias(MODEL, ALIAS, self._known(version).version)

    def fetch(self, version: str) -> Path:
        """Local directory of a registered model; of a local store the directory itself.

        Raises:
            RegistryError: no such version, or its files are gone.
        """
        with self._explained("read"):
            known = self._known(version)
            directory = self._on_this_machine(known)
            if directory is None:
                from mlflow.artifacts import download_artifacts

                downloaded = download_artifacts(
                    artifact_uri=str(known.source), tracking_uri=self.locations.tracking_uri
                )
                directory = Path(downloaded)
        if not (directory / "saved_model").is_dir():
            raise RegistryError(
                f"The files of model {version} are gone: {directory} holds no saved_model. Put them back from a "
                f"backup, or let another version serve with `nocturne rollback --to VERSION`."
            )
        return directory

    def keep_beside(self, version: str, name: str, content: bytes) -> None:
        """Keep one more file beside the model's directory; what is there already is not written again.

        Raises:
            RegistryError: no such version, or it cannot be written.
        """
        if self.kept_beside(version, name) == content:
            return
        with self._explained("written"):
            known = self._known(version)
            directory = self._on_this_machine(known)
            if directory is not None:
                write_whole(str(directory.parent / name), content)
                return
            with scratch("beside") as temporary:
                (temporary / name).write_bytes(content)
                self._client.log_artifact(known.run_id, str(temporary / name))

    def kept_beside(self, version: str, name: str) -> bytes | None:
        """What is kept under this name beside the model's directory; None where nothing is.

        Raises:
            RegistryError: no such version, or it cannot be read.
        """
        with self._explained("read"):
            known = self._known(version)
            directory = self._on_this_machine(known)
            if directory is not None:
                place = directory.parent / name
                return place.read_bytes() if place.is_file() else None
            if all(file.path != name for file in self._client.list_artifacts(known.run_id)):
                return None
            with scratch("beside") as temporary:
                return Path(self._client.download_artifacts(known.run_id, name, str(temporary))).read_bytes()

    def _on_this_machine(self, known: "ModelVersion") -> Path | None:
        """The directory of a model in a local store; None where its files must be fetched."""
        source = str(known.source)
        if urlsplit(source).scheme not in ("", "file"):
            return None
        return self._local(Path(source.removeprefix("file://")))

    def _local(self, recorded: Path) -> Path:
        """Where a directory of ours is by now: MLflow records whole paths, and a home may be restored elsewhere."""
        ours = self.locations.artifacts
        if recorded.is_dir() or ours is None or not is_local(ours):
            return recorded
        return Path(ours, *recorded.parts[-3:])  # run, `artifacts`, `model`

    @cached_property
    def _client(self) -> "MlflowClient":
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        uri = self.locations.tracking_uri
        if uri.startswith(_SQLITE):
            if "://" in uri.removeprefix(_SQLITE):
                raise RegistryError(
                    f"storage.home = {self.locations.home} is no local directory, and SQLite needs one. Set "
                    f"storage.tracking_uri to an MLflow server or to a database."
                )
            _make_database(Path(uri.removeprefix(_SQLITE)))
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    @property
    def _shown(self) -> str:
        return without_credentials(self.locations.tracking_uri)

    def _experiment(self) -> str:
        place = self.locations.artifacts
        found = self._client.get_experiment_by_name(MODEL)
        if found is None:
            return str(self._client.create_experiment(MODEL, artifact_location=place))
        if place is None or found.artifact_location.removeprefix("file://") == place:
            return str(found.experiment_id)
        name = f"{MODEL} in {place}"  # restored or moved: an experiment keeps the place that it was made with
        moved = self._client.get_experiment_by_name(name)
        return str(moved.experiment_id if moved else self._client.create_experiment(name, artifact_location=place))

    def _versions(self) -> "list[ModelVersion]":
        """Newest first."""
        found = self._client.search_model_versions(f"name = '{MODEL}'")
        return sorted((one for one in found if _VERSION in one.tags), key=lambda one: -int(one.version))

    def _find(self, version: str) -> "ModelVersion | None":
        return next((one for one in self._versions() if one.tags[_VERSION] == version), None)

    def _known(self, version: str) -> "ModelVersion":
        found = self._find(version)
        if found is None:
            known = ", ".join(one.tags[_VERSION] for one in self._versions()[:10]) or "none"
            raise RegistryError(f"There is no model {version} in {self._shown}. Known, newest first: {known}.")
        return found

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            cause = without_credentials(str(error).strip().splitlines()[0]).rstrip(".")
            raise RegistryError(
                f"The model registry at {self._shown} cannot be {done}: {cause}. What serves has not changed. "
                f"{_OF_A_SERVER if _is_server(self.locations.tracking_uri) else _OF_A_DATABASE}"
            ) from untelling(error)


def out_of_reach(locations: Locations) -> str | None:
    """What is wrong with a registry that is an MLflow server and does not answer; None for any other."""
    uri = without_credentials(locations.tracking_uri)
    if not _is_server(uri) or (why := _why_silent(uri)) is None:
        return None
    return f"The model registry at {uri} does not answer as it should: {why}. Nights fail until it does. {_OF_A_SERVER}"


def _why_silent(address: str) -> str | None:
    """None for whoever answers, if only to ask for a password, and where MLflow may trust a certificate that Python
    does not."""
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=_ANSWER_S).close()
    except HTTPError as error:
        return f"{error.code} {error.reason}" if error.code >= 500 else None
    except (OSError, ValueError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        return None if isinstance(cause, ssl.SSLError) else str(getattr(cause, "strerror", None) or cause)
    return None


def _is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def _make_database(path: Path) -> None:
    """Make MLflow's database beside its place and move it there: MLflow cannot open one that it was killed while
    making."""
    from mlflow import MlflowClient

    with alone(str(path.parent)):
        if path.exists():
            return
        part = path.with_name(f"{path.name}.part")
        for left in path.parent.glob(f"{part.name}*"):  # by a process that was killed here, with its journal
            left.unlink()
        MlflowClient(tracking_uri=f"{_SQLITE}{part}").search_experiments(max_results=1)
        os.replace(part, path)
