"""The page of the Prefect UI that says whether all is well, kept current between the nights."""

from prefect import flow

from models.config import DEFAULT, RetrainConfig
from tasks.status import StatusReport
from tasks.status_page import publish_status


@flow(name="status", flow_run_name="status")
def status(config: RetrainConfig = DEFAULT) -> StatusReport:
    """Bring the artifact `nocturne-status` up to date.

    Args:
        config: Only the storage, the exchange and the greatest age of a champion are read.
    """
    return publish_status(config)
