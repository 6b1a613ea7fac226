"""What messages say, and what they never say."""

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from models.errors import DeliveryStopped
from models.messages import of_concerns, of_decision, of_failure, of_rollback, of_waiting
from models.records import Forced, NightResult, at_most


def night(verdict="keep", champion="v1", version="v2", checks=()) -> NightResult:
    return NightResult(
        session=date(2024, 7, 3), as_of=datetime(2024, 7, 5, 13, 30, tzinfo=UTC), night_id="n", verdict=verdict,
        reason="1 of 24 checks failed", version=version, champion=champion, trained_until=None, checks=checks,
        snapshot=None, report="reports/n.html",
    )  # fmt: skip


def test_a_kept_champion_is_told_with_the_failed_check_its_value_and_its_bound():
    failed = at_most("volatility_to_har", "skill", 1.126, 1.02, "QLIKE is 0.993 times that of log-HAR")
    message = of_decision(night(checks=(failed, at_most("finite", "health", 0.0, 1.0, "all are"))))
    assert message.subject == "Nocturne 2024-07-03: kept the champion"
    assert message.text == (
        "v1 serves, as before. The candidate v2 does not.\n"
        "Why: 1 of 24 checks failed\n"
        "Not passed:\n"
        "• volatility_to_har 1.126 (max 1.02; −0.106 would have passed): QLIKE is 0.993 times that of log-HAR\n"
        "Report: reports/n.html"
    )


def test_a_promotion_says_what_serves_from_now_on():
    message = of_decision(night("promote", champion="v2"))
    assert (message.subject, message.what) == ("Nocturne 2024-07-03: promoted v2", "v2 serves from now on.")


def test_a_night_without_a_candidate_where_nothing_serves_says_just_that():
    message = of_decision(night(champion=None, version=None))
    assert (message.subject, message.what) == ("Nocturne 2024-07-03: promoted nothing", "Nothing serves, as before.")


def test_a_candidate_that_waits_says_until_when_and_where_to_answer():
    message = of_waiting("v2", date(2024, 7, 3), "first champion", datetime(2024, 7, 4, 12, 30, tzinfo=UTC))
    assert message.subject == "Nocturne 2024-07-03: v2 waits for your approval"
    assert "Without an answer by 2024-07-04 12:30 UTC the champion stays" in message.text


def test_what_there_is_to_look_at_is_told_in_one_message():
    message = of_concerns(("The last bars are of 2024-07-01.", "Nothing serves."), date(2024, 7, 3))
    assert message.subject == "Nocturne: 2 things to look at"
    assert message.text.endswith("Why: The last bars are of 2024-07-01. Nothing serves.")


def test_a_stop_by_the_data_is_told_from_a_failure():
    stopped = of_failure("retrain 2024-07-03", DeliveryStopped("The delivery x was stopped."))
    failed = of_failure("retrain 2024-07-03", KeyError("x"))
    assert (stopped.kind, stopped.why) == ("stopped", "The delivery x was stopped.")
    assert failed.kind == "failed"
    assert failed.why.startswith("KeyError: 'x'.")


def test_a_name_in_a_delivery_cannot_call_the_whole_channel():
    message = of_failure("retrain", DeliveryStopped("too few sessions of <!channel>, 3 < 5"))
    assert message.why == "too few sessions of ‹!channel>, 3 < 5"


word = st.text(st.characters(categories=("L", "N")), min_size=1)


@given(user=word, password=word.map(lambda text: f"secret{text}"))
def test_no_text_of_a_message_holds_the_password_of_an_address(user, password):
    address = f"http://{user}:{password}@host/x"
    told = (
        of_failure(f"retrain {address}", OSError(f"{address} is gone")),
        of_rollback("v1", "v2", f"see {address}", "desk"),
        of_decision(night().model_copy(update={"report": address, "reason": address})),
    )
    for message in told:
        assert f":{password}@" not in message.model_dump_json() + message.text


def test_a_forced_decision_says_by_whom_and_why_before_anything_else():
    forced = {"forced": Forced(what="promote", reason="the outage explains it", by="Ann")}
    message = of_decision(night("promote", champion="v2").model_copy(update=forced))
    assert message.subject == "Nocturne 2024-07-03: promoted v2, forced by Ann"
    assert message.what.endswith("Ann decided this in place of the gate: the outage explains it")
