"""The night's report, whole and of nights that ended early."""

import re
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from models.notation import ABSENT
from models.records import Check, FoldRecord, Forced, Influence, Weighs, above
from models.report import NightMaterial, night_page, render_html, render_markdown
from tests import synthetic_night

HOSTILE = '<img src=x onerror="alert(1)">|S&P'


@pytest.fixture(scope="module")
def whole_night() -> NightMaterial:
    return synthetic_night.material()


@pytest.fixture(scope="module")
def page(whole_night) -> str:
    return render_html(whole_night)


@pytest.fixture(scope="module")
def artifact(whole_night) -> str:
    return render_markdown(whole_night)


@pytest.fixture
def empty_night(whole_night) -> NightMaterial:
    nothing = pd.DataFrame()
    result = whole_night.result.model_copy(
        update={
            "verdict": "keep",
            "reason": "Too little history: 31 sessions, 40 needed.",
            "version": None,
            "champion": None,
            "checks": (),
            "metrics": {},
            "snapshot": None,
            "timings": {},
        }
    )
    return NightMaterial(result, (), {}, history=nothing, curves=nothing, evidence=nothing)


@pytest.fixture
def short_night(empty_night) -> NightMaterial:
    """A verdict with its checks and nothing to draw."""
    return replace(empty_night, result=synthetic_night.result("promote"))


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_the_universe_and_the_names_that_ended_are_told(page):
    assert "487 symbols belong to the universe on 2010-08-19." in page
    assert (
        "29 of 524 symbols ended before tonight, delisted or no longer delivered; 3.4 % of the bars are theirs" in page
    )


def test_a_panel_of_survivors_is_told_as_one(whole_night):
    snapshot = whole_night.result.snapshot.model_copy(update={"ended": 0})
    result = whole_night.result.model_copy(update={"snapshot": snapshot})
    assert "holds the survivors only" in render_html(replace(whole_night, result=result))


def test_the_snapshot_of_an_older_night_tells_nothing_of_a_universe(whole_night):
    snapshot = whole_night.result.snapshot.model_copy(update={"members": None, "ended": None})
    page = render_html(replace(whole_night, result=whole_night.result.model_copy(update={"snapshot": snapshot})))
    assert "belong to the universe" not in page


def test_drift_is_drawn_and_counted(page, artifact):
    assert "than 1.5 times the farthest of these: 1 of 14 columns and features." in page
    for form in (page, artifact):
        assert "Drift of the 12 columns and features farthest out" in form


def test_the_verdict_stands_before_everything_else(page):
    assert page.index("✓ Promoted") < page.index(synthetic_night.result().reason) < page.index("<h2>")


def test_the_sections_follow_the_reader_s_questions(page):
    assert headings(page) == [
        "The gate",
        "The data",
        "Targets and bounds",
        "Training",
        "Direction, out of sample",
        "Bounded heads, out of sample",
        "Parts of the evidence",
        "By symbol",
        "Timings",
        "What to do next",
    ]


def test_both_forms_have_the_same_sections(page, artifact):
    assert re.findall(r"^## (.*)$", artifact, re.MULTILINE) == headings(page)


def test_both_forms_show_the_same_pictures(page, artifact):
    shown = [re.findall(r"data:image/png;base64,[A-Za-z0-9+/=]+", text) for text in (page, artifact)]
    assert shown[0] == shown[1]
    assert len(shown[0]) == 9


@pytest.mark.parametrize("form", ["page", "artifact"])
def test_a_report_of_300_symbols_stays_below_a_megabyte_and_a_half(form, request):
    assert len(request.getfixturevalue(form)) < 1_500_000


@pytest.mark.parametrize("word", ["✓ pass", "✗ fail"])
def test_a_check_says_in_words_whether_it_passed(page, artifact, word):
    assert word in page
    assert word in artifact


def test_the_interval_is_the_one_that_the_gate_judged_on(page):
    assert "AUC 0.5272 (90 % interval 0.4988 … 0.5521)" in page


def test_the_note_on_the_demo_is_shown_in_both_forms(whole_night, page, artifact):
    sentence = "settings were chosen with its own scores in view"
    assert sentence in page
    assert sentence in artifact


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_html_in_a_symbol_name_is_shown_and_not_run(whole_night, render):
    frame = synthetic_night.evidence(12, 20)
    frame["symbol"] = frame["symbol"].replace({"S003": HOSTILE})
    finding = whole_night.findings[0].model_copy(update={"examples": (HOSTILE,)})
    text = render(replace(whole_night, evidence=frame, findings=(finding,), sectors={HOSTILE: HOSTILE}))
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x") >= 3


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_a_night_with_nothing_to_show_still_says_why(empty_night, render):
    assert "Too little history: 31 sessions, 40 needed." in render(empty_night)


def test_a_night_with_nothing_to_show_has_no_empty_sections(empty_night):
    assert headings(render_html(empty_night)) == ["The gate", "The data", "What to do next"]


