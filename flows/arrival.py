"""That a delivery has arrived, told to the Prefect server, so that a night may start on it and need not wait for its
hour (`nocturne up --on-arrival`)."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from flows.running import AUTH_OF_CLIENT, AUTH_OF_SERVER, Api
from models.delivery import BULK_LOAD
from models.records import DeliveryRecord

EVENT: Final = "nocturne.delivery.arrived"


def announce(record: DeliveryRecord, environment: Mapping[str, str] = os.environ) -> bool:
    """Emit the event of a delivery for the session of its last bars.

    A repetition says nothing new, and a bulk load of history is no night's delivery: these are not told, nor is
    anything where no Prefect server is configured.

    Raises:
        OSError: the server does not answer.
    """
    address = environment.get("PREFECT_API_URL")
    if not address or record.repeated or record.last is None or record.known_at_rule == BULK_LOAD:
        return False
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": EVENT,
        "resource": {"prefect.resource.id": f"nocturne.session.{record.last}"},
        "payload": {"session": str(record.last), "name": record.name, "rows": record.account.accepted},
    }
    auth = environment.get(AUTH_OF_CLIENT) or environment.get(AUTH_OF_SERVER)
    Api(address.rstrip("/"), auth).ask("/events", [event], "POST")
    return True
