"""Whether decoded data fits into the memory of this machine, asked before the memory is."""

from __future__ import annotations

import os

from genprior.errors import DataError

__all__ = ["check_room"]


def check_room(size: int, what: str) -> None:
    """Refuse data that takes more than half of the memory of this machine, because a file may claim any size.

    Half, because images are copied when their type or their order of axes changes.

    Args:
        size: of the decoded data, in bytes.
        what: the data, for the message.

    Raises:
        DataError: it takes more.
    """
    memory = _memory()
    if memory is not None and 2 * size > memory:
        raise DataError(
            f"{what} would take {size / 2**30:,.1f} GiB, more than half of the {memory / 2**30:,.1f} GiB of memory of "
            "this machine; use fewer or smaller images"
        )


def _memory() -> int | None:
    """The bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
