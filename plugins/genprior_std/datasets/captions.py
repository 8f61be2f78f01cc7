"""Caption files beside images, in the form of Hugging Face's ImageFolder: a line for each image and text.

References:
    Hugging Face, "Create an image dataset", https://huggingface.co/docs/datasets/image_dataset.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genprior import DataError, notice
from genprior_std.datasets.shared import name_some

__all__ = ["Captions", "decode_text", "read_captions"]

_OWN_NAME = "captions.jsonl"
_NAMES = (_OWN_NAME, "metadata.csv", "metadata.jsonl")
_FILE_NAME = "file_name"
_COLUMNS = ("text", "caption", "captions")
_NAMED_AT_MOST = 200
"""Characters of a name in a message."""


class Captions(NamedTuple):
    """The captions of the images in a folder."""

    files: tuple[Path, ...]
    """The files that hold them."""
    of: Mapping[Path, tuple[str, ...]]
    """The captions of each image that has some, in the order of the lines."""


class _Table(NamedTuple):
    """A caption file that has not been read yet, but for the names of its columns."""

    path: Path
    content: bytes
    columns: tuple[str, ...]

    def column(self, wanted: str | None) -> str | None:
        """The column of the captions: `wanted`, or the one with a usual name; None if the table has no captions.

        Raises:
            DataError: two columns may be the captions.
        """
        named = [one for one in self.columns if (one == wanted if wanted else one in _COLUMNS)]
        if _FILE_NAME not in self.columns or not named:
            return None
        if len(named) > 1:
            remedy = "rename one" if len(set(named)) == 1 else "set caption_column to the one to use"
            raise DataError(f"{self.path}: its columns {', '.join(named)} may all be the captions; {remedy}")
        return named[0]

    def lacks(self, wanted: str | None) -> str:
        """What a table without captions lacks, with the columns that it has."""
        if _FILE_NAME not in self.columns:
            lacking = f"it has no column '{_FILE_NAME}'"
        elif wanted:
            lacking = f"it has no column '{wanted}', which is the caption_column"
        else:
            lacking = f"it has no column {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}"
        return f"{lacking}; its columns are {_short(', '.join(self.columns)) or 'none'}"


def read_captions(folders: Sequence[Path], pictures: Collection[Path], wanted: str | None) -> Captions | None:
    """Read `captions.jsonl`, `metadata.csv` or `metadata.jsonl` of some folders.

    Args:
        folders: the folder of a data set, and those of its splits if it is divided.
        pictures: every picture below the first folder.
        wanted: the column of the captions; None takes the one called text, caption or captions.

    Returns:
        The captions; None where there is no such file, or only metadata without captions, which a notice says.

    Raises:
        DataError: a file cannot be read, is not UTF-8, is broken, has no such column or an empty caption, or names a
            file that is no picture of its folder; or two files hold the captions of the same images.
    """
    tables = [_open(folder / name) for folder in folders for name in _NAMES if (folder / name).is_file()]
    columns = [(table, table.column(wanted)) for table in tables]
    used = [(table, column) for table, column in columns if column is not None]
    without = [table for table, column in columns if column is None]
    # Metadata may describe something else; a file called captions, and a column that was named, may not be missing.
    refused = [table for table in without if table.path.name == _OWN_NAME or (wanted and not used)]
    if refused:
        raise DataError(
            f"{refused[0].path}: {refused[0].lacks(wanted)}; give it the columns {_FILE_NAME} and {_COLUMNS[0]}, or "
            "set caption_column to the column of the captions"
        )
    for table in without:
        notice(f"{table.path}: no captions are read from it: {table.lacks(wanted)}")
    if not used:
        return None
    paths = tuple(table.path for table, _ in used)
    homes = {path.parent for path in paths}
    if len(homes) < len(paths) or (folders[0] in homes and len(homes) > 1):
        raise DataError(
            f"folder {folders[0]}: {' and '.join(str(path.relative_to(folders[0])) for path in paths)} both hold "
            "captions; keep one file, or one in each folder of a split"
        )
    captions: dict[Path, list[str]] = {}
    known = frozenset(pictures)
    for table, column in used:
        _read(table, column, known, captions)
    return Captions(paths, {picture: tuple(texts) for picture, texts in captions.items()})


def _open(path: Path) -> _Table:
    """The content of a file, and its columns, for which only its first line is decoded.

    Raises:
        DataError: the file cannot be read, or its first line is not UTF-8 or broken.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(
            f"{path}: it cannot be read ({problem.strerror or problem}); give yourself permission"
        ) from None
    lines = content.splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    head = decode_text(path, b"".join(lines[: first + 1]))
    if path.suffix == ".csv":
        return _Table(path, content, next((tuple(cells) for _, cells in _csv_lines(path, head)), ()))
    return _Table(path, content, next((tuple(record) for _, record in _json_records(path, head)), ()))


