"""Texts that the documentation must contain about the code, word by word."""

from __future__ import annotations

import inspect
import re
from typing import Any


def signature_of(owner: Any, name: str) -> str:
    """A method as a reader would call it: `sample(asked: Tensor) -> Tensor`; a property with the type that it gives."""
    found = inspect.getattr_static(owner, name)
    if isinstance(found, property):
        return f"{name} -> {inspect.signature(found.fget).return_annotation}"  # type: ignore[arg-type]
    function = getattr(found, "__func__", found)
    text = str(inspect.signature(function)).replace("'", "")
    return name + re.sub(r"^\((self|cls)(, )?", "(", text)


def table_row(part: Any) -> str:
    """The line of a standard part in the table of docs/parts.md."""
    sentence = " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.:])\s", sentence)[0].rstrip(".:").replace("|", "\\|")
    file = part.__module__.replace(".", "/") + ".py"
    return f"| {part.kind} | `{part.name}` | {sentence} | `{file}` |"
