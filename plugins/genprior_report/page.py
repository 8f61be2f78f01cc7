"""The page: fills the template, and lets the browser run only the page's own scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import genprior
from genprior_report.bundle import compressed_plotly, hash_of_plotly, hash_of_script
from genprior_report.content import Content, Detail

__all__ = ["MARK", "page"]

MARK = '<meta name="generator" content="genprior report">'
"""How a report is recognised, near its beginning."""
_HERE = Path(__file__).parent / "templates"


def page(content: Content) -> str:
    """The HTML of a report.

    All text is escaped by Jinja2, and its control characters, which could reverse the order of others, are codes. The
    content security policy allows no request, and no script but those of this package, by their hashes: so a label that
    were not escaped could not run one.

    Args:
        content: what the page shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {hash_of_script(script)} {hash_of_plotly()}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    drawn = bool(content.phases) or any(each.computed.codes for each in content.details)
    return environment.get_template("report.html.j2").render(
        content=content,
        mark=Markup(MARK),  # noqa: S704 - a constant
        policy=policy,
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        plotly=compressed_plotly() if drawn else "",
        data=_visible(_data(content)),
        version=genprior.__version__,
        steps=sorted({picture.step for each in content.details for picture in each.samples}),
    )


def _visible(value: Any) -> Any:
    """A value whose texts show control characters as their codes; markup is of this package."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return genprior.visible(value)
    if isinstance(value, Mapping):
        return {_visible(key): _visible(each) for key, each in value.items()}
    return [_visible(each) for each in value] if isinstance(value, list | tuple) else value


def _data(content: Content) -> dict[str, Any]:
    """What the script reads; the newest samples are in the page itself."""
    return {
        "runs": [each.name for each in content.details],
        "samples": [_earlier(each) for each in content.details],
        "phases": [
            {"name": phase.name, "curves": [curve._asdict() for curve in phase.curves]} for phase in content.phases
        ],
        "codes": [each.computed.codes for each in content.details],
    }


def _earlier(detail: Detail) -> list[dict[str, Any]]:
    return [
        {"step": picture.step, "src": None if picture is detail.samples[-1] else picture.src}
        for picture in detail.samples
    ]
