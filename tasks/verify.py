"""A past decision, proven once more: what lies with the model, in the ledger and in the store is read and compared."""

from models.card import file_hashes
from models.config import RetrainConfig
from models.decision import BOUND_BY, NAME, Decision, kept_as
from models.errors import ConfigError, RegistryError
from models.ledger import Ledger
from models.locations import Locations
from models.night import PACKAGES, NightFiles, code_hash
from models.records import LedgerEntry
from models.registry import Registry
from models.store import BarsStore
from models.verification import (
    Comparison,
    Verification,
    compare_code,
    compare_document,
    compare_files,
    compare_gate,
    compare_identity,
    compare_lines,
    compare_snapshot,
    nothing_else,
    read_decision,
    unread_snapshot,
)


def verify(version: str, config: RetrainConfig) -> Verification:
    """Whether the decision on a version can still be proven; nothing is written.

    Args:
        version: A candidate that a night decided on, whether it served or not.
        config: Only the storage is read.

    Raises:
        RegistryError: there is no such version, its files are gone, or nothing was decided on it.
        StoreError: the ledger or the bars cannot be read.
    """
    locations = Locations(config.storage)
    registry = Registry(locations)
    model = registry.fetch(version)
    lines = _lines(version, locations)
    bound = lines[0].hashes.get(BOUND_BY)
    document, original = registry.kept_beside(version, NAME), _original(lines[0], locations)
    decision = read_decision(bound, document, original)
    whole = compare_document(document, bound, original)
    files = compare_files(file_hashes(model), lines[0], decision)
    if bound is None or decision is None:
        return Verification.of(lines[0], (whole, *files, nothing_else(whole)))
    installed = code_hash(PACKAGES)
    comparisons = (
        whole,
        compare_lines(decision, bound, lines),
        compare_identity(decision),
        *files,
        *compare_gate(decision, model, files, installed),
        _compare_with_store(decision, locations),
        compare_code(decision.grounds.night.code_hash, installed),
    )
    return Verification.of(lines[0], comparisons)


def _lines(version: str, locations: Locations) -> list[LedgerEntry]:
    lines = [one for one in Ledger(locations).entries() if one.version == version and one.verdict != "rollback"]
    if not lines:
        raise RegistryError(
            f"Nothing was decided on {version}: it is in the registry as a trial (--no-promote), so there is no "
            f"decision to verify. Run its night without --no-promote to decide it."
        )
    return lines


def _original(line: LedgerEntry, locations: Locations) -> bytes | None:
    """The document as the night wrote it before the ledger's line."""
    return NightFiles(locations, line.night_id).read_whole(kept_as(line.hashes.get(BOUND_BY, "")))


def _compare_with_store(decision: Decision, locations: Locations) -> Comparison:
    recorded, config = decision.grounds.night.snapshot, decision.grounds.config
    try:
        _, now = BarsStore(locations).snapshot(recorded.session, recorded.as_of, config)
    except ConfigError as error:  # the list of its universe is gone
        return unread_snapshot(str(error))
    return compare_snapshot(recorded, now, config.data.universe.file)
