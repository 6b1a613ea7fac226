"""Where deliveries come from: a source lists what it has delivered, in order, and fetches it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from models.credentials import without_credentials
from models.delivered_file import DeliveredFile, receive
from models.errors import DeliveryError
from models.locations import reaching

_GLOB: Final = re.compile(r"[*?\[]")
_BELOW_HIDDEN: Final = re.compile(r"[/\\][._][^/\\]*[/\\]")
_UNFINISHED: Final = (".part", ".partial", ".tmp", ".crdownload", "~")
_ABOUT_OTHERS: Final = (".md5", ".sha1", ".sha256", ".sha512", ".asc", ".sig")
"""Checksums and signatures that lie beside what they belong to."""
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call that which changes when a file does, the surest first."""


@dataclass(frozen=True)
class Delivered:
    """One delivery that a source has made."""

    address: str
    """Path or URI of the file."""
    version: str = ""
    """Changes when the file does; empty where the source cannot tell: then it is fetched and its content compared."""

    @property
    def origin(self) -> str | None:
        """What the store remembers it by, without credentials; None where the source cannot tell changes."""
        return f"{without_credentials(self.address)} {self.version}" if self.version else None


class Source(Protocol):
    """A place that deliveries come from. One of your own needs these two methods and nothing else."""

    def delivered(self) -> Sequence[Delivered]:
        """All deliveries so far, in the order in which they were made.

        Raises:
            DeliveryError: the place is not there or cannot be read.
        """

    def fetch(self, delivered: Delivered) -> DeliveredFile:
        """The bytes of one delivery.

        Raises:
            DeliveryError: it is gone or cannot be read.
        """


@dataclass(frozen=True)
class Files:
    """A file, all files below a directory or URI prefix, or those that a glob finds; whatever fsspec can open.

    In order of the date that `known_at_pattern` finds in their names, then by path; files without the date come last.
    Files and directories that are hidden or begin with an underscore, unfinished files (`.part`, `.tmp`), checksums
    and signatures (`.md5`, `.sig`) are passed over; a link counts as the file that it leads to.
    """

    place: str
    known_at_pattern: str | None = None

    def delivered(self) -> tuple[Delivered, ...]:
        """See `Source`. A single file is there by its name: whether it can be read is told when it is fetched."""
        found = self._found()
        if found is None:
            return (Delivered(self.place),)
        files = sorted((self._order(path), path) for path, told in found.items() if _is_delivery(path, told))
        if not files:
            raise DeliveryError(
                f"Nothing has been delivered at {self.place}: there is no such directory, or no file below it. "
                f"Check the path, or whether the source has delivered yet."
            )
        return tuple(Delivered(path, _version(found[path])) for _, path in files)

    def fetch(self, delivered: Delivered) -> DeliveredFile:
        """See `Source`."""
        return receive(delivered.address)

    def _found(self) -> dict[str, dict[str, Any]] | None:
        """Path or URI → what the file system knows of it; None for a single file."""
        from fsspec.core import url_to_fs

        try:
            with reaching(self.place):
                filesystem, path = url_to_fs(self.place)
                found = _listed(filesystem, path, as_directory=self.place.endswith("/"))
        except (OSError, ValueError, ImportError) as error:
            raise DeliveryError(
                f"Cannot list {self.place}: {error}. Check that the place is there and may be read; for S3 install the "
                f"extra `s3`: pip install '.[s3]'"
            ) from error
        if found is None:
            return None
        top = len(_GLOB.split(path)[0].rpartition("/")[0] if _GLOB.search(path) else path.rstrip("/"))
        remote = "://" in self.place
        return {
            filesystem.unstrip_protocol(one) if remote else one: told
            | ({"type": "file"} if told.get("islink") and filesystem.isfile(one) else {})
            for one, told in found.items()
            if not _BELOW_HIDDEN.search(one[top:])  # what lies above is the choice of whoever names the place
        }

    def _order(self, path: str) -> tuple[bool, str]:
        named = re.search(self.known_at_pattern, _name(path)) if self.known_at_pattern else None
        return (named is None, next(iter(named.groups()), None) or named.group() if named else "")


def _listed(filesystem: Any, path: str, as_directory: bool) -> dict[str, dict[str, Any]] | None:
    filesystem.invalidate_cache()  # what was listed an hour ago says nothing of tonight
    found: dict[str, dict[str, Any]] | None = None
    if _GLOB.search(path) and not filesystem.exists(path):
        found = filesystem.glob(path, detail=True)
    elif as_directory or filesystem.isdir(path):
        found = filesystem.find(path, detail=True)
    return found


def _name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _is_delivery(path: str, told: dict[str, Any]) -> bool:
    name = _name(path)
    passed_over = name.startswith((".", "_")) or name.lower().endswith((*_UNFINISHED, *_ABOUT_OTHERS))
    return told.get("type") == "file" and not passed_over


def _version(told: dict[str, Any]) -> str:
    version = next((told[key] for key in _VERSIONS if told.get(key)), None)
    return "" if version is None else f"{told.get('size')} {version}"
