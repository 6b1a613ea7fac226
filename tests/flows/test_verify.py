"""Decisions that are proven once more, and everything in them altered in turn. The nights are real ones."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from flows.__main__ import main
from models.card import file_hashes
from models.decision import BOUND_BY, NAME, Decision, sha256
from models.ledger import Ledger
from models.locations import Locations
from models.records import LedgerEntry
from models.registry import Registry
from models.verification import (
    Comparison,
    compare_code,
    compare_document,
    compare_files,
    compare_gate,
    compare_identity,
    compare_lines,
    compare_snapshot,
    nothing_else,
    read_decision,
)
from tasks.verify import verify
from tests.small_nights import config_at


class Proof(NamedTuple):
    document: bytes
    decision: Decision
    line: LedgerEntry
    model: Path


@pytest.fixture(scope="module")
def proof(kept_night, home):
    """The kept night's decision with all that it is verified against."""
    locations = Locations(config_at(home).storage)
    registry = Registry(locations)
    document = registry.kept_beside(kept_night.version, NAME)
    line = Ledger(locations).decision(kept_night.night_id)
    return Proof(document, read_decision(line.hashes[BOUND_BY], document), line, registry.fetch(kept_night.version))


def test_a_promoted_and_a_kept_night_are_proven_to_the_last_byte(first_night, kept_night, home):
    for night in (first_night, kept_night):
        result = verify(night.version, config_at(home))
        assert {one.outcome for one in result.comparisons} == {"same"}, result.comparisons
        assert result.agrees
        assert "gate asked again" in {one.what for one in result.comparisons}


def test_the_document_says_all_that_the_decision_rests_on(proof, first_night, kept_night):
    grounds = proof.decision.grounds
    assert (proof.decision.champion_before, proof.decision.champion_after) == (first_night.version,) * 2
    assert grounds.judged.checks == kept_night.checks
    assert grounds.gate.champion.version == first_night.version
    assert grounds.night.snapshot == kept_night.snapshot
    assert (grounds.training.seed, grounds.training.threads) == (2, grounds.config.training.threads)
    assert {"golden.npz", "evidence.parquet", "gate/champion_stored.parquet"} <= set(grounds.files)
    assert grounds.clean_process is None, "it was not to serve"


def test_the_document_of_a_promotion_holds_what_the_clean_process_saw(first_night, home):
    registry = Registry(Locations(config_at(home).storage))
    decision = Decision.model_validate_json(registry.kept_beside(first_night.version, NAME))
    transcript = decision.grounds.clean_process
    assert set(transcript.differences) == {"direction", "volatility", "magnitude"}
    assert decision.facts["clean_direction"] == transcript.differences["direction"]


def test_one_altered_byte_of_any_file_is_found_and_named(proof, tmp_path):
    model = shutil.copytree(proof.model, tmp_path / "model")
    for path in (path for path in model.rglob("*") if path.is_file()):
        sound = path.read_bytes()
        middle = len(sound) // 2
        path.write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
        found = compare_files(file_hashes(model), proof.line, proof.decision)
        assert differing(found) == [f"file {path.relative_to(model)}"]
        path.write_bytes(sound)
    assert differing(compare_files(file_hashes(model), proof.line, proof.decision)) == []


def test_a_file_that_is_gone_or_was_added_is_found(proof, tmp_path):
    model = shutil.copytree(proof.model, tmp_path / "model")
    (model / "golden.npz").unlink()
    (model / "more.txt").write_text("more")
    found = compare_files(file_hashes(model), proof.line, proof.decision)
    assert differing(found) == ["file golden.npz", "file more.txt"]


def test_every_altered_field_of_the_document_is_found_and_named(proof):
    bound = proof.line.hashes[BOUND_BY]
    paths = list(leaves(json.loads(proof.document)))
    assert len(paths) > 300
    for path in paths:
        altered = altered_at(path, json.loads(proof.document))
        found = compare_document(json.dumps(altered, indent=1).encode(), bound, proof.document)
        assert found.outcome == "differs"
        assert found.why.endswith(f"altered: {'.'.join(map(str, path))}")


def test_an_altered_space_or_a_missing_document_is_found(proof):
    bound = proof.line.hashes[BOUND_BY]
    assert compare_document(proof.document + b" ", bound, proof.document).outcome == "differs"
    assert compare_document(None, bound, proof.document).outcome == "differs"
    assert compare_document(proof.document, None, proof.document).outcome == "differs"
    assert "before documents were kept" in compare_document(None, None, None).why


def test_a_document_that_is_bound_but_not_understood_is_no_proof(proof):
    strange = proof.document.replace(b'"actor"', b'"player"')
    bound = sha256(strange)
    assert read_decision(bound, strange, None) is None
    assert nothing_else(compare_document(strange, bound, None)).outcome == "differs"


def test_a_document_that_is_not_bound_tells_nothing_and_the_nights_own_copy_is_taken(proof):
    bound = proof.line.hashes[BOUND_BY]
    assert read_decision(bound, proof.document + b" ", None) is None
    assert read_decision(bound, proof.document + b" ", proof.document) == proof.decision


def test_every_altered_field_of_the_ledgers_line_is_found_and_named(proof):
    day, bound = timedelta(days=1), sha256(proof.document)
    for name, value in proof.line:
        if isinstance(value, dict):
            altered = [(f"{name}.{key}", {**value, key: "x" if name == "hashes" else 7.0}) for key in value]
        elif name == "verdict":
            altered = [(name, "promote")]
        else:
            altered = [(name, value + day if isinstance(value, date) else f"{value}x")]
        for path, other in altered:
            found = compare_lines(proof.decision, bound, [proof.line.model_copy(update={name: other})])
            assert (found.outcome, found.why.rpartition(": ")[2]) == ("differs", path)


