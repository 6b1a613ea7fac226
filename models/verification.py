"""Whether a past decision can still be proven: each thing that it rests on against what is there now.

Each rule compares one thing and says so in a sentence; nothing that is missing counts as the same. The ledger's line is
what all else is held to, and the document that it binds by hash tells the rest.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from models.config import RECORDED, config_hash
from models.decision import BOUND_BY, IDENTITY, Decision, sha256
from models.gate.inputs import DIRECTORY, ask_again, processor, read_inputs, read_verdict
from models.night import night_id_of
from models.notation import count
from models.records import LedgerEntry, Record, Snapshot, Verdict

Outcome = Literal["same", "differs", "not checked", "note"]
NAMED: Final = 8
"""How many altered fields a sentence names."""
ROUNDING: Final = 1e-9
"""Difference that another kind of processor may make, relative or near zero; measured were 4 parts in 10¹⁶."""


class Comparison(Record):
    """One thing that was compared."""

    what: str
    outcome: Outcome
    why: str


class Verification(Record):
    """What `nocturne verify VERSION` prints."""

    version: str
    night_id: str
    decided_at: datetime
    verdict: str
    agrees: bool
    """Whether nothing differs; what could not be checked does not count."""
    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, line: LedgerEntry, comparisons: Sequence[Comparison]) -> "Verification":
        """What came out for the decision of this line."""
        return cls(
            version=str(line.version),
            night_id=line.night_id,
            decided_at=line.decided_at,
            verdict=line.verdict,
            agrees=all(one.outcome != "differs" for one in comparisons),
            comparisons=tuple(comparisons),
        )


def read_decision(bound: str | None, *documents: bytes | None) -> Decision | None:
    """The first of these documents that the ledger's line binds and the installed code can read; else None.

    Args:
        bound: SHA-256 in the ledger's line: what has another tells nothing.
        documents: As they lie beside the model and in the night's files; None for what is not there.
    """
    for document in documents:
        if document is None or sha256(document) != bound:
            continue
        try:
            return Decision.model_validate_json(document, context=RECORDED)
        except ValidationError:
            return None
    return None


def compare_document(document: bytes | None, bound: str | None, original: bytes | None) -> Comparison:
    """The document beside the model against the hash in the ledger's line.

    Args:
        document: As it lies beside the model; None where none does.
        bound: SHA-256 in the ledger's line.
        original: The document as the night's files hold it, if they do: it tells which fields were altered.
    """
    what = "document"
    if bound is None:
        why = "the ledger's line binds no document: it was written before documents were kept, or altered"
        return _differs(what, why)
    if document is None:
        why = "none lies beside the model. An interrupted night lays it there when it is run again; else it was lost"
        return _differs(what, why)
    found = sha256(document)
    if found == bound:
        return _same(what, f"SHA-256 {_short(bound)}, as the ledger's line says")
    altered = f"; altered: {_listed(fields)}" if (fields := _altered(document, original, bound)) else ""
    return _differs(what, f"its SHA-256 is {_short(found)}, the ledger's line says {_short(bound)}{altered}")


def nothing_else(document: Comparison) -> Comparison:
    """What is said of all else where no document that the line binds can be read."""
    what = "all but the files"
    if document.outcome == "same":
        why = "the installed code cannot read the document, though it is sound: verify with the code that decided"
        return _differs(what, why)
    why = "only a sound document tells what the decision rests on"
    return Comparison(what=what, outcome="not checked", why=why)


def compare_lines(decision: Decision, bound: str, lines: Sequence[LedgerEntry]) -> Comparison:
    """The ledger's line, field by field, against the one that follows from the document; there is one alone.

    Args:
        decision: The document.
        bound: SHA-256 of it.
        lines: All that the ledger has on this version.
    """
    what = "ledger line"
    if len(lines) > 1:
        return _differs(what, f"{len(lines)} lines of the ledger decide on {decision.grounds.version}, one is possible")
    found = differences(_plain(decision.line(bound)), _plain(lines[0]))
    if found:
        return _differs(what, f"the document and the line say different things: {_listed(found)}")
    return _same(what, f"each of its {len(LedgerEntry.model_fields)} fields follows from the document")


def compare_identity(decision: Decision) -> Comparison:
    """The night's id against the hash of what it is a function of, and the configuration against its own hash."""
    what, night = "night", decision.grounds.night
    settings = config_hash(decision.grounds.config)
    if settings != night.config_hash:
        return _differs(what, f"the settings have the hash {settings}, the night had {night.config_hash}")
    made = night_id_of(night.snapshot, settings, night.code_hash)
    if made != night.night_id:
        return _differs(what, f"snapshot, settings and code make the night {made}, not {night.night_id}")
    return _same(what, f"{night.night_id} is the hash of snapshot, settings and code")


