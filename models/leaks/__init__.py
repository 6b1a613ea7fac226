"""Leaks: has anything that was fitted, or any number that it read, seen what it is judged on?

    sample     a few symbols and stretches of sessions, cut off, drowned in noise, or on another price level
    causality  features and targets of a row: from its own series, from no later bar, without a price level
    labels     the targets that the gate reads: finished, and the same when computed a second time
    fitted     what was fitted: on which rows, with labels that end when, and whether later bars would change it
    scan       what no structure shows: a single feature that knows the direction too well

A leak of the right size looks like skill, so these checks ask how a number comes about and not how good it is. They run
every night on a sample. docs/gate.md tells them to people.
"""

from collections.abc import Sequence

import pandas as pd

from models.dataset import Dataset
from models.leaks.causality import causality_checks
from models.leaks.fitted import fitted_checks
from models.leaks.labels import label_checks
from models.leaks.sample import Sample
from models.leaks.scan import single_feature
from models.records import Check
from models.splits import Split

__all__ = ["leak_checks"]


def leak_checks(dataset: Dataset, splits: Sequence[Split], evidence: pd.DataFrame) -> tuple[Check, ...]:
    """The checks of the group `leak` that read bars, in reading order; for one dataset always the same.

    Args:
        dataset: The night's.
        splits: Of everything that predicted a row of the evidence, the candidate's last.
        evidence: The out-of-sample frame: its keys, `fold` and targets are read.
    """
    sample = Sample.of(dataset)
    return (
        *causality_checks(dataset, sample),
        *label_checks(dataset, sample, evidence),
        *fitted_checks(dataset, sample, splits, evidence),
        single_feature(dataset, sample, evidence),
    )
