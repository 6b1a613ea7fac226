import numpy as np
import pandas as pd
import pytest

from expectations.predictions import check_predictions

SCALES = {"volatility": 0.15, "magnitude": 0.6}


def predictions(n_symbols: int = 200, n_sessions: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    n = n_symbols * n_sessions
    return pd.DataFrame(
        {
            "session": np.repeat(np.array(["2024-07-01", "2024-07-02"], "datetime64[s]")[:n_sessions], n_symbols),
            "symbol": pd.Series([f"S{k}" for k in range(n_symbols)] * n_sessions, dtype="str"),
            "p_up": rng.uniform(0.4, 0.6, n),
            "volatility": rng.uniform(0.01, 0.05, n),
            "magnitude": rng.uniform(0.02, 0.2, n),
        }
    )


def broken(frame: pd.DataFrame, scales: dict[str, float] = SCALES) -> set[str]:
    findings = check_predictions(frame, scales=scales, name="night", docs=None)
    assert all(found.level == "stop" for found in findings)
    return {found.rule for found in findings if not found.held}


def test_healthy_predictions_break_nothing():
    assert broken(predictions()) == set()


def test_a_model_with_direction_alone_is_checked_on_direction_alone():
    assert broken(predictions()[["session", "symbol", "p_up"]], {}) == set()


@pytest.mark.parametrize("head", ["p_up", "volatility", "magnitude"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_found(head, value):
    frame = predictions()
    frame.loc[3, head] = value
    assert {f"{head}_finite", f"{head}_range"} <= broken(frame)


def test_a_head_that_the_model_has_but_the_frame_lacks_is_found():
    assert "volatility_finite" in broken(predictions().drop(columns="volatility"))


@pytest.mark.parametrize(
    ("head", "value"), [("p_up", 1.01), ("p_up", -0.01), ("volatility", 0.151), ("magnitude", -1e-9)]
)
def test_a_value_outside_the_bounds_is_found(head, value):
    frame = predictions()
    frame.loc[3, head] = value
    assert f"{head}_range" in broken(frame)


def test_the_scale_as_a_float32_is_inside_the_bounds():
    frame = predictions()
    frame.loc[3, "volatility"] = float(np.float32(0.15))  # 6e-9 above 0.15
    assert broken(frame) == set()


def test_a_saturated_head_is_found():
    frame = predictions()
    frame.loc[:2, "volatility"] = 0.14  # 3 of 400 rows, above the 0.5 % that may
    assert broken(frame) == {"volatility_saturated"}


def test_two_of_four_hundred_rows_near_the_scale_are_allowed():
    frame = predictions()
    frame.loc[:1, "volatility"] = 0.14
    assert broken(frame) == set()


def test_a_dead_head_is_found():
    frame = predictions()
    frame.loc[:29, "magnitude"] = 1e-4
    assert broken(frame) == {"magnitude_dead"}


@pytest.mark.parametrize("head", ["p_up", "volatility", "magnitude"])
def test_a_head_that_says_the_same_of_every_symbol_of_a_session_is_found(head):
    frame = predictions()
    frame[head] = np.where(frame["session"] == frame["session"].iloc[0], 0.03, 0.04)
    assert f"{head}_constant" in broken(frame)


def test_one_symbol_alone_cannot_be_constant():
    assert broken(predictions(n_symbols=1)) == set()


def test_two_predictions_for_one_symbol_and_session_are_found_by_name():
    frame = pd.concat([predictions(), predictions().head(1)], ignore_index=True)
    (found,) = [f for f in check_predictions(frame, scales=SCALES, name="night", docs=None) if not f.held]
    assert (found.rule, found.examples) == ("duplicate", ("S0 2024-07-01", "S0 2024-07-01"))


def test_no_predictions_at_all_are_found():
    assert broken(predictions().head(0)) == {"empty"}