def compare_files(found: Mapping[str, str], line: LedgerEntry, decision: Decision | None) -> tuple[Comparison, ...]:
    """Every file of the model, and all rows that the gate read, against the ledger's line and the document.

    Args:
        found: SHA-256 of every file that is there, by relative path.
        line: The ledger's.
        decision: The document; None where it cannot be read.
    """
    recorded = {name: digest for name, digest in line.hashes.items() if name not in (*IDENTITY, BOUND_BY)}
    documented = recorded if decision is None else decision.grounds.files
    return tuple(
        _compare_file(name, found.get(name), recorded.get(name), documented.get(name))
        for name in sorted({*found, *recorded, *documented})
    )


def compare_gate(decision: Decision, model: Path, files: Sequence[Comparison], code: str) -> tuple[Comparison, ...]:
    """What the gate read against the document, and its answer when it is asked again.

    Args:
        decision: The document.
        model: Local directory of the exported model.
        files: What became of its files; the gate is not asked about altered ones, which may not be readable at all.
        code: Hash of the installed code, for whoever wonders why the gate answers differently.
    """
    grounds = decision.grounds
    if grounds.gate is None:
        return (_differs("gate", "the document does not hold what the gate read"),)
    if any(one.outcome == "differs" for one in files):
        return (Comparison(what="gate asked again", outcome="not checked", why="files that it may read differ"),)
    otherwise = _by_other_code(grounds.night.code_hash, code)
    try:
        inputs, kept = read_inputs(model / DIRECTORY), read_verdict(model / DIRECTORY)
        again = ask_again(model, grounds.gate)
    except (OSError, ValueError, KeyError) as error:
        return (_differs("gate", f"it cannot be asked again: {str(error).strip().splitlines()[0]}{otherwise}"),)
    return (
        _held("what the gate read", differences(_plain(grounds.gate), _plain(inputs))),
        _held("what the gate said", differences(_plain(grounds.judged), _plain(kept))),
        _answered(grounds.judged, again, grounds.gate.processor, otherwise),
    )


def unread_snapshot(why: str) -> Comparison:
    """Of rows that cannot be read as the night read them."""
    return Comparison(what="snapshot", outcome="not checked", why=why)


def compare_snapshot(recorded: Snapshot, now: Snapshot, members: str | None = None) -> Comparison:
    """The rows that the night read against those that the store says were known then.

    Args:
        recorded: By the night.
        now: The same, read again.
        members: Where the night's list of members is kept: of that nobody keeps what it said then.
    """
    what = "snapshot"
    if not now.rows:
        return unread_snapshot("the store holds no rows of these sessions any more")
    if now.hash != recorded.hash:
        why = (
            f"the {count(now.rows)} rows that the store holds as known then have the hash {_short(now.hash)}, the "
            f"{count(recorded.rows)} that the night read had {_short(recorded.hash)}"
        )
        return _differs(what, f"{why}; who belongs is read from {members} as it is now" if members else why)
    return _same(what, f"{count(now.rows)} rows as known then, read again: hash {_short(now.hash)}")


def compare_code(decided_by: str, installed: str) -> Comparison:
    """The code that decided and the code that verifies; another one need not answer otherwise."""
    if decided_by == installed:
        return _same("code", f"the installed code is the one that decided: {installed}")
    why = f"the installed code {installed} is not the one that decided, {decided_by}; the gate must agree all the same"
    return Comparison(what="code", outcome="note", why=why)


