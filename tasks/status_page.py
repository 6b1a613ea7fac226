"""The page of the Prefect UI that answers in one look whether all is well."""

from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.config import RetrainConfig
from models.notation import ABSENT, moment
from models.page import Bullets, Column, Page, Section, Table, to_markdown
from tasks.outside import RETRIED
from tasks.status import StatusReport, status

STATUS_KEY = "nocturne-status"


@task(name="publish status", cache_policy=NO_CACHE, **RETRIED)
def publish_status(config: RetrainConfig) -> StatusReport:
    """Bring the artifact `nocturne-status` up to date."""
    now = datetime.now(UTC)
    report = status(config, now=now)
    page = status_page(report, now)
    create_markdown_artifact(key=STATUS_KEY, markdown=to_markdown(page), description=page.headline)
    return report


def status_page(report: StatusReport, now: datetime) -> Page:
    """What is not as it should be first, then what serves, then the last nights."""
    champion, fresh = report.champion, report.fresh
    serves = f"{champion.version} serves" if champion else "nothing serves"
    concerns = (Section("To look at", (Bullets(report.concerns),)),) if report.concerns else ()
    return Page(
        overline=f"Nocturne · seen at {moment(now)}",
        headline=f"All is well: {serves}" if report.well else f"{len(report.concerns)} to look at: {serves}",
        passed=report.well,
        lead=f"since {moment(champion.since)}: {champion.reason}" if champion else "No night has promoted a model yet.",
        facts=(
            ("Champion learnt until", str(fresh.trained_until or ABSENT)),
            ("Bars until", str(fresh.data_until or ABSENT)),
            ("Predictions for these published", "yes" if fresh.scored else "no"),
            ("Last night decided", str(fresh.decided_until or ABSENT)),
            ("Due by now", str(fresh.due)),
        ),
        sections=(*concerns, Section("The last nights", (_nights(report),))),
    )


def _nights(report: StatusReport) -> Table:
    columns = (Column("session"), Column("decided at"), Column("verdict"), Column("serves after"), Column("why"))
    rows = (
        (str(one.session), moment(one.decided_at), one.verdict, one.champion or ABSENT, one.reason)
        for one in report.nights
    )
    return Table(columns, tuple(rows))
