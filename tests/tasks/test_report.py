"""The report reaches both places where people look for it."""

from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from models.config import StorageConfig
from models.locations import Locations
from tasks.report import ARTIFACT_KEY, report
from tests import synthetic_night


@pytest.fixture(scope="module")
def written(prefect, tmp_path_factory) -> tuple[Path, str]:
    """Path of the page and text of the artifact, from one run in a real Prefect."""
    locations = Locations(StorageConfig(home=str(tmp_path_factory.mktemp("home"))))

    @flow(name="one report")
    def one_report() -> str:
        return report(synthetic_night.material("keep", 20, 30), locations)

    path = Path(one_report())
    found = Artifact.get(ARTIFACT_KEY)
    assert found is not None
    return path, str(found.data)


def test_the_page_is_named_after_its_session_and_night(written):
    assert written[0].name == "2010-08-19-5f0c11ab90d34e7c.html"


def test_the_page_and_the_artifact_say_the_same(written):
    path, markdown = written
    headline = "Kept: 2010-08-12-aa41c022 goes on serving"
    assert headline in path.read_text()
    assert headline in markdown
