"""The GPU half of a night: ids in, a candidate by reference out. It runs wherever a GPU is."""

from prefect import flow

from models.config import RetrainConfig
from models.records import CandidateRecord
from tasks.train import fit_candidate


@flow(name="train", flow_run_name="train {night_id}", validate_parameters=False)
def train(night_id: str, config: RetrainConfig) -> CandidateRecord:
    """Fit tonight's network on the rows that the night's snapshot wrote.

    Args:
        night_id: The night whose bars, market returns and scales lie under `nights/<night_id>`.
        config: The night's configuration.
    """
    return fit_candidate(night_id, config)
