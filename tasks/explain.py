"""Why a past night ended as it did, from the ledger and from what the night left."""

from models.config import RetrainConfig
from models.errors import RegistryError
from models.explanation import Explanation, explanation
from models.ledger import Ledger, find_night
from models.locations import Locations
from models.night import NightFiles
from models.records import LedgerEntry, NightResult, Verdict
from models.registry import Registry


def explain(named: str | None, config: RetrainConfig) -> Explanation:
    """Explain one night.

    Args:
        named: Its id or the beginning of it, its version, or its session as YYYY-MM-DD; the last night when None.
        config: Where everything is.

    Raises:
        ConfigError: no night is called so, or several are.
        StoreError: the ledger cannot be read.
    """
    locations = Locations(config.storage)
    entries = Ledger(locations).entries()
    entry = find_night(entries, named, locations.home)
    same_session = [
        one.night_id
        for one in entries
        if one.session == entry.session and one.verdict != "rollback" and one.night_id != entry.night_id
    ]
    files = NightFiles(locations, entry.night_id)
    if files.has("result.json"):
        result = files.read_record("result", NightResult)
        return explanation(entry, result.checks, result.metrics, forced=result.forced, same_session=same_session)
    if files.has("verdict.json"):  # killed between its decision and its page
        verdict = files.read_record("verdict", Verdict)
        return explanation(entry, verdict.checks, verdict.metrics, forced=verdict.forced, same_session=same_session)
    metrics, missing = _without_files(entry, files, locations)
    return explanation(entry, (), metrics, missing=missing, same_session=same_session)


def _without_files(entry: LedgerEntry, files: NightFiles, locations: Locations) -> tuple[dict[str, float | None], str]:
    """Numbers of a night whose files are gone, and where they are from."""
    gone = f"The files of this night are gone from {files.root}, and with them its checks; "
    try:
        numbers = Registry(locations).metrics(entry.version) if entry.version else {}
    except RegistryError as error:
        return dict(entry.facts), f"{gone}the numbers are those of the ledger alone, since: {error}"
    where = "the ledger and the registry" if numbers else "the ledger"
    return {**entry.facts, **numbers}, f"{gone}reason and numbers are those of {where}."
