"""Texts from files stay texts in every format of a table."""

from __future__ import annotations

import csv
import html
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from genprior.errors import visible
from genprior.parts import Column
from genprior.tables.escape import escaped, in_markdown, in_spreadsheet, one_line
from genprior.tables.formats import as_csv, as_latex
from genprior.tables.published import Beside, Published
from genprior.tables.table import Cell, Row, Table

from .texts import ESCAPES

MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "a | b\n\n# heading",
    "\\| cell",
    "**7.43**",
    "`code` *emphasis* _too_ ~~not~~ &lt;",
    "[a]: http://example.org 'x'",
    r"\input{/etc/passwd} $x$ 100% #1 a_b ^^M ~ {",
    "=HYPERLINK(0)",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "x; =1+1",
    "＝1+1",
)
TEXTS = st.one_of(st.sampled_from([*MARKUP, *ESCAPES]), st.text(max_size=30))


def table(text):
    column = Column("x", text, True)
    number = Published(method=text, data="digits", metric="x", value=-7.5, paper=text)
    differs = Beside(number, (text,), (text,), (text,))
    rows = (
        Row(text, (0, 1), {"x": Cell((-2.5, -2.25))}, None, None, {}, {"x": (Beside(number),)}),
        Row("other", (0, 1), {}, None, None, {"x": text}),
        Row("third", (0, 1), {"x": Cell((-9.0, -9.25))}, None, None, {}, {"x": (differs,)}),
    )
    return Table(text, (column,), rows, {"x": -1.5}, (text,), {"x": text}, {"x": text}, (text,))


class Tags(HTMLParser):
    """The tags of a page and the texts of its cells."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.cells = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] in ("td", "th", "b") and self.cells:
            self.cells[-1] += data


@given(TEXTS)
@settings(deadline=None)
def test_html_has_only_its_own_tags(text):
    plain, found = (Tags(table(each).as_html("rows.png")) for each in ("x", text))
    assert found.tags == plain.tags and found.attributes == plain.attributes


@pytest.mark.parametrize("text", ESCAPES)
def test_no_format_holds_control_characters(text):
    made = table(text)
    for page in (made.as_html("rows.png"), made.as_markdown(), as_csv(made), as_latex(made), str(made)):
        assert visible(page) == page
    assert html.escape(visible(text)) in made.as_html()


@pytest.mark.parametrize("text", MARKUP)
def test_only_the_best_number_is_bold(text):
    page = table(text).as_html()
    assert re.findall("<b>(.*?)</b>", page) == ["-2.38 ± 0.18"]
    assert f"<td>{html.escape(visible(text))}</td>" in page
    assert as_latex(table(text)).count(r"\textbf") == 1


@given(TEXTS.filter(lambda text: text.strip()))
@example(">")
@example("# x")
@example("- x")
@example("---")
@example("===")
@settings(deadline=None)
def test_markdown_shows_the_text_and_has_only_its_own_markup(text):
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(table(text).as_markdown())
    plain, found = Tags(MarkdownIt("commonmark").enable("table").render(table("x").as_markdown())), Tags(page)
    assert set(found.tags) <= {*plain.tags, "ol"} - {"a", "img"}
    assert found.tags.count("tr") == plain.tags.count("tr") and found.tags.count("td") == plain.tags.count("td")
    assert found.tags.count("strong") == 1
    label = re.findall("<tr>\n<td>(.*?)</td>", page, re.DOTALL)[0]
    assert html.unescape(label) == one_line(text)


@given(TEXTS)
@settings(deadline=None)
def test_no_text_of_a_csv_is_a_formula_and_numbers_stay_numbers(text):
    written = as_csv(table(text))
    lines = list(csv.DictReader(io.StringIO(written)))
    assert [float(line["mean"]) for line in lines if line["mean"]] == [-2.375, -9.125]
    assert lines[0]["values"] == "-2.5 -2.25" and float(lines[0]["published"]) == -7.5 and lines[0]["real"] == "-1.5"
    for name in ("row", "title", "empty", "protocol", "published_in", "published_differs"):
        for line in lines:
            assert not line[name].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            assert line[name] == one_line(line[name])
            for piece in line[name].split(";")[1:]:
                assert not piece.strip().strip('"').startswith(("=", "+", "-", "@"))


def test_texts_that_are_no_formulas_are_written_as_they_are():
    for text in ("A+B+C", "AAE", "mean of 3 - 1", "a; b", ""):
        assert in_spreadsheet(text) == text
    assert in_spreadsheet("=1+1") == "'=1+1" and in_spreadsheet("a;=1") == "a;'=1"
    for text in ("A+B+C", "nll_iwae (5 seeds)", "[1] published as 'A', https://arxiv.org/abs/1606.03498"):
        assert in_markdown(text) == text


@given(TEXTS)
@settings(deadline=None)
def test_latex_has_no_command_of_a_text(text):
    shown = escaped(text)
    assert "\n" not in shown and "\r" not in shown
    left = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", shown)
    left = re.sub(r"\$\\(pm|uparrow|downarrow)\$|\\[&%$#_{}]", "", left)
    assert not set(left) & set("\\&%$#_{}~^")
