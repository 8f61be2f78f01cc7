"""Reads a report as a browser does, strictly: elements that do not nest are an error."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    parents: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """All elements of a page in order, with their own text and that of their descendants."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        assert self._open == [], "elements are not closed"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        element = Element(tag, dict(attrs), parents=[each.tag for each in self._open])
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open and self._open[-1].tag == tag, f"</{tag}> closes {[each.tag for each in self._open]}"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]

    @property
    def text(self) -> str:
        """What a person reads: without scripts and styles."""
        (body,) = self.all("body")
        hidden = [e.text for e in self.elements if e.tag in ("script", "style") and "body" in e.parents]
        text = body.text
        for each in hidden:
            text = text.replace(each, "")
        return " ".join(text.split())

    @property
    def data(self):
        (script,) = self.all("script", id="report-data")
        return json.loads(script.text)
