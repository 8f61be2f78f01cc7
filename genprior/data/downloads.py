"""Downloads: announced, and with a time limit."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from genprior.data.notices import notice

__all__ = ["DOWNLOAD_SECONDS", "downloading"]

DOWNLOAD_SECONDS = 30.0
"""How long a server may stay silent, when it is connected to and between two pieces of a file."""


@contextlib.contextmanager
def downloading(what: str, source: str) -> Iterator[None]:
    """Announce a download, and let a silent server raise `TimeoutError` inside the block instead of waiting for ever.

    Libraries that download set no time limit, so the limit is Python's default for new sockets of this process.

    Args:
        what: what is downloaded, and to where.
        source: the name of the library or site that it comes from.
    """
    notice(f"downloading {what} from {source}; a server that is silent for {DOWNLOAD_SECONDS:.0f} s is given up")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
