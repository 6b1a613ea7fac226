"""What a page is made of, and its two forms: HTML that stands alone, and Markdown for the Prefect UI.

A page is written once as blocks; both forms escape every text themselves, since symbols and file names come from
deliveries and may hold anything.
"""

import base64
import html
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Column:
    """Head of a table's column."""

    name: str
    numeric: bool = False
    """Right-aligned, with tabular figures."""
    width: int | None = None
    """Per cent of the table's width, so that tables under one another line up."""


@dataclass(frozen=True)
class Table:
    """Rows of text that is already formatted."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    marked: frozenset[int] = frozenset()
    """Rows to be set off, by position."""
    folded: bool = False
    """Closed until asked for, behind its caption; Markdown leaves it out and names it."""


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Short items, each of its own."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """Something to type into a shell."""

    line: str


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows, for those who cannot see it."""

    png: bytes
    shows: str

    @property
    def data_uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


Block = Table | Paragraph | Bullets | Command | Pictures


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    overline: str
    headline: str
    passed: bool
    lead: str
    note: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = field(default=())


def to_html(page: Page) -> str:
    """One page without scripts and without anything from outside."""
    return _template().render(page=page, kind=lambda block: type(block).__name__)


def to_markdown(page: Page) -> str:
    """The same page as GitHub-flavoured Markdown, pictures inline."""
    head = [_text(page.overline), f"# {_text(page.headline)}", f"> {_text(page.lead)}"]
    note = [f"**Note.** {_text(page.note)}"] if page.note else []
    facts = _table_markdown(Table((Column(""), Column("")), page.facts)) if page.facts else ""
    body = [part for section in page.sections for part in (f"## {_text(section.title)}", *map(_block, section.blocks))]
    return "\n\n".join(part for part in [*head, *note, facts, *body] if part) + "\n"


def _block(block: Block) -> str:
    match block:
        case Table(folded=True):
            return f"*{_text(block.caption)}: in the HTML report.*"
        case Table():
            return _table_markdown(block)
        case Paragraph():
            return _text(block.text)
        case Bullets():
            return "\n".join(f"- {_text(item)}" for item in block.items)
        case Command():
            return f"```\n{block.line}\n```"
        case Pictures():
            return "\n\n".join(f"![{_text(picture.shows)}]({picture.data_uri})" for picture in block.pictures)


def _table_markdown(table: Table) -> str:
    caption = f"**{_text(table.caption)}**\n\n" if table.caption else ""
    rule = ("---:" if column.numeric else "---" for column in table.columns)
    rows = (_cells(row, bold=position in table.marked) for position, row in enumerate(table.rows))
    return caption + "\n".join((_cells([column.name for column in table.columns]), f"| {' | '.join(rule)} |", *rows))


def _cells(cells: tuple[str, ...] | list[str], bold: bool = False) -> str:
    """One line of a table; in a marked row the first cell is bold."""
    first, *rest = (_text(cell) for cell in cells)
    return f"| {' | '.join([f'**{first}**' if bold and first else first, *rest])} |"


def _text(text: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    flat = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", flat)


@lru_cache(maxsize=1)
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
