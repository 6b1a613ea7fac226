"""What a person answers who is asked whether a model shall serve; its fields are the form in the Prefect UI."""

from typing import Literal

from prefect.input import RunInput
from pydantic import Field


class Approval(RunInput):
    """The word of whoever decides; it goes to the ledger with name and reason."""

    decision: Literal["approve", "keep"] = Field("keep", description="approve: it serves. keep: the champion stays.")
    who: str = Field(min_length=1, description="Your name.")
    reason: str = Field(min_length=1, description="Why, for whoever reads the ledger later.")
