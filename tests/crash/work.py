"""The pieces of work that are killed, and what a reader finds afterwards. All of it is Nocturne's own code, called
without Prefect: the bodies of tasks, and below them the functions that they are made of."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from models.calendar import Calendar
from models.card import file_hashes
from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.decision import BOUND_BY, NAME, sha256
from models.delivered_file import receive
from models.delivery import Reading, known_at, parse
from models.errors import RegistryError
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.records import Account, CandidateRecord, DeliveryRecord, LedgerEntry, Snapshot, Verdict
from models.registry import Registry
from models.store import BarsStore
from tasks.ingest import _check, bring_in
from tasks.promote import keep_champion, let_serve, promote_candidate, register
from tasks.rollback import let_serve_again, move_back

Json = dict[str, Any]

NOW = datetime(2015, 3, 2, 23, tzinfo=UTC)
PROMOTE = Verdict(verdict="promote", reason="earned it")
KEEP = Verdict(verdict="keep", reason="not shown")


def load() -> None:
    """Import what the work imports when it runs. None of it may start a thread: threads do not survive a fork."""
    import deltalake.fs  # noqa: F401
    import fsspec.implementations.chained  # noqa: F401
    import mlflow.artifacts
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    from mlflow import MlflowClient  # noqa: F401

    from expectations.gx import load_great_expectations

    load_great_expectations()
    Calendar.of(RetrainConfig().data).sessions  # noqa: B018  # computed once, in 0.5 s


def config_at(home: str) -> RetrainConfig:
    return RetrainConfig.model_validate({"storage": {"home": home}})


def night(number: int) -> NightRecord:
    session = date(2015, 8, 10 + number)
    as_of = datetime(2015, 8, 11 + number, 13, 30, tzinfo=UTC)
    snapshot = Snapshot(session=session, as_of=as_of, hash="h", rows=1, first=session, last=session, symbols=1)
    return NightRecord(night_id=f"{number:016x}", snapshot=snapshot, config_hash="c", code_hash="d", recipe="r")


def candidate(number: int, directory: Path) -> CandidateRecord:
    return CandidateRecord(
        version=f"v{number}", uri=str(directory), hashes=file_hashes(directory), scales={}, recipe="r", epochs=1,
        trained_until=date(2015, 6, 1), seconds=1.0, head_weights={},
    )  # fmt: skip


# The work


def check(order: Json) -> Json:
    """What the contract says of a delivery, which takes longer than all that is killed and writes no table."""
    file, store, config = receive(order["file"]), _store(order), config_at(order["home"])
    raw = parse(file, Reading.of(config, NOW))
    times, _ = known_at(raw, raw.reading, NOW)
    return {"broken": _check(raw, times, store, config, NOW).broken.tolist()}


def store_delivery(order: Json) -> Json:
    """A checked delivery into the store, as `bring_in` does it. A second try comes later than the first."""
    now = NOW + timedelta(minutes=order.get("minutes_later", 0))
    file, store = receive(order["file"]), _store(order)
    with store.alone():
        if (earlier := store.delivery(file.sha256)) is not None:
            return earlier.repetition.model_dump(mode="json")
        raw = parse(file, Reading.of(config_at(order["home"]), NOW))
        times, rule = known_at(raw, raw.reading, now)
        record = DeliveryRecord(
            delivery=file.sha256, name=file.name, status="accepted", known_at_rule=rule, received_at=now,
            first=raw.frame["session"].min().date(), last=raw.frame["session"].max().date(), account=Account(),
        )  # fmt: skip
        store.keep_file(file)
        return store.accept(raw, times, np.array(order["broken"], object), record).model_dump(mode="json")


def ingest(order: Json) -> Json:
    """The whole of it: received, checked and stored."""
    now = NOW + timedelta(minutes=order.get("minutes_later", 0))
    return bring_in(order["file"], config_at(order["home"]), NOW, now).model_dump(mode="json")


def promote(order: Json) -> Json:
    """Everything that a promotion writes; the proof between the two steps writes nothing and was given before."""
    config = config_at(order["home"])
    grounds = register(night(3), candidate(3, Path(order["exported"])), PROMOTE, order["proof"], config)
    return let_serve(grounds, PROMOTE, order["proof"], "v2", Locations(config.storage)).model_dump(mode="json")


def keep(order: Json) -> Json:
    """A night whose candidate is registered and does not serve."""
    made = candidate(3, Path(order["exported"]))
    return keep_champion.fn(night(3), made, KEEP, {}, config_at(order["home"])).model_dump(mode="json")


def promote_with_proof(order: Json) -> Json:
    """The whole task of a promotion, with a clean process of its own."""
    config = config_at(order["home"])
    with CleanProcess.start() as clean:
        made = candidate(3, Path(order["exported"]))
        return promote_candidate.fn(night(3), made, PROMOTE, {}, "v2", clean, config).model_dump(mode="json")


def roll_back(order: Json) -> Json:
    """Back from v2 to v1, both of which were proven before; once that is decided, `nocturne rollback --to v1`."""
    config = config_at(order["home"])
    locations = Locations(config.storage)
    if Ledger(locations).champion_version() == "v2":
        return let_serve_again("it drifts", "v2", "v1", "desk", locations).model_dump(mode="json")
    try:
        return move_back.fn("it drifts", "v1", config).model_dump(mode="json")
    except RegistryError as told:
        return {"told": str(told)}


def open_registry(order: Json) -> Json:
    """The registry of a home that has none yet."""
    Registry(Locations(config_at(order["home"]).storage)).prepare()
    return {}


def look(order: Json) -> Json:
    """What a reader finds now."""
    return LOOKS[order["of"]](order)


def again(order: Json) -> Json:
    """What a reader finds after the crash, the same work once more to its end, and what is found then."""
    found = look(order)
    JOBS[order["of"]](order)
    return {"after_the_crash": found, "in_the_end": look(order)}


# What a reader finds


def look_at_tables(order: Json) -> Json:
    """Every row of every table of the store, and the account of each delivery."""
    store = _store(order)
    deliveries = store.deliveries()
    bars, quarantine = store._bars.read().to_pylist(), store._quarantine.read().to_pylist()
    return {
        "accounts": {one.delivery: one.account.model_dump() for one in deliveries},
        "recorded": sorted(one.delivery for one in deliveries),
        "bars": _told(bars, without=["sequence"]),
        "quarantine": _told(quarantine),
        "kept": sorted(path.name for path in Path(order["home"], "deliveries").glob("*") if path.name != "lock"),
    }


def look_at_champion(order: Json) -> Json:
    """What serves, as `score` finds it out, what its files are, what the alias says, and all decisions."""
    locations = Locations(config_at(order["home"]).storage)
    ledger, registry = Ledger(locations), Registry(locations)
    champion = ledger.champion_version()
    return {
        "champion": champion,
        "files": file_hashes(registry.fetch(champion)) if champion else {},
        "alias": registry.champion(),
        "versions": registry.versions(),
        "decisions": [
            [one.night_id if one.verdict != "rollback" else "by hand", one.verdict, one.version, one.champion_after]
            for one in ledger.entries()
        ],
        "documents": [_is_documented(one, registry) for one in ledger.entries() if one.verdict != "rollback"],
    }


def _is_documented(decided: LedgerEntry, registry: Registry) -> bool:
    """Whether the document that the ledger's line binds lies beside the model."""
    document = registry.kept_beside(str(decided.version), NAME)
    return document is not None and sha256(document) == decided.hashes[BOUND_BY]


def _told(rows: Sequence[Json], without: Sequence[str] = ()) -> list[str]:
    kept = ({name: value for name, value in row.items() if name not in without} for row in rows)
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)


def _store(order: Json) -> BarsStore:
    return BarsStore(Locations(config_at(order["home"]).storage))


LOOKS: dict[str, Callable[[Json], Json]] = {
    "store delivery": look_at_tables,
    "ingest": look_at_tables,
    "promote": look_at_champion,
    "promote with proof": look_at_champion,
    "keep": look_at_champion,
    "roll back": look_at_champion,
    "open registry": look_at_champion,
}
JOBS: dict[str, Callable[[Json], Json]] = {
    "check": check,
    "store delivery": store_delivery,
    "ingest": ingest,
    "promote": promote,
    "promote with proof": promote_with_proof,
    "keep": keep,
    "roll back": roll_back,
    "open registry": open_registry,
    "look": look,
    "again": again,
}
