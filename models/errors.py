"""Everything that can go wrong on purpose.

NocturneError
├── ConfigError          a wrong setting, refused before anything runs
├── DeliveryError        a delivery that cannot be read at all
├── StoreError           the bars store cannot be read or written
├── RegistryError        the model registry cannot be read or written
├── CandidateRejected    the exported model does not reproduce what was measured
├── TrainingFailed       no usable weights came out of the fit
├── DeadlinePassed       the night was not done by operation.must_finish_by
├── DispatchError        a worker did not take the training, or was lost while it ran
└── NightStopped         a check of level `stop`: the night ends here, the champion stays
    ├── DeliveryStopped  the delivered bars broke a contract
    ├── TargetsStopped   the targets are not what they claim to be
    └── PredictionsStopped  what would be served tonight breaks its contract
"""

from datetime import UTC, datetime

from models.credentials import without_credentials


class NocturneError(Exception):
    """Base of all errors that carry their own explanation: what, where, why and how to mend it, and no credentials."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


class ConfigError(NocturneError):
    """A setting is unknown, of the wrong type or out of its range."""


class DeliveryError(NocturneError):
    """A delivery cannot be found, opened or understood."""


class StoreError(NocturneError):
    """A table of the bars store cannot be read or written."""


class RegistryError(NocturneError):
    """The model registry cannot be read or written."""


class CandidateRejected(NocturneError):
    """The exported candidate fails in a clean process; it never becomes champion."""


class TrainingFailed(NocturneError):
    """The fit produced no usable weights."""


class DeadlinePassed(NocturneError):
    """The retraining was given up; the champion scores."""

    def __init__(self, deadline: datetime) -> None:
        super().__init__(
            f"abandoned: not done by {deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC (operation.must_finish_by)"
        )


class DispatchError(NocturneError):
    """Work that was sent to another worker did not come back."""


class NightStopped(NocturneError):
    """A check of level `stop` failed: nothing is written, the champion stays untouched."""


class DeliveryStopped(NightStopped):
    """The delivered bars broke a contract of level `stop`."""


class TargetsStopped(NightStopped):
    """The targets are not what they claim to be; no model is trained on them."""


class PredictionsStopped(NightStopped):
    """Tonight's served predictions break their contract and are not published."""
