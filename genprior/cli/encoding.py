"""Output to streams that cannot encode every character, as cp1252 of a pipe on Windows, or that are closed."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

from genprior.errors import visible

__all__ = ["encodable", "open_closed_streams", "replace_unencodable"]

_NAME = "genprior.ascii"
_PLAIN = {
    "↑": "^", "↓": "v", "→": "->", "←": "<-", "±": "+-", "−": "-", "–": "-", "—": "-", "…": "...", "·": ".",
    "×": "x", "≤": "<=", "≥": ">=", "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a stream writes in the place of characters that it cannot encode."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    if all("\udc80" <= each <= "\udcff" for each in failed):  # bytes of a file name that is no text
        return bytes(ord(each) - 0xDC00 for each in failed), error.end
    return "".join(_plain(each) for each in failed), error.end


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if 0x2800 <= ord(character) <= 0x28FF:  # the frames of a spinner
        return "*"
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


codecs.register_error(_NAME, _in_ascii)


def encodable(text: str, encoding: str) -> str:
    """The text with ASCII in the place of characters that `encoding` does not have: `->` for an arrow, e for é.

    Control characters become their codes, see `visible`.
    """
    return visible(text).encode(encoding, _NAME).decode(encoding, "surrogateescape")


def open_closed_streams() -> None:
    """Let standard streams that were closed, as by `>&-`, be those of the null device.

    Their descriptors would else be given to the next files that are opened, into which other programs would print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest descriptor that is free
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")


def replace_unencodable() -> None:
    """Let stdout and stderr write ASCII for characters that they cannot encode, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAME)
