"""Back to an earlier champion, by hand, recorded."""

from prefect import flow

from models.config import DEFAULT, RetrainConfig
from tasks.rollback import RollbackResult, move_back
from tasks.status_page import publish_status
from tasks.tell import tell_failure, tell_rollback


@flow(name="rollback", flow_run_name="rollback", on_failure=[tell_failure])
def rollback(
    reason: str, to: str | None = None, who: str | None = None, config: RetrainConfig = DEFAULT
) -> RollbackResult:
    """Let an earlier version serve again.

    Args:
        reason: Why; recorded in the ledger with who asked for it.
        to: Version that shall serve; the champion before the present one when empty.
        who: Who asks for it, for the ledger; the login name of the process when empty.
        config: Only the storage, the exchange and the greatest age of a champion are read.
    """
    result = move_back(reason, to, config, who)
    tell_rollback(result)
    publish_status(config, return_state=True)  # a page that fails is no reason for this to fail
    return result