def test_a_first_night_has_its_percentiles_without_a_past(whole_night):
    first = night_page(replace(whole_night, history=pd.DataFrame()))
    targets = next(section for section in first.sections if section.title == "Targets and bounds")
    assert [type(block).__name__ for block in targets.blocks] == ["Table"]


def test_a_fold_that_ran_out_of_time_is_marked(whole_night):
    hasty = FoldRecord(
        fold=0,
        key="0",
        version="fold-2023Q4-0",
        trained_until=date(2023, 9, 1),
        rows=1000,
        epochs=1,
        penalty=None,
        seconds=60.0,
        cut_short=True,
        reused=False,
    )
    folds = (hasty, hasty.model_copy(update={"version": "fold-2024Q1-0", "cut_short": False}))
    candidate = whole_night.candidate.model_copy(update={"folds": folds})
    text = render_markdown(replace(whole_night, candidate=candidate))
    (told,) = [row for row in text.splitlines() if "cut short" in row]
    assert hasty.version in told


def test_a_model_of_the_direction_alone_is_reported_without_bounded_heads(whole_night):
    heads = [column for column in whole_night.evidence if "volatility" in column or "magnitude" in column]
    alone = replace(whole_night, evidence=whole_night.evidence.drop(columns=heads), scales={})
    assert "Bounded heads, out of sample" not in headings(render_html(alone))


def test_predictions_that_are_not_finite_do_not_hide_the_report_that_says_so(whole_night):
    broken = whole_night.evidence.assign(volatility=float("inf"), p_up=float("nan"))
    assert "Bounded heads, out of sample" in headings(render_html(replace(whole_night, evidence=broken)))


def test_the_parts_of_the_evidence_are_told_to_be_no_checks_and_how_many_of_them_err(page):
    assert "A description; no check reads it. Of 28 intervals at 90 % about 3 miss the truth by chance" in page


def test_every_part_stands_in_the_table_with_its_interval(whole_night):
    section = next(one for one in night_page(whole_night).sections if one.title == "Parts of the evidence")
    table = section.blocks[-1]
    assert [row[0] for row in table.rows] == [
        "all",
        *["sector"] * 6,
        *["liquidity"] * 3,
        *["volatility"] * 3,
        *["time"] * 2,
    ]
    assert [row[5] for row in table.rows if row[1] == "last 15 sessions"] == [ABSENT]
    assert all(row[5] != ABSENT for row in table.rows if row[3] == "60")


def test_a_forecast_that_is_infinite_does_not_hide_the_parts(whole_night):
    broken = whole_night.evidence.assign(volatility=float("inf"))
    assert "Parts of the evidence" in headings(render_html(replace(whole_night, evidence=broken)))


def test_a_kept_night_says_by_how_much_each_check_failed(short_night):
    text = render_html(replace(short_night, result=synthetic_night.result("keep")))
    assert "direction floor missed its bound by 0.0012." in text


def test_a_check_without_a_value_says_that_it_has_none(short_night):
    missing = Check(name="finite", group="health", value=None, bound=1.0, passed=False, why="No prediction is finite.")
    result = short_night.result.model_copy(update={"verdict": "keep", "checks": (missing,)})
    assert "finite has no value. No prediction is finite." in render_html(replace(short_night, result=result))


def test_a_candidate_that_passed_without_being_promoted_is_not_called_promoted(short_night):
    result = short_night.result.model_copy(update={"champion": "2010-08-12-aa41c022"})
    assert night_page(replace(short_night, result=result)).headline.startswith("✓ Passed, not promoted")


def test_a_forced_night_says_so_above_its_numbers(short_night):
    forced = Forced(what="promote", reason="the outage explains it", by="Ann")
    page = night_page(replace(short_night, result=short_night.result.model_copy(update={"forced": forced}), note="A."))
    assert page.headline.startswith("✓ Promoted by force: ")
    assert page.note == "Ann decided this night in place of the gate: the outage explains it · A."
    assert "It was forced past these checks:" in render_markdown(
        replace(short_night, result=short_night.result.model_copy(update={"forced": forced}))
    )


def test_below_the_checks_stands_what_would_have_let_them_pass_and_what_weighs_most(short_night):
    heavy = Influence(name="S07", value_without=0.5013)
    floor = above("direction floor", "skill", 0.4988, 0.5, "why").model_copy(
        update={"weighs": Weighs(symbols=(heavy,))}
    )
    result = short_night.result.model_copy(update={"checks": (floor,)})
    gate = render_markdown(replace(short_night, result=result)).split("## The gate")[1].split("## ")[0]
    assert "| more than +0.0012 would have passed | — | S07 (0.5013) |" in gate


def test_where_nothing_failed_there_is_nothing_to_flip(short_night):
    passed = tuple(check for check in short_night.result.checks if check.passed)
    result = short_night.result.model_copy(update={"checks": passed})
    assert "would have let them pass" not in render_markdown(replace(short_night, result=result))
