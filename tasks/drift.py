"""Whether tonight's bars look like those of the last sessions: told in the report, and never a reason to stop."""

from prefect import task

from models.config import RetrainConfig
from models.drift import ColumnDrift, column_drift, feature_drift
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.records import Finding, Record
from tasks.outside import RETRIED
from tasks.run_log import sum_up


class DriftRecord(Record):
    """Distances of a night's columns and features, and what its contract says of them."""

    columns: tuple[ColumnDrift, ...]
    features: tuple[ColumnDrift, ...]
    findings: tuple[Finding, ...]


@task(name="measure drift", **RETRIED)
def measure_drift(night: NightRecord, config: RetrainConfig) -> DriftRecord:
    """Distances of tonight's delivered columns and features from those of the last sessions."""
    from expectations.drift import check_drift

    locations = Locations(config.storage)
    files = NightFiles(locations, night.night_id)
    bars, market = files.read_frame("bars"), files.read_frame("market").set_index("session")["market_return"]
    columns, features = column_drift(bars), feature_drift(bars, market, config)
    findings = check_drift(columns, features, name=night.version, docs=locations.data_docs)
    record = DriftRecord(columns=columns, features=features, findings=findings)
    files.write_record("drift", record)
    sum_up(_summary(record))
    return record


def _summary(record: DriftRecord) -> str:
    if not record.findings:
        return "Drift: too few sessions or symbols to say what is usual."
    drifted = [one.name for one in (*record.columns, *record.features) if one.excess > 1]
    measured = len(record.columns) + len(record.features)
    return f"Drift: {', '.join(drifted) or 'nothing'} of {measured} columns and features."
