"""The page of the Prefect UI that says whether all is well, kept current between the nights."""

from prefect import flow

from models.config import DEFAULT, RetrainConfig
from tasks.status import StatusReport
from tasks.status_page import publish_status
from tasks.tell import tell_concerns, tell_failure


@flow(name="status", flow_run_name="status", on_failure=[tell_failure])
def status(config: RetrainConfig = DEFAULT) -> StatusReport:
    """Bring the artifact `nocturne-status` up to date, and tell once a session what is not as it should be.

    Args:
        config: Only the storage, the exchange and the greatest age of a champion are read.
    """
    report = publish_status(config)
    tell_concerns(report, config)
    return report
