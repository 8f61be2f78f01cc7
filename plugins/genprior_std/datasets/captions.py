"""Caption files beside images, in the form of Hugging Face's ImageFolder: a line for each image and text.

References:
    Hugging Face, "Create an image dataset", https://huggingface.co/docs/datasets/image_dataset.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genprior import DataError, notice
from genprior_std.datasets.caption_texts import LONGEST_CAPTION, check_unicode, json_object
from genprior_std.datasets.shared import name_some

__all__ = ["Captions", "read_captions", "text_lines"]

_OWN_NAME = "captions.jsonl"
_NAMES = (_OWN_NAME, "metadata.csv", "metadata.jsonl")
_FILE_NAME = "file_name"
_COLUMNS = ("text", "caption", "captions")
_SHOWN = 200
"""The most characters of a name in a message."""
_BYTE_ORDER_MARKS = (
    # The mark of UTF-32 begins with that of UTF-16.
    ("UTF-32", (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    ("UTF-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)


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
            DataError: two columns may be the captions, or are called file_name.
        """
        if self.columns.count(_FILE_NAME) > 1:
            raise DataError(f"{self.path}: {self.columns.count(_FILE_NAME)} columns are called {_FILE_NAME}; keep one")
        named = [one for one in self.columns if (one == wanted if wanted else one in _COLUMNS)]
        if _FILE_NAME not in self.columns or not named:
            return None
        if len(named) > 1:
            remedy = "rename one" if len(set(named)) == 1 else "set caption_column to the one to use"
            raise DataError(f"{self.path}: its columns {', '.join(named)} may all be the captions; {remedy}")
        return named[0]

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows without the header, each with the line on which it begins."""
        if self.path.suffix == ".csv":
            return _csv_records(self.path, text_lines(self.path, self.content))
        return _json_records(self.path, text_lines(self.path, self.content))

    def lacks(self, wanted: str | None) -> str:
        """What a table without captions lacks, with the columns that it has."""
        if _FILE_NAME not in self.columns:
            lacking = f"it has no column '{_FILE_NAME}'"
        elif wanted:
            lacking = f"it has no column '{wanted}', which is the caption_column"
        else:
            lacking = f"it has no column {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}"
        return f"{lacking}; its columns are {_shown(', '.join(self.columns)) or 'none'}"


def read_captions(folders: Sequence[Path], pictures: Collection[Path], wanted: str | None) -> Captions | None:
    """Read `captions.jsonl`, `metadata.csv` or `metadata.jsonl` of some folders.

    Args:
        folders: the folder of a data set, and those of its splits if it is divided.
        pictures: every picture below the first folder.
        wanted: the column of the captions; None takes the one called text, caption or captions.

    Returns:
        The captions; None where there is no such file, or only metadata without captions, which a notice says.

    Raises:
        DataError: a file cannot be read, is not UTF-8, is broken, has no such column, has an empty caption or one of
            more than 131,072 characters, or names a file that is no picture of its folder; or two files hold the
            captions of the same images.
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
        remedy = "set caption_column to the column of the captions, if there is one"
        if _FILE_NAME not in table.columns:
            remedy = f"if it has captions, call the column of the images' paths {_FILE_NAME}"
        notice(f"{table.path}: no captions are read from it: {table.lacks(wanted)}; {remedy}")
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
    known = _Pictures(pictures)
    for table, column in used:
        _read(table, column, wanted, known, captions)
    return Captions(paths, {picture: tuple(texts) for picture, texts in captions.items()})


def _open(path: Path) -> _Table:
    """The content of a file, and its columns, for which only its first record is decoded.

    Raises:
        DataError: the file cannot be read, or its first record is not UTF-8 or broken.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(
            f"{path}: it cannot be read ({problem.strerror or problem}); give yourself permission"
        ) from None
    lines = text_lines(path, content)
    if path.suffix == ".csv":
        return _Table(path, content, next((tuple(cells) for _, cells in _csv_lines(path, lines)), ()))
    return _Table(path, content, next((tuple(record) for _, record in _json_records(path, lines)), ()))


def text_lines(path: Path, content: bytes) -> Iterator[str]:
    """Decode a text file in UTF-8, with or without a byte order mark, one line after another.

    Lines end with a line feed, a carriage return or both, which are kept. Unicode's other line separators end none: a
    caption may hold them.

    Raises:
        DataError: it has another encoding; the message says the line.
    """
    for encoding, marks in _BYTE_ORDER_MARKS:
        if content.startswith(marks):
            raise DataError(f"{path}: its encoding is {encoding}; save it as UTF-8")
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True), 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise DataError(
                f"{path}: line {number} is not UTF-8 (byte 0x{line[problem.start]:02X}); its encoding may be Latin-1 "
                "or Windows-1252: save it as UTF-8"
            ) from None


def _csv_lines(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, header included, each with the line on which it begins."""
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            if "field limit" in str(problem):
                raise DataError(
                    f"{path}: line {line} has a cell of more than {csv.field_size_limit():,} characters; shorten it"
                ) from None
            raise DataError(f"{path}: line {line} is no CSV ({problem}); correct the line") from None
        if cells:
            yield line, cells


