"""A night that was trained before: its candidate counts only if every file of it is there as it was exported."""

from datetime import UTC, date, datetime

import pytest

from models.card import file_hashes
from models.config import RetrainConfig, StorageConfig
from models.errors import DispatchError
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.records import CandidateRecord, Snapshot
from tasks.train import finished_candidate, fit_candidate


@pytest.fixture
def exported(tmp_path):
    """A directory as an export leaves it, with files at two levels."""
    directory = tmp_path / "export"
    (directory / "saved_model").mkdir(parents=True)
    (directory / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (directory / "golden.npz").write_bytes(b"golden")
    return directory


@pytest.fixture
def files(tmp_path, exported):
    """The files of a night with its candidate stored and recorded."""
    files = NightFiles(Locations(StorageConfig(home=str(tmp_path))), "n1")
    uri = files.store_directory("candidate", exported)
    record = CandidateRecord(
        version="v1", uri=uri, hashes=file_hashes(exported), scales={}, trained_until=date(2015, 6, 1), recipe="r",
        epochs=1, seconds=1.0, head_weights={},
    )  # fmt: skip
    files.write_record("candidate", record)
    return files


def test_a_whole_candidate_is_finished(files):
    found = finished_candidate(files)
    assert found is not None
    assert found.version == "v1"


def test_evidence_beside_the_model_does_not_make_it_another(files, tmp_path):
    (tmp_path / "nights" / "n1" / "candidate" / "evidence.parquet").write_bytes(b"evidence")
    assert finished_candidate(files) is not None


def test_a_candidate_with_a_file_missing_is_not_finished(files, tmp_path):
    (tmp_path / "nights" / "n1" / "candidate" / "saved_model" / "saved_model.pb").unlink()
    assert finished_candidate(files) is None


def test_a_candidate_of_another_training_is_not_finished(files, exported):
    (exported / "golden.npz").write_bytes(b"of a second training, killed before its record was written")
    files.store_directory("candidate", exported)
    assert finished_candidate(files) is None


def test_what_a_killed_process_left_half_copied_is_no_part_of_the_next(files, exported, tmp_path):
    left = tmp_path / "nights" / "n1" / "candidate.part"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    files.store_directory("candidate", exported)
    assert not (tmp_path / "nights" / "n1" / "candidate" / "half").exists()
    assert not left.exists()


def test_a_worker_with_other_code_does_not_train(files, tmp_path):
    storage, day = StorageConfig(home=str(tmp_path)), date(2015, 6, 30)
    as_of = datetime(2015, 7, 1, 13, 30, tzinfo=UTC)
    snapshot = Snapshot(session=day, as_of=as_of, hash="h", rows=1, first=day, last=day, symbols=1)
    night = NightRecord.of(snapshot, RetrainConfig(storage=storage))
    files.write_record("night", night)
    assert fit_candidate.fn("n1", storage, None).version == "v1"  # trained before
    files.write_record("night", night.model_copy(update={"code_hash": "0123456789abcdef"}))
    with pytest.raises(DispatchError, match=r"was begun by 0123456789abcdef.*same version of Nocturne on all workers"):
        fit_candidate.fn("n1", storage, None)