def decode_text(path: Path, content: bytes) -> str:
    """Decode a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it has another encoding; the message says the line.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: its encoding is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        line = len(content[: problem.start + 1].splitlines())
        raise DataError(
            f"{path}: line {line} is not UTF-8 (byte 0x{content[problem.start]:02X}); its encoding may be Latin-1 or "
            "Windows-1252: save it as UTF-8"
        ) from None


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, header included, each with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            raise DataError(f"{path}: line {line} is no CSV ({problem}); correct the line") from None
        if cells:
            yield line, cells


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] = []
    for line, cells in _csv_lines(path, text):
        if not header:
            header = cells
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}: line {line} has {len(cells)} cells for the {len(header)} columns {_short(', '.join(header))}"
                "; put a text with commas between double quotes"
            )
        yield line, dict(zip(header, cells, strict=True))


def _json_records(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # JSON strings may hold other line separators of Unicode, at which splitlines would cut a text.
    for line, written in enumerate(io.StringIO(text, newline=None), 1):
        if not written.strip():
            continue
        try:
            record = json.loads(written)
        except (ValueError, RecursionError) as problem:
            raise DataError(f"{path}: line {line} is no JSON ({problem}); each line is one JSON object") from None
        if "\\ud" in written.lower() and not _is_unicode(record):
            raise DataError(f"{path}: line {line} has half a surrogate pair (\\ud800 to \\udfff); write the character")
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {line} is a JSON {type(record).__name__}; each line is one JSON object")
        yield line, record


def _is_unicode(record: Any) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(table: _Table, column: str, pictures: Collection[Path], captions: dict[Path, list[str]]) -> None:
    """Add the captions of a file to those of its images.

    Raises:
        DataError: it is not UTF-8, is broken, has an empty caption, or names files that are no pictures of its folder.
    """
    path = table.path
    text = decode_text(path, table.content)
    gone: dict[str, None] = {}
    unread: dict[str, None] = {}
    for line, record in (_csv_records if path.suffix == ".csv" else _json_records)(path, text):
        name = record.get(_FILE_NAME)
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: line {line} has no {_FILE_NAME}; give the path of an image from {path.parent}")
        relative = os.path.normpath(name)
        if os.path.isabs(relative) or Path(relative).parts[:1] == ("..",):
            raise DataError(
                f"{path}: line {line} has {_FILE_NAME} = {_short(name)}, which leaves the folder; give the path of an "
                f"image from {path.parent}"
            )
        picture = path.parent / relative
        if picture in pictures:
            captions.setdefault(picture, []).extend(
                _texts(f"{path}: line {line}", _short(name), column, record.get(column))
            )
        else:
            (unread if _is_there(picture) else gone)[_short(name)] = None
    if gone:
        many = "an image that is" if len(gone) == 1 else f"{len(gone):,} images that are"
        raise DataError(
            f"{path}: it has captions of {many} not there: {name_some(list(gone))}; correct {_FILE_NAME}, which is a "
            f"path from {path.parent}, or remove the lines"
        )
    if unread:
        many = "a file that is" if len(unread) == 1 else f"{len(unread):,} files that are"
        raise DataError(
            f"{path}: it has captions of {many} not read as images, being hidden or of another kind: "
            f"{name_some(list(unread))}; convert the files, or remove the lines"
        )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long for a file
        return False


def _short(text: str) -> str:
    """The text, for a message that is to be read; a line of a file may be of any length."""
    return text if len(text) <= _NAMED_AT_MOST else f"{text[:_NAMED_AT_MOST]}..."


def _texts(where: str, name: str, column: str, value: Any) -> list[str]:
    """The captions of a line, without space at their ends."""
    if value is None:
        raise DataError(f"{where} has no {column} for {name}; give each line a caption, or remove the line")
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{where} has {column} = {json.dumps(value)[:60]} for {name}; a text or a list of texts is needed"
        )
    stripped = [text.strip() for text in texts]
    if not stripped or not all(stripped):
        raise DataError(f"{where} has an empty caption of {name}; write one, or remove the line")
    return stripped
