"""The GPU half of a night: ids in, a candidate by reference out. It runs wherever a GPU is."""

from datetime import datetime

from prefect import flow
from prefect.logging import get_run_logger

from models.config import RetrainConfig, StorageConfig
from models.errors import DispatchError
from models.locations import Locations
from models.night import NightFiles
from models.records import CandidateRecord
from tasks.dispatch import has_deployment, run_elsewhere
from tasks.train import finished_candidate, fit_candidate

AS_HERE = StorageConfig()


@flow(name="train", flow_run_name="train {night_id}")
def train(night_id: str, storage: StorageConfig = AS_HERE, deadline: datetime | None = None) -> CandidateRecord:
    """Fit tonight's network on the rows that the night's snapshot wrote; a night that is trained already is left so.

    Args:
        night_id: The night whose bars, market returns, settings and scales lie under `nights/<night_id>`.
        storage: Where that is, if not where this worker's environment says.
        deadline: When to give up, after the epoch that is running then.
    """
    return fit_candidate(night_id, storage, deadline)


def train_where_it_belongs(night_id: str, config: RetrainConfig, deadline: datetime | None) -> CandidateRecord:
    """Train on the worker of `operation.train_deployment`, or in this process where the server has no such deployment.

    Raises:
        DeadlinePassed: it was not done in time.
        DispatchError: no worker took it, or it did not come back.
        TrainingFailed: this process trained, and no usable weights came out.
    """
    deployment = config.operation.train_deployment
    if not has_deployment(deployment):
        return train(night_id, config.storage, deadline)
    files = NightFiles(Locations(config.storage), night_id)
    if (earlier := finished_candidate(files)) is not None:
        get_run_logger().info("trained before as %s; going on from there", earlier.version)
        return earlier
    stated = {"night_id": night_id, "storage": config.storage.model_dump(exclude_none=True), "deadline": deadline}
    run_elsewhere(deployment, stated, f"train:{night_id}", config.operation.dispatch_timeout, deadline)
    candidate = finished_candidate(files)
    if candidate is None:
        raise DispatchError(
            f"The run of {deployment} completed, but {files.root} holds no candidate: its worker keeps its files "
            f"elsewhere. Set NOCTURNE_HOME, or storage.nights, to one place that all workers reach."
        )
    return candidate
