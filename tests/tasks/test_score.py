"""What scoring tells of predictions that were published before."""

import pandas as pd

from tasks.score import what_stands


def predictions(**p_up: float) -> pd.DataFrame:
    return pd.DataFrame({"symbol": list(p_up), "p_up": list(p_up.values())})


def stored(**p_up: float) -> pd.DataFrame:
    return predictions(**p_up).assign(made_at=pd.Timestamp("2024-01-02 23:30", tz="UTC"))


def test_the_same_predictions_once_more_are_told_as_such():
    assert what_stands(stored(A=0.4, B=0.6), predictions(B=0.6, A=0.4)) == "these predictions were there before"


def test_where_more_is_known_than_when_they_were_published_that_is_told():
    told = what_stands(stored(A=0.4, B=0.6, C=0.5), predictions(A=0.4, B=0.7, D=0.5, E=0.5))
    assert told == (
        "the 3 predictions of 2024-01-02 23:30 UTC stand; by what is known now 1 of them would be others, 1 missing "
        "and 2 added"
    )