def test_two_lines_for_one_version_are_found(proof):
    assert compare_lines(proof.decision, sha256(proof.document), [proof.line, proof.line]).outcome == "differs"


def test_a_gate_that_would_say_something_else_is_found_even_where_all_hashes_hold(proof, tmp_path):
    judged, code = proof.decision.grounds.judged, proof.decision.grounds.night.code_hash
    kinder = judged.model_copy(update={"checks": judged.checks[:-1], "verdict": "promote"})
    grounds = proof.decision.grounds.model_copy(update={"judged": kinder})
    told = compare_gate(proof.decision.model_copy(update={"grounds": grounds}), proof.model, (), code)
    assert differing(told) == ["what the gate said", "gate asked again"]
    assert "verdict: it was 'promote' and is 'keep'" in told[-1].why

    model = shutil.copytree(proof.model, tmp_path / "model")
    rows = pd.read_parquet(model / "evidence.parquet")
    rows.assign(p_up=1 - rows["p_up"]).to_parquet(model / "evidence.parquet", index=False)
    told = compare_gate(proof.decision, model, (), "other code")
    assert differing(told) == ["gate asked again"]
    assert "direction_auc" in told[-1].why
    assert "other code is not the one that decided" in told[-1].why


@pytest.mark.parametrize(
    ("factor", "processor", "outcome"),
    [(1 + 4e-16, "another", "note"), (1 + 4e-16, None, "differs"), (1 + 1e-6, "another", "differs")],
)
def test_last_digits_may_differ_on_another_kind_of_processor_alone(proof, factor, processor, outcome):
    grounds = proof.decision.grounds
    checks = [
        check.model_copy(update={"value": check.value and check.value * factor}) for check in grounds.judged.checks
    ]
    judged = grounds.judged.model_copy(update={"checks": tuple(checks)})
    gate = grounds.gate.model_copy(update={"processor": processor or grounds.gate.processor})
    altered = grounds.model_copy(update={"judged": judged, "gate": gate})
    told = compare_gate(proof.decision.model_copy(update={"grounds": altered}), proof.model, (), "any")
    assert told[-1].outcome == outcome


def test_settings_that_are_not_those_of_the_night_are_found(proof):
    grounds = proof.decision.grounds
    other = grounds.config.model_copy(update={"training": grounds.config.training.model_copy(update={"seed": 3})})
    altered = proof.decision.model_copy(update={"grounds": grounds.model_copy(update={"config": other})})
    assert compare_identity(altered).outcome == "differs"


@pytest.mark.parametrize(
    ("update", "outcome"), [({"hash": "x"}, "differs"), ({"rows": 0}, "not checked"), ({}, "same")]
)
def test_rows_that_the_store_has_no_more_are_not_checked_and_others_are_found(proof, update, outcome):
    recorded = proof.decision.grounds.night.snapshot
    assert compare_snapshot(recorded, recorded.model_copy(update=update)).outcome == outcome


def test_other_code_is_a_note_and_no_failure():
    assert (compare_code("a", "a").outcome, compare_code("a", "b").outcome) == ("same", "note")


def test_an_altered_ledger_ends_the_command_with_status_1(proof, home, monkeypatch, capsys):
    version, table = proof.line.version, Path(Locations(config_at(home).storage).table("ledger"))
    monkeypatch.setattr(sys, "argv", ["nocturne", "verify", version, "--set", f"storage.home={home}", "--json"])
    kept = shutil.copytree(table, home / "ledger-as-it-was")
    try:
        let_line_say(table, proof.line.night_id, champion_after=version)
        assert main() == 1
    finally:
        shutil.rmtree(table)
        shutil.move(kept, table)
    told = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in told["comparisons"] if one["outcome"] == "differs"] == ["ledger line"]
    assert main() == 0


def test_the_command_tells_people_what_differs(proof, home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nocturne", "verify", proof.line.version, "--set", f"storage.home={home}"])
    golden = proof.model / "golden.npz"
    sound = golden.read_bytes()
    golden.write_bytes(sound[:-1] + b"x")
    try:
        assert main() == 1
    finally:
        golden.write_bytes(sound)
    out = capsys.readouterr().out
    assert "1 of " in out
    assert "✗ file golden.npz: its SHA-256 is" in out


def let_line_say(table: Path, night_id: str, **altered: str) -> None:
    """Rewrite the ledger with another value in the line of one night."""
    rows = DeltaTable(table).to_pyarrow_table()
    lines = [row | altered if row["night_id"] == night_id else row for row in rows.to_pylist()]
    write_deltalake(table, pa.Table.from_pylist(lines, rows.schema), mode="overwrite")


def differing(comparisons: Sequence[Comparison]) -> list[str]:
    return [one.what for one in comparisons if one.outcome == "differs"]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all values that hold no others; of long lists those in the first and the last element."""
    if isinstance(value, list):
        inside = {place: value[place] for place in (0, len(value) - 1) if value}
    else:
        inside = value if isinstance(value, dict) else {}
    below = [found for key, one in inside.items() for found in leaves(one, (*path, key))]
    yield from below or [path]


def altered_at(path: tuple[str | int, ...], document: Any) -> Any:
    """The document with another value at this path."""
    *above, last = path
    holder = document
    for key in above:
        holder = holder[key]
    value = holder[last]
    if isinstance(value, bool):
        holder[last] = not value
    else:
        holder[last] = value * 1.5 + 1 if isinstance(value, int | float) else "x"
    return document
