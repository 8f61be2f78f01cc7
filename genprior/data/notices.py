"""Notices for the user: what was left out of the data, and what takes long."""

from __future__ import annotations

import functools
import logging
import multiprocessing

from genprior.errors import visible

__all__ = ["notice"]


def notice(text: str) -> None:
    """Log a warning of the logger `genprior`, which Python writes to stderr; once per text.

    Workers are silent: the process that started them has read the same data before.
    """
    if multiprocessing.parent_process() is None:
        _once(text)


@functools.cache
def _once(text: str) -> None:
    logging.getLogger("genprior").warning("%s", visible(text).encode(errors="backslashreplace").decode())
