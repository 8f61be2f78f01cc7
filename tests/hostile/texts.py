"""Texts that do harm where they are taken for more than texts."""

from __future__ import annotations

ESCAPES = (
    "\x1b]0;owned\x07title",
    "\x1b[2Jcleared",
    "\x9b31mred",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\u202egnp.exe",
    "back\x08\x08\x08\x08gone",
    "line\rover",
    "nul\x00nul",
)
"""Escape sequences of terminals, and characters that hide others."""
