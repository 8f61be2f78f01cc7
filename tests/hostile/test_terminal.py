"""Texts from files never reach a terminal as control sequences."""

from __future__ import annotations

import io
import logging
import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table as Grid

from genprior.cli import console as printing
from genprior.cli.progress import Bars
from genprior.cli.table_screen import render_table
from genprior.data.notices import notice
from genprior.errors import DataError, GenpriorWarning, visible
from genprior.parts import Column
from genprior.tables.table import Cell, Row, Table

from .texts import ESCAPES

OWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""The sequences of rich itself: colours, the cursor of a bar."""


def harmless(text):
    left = OWN.sub("", text)
    return not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", left.replace("\r", ""))


def on_terminal(monkeypatch):
    """A console of genprior that takes its file for a terminal."""
    out = printing._Harmless(file=io.StringIO(), force_terminal=True, width=100, markup=False, highlight=False)
    monkeypatch.setattr(printing, "console", lambda *, stderr=False: out)
    return out


@given(st.text(max_size=40))
def test_visible_text_has_no_control_characters_and_is_stable(text):
    shown = visible(text)
    assert not any(ord(each) < 32 and each not in "\n\t" or 127 <= ord(each) < 160 for each in shown)
    assert visible(shown) == shown
    if text.isprintable() and text.isascii():
        assert shown == text


def test_the_codes_of_control_characters_are_shown():
    assert visible("a\x1b]0;owned\x07\rb\x9b1m\u202e\tc\n") == "a\\x1b]0;owned\\x07\\x0db\\x9b1m\\u202e\tc\n"
    assert visible("a\ud800b") == "a\\ud800b"  # which no stream of UTF-8 takes


@pytest.mark.parametrize("text", ESCAPES)
def test_what_is_printed_is_harmless(text, monkeypatch):
    out = on_terminal(monkeypatch)
    printing.print_line(text, style="cyan")
    printing.print_error(text)
    printing.print_toml(f'title = "{text}"', text)
    grid = Grid(title=text)
    grid.add_column(text)
    grid.add_row(text)
    out.print(grid)
    column = Column("x", text, True)
    row = Row(text, (0,), {"x": Cell((1.0,))}, None, None)
    out.print(render_table(Table(text, (column,), (row,), {}, protocols={"x": text}, notes=(text,))))
    bars = Bars(out)
    with bars._bars:
        bars._bars.add_task(text, total=3, count="1", rate="", left=None, at=0.0)
    written = out.file.getvalue()
    assert harmless(written), repr(written)
    assert visible(text).split()[0][:12] in written


def test_rich_alone_would_send_them():
    """The reason for the console's own class."""
    out = Console(file=io.StringIO(), force_terminal=True)
    out.print(ESCAPES[0], markup=False)
    assert not harmless(out.file.getvalue())


@pytest.mark.parametrize("text", ESCAPES)
def test_errors_warnings_and_notices_are_harmless(text, caplog):
    assert harmless(str(DataError(text))) and harmless(str(GenpriorWarning(text)))
    with pytest.warns(GenpriorWarning) as caught:
        warnings.warn(text, GenpriorWarning, stacklevel=1)
    assert harmless(warnings.formatwarning(caught[0].message, GenpriorWarning, "file", 1))
    with caplog.at_level(logging.WARNING, "genprior"):
        notice(text)
    assert caplog.messages and harmless(caplog.messages[-1])


def test_a_title_and_a_folder_with_escapes_are_shown_as_codes(call, tiny, tmp_path):
    text = tiny.read_text().replace('title = "tiny"', 'title = "\\u001b[2Jgone"', 1)
    odd = tmp_path / "\x1b[2J.toml"
    odd.write_text(text + "[oops]\n")
    result = call("show", odd)
    assert result.exit_code == 2 and harmless(result.output) and "\\x1b[2J.toml" in result.output
    odd.write_text(text)
    result = call("check", odd)
    assert result.exit_code == 0 and harmless(result.output) and "\\x1b[2Jgone" in result.output
