"""The week's housekeeping: tables that stay fast, nights that stay small."""

from prefect import flow

from models.config import DEFAULT, RetrainConfig
from tasks.maintain import (
    MaintenanceResult,
    clear_old_folds,
    clear_old_nights,
    clear_parts,
    measure_placebo,
    tidy_tables,
)
from tasks.tell import tell_failure


@flow(name="maintenance", flow_run_name="maintenance", on_failure=[tell_failure])
def maintenance(config: RetrainConfig = DEFAULT) -> MaintenanceResult:
    """Put the tables' small files together, delete old nights' copies of the bars, recipe folds out of use and what
    killed processes left half written; measure the newest night's recipe on shuffled labels.

    Args:
        config: Only storage and operation are read.
    """
    cleared = clear_old_nights(config)
    folds, parts = clear_old_folds(config), clear_parts(config)
    return MaintenanceResult(
        tables=tidy_tables(config),
        nights=cleared.nights,
        bytes_freed=cleared.bytes_freed,
        folds=folds,
        parts=parts,
        placebo=measure_placebo(config),
    )
