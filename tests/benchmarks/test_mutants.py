"""A few of the known mistakes, and a sound night beside them; `python -m benchmarks.mutants` runs them all."""

import pytest

from benchmarks.mistakes import MISTAKES
from benchmarks.mutants import Bench, Night, caught_by, shown

SOUND = Night({"direction_auc": "skill"}, "told")


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench.prepare(tmp_path_factory.mktemp("mutants") / "home")


@pytest.fixture(scope="module")
def sound(bench) -> Night:
    return bench.night()


@pytest.mark.slow
def test_the_sound_night_fails_no_check(sound):
    assert not sound.failed, sound.told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("labels_a_session_late", "TargetsStopped"),
        ("windows_that_mix_symbols", "own_series"),
        ("scaler_fitted_on_everything", "refit"),
        ("trained_until_without_the_label", "trained_until"),
        ("direction_copied_from_volatility", "direction_near_prior"),
        ("champion_on_its_training_sessions", "champion_out_of_sample"),
    ],
)
def test_a_mistake_is_caught_by_the_check_that_is_meant_for_it(bench, sound, name, check):
    assert check in caught_by(bench.night(name), sound)


def test_what_the_sound_night_fails_too_catches_nothing():
    assert not caught_by(Night({"direction_auc": "skill"}, "told"), SOUND)


def test_checks_of_how_numbers_come_about_are_shown_before_those_of_skill():
    assert shown({"direction_auc": "skill", "refit": "leak"}) == "leak `refit`, skill `direction_auc`"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_leaves_nothing_behind(name):
    from tasks import evaluate  # the module, whose functions are replaced

    before = {name: value for name, value in vars(evaluate).items() if callable(value)}
    with MISTAKES[name].making():
        pass
    assert {name: value for name, value in vars(evaluate).items() if callable(value)} == before
