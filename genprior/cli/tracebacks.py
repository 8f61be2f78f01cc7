"""The option `--traceback`: whether an error is printed with the traceback of the exception behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from genprior.errors import PartFailed

__all__ = ["OPTION", "print_traceback", "showing"]

OPTION = "--traceback"
_shown: ContextVar[bool] = ContextVar("tracebacks", default=False)


@contextlib.contextmanager
def showing(asked: bool) -> Iterator[None]:
    """Set whether `print_traceback` prints inside the `with` block."""
    token = _shown.set(asked)
    try:
        yield
    finally:
        _shown.reset(token)


def print_traceback(*errors: Exception) -> None:
    """Print the tracebacks of errors to stderr if the user asked for them; else name the option, if it helps."""
    from genprior.cli.console import print_line

    if _shown.get():
        import traceback

        for error in errors:
            print_line("".join(traceback.format_exception(error)).rstrip(), stderr=True, style="dim")
    elif any(isinstance(error, PartFailed) or isinstance(error.__cause__, ExceptionGroup) for error in errors):
        print_line(f"{OPTION} shows the traceback", stderr=True, style="dim")
