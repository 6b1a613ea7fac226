"""Both forms of a page leave hostile text as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from models.page import Bullets, Column, Page, Paragraph, Section, Table, to_html, to_markdown

HOSTILE = "<script>alert(1)</script> | **bold** `code` [a](javascript:b) <img src=x onerror=y> # & \\| \n\n# new"


def page_with(text: str, **table: object) -> Page:
    columns = (Column(text), Column("value", numeric=True))
    blocks = (Table(columns, ((text, "1"),), text, **table), Paragraph("Says " + text), Bullets((text,)))
    return Page(text, text, False, text, text, ((text, text),), (Section(text, blocks),))


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(markdown)


def test_html_in_a_text_is_shown_and_not_run_on_the_page():
    page = to_html(page_with(HOSTILE))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("tag", ["<script", "<img", "<strong>bold", "<code>code", "<a href"])
def test_markdown_and_html_in_a_text_are_shown_and_not_run_in_the_artifact(tag):
    assert tag not in rendered(to_markdown(page_with(HOSTILE)))


@given(st.text(min_size=1).filter(str.strip))
def test_a_cell_with_any_text_stays_one_cell(text):
    table = Table((Column("name"), Column("value")), ((text, "1"), (text, "2")))
    html = rendered(to_markdown(Page("o", "h", True, "lead", sections=(Section("s", (table,)),))))
    assert html.count("<td") == 4


def test_the_page_loads_nothing_and_runs_nothing():
    page = to_html(page_with("text"))
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_folded_table_is_closed_on_the_page():
    assert "<details><summary>text</summary>" in to_html(page_with("text", folded=True))


def test_a_folded_table_is_only_named_in_the_artifact():
    assert "*text: in the HTML report.*" in to_markdown(page_with("text", folded=True))
