"""What captions in files have in common, whatever holds them: their length, and objects of JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from genprior import DataError

__all__ = ["LONGEST_CAPTION", "check_column", "check_unicode", "json_object"]

LONGEST_CAPTION = 131_072
"""The most characters of a caption: the limit of Python's csv module, whose change would affect the whole process."""


def check_column(name: str, column: str | None, *, captions: bool) -> None:
    """Refuse a column of captions that are not read.

    Args:
        name: the data set, for the message.
        column: the setting `caption_column`.
        captions: the setting `captions`.

    Raises:
        DataError: a column is given, and captions are not read.
    """
    if column is not None and not captions:
        raise DataError(
            f"data set '{name}': caption_column = '{column}' has no effect with captions = false, which ignores "
            "captions; leave one of the two out"
        )


class _RepeatedKeyError(ValueError):
    """A JSON object has a key twice, of which json would keep the last."""


def json_object(where: str, written: str, form: str) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        where: the place of the text, for messages.
        written: the text.
        form: what is right, for messages.

    Raises:
        DataError: it is no JSON or no object, or has a key twice.
    """
    try:
        record = json.loads(written, object_pairs_hook=_without_repetition)
    except _RepeatedKeyError as problem:
        raise DataError(f"{where} has {problem} more than once; keep one") from None
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{where} is no JSON ({str(problem) or type(problem).__name__}); {form}") from None
    if not isinstance(record, dict):
        raise DataError(f"{where} is a JSON {type(record).__name__}; {form}")
    return record


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _RepeatedKeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return record


def check_unicode(where: str, value: Any) -> None:
    """Refuse what JSON may write and Unicode has not: half a surrogate pair.

    Args:
        where: the place of the value, for messages.
        value: what was read of JSON.

    Raises:
        DataError: a text in it has half a surrogate pair.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where} has half a surrogate pair (\\ud800 to \\udfff); write the character") from None
