"""The only file that speaks to Great Expectations: runs rules over frames and leaves pages in the Data Docs."""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expectations.rules import Outcome, Rule
from models.errors import NocturneError, StoreError

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.data_context import AbstractDataContext

_SEVERITY = {"stop": "critical", "wait": "warning", "quarantine": "warning", "warn": "info"}
_RESULT_FORMAT = {
    # With key columns Great Expectations takes 0.3 ms a failing row instead of 0.01; the query would repeat them all.
    "result_format": "COMPLETE",
    "return_unexpected_index_query": False,
}
_LISTED_RUNS = 30
"""Runs that the index page lists, the latest ones; each costs some milliseconds to list."""


def load_great_expectations() -> None:
    """Import it now, where there is time: it takes some seconds."""
    import great_expectations  # noqa: F401


class Suite:
    """One data contract in one run: checks frames, and puts all that it found on one page of the Data Docs.

    Args:
        name: The contract: bars, targets, predictions, drift.
        run: What is checked, for the reader: a delivery's file name, a night's id.
        docs: Local directory of the Data Docs; None builds none.
    """

    def __init__(self, name: str, run: str, docs: str | None) -> None:
        self._name = name
        self._run = _as_path_part(run)
        self._docs = docs
        self._context = _context()
        self._rules: list[Rule] = []
        self._results: list[ExpectationValidationResult] = []

    def check(self, frame: pd.DataFrame, rules: Sequence[Rule]) -> dict[str, Outcome]:
        """Run rules over a frame.

        Args:
            frame: Numbers, booleans or text with a RangeIndex. A missing value counts for no rule; where it must not
                pass, give `missing_breaks(frame)`.
            rules: Each names columns of the frame.

        Returns:
            Rule name → outcome, in the order of the rules.

        Raises:
            NocturneError: an expectation could not be evaluated at all.
        """
        source = self._context.data_sources.add_or_update_pandas("frames")
        batch = source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")
        validated = batch.get_batch({"dataframe": frame}).validate(
            _suite(self._name, rules), result_format=_RESULT_FORMAT
        )
        results = {result.expectation_config.meta["rule"]: result for result in validated.results}
        outcomes = {rule.name: _outcome(rule, results[rule.name], len(frame)) for rule in rules}
        self._rules += rules
        self._results += [_without_row_lists(results[rule.name]) for rule in rules]
        return outcomes

    def publish(self) -> None:
        """Write this run's page, the contract's own page, and the index of the latest runs of all contracts.

        Raises:
            StoreError: the directory cannot be written.
        """
        if self._docs is None:
            return
        from great_expectations.core import RunIdentifier
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        # The pages try to read a run's name as a date, and some numbers are dates beyond all bounds; a word never is.
        run = RunIdentifier(run_name=f"{self._name}-{self._run}", run_time=datetime.now(UTC))
        contract = ExpectationSuiteIdentifier(self._name)
        key = ValidationResultIdentifier(expectation_suite_identifier=contract, run_id=run, batch_identifier="page")
        try:
            site = _context(self._docs)
            site.suites.add_or_update(_suite(self._name, self._rules))
            site.validation_results_store.set(key, self._page(run))
            site.build_data_docs(resource_identifiers=[contract, key])
        except OSError as error:
            raise StoreError(
                f"The Data Docs cannot be written to {self._docs}: {error}. Free some space, make the directory "
                f"writable, or name another one in storage.data_docs."
            ) from error

    def _page(self, run: "RunIdentifier") -> "ExpectationSuiteValidationResult":
        import great_expectations
        from great_expectations.core import ExpectationSuiteValidationResult

        held = sum(bool(result.success) for result in self._results)
        return ExpectationSuiteValidationResult(
            success=held == len(self._results),
            results=self._results,
            suite_name=self._name,
            statistics={
                "evaluated_expectations": len(self._results),
                "successful_expectations": held,
                "unsuccessful_expectations": len(self._results) - held,
                "success_percent": 100 * held / len(self._results),
            },
            meta={
                "run_id": run.to_json_dict(),
                "validation_time": run.run_time.isoformat(),
                "batch_spec": {"data_asset_name": self._run},
                "great_expectations_version": great_expectations.__version__,
            },
        )


def _suite(name: str, rules: Sequence[Rule]) -> "ExpectationSuite":
    from great_expectations.core import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    configurations = [
        ExpectationConfiguration(
            type=rule.expectation,
            kwargs=dict(rule.arguments),
            meta={"rule": rule.name},
            description=f"{rule.name} ({rule.level}): {rule.promise}",
            severity=_SEVERITY[rule.level],
        )
        for rule in rules
    ]
    return ExpectationSuite(name=name, expectations=[configuration.to_domain_obj() for configuration in configurations])


def _context(docs: str | None = None) -> "AbstractDataContext":
    """A context in memory that sends nothing and prints nothing; with docs it keeps results and pages there."""
    import great_expectations
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars={"globally": False},
    )
    if docs is not None:
        config.stores[config.validation_results_store_name] = {
            "class_name": "ValidationResultsStore",
            "store_backend": _files(Path(docs) / "results"),
        }
        config.stores[config.expectations_store_name] = {
            "class_name": "ExpectationsStore",
            "store_backend": _files(Path(docs) / "contracts"),
        }
        config.data_docs_sites = {"nocturne": _site(docs)}
    return great_expectations.get_context(project_config=config, mode="ephemeral")


def _site(docs: str) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": _files(Path(docs)),
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "validation_results_limit": _LISTED_RUNS},
        "site_section_builders": {"profiling": "none"},  # the very string
    }


def _files(directory: Path) -> dict[str, Any]:
    return {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(directory.absolute()),
        "suppress_store_backend_id": True,
    }


def _outcome(rule: Rule, result: "ExpectationValidationResult", total: int) -> Outcome:
    failures = [failure for failure in (result.exception_info or {}).values() if isinstance(failure, dict)]
    if failures:
        raise NocturneError(
            f"Rule {rule.name!r} ({rule.expectation} with {dict(rule.arguments)}) could not be evaluated: "
            f"{failures[0].get('exception_message')}. Give it a frame with the columns and types that it names."
        )
    observed = result.result.get("observed_value")
    held = bool(result.success)
    rows = [] if held else result.result.get("unexpected_index_list") or []
    return Outcome(
        rule=rule,
        held=held,
        rows=np.asarray(rows, dtype=np.int64),
        total=total,
        observed=float(observed) if isinstance(observed, int | float) else None,
    )


def _without_row_lists(result: "ExpectationValidationResult") -> "ExpectationValidationResult":
    """What the page needs: a list of every broken row would make it as large as the delivery."""
    for long_list in ("unexpected_list", "unexpected_index_list"):
        result.result.pop(long_list, None)
    return result


def _as_path_part(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip(".-")[:100] or "run"
