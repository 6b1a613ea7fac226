"""What may pass by itself, and so is worth another try."""

from typing import Any

from prefect.client.schemas.objects import State

from models.errors import RegistryError, StoreError


def outside_world(task: object, run: object, state: State[Any]) -> bool:
    """Only a store or registry out of reach is tried again; never what was refused, nor what is wrong.

    Where something failed outside, the error was raised from another one; a refusal is Nocturne's own word.
    """
    error = state.result(raise_on_failure=False)
    refused = isinstance(error, StoreError | RegistryError) and error.__cause__ is None
    return isinstance(error, StoreError | RegistryError | OSError) and not refused


RETRIED: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [2, 10],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": outside_world,
}
"""Options of a task that touches the outside world."""
