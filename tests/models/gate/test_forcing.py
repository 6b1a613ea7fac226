"""A person's word: how far it goes, and that it never lets an unsound or leaking model serve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from models.gate import force
from models.records import Forced, Verdict, above, at_least, at_most

SOUND = at_least("finite", "health", 1.0, 1.0, "all are finite")
UNSOUND = at_least("volatility_spread", "health", 0.01, 0.3, "the head says the same for all")
LEAKING = at_most("future_noise", "leak", 0.2, 0.0, "features move with later bars")
UNSKILLED = above("direction_auc", "skill", 0.49, 0.5, "the lower end is 0.49")
WORSE = above("auc_to_champion", "champion", -0.02, -0.006, "the lower end is -0.02")
ANN = {"reason": "a known outage", "by": "Ann"}


def forced(what="promote", checks=(SOUND, UNSKILLED), gate="keep", version="v2"):
    said = Verdict(verdict=gate, reason="1 of 2 checks failed", checks=checks)
    return force(said, Forced(what=what, **ANN), version)


def test_a_forced_promotion_says_who_why_and_what_the_gate_said():
    verdict = forced(checks=(SOUND, UNSKILLED, WORSE))
    assert verdict.verdict == "promote"
    assert verdict.reason == "forced by Ann: a known outage; the gate said: 1 of 2 checks failed"
    assert (verdict.decided_by, verdict.forced) == ("Ann", Forced(what="promote", **ANN))


def test_what_failed_stays_on_the_list_as_failed():
    assert forced(checks=(SOUND, UNSKILLED, WORSE)).failed == (UNSKILLED, WORSE)


@pytest.mark.parametrize("failed", [UNSOUND, LEAKING], ids=lambda check: check.group)
def test_a_failed_health_or_leak_check_cannot_be_forced_away(failed):
    verdict = forced(checks=(SOUND, UNSKILLED, failed))
    assert (verdict.verdict, verdict.forced, verdict.decided_by) == ("keep", None, None)
    assert verdict.reason.startswith(f"not forced, since {failed.name}, a ")
    assert "cannot be forced away" in verdict.reason
    assert verdict.reason.endswith(
        f"({failed.why}); Ann asked for it: a known outage; the gate said: 1 of 2 checks failed"
    )


@pytest.mark.parametrize("lacking", [{"version": None}, {"checks": ()}, {"checks": (UNSKILLED,)}])
def test_without_a_candidate_or_a_look_at_its_health_there_is_nothing_to_promote(lacking):
    assert forced(**lacking).verdict == "keep"


@pytest.mark.parametrize("checks", [(), (SOUND,), (UNSOUND, LEAKING)])
def test_the_champion_can_always_be_kept(checks):
    verdict = forced("keep", checks, gate="promote", version=None)
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("forced by Ann: a known outage; the gate said: ")


@given(st.lists(st.sampled_from([SOUND, UNSOUND, LEAKING, UNSKILLED, WORSE])), st.sampled_from(["v2", None]))
def test_nobody_ever_promotes_past_a_failed_health_or_leak_check(checks, version):
    if forced(checks=tuple(checks), version=version).verdict == "promote":
        assert version is not None
        assert not {UNSOUND, LEAKING} & set(checks)
        assert SOUND in checks


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"what": "promote", "reason": " "}, "needs its reason"),
        ({"what": None, "reason": "why"}, "without what it is for"),
        ({"what": "keep", "reason": "why", "promote": False}, "leave one of them"),
        ({"what": "keep", "reason": "why", "scheduled": True}, "a schedule has none"),
    ],
)
def test_half_of_what_it_takes_to_force_is_refused(asked, told):
    with pytest.raises(ConfigError, match=told):
        Forced.asked(**{"by": "Ann", **asked})


def test_a_night_that_nobody_forces_is_the_gates():
    assert Forced.asked(None, "", "Ann", promote=False, scheduled=True) is None