def differences(expected: Any, found: Any, at: str = "", tolerance: float = 0.0) -> list[str]:
    """Paths of all that differs between two JSON values, such as `checks.3.value`.

    Args:
        expected: One value.
        found: The other.
        at: Path of both.
        tolerance: Difference that two numbers may have, relative or near zero.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        pairs = [(str(key), expected.get(key, _ABSENT), found.get(key, _ABSENT)) for key in {**expected, **found}]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(str(place), *pair) for place, pair in enumerate(zip(expected, found, strict=True))]
    else:
        return [] if _is_equal(expected, found, tolerance) else [at]
    below = (differences(one, other, f"{at}.{key}" if at else key, tolerance) for key, one, other in pairs)
    return [path for paths in below for path in paths]


def _is_equal(expected: Any, found: Any, tolerance: float) -> bool:
    if type(expected) is not type(found):
        return False
    close = isinstance(expected, float) and math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    return bool(close or expected == found)


_ABSENT: Final = object()


def _plain(record: Record) -> Any:
    return json.loads(record.model_dump_json())


def _altered(document: bytes, original: bytes | None, bound: str) -> list[str]:
    """Fields that differ from the original, if that is at hand and sound."""
    if original is None or sha256(original) != bound:
        return []
    try:
        return differences(json.loads(original), json.loads(document)) or ["its spaces"]
    except ValueError:
        return ["it is no JSON any more"]


def _compare_file(name: str, found: str | None, recorded: str | None, documented: str | None) -> Comparison:
    what = f"file {name}"
    if recorded is None or documented is None:
        knows = "the document" if recorded is None and documented else "the ledger's line" if recorded else "nobody"
        return _differs(what, f"{knows} knows it" + (", but it is gone" if found is None else ""))
    if recorded != documented:
        return _differs(what, f"the ledger's line says {_short(recorded)}, the document {_short(documented)}")
    if found is None:
        return _differs(what, "it is gone")
    if found != recorded:
        return _differs(what, f"its SHA-256 is {_short(found)}, it was {_short(recorded)}")
    return _same(what, f"SHA-256 {_short(recorded)}, as line and document say")


def _held(what: str, altered: Sequence[str]) -> Comparison:
    if altered:
        return _differs(what, f"the document and the file beside the model differ in {_listed(altered)}")
    return _same(what, "the document and the file beside the model say the same")


def _answered(judged: Verdict, again: Verdict, asked_on: str, code: str) -> Comparison:
    what = "gate asked again"
    asked = f"the same {len(judged.checks)} checks and {len(judged.metrics)} numbers"
    if again == judged:
        return _same(what, f"{judged.verdict} once more, with {asked}")
    if asked_on != processor() and not differences(_plain(judged), _plain(again), tolerance=ROUNDING):
        why = f"{judged.verdict} once more, with {asked} but for the last digits, which {asked_on} rounded otherwise"
        return Comparison(what=what, outcome="note", why=why)
    return _differs(what, f"{_listed(list(_unlike(judged, again)))}{code}")


def _unlike(judged: Verdict, again: Verdict) -> Iterator[str]:
    """What the gate says differently now, in words."""
    for name in ("verdict", "reason"):
        if getattr(judged, name) != getattr(again, name):
            yield f"{name}: it was {getattr(judged, name)!r} and is {getattr(again, name)!r}"
    before, now = ({check.name: check for check in one.checks} for one in (judged, again))
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            yield f"{name}: {_told(before, name)} before, {_told(now, name)} now"
    yield from (f"number {name}" for name in differences(_plain(judged)["metrics"], _plain(again)["metrics"]))


def _told(checks: Mapping[str, Any], name: str) -> str:
    return f"{checks[name].value!r} ({checks[name].why})" if name in checks else "not asked"


def _by_other_code(decided: str, installed: str) -> str:
    if decided == installed:
        return ""
    return f". The installed code {installed} is not the one that decided, {decided}: try again with that one"


def _short(digest: str) -> str:
    """Enough of a hash to tell it from another by eye."""
    return f"{digest[:12]}…"


def _listed(things: Sequence[str]) -> str:
    rest = f" and {len(things) - NAMED} more" if len(things) > NAMED else ""
    return "; ".join(things[:NAMED]) + rest


def _same(what: str, why: str) -> Comparison:
    return Comparison(what=what, outcome="same", why=why)


def _differs(what: str, why: str) -> Comparison:
    return Comparison(what=what, outcome="differs", why=why)
