"""The night's report: an HTML page among the reports, and the same page in the Prefect UI."""

from collections.abc import Mapping, Sequence

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.bootstrap import block_length
from models.config import RetrainConfig
from models.credentials import without_credentials
from models.errors import ConfigError
from models.ledger import Ledger
from models.locations import Locations, open_at
from models.night import NightFiles
from models.notation import count
from models.page import to_html, to_markdown
from models.records import DeliveryRecord, NightResult
from models.report import NightMaterial, night_page
from models.sectors import read_sectors
from models.targets import label_reach
from tasks.close import Outcome
from tasks.drift import DriftRecord
from tasks.run_log import run_log, sum_up
from tasks.score import ScoreResult
from tasks.targets import HISTORY_NIGHTS

ARTIFACT_KEY = "nocturne-night"


@task(name="report", task_run_name="report {material.result.session}", cache_policy=NO_CACHE, retries=1)
def report(material: NightMaterial, locations: Locations) -> str:
    """Write the report of a night.

    Returns:
        Path or URI of the HTML page. A night that is reported again overwrites its own page.
    """
    result = material.result
    page = night_page(material)
    uri = f"{locations.reports}/{result.session}-{result.night_id}.html"
    html = to_html(page).encode()
    with open_at(uri, "wb") as file:
        file.write(html)
    create_markdown_artifact(
        key=ARTIFACT_KEY, markdown=to_markdown(page), description=f"{page.headline}\n\n{result.reason}"
    )
    sum_up(
        f"The page of {result.session} tells {len(result.checks)} checks and {len(material.findings)} findings in "
        f"{count(len(html) / 1000)} kB: {without_credentials(uri)}"
    )
    return uri


def report_night(
    result: NightResult,
    outcome: Outcome,
    delivered: Sequence[DeliveryRecord],
    served: ScoreResult,
    config: RetrainConfig,
) -> str:
    """Gather what the stages left of a night and tell it; returns path or URI of the page."""
    locations = Locations(config.storage)
    files = NightFiles(locations, result.night_id)
    trained = outcome.candidate is not None
    drifted = files.read_record("drift", DriftRecord) if files.has("drift.json") else None
    material = NightMaterial(
        result=result,
        findings=(
            *(found for record in delivered for found in record.findings),
            *(drifted.findings if drifted else ()),
            *(outcome.targets.findings if outcome.targets else ()),
            *served.findings,
        ),
        drift=(*drifted.columns, *drifted.features) if drifted else (),
        scales=outcome.scales,
        history=_last_nights(locations, result.night_id),
        candidate=outcome.candidate,
        curves=files.read_frame("curves") if trained else pd.DataFrame(),
        evidence=files.read_frame("candidate/evidence") if trained else pd.DataFrame(),
        sectors=_sectors(config) if trained else None,
        note=config.note or None,
        gate=config.gate,
        reach=label_reach(config.targets),
        relative=trained and _is_relative(files, config),
        block_sessions=int(result.metrics.get("block_sessions") or block_length(label_reach(config.targets))),
    )
    return report(material, locations)


def _sectors(config: RetrainConfig) -> Mapping[str, str] | None:
    """None where no list is named, or where it cannot be read: a good night does not fail for a picture."""
    if config.source.sectors is None:
        return None
    try:
        return read_sectors(config.source.sectors)
    except ConfigError as error:
        run_log().warning(str(error))
        return None


def _is_relative(files: NightFiles, config: RetrainConfig) -> bool:
    """Whether direction was in fact relative: a universe that is too small has no market."""
    return config.targets.direction == "relative" and bool(files.read_frame("market")["market_return"].any())


def _last_nights(locations: Locations, tonight: str) -> pd.DataFrame:
    """`session, version, verdict` and the facts of the last decided nights, oldest first."""
    nights = [entry for entry in Ledger(locations).entries() if entry.facts and entry.night_id != tonight]
    return pd.DataFrame(
        [
            {"session": entry.session, "version": entry.version, "verdict": entry.verdict, **entry.facts}
            for entry in nights[-HISTORY_NIGHTS:]
        ]
    )
