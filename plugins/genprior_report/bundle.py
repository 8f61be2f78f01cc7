"""Plotly's JavaScript for a page: compressed, and with the hashes of the scripts that the page may run."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib

from genprior import GenpriorError

__all__ = ["compressed_plotly", "hash_of_script", "hash_of_plotly"]


@functools.cache
def _plotly() -> bytes:
    """plotly.min.js of the installed package, with the line ends that a browser reads.

    Raises:
        GenpriorError: the package is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise GenpriorError(
            'the report draws with plotly, which is not installed: `pip install "plotly>=6"`'
        ) from error
    return str(get_plotlyjs()).replace("\r\n", "\n").encode()


@functools.cache
def compressed_plotly() -> str:
    """Base64 of the gzipped script: 2 MB instead of 5; the page unpacks it."""
    return base64.b64encode(gzip.compress(_plotly(), 6, mtime=0)).decode("ascii")


@functools.cache
def hash_of_plotly() -> str:
    """The hash of the script for a content security policy."""
    return _hash(_plotly())


def hash_of_script(text: str) -> str:
    """The hash of an inline script, from tag to tag, for a content security policy."""
    return _hash(text.encode())


def _hash(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode('ascii')}'"