def _csv_records(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] = []
    for line, cells in _csv_lines(path, lines):
        if not header:
            header = cells
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}: line {line} has {len(cells)} cells for the {len(header)} columns {_shown(', '.join(header))}"
                "; put a text with commas between double quotes"
            )
        yield line, dict(zip(header, cells, strict=True))


def _json_records(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, written in enumerate(lines, 1):
        if not written.strip():
            continue
        where = f"{path}: line {line}"
        record = json_object(where, written, "each line is one JSON object")
        if "\\ud" in written.lower():
            check_unicode(where, record)
        yield line, record


class _Pictures:
    """The pictures of a folder, by a path in any Unicode form.

    File systems keep composed characters (NFC) or decomposed ones (NFD), and editors write either.
    """

    def __init__(self, pictures: Collection[Path]) -> None:
        """Hold the pictures."""
        self._exact = frozenset(pictures)
        self._by_form: dict[str, list[Path]] = {}
        for picture in pictures:
            self._by_form.setdefault(_composed(picture), []).append(picture)

    def at(self, path: Path) -> Path | None:
        """The picture of exactly this path, or else the only one of this path in another Unicode form."""
        if path in self._exact:
            return path
        same = self._by_form.get(_composed(path), [])
        return same[0] if len(same) == 1 else None


def _composed(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path))


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def _read(table: _Table, column: str, wanted: str | None, pictures: _Pictures, captions: dict[Path, list[str]]) -> None:
    """Add the captions of a file to those of its images.

    Raises:
        DataError: it is not UTF-8, is broken, has an empty or too long caption or two columns that may be captions, or
            names files that are no pictures of its folder.
    """
    path = table.path
    gone: dict[str, None] = {}
    unread: dict[str, None] = {}
    for line, record in table.records():
        # The lines of JSON need not have the same columns.
        if not wanted and len(several := [key for key in record if key in _COLUMNS]) > 1:
            raise DataError(
                f"{path}: line {line} has {' and '.join(several)}, which may all be the captions; set caption_column "
                "to the one to use"
            )
        name = record.get(_FILE_NAME)
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: line {line} has no {_FILE_NAME}; give the path of an image from {path.parent}")
        relative = os.path.normpath(name)
        if os.path.isabs(relative) or Path(relative).parts[:1] == ("..",):
            raise DataError(
                f"{path}: line {line} has {_FILE_NAME} = {_shown(name)}, which leaves the folder; give the path of an "
                f"image from {path.parent}"
            )
        picture = pictures.at(path.parent / relative)
        if picture is not None:
            texts = _texts(f"{path}: line {line}", _shown(name), column, record.get(column))
            captions.setdefault(picture, []).extend(texts)
        else:
            # Unlike Path.exists, this takes a name that is too long for the system for one that is not there.
            (unread if os.path.exists(path.parent / relative) else gone)[_shown(name)] = None
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


def _texts(where: str, name: str, column: str, value: Any) -> list[str]:
    """The captions of a line, without space at their ends."""
    if value is None:
        raise DataError(f"{where} has no {column} for {name}; give each line a caption, or remove the line")
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{where} has {column} = {json.dumps(value)[:60]} for {name}; a text or a list of texts is needed"
        )
    if longest := max((len(text) for text in texts if len(text) > LONGEST_CAPTION), default=0):
        raise DataError(
            f"{where} has a caption of {longest:,} characters for {name}; the limit is {LONGEST_CAPTION:,}: shorten it"
        )
    stripped = [text.strip() for text in texts]
    if not stripped or not all(stripped):
        raise DataError(f"{where} has an empty caption of {name}; write one, or remove the line")
    return stripped
