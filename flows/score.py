"""Tonight's predictions without a retraining."""

from prefect import flow

from flows.ending import name_after, name_of_run
from models.config import DEFAULT, Day, RetrainConfig
from tasks.score import ScoreResult, score_session
from tasks.status_page import publish_status
from tasks.tell import tell_failure


@flow(name="score", flow_run_name=name_of_run, on_failure=[tell_failure])
def score(session: Day | None = None, config: RetrainConfig = DEFAULT, allow_stale: bool = False) -> ScoreResult:
    """Publish the champion's predictions for the latest bars.

    Args:
        session: Session to score; the last in the store when empty.
        config: Only storage, data, contract and the greatest age of a champion are read; the model brings the rest.
        allow_stale: Score on the last good bars although the newest delivery was stopped.
    """
    result = score_session(session, config, allow_stale)
    if result.session is not None:
        name_after(result.session)
    publish_status(config, return_state=True)  # a page that fails is no reason for this to fail
    return result
