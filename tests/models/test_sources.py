"""What a source has delivered, in order; from directories, globs and S3 alike."""

import os
from pathlib import Path

import pytest

from models.errors import DeliveryError
from models.sources import Delivered, Files

DATED = r"(\d{4}-\d{2}-\d{2})"


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in (
        "b.csv",
        "a.csv",
        "2024/c.csv",
        ".hidden.csv",
        "_SUCCESS",
        "d.csv.part",
        "e.tmp",
        "a.csv.MD5",
        "a.sig",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"in {name}")
    return tmp_path


def names(place: Path | str, pattern: str | None = None) -> list[str]:
    return [one.address.rpartition("/")[2] for one in Files(str(place), pattern).delivered()]


def refusal(act, *args) -> str:
    with pytest.raises(DeliveryError) as refused:
        act(*args)
    return str(refused.value)


def test_a_directory_delivers_all_finished_files_below_it_by_path(folder):
    assert names(folder) == names(f"{folder}/") == names(folder.as_uri()) == ["c.csv", "a.csv", "b.csv"]


def test_a_glob_delivers_what_it_finds(folder):
    assert names(f"{folder}/*.csv") == ["a.csv", "b.csv"]
    assert names(f"{folder}/**/c*") == ["c.csv"]


def test_a_file_is_itself_even_with_the_signs_of_a_glob_in_its_name(folder):
    (folder / "prices[1].csv").write_text("x")
    for name in ("a.csv", "prices[1].csv", "not there.csv"):
        assert Files(f"{folder}/{name}").delivered() == (Delivered(f"{folder}/{name}"),)


def test_what_lies_below_a_hidden_directory_is_passed_over(folder):
    for name in (".rsync-partial/a.csv", "2024/_temporary/0/part-0.parquet"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("half")
    assert names(folder) == names(folder.as_uri()) == ["c.csv", "a.csv", "b.csv"]
    assert names(f"{folder}/**/*.*") == ["c.csv", "a.csv", "b.csv"]
    assert names(folder / ".rsync-partial") == ["a.csv"]  # named, it is meant


def test_a_link_counts_as_the_file_that_it_leads_to(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("store") / "real.csv"
    elsewhere.write_text("real")
    (folder / "linked.csv").symlink_to(elsewhere)
    (folder / "dangling.csv").symlink_to(elsewhere.with_name("gone.csv"))
    assert names(folder) == names(folder.as_uri()) == ["c.csv", "a.csv", "b.csv", "linked.csv"]


def test_the_date_in_the_name_orders_deliveries_and_those_without_one_come_last(tmp_path):
    for name in ("z-2024-01-02.csv", "a-2024-01-03.csv", "0.csv", "m-2023-12-29.csv"):
        (tmp_path / name).touch()
    assert names(tmp_path, DATED) == ["m-2023-12-29.csv", "z-2024-01-02.csv", "a-2024-01-03.csv", "0.csv"]
    assert names(tmp_path, r"\d{4}-\d{2}-\d{2}")[0] == "m-2023-12-29.csv"


def test_a_changed_file_is_another_delivery_and_an_unchanged_one_the_same(folder):
    before = {one.address: one.origin for one in Files(str(folder)).delivered()}
    changed = folder / "a.csv"
    os.utime(changed, (1, 1))
    after = {one.address: one.origin for one in Files(str(folder)).delivered()}
    assert [address for address in before if before[address] != after[address]] == [str(changed)]


@pytest.mark.parametrize("place", ["none/", "none/*.csv", "empty"])
def test_a_place_without_deliveries_is_told(tmp_path, place):
    (tmp_path / "empty").mkdir()
    message = refusal(Files(f"{tmp_path}/{place}").delivered)
    assert place in message
    assert "Check the path" in message


def test_a_directory_that_disappears_while_it_is_read_is_told_by_the_file_that_is_gone(folder):
    source = Files(str(folder))
    first, *_ = source.delivered()
    Path(first.address).unlink()
    message = refusal(source.fetch, first)
    assert first.address in message
    assert "there is no such file" in message


def test_a_place_that_nothing_can_list_is_told():
    assert "Cannot list no-such-protocol://bucket/" in refusal(Files("no-such-protocol://bucket/").delivered)


def test_what_is_remembered_of_an_address_holds_no_password():
    assert "secret" not in str(Delivered("s3://key:secret@bucket/a.csv", "7 etag").origin)


def test_s3_delivers_what_is_below_a_prefix_and_a_changed_object_anew(s3):
    s3.put("prices/2024-01-03.csv", "b")
    s3.put("prices/2024-01-02.csv", "a")
    s3.put("other/2024-01-01.csv", "c")
    source = Files("s3://market/prices/", DATED)
    first, second = source.delivered()
    assert (first.address, second.address) == ("s3://market/prices/2024-01-02.csv", "s3://market/prices/2024-01-03.csv")
    assert source.fetch(first).data == b"a"
    assert names("s3://market/*/2024-01-01.csv") == ["2024-01-01.csv"]
    s3.put("prices/2024-01-02.csv", "z")
    assert source.delivered()[0].origin != first.origin
    assert source.delivered()[1] == second


def test_a_bucket_that_is_not_there_is_told(s3):
    assert "s3://nobody/prices/" in refusal(Files("s3://nobody/prices/").delivered)


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_told_as_such(s3, monkeypatch):
    """The client itself tries for some seconds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "cannot be reached" in refusal(Files("s3://market/prices/").delivered)
    with pytest.raises(OSError, match=r"s3://market/a\.csv cannot be reached"):
        Files("s3://market/a.csv").fetch(Delivered("s3://market/a.csv"))
