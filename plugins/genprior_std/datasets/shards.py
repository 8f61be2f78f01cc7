"""Shards in the WebDataset format: which files they are, and where each sample lies in them.

A shard is an uncompressed tar. Members of a name that is the same up to the first dot of its last part are one sample;
what follows the dot says what a member is: a picture (`jpg`, `png`, ...), a label (`cls`) or texts (`txt`, `json`).
Members are read in place; nothing is extracted, and their names are never used as paths.

References:
    WebDataset format, https://github.com/webdataset/webdataset.
    Tape archives: `tarfile` of the standard library.
"""

from __future__ import annotations

import functools
import itertools
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from genprior import PICTURE_KINDS, DataError, notice
from genprior_std.datasets.caption_texts import LONGEST_CAPTION, check_unicode, json_object
from genprior_std.datasets.shared import name_some

__all__ = ["Sample", "samples_of", "shard_files"]

_PICTURES = frozenset(PICTURE_KINDS.split(", "))
_TEXT_KEYS = ("text", "caption", "captions")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST_SHARDS = 1_000_000
_LARGEST_TEXT = 2**20
"""The most bytes of a label or of texts; a larger one is no label and no caption."""
_BLOCK = 512
_CHUNK = 2**20


class Sample(NamedTuple):
    """A sample of a shard, and the place of its picture."""

    name: str
    """The part of the names that its members share."""
    offset: int
    """Where the bytes of the picture begin in the shard."""
    size: int
    """How many bytes they are."""
    label: int | None
    """The number in `cls`; None without one."""
    captions: tuple[str, ...]
    """The texts in `txt` and `json`."""


# ---------------------------------------------------------------------------------------------------------------------
# Which files
# ---------------------------------------------------------------------------------------------------------------------


def shard_files(path: Path) -> list[Path]:
    """The shards that a path names: a file, all `.tar` of a folder, or a name with braces, as `{000..099}` or `{a,b}`.

    Raises:
        DataError: braces are not closed or empty, there are no shards, or some of them are missing.
    """
    if path.is_dir():
        shards = sorted(file for file in path.iterdir() if file.suffix == ".tar" and not file.name.startswith("."))
        if not shards:
            raise DataError(
                f"data set 'webdataset': there are no .tar files in the folder {path}; give a folder of shards"
            )
        return shards
    shards = [Path(name) for name in _expanded(str(path))]
    missing = [shard for shard in shards if not shard.is_file()]
    if missing:
        which = f"{len(missing):,} of {len(shards):,} shards are missing" if len(shards) > 1 else "there is no shard"
        raise DataError(
            f"data set 'webdataset': {which}: {name_some(missing)}; give a .tar, a folder of them, or a name such as "
            "train-{000..099}.tar"
        )
    return shards


def _expanded(name: str) -> Iterator[str]:
    pieces = [_choices(piece, name) if place % 2 else [piece] for place, piece in enumerate(_BRACES.split(name))]
    count = functools.reduce(lambda product, some: product * len(some), pieces, 1)
    if "{" in _BRACES.sub("", name) or "}" in _BRACES.sub("", name) or count > _MOST_SHARDS:
        wrong = f"they name {count:,} shards" if count > _MOST_SHARDS else "a brace is not closed"
        raise DataError(f"data set 'webdataset': in {name}, {wrong}; write braces as in train-{{000..099}}.tar")
    return ("".join(chosen) for chosen in itertools.product(*pieces))


def _choices(inside: str, name: str) -> Sequence[str]:
    bounds = _RANGE.fullmatch(inside)
    if bounds is None:
        choices = inside.split(",")
        if len(choices) < 2:
            raise DataError(
                f"data set 'webdataset': in {name}, {{{inside}}} is neither a range, such as {{000..099}}, nor a list, "
                "such as {a,b}"
            )
        return choices
    first, last = bounds.groups()
    width = max(len(first), len(last)) if any(len(each) > 1 and each[0] == "0" for each in (first, last)) else 0
    numbers = range(int(first), int(last) + 1)
    if not 1 <= len(numbers) <= _MOST_SHARDS:
        raise DataError(
            f"data set 'webdataset': in {name}, {{{inside}}} has {len(numbers):,} numbers; 1 to a million are possible"
        )
    return [f"{number:0{width}}" for number in numbers]


# ---------------------------------------------------------------------------------------------------------------------
# What is in them
# ---------------------------------------------------------------------------------------------------------------------


def samples_of(shard: Path, captions: bool, column: str | None) -> tuple[Sample, ...]:
    """The samples of a shard in their order; a shard that this process has read and that has not changed is not again.

    Args:
        shard: the file.
        captions: whether texts are read.
        column: the key of the captions in `json`; None takes the one called text, caption or captions.

    Raises:
        DataError: it cannot be read, is no plain tar or damaged, or more follows its end; a member is a link or no
            file; a sample has no picture, or two, or appears twice; or a label or a text is none.
    """
    try:
        state = shard.stat()
        return _samples_of(shard, captions, column, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    except OSError as problem:
        raise DataError(f"{shard}: it cannot be read ({problem.strerror or problem}); repair or remove it") from problem


@functools.lru_cache(maxsize=100_000)
def _samples_of(shard: Path, captions: bool, column: str | None, size: int, *state: int) -> tuple[Sample, ...]:
    samples, names, left_out = list[Sample](), set[str](), 0
    with shard.open("rb") as file:
        members: dict[str, tarfile.TarInfo] = {}
        current: str | None = None
        for member in _members(shard, file, size):
            last = member.name.rpartition("/")[2]
            key, dot, suffix = last.partition(".")
            if not (key and dot and suffix):  # hidden, or of no kind
                left_out += 1
                continue
            name = member.name[: len(member.name) - len(dot) - len(suffix)]
            if name != current:
                if current is not None:
                    samples.append(_sample(shard, file, current, members, captions, column))
                if name in names:
                    raise DataError(
                        f"{shard}: its sample {name!r} appears twice, with others between; put the members of a sample "
                        "one after another, and give each sample a name of its own"
                    )
                names.add(name)
                current, members = name, {}
            if suffix.lower() in members:
                raise DataError(f"{shard}: its sample {name!r} has two members .{suffix.lower()}; keep one")
            members[suffix.lower()] = member
        if current is not None:
            samples.append(_sample(shard, file, current, members, captions, column))
    if not samples:
        raise DataError(
            f"{shard}: there are no samples in it; a sample is a picture, such as 000.jpg, with 000.cls or 000.txt"
        )
    if left_out:
        notice(f"{shard}: {left_out:,} members are left out, whose names are hidden or have no ending")
    return tuple(samples)


def _members(shard: Path, file: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    """The files of a tar; their content is not read.

    Raises:
        DataError: it is no plain tar, ends too early or is damaged; or a member is a link or no file.
    """
    remedy = "repair or remove the shard"
    try:
        with tarfile.open(fileobj=file, mode="r:", errorlevel=1) as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # which it would keep, for all samples
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    kind = "a link" if member.islnk() or member.issym() else "no ordinary file"
                    raise DataError(f"{shard}: its member {member.name!r} is {kind}; a shard has ordinary files alone")
                if member.offset_data + member.size > size:
                    raise DataError(
                        f"{shard}: its member {member.name!r} should have {member.size:,} bytes, and the file ends "
                        f"before; {remedy}"
                    )
                yield member
            _check_end(shard, file, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as problem:
        raise DataError(
            f"{shard}: it is no plain tar, or damaged ({problem or type(problem).__name__}); shards are not "
            f"compressed: unpack a .tar.gz with gunzip, or {remedy}"
        ) from problem


def _check_end(shard: Path, file: BinaryIO, end: int) -> None:
    """Look at what follows the last member that tarfile found, for which a damaged header is an end like any other.

    Raises:
        DataError: there is more than empty blocks.
    """
    file.seek(end)
    first = file.read(_BLOCK)
    if first.strip(b"\0"):
        raise DataError(f"{shard}: it is damaged after {end:,} bytes; repair or remove the shard")
    if not first:
        notice(f"{shard}: it has no mark of its end, so it may have been cut off; the samples that are there are read")
    while chunk := file.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise DataError(
                f"{shard}: it ends after {end:,} bytes, and more follows, as in tars that were joined by cat, or where "
                "a header is damaged; list each tar as a shard of its own, join them with tar --concatenate, or repair "
                "it"
            )


def _sample(
    shard: Path, file: BinaryIO, name: str, members: dict[str, tarfile.TarInfo], captions: bool, column: str | None
) -> Sample:
    pictures = [suffix for suffix in members if suffix in _PICTURES]
    if len(pictures) != 1:
        has = f"has {len(pictures)} pictures" if pictures else "has no picture"
        raise DataError(
            f"{shard}: its sample {name!r} {has} (its members are {', '.join('.' + each for each in members)}); a "
            f"sample has one of {PICTURE_KINDS}"
        )
    where, picture = f"{shard}: sample {name!r}", members[pictures[0]]
    label = None if "cls" not in members else _label(where, _text(where, file, members["cls"]))
    texts: list[str] = []
    if captions and "txt" in members:
        texts.append(_text(where, file, members["txt"]).strip())
    if captions and "json" in members:
        texts += _json_texts(where, _text(where, file, members["json"]), column)
    if not all(texts):
        raise DataError(f"{where} has an empty caption; write one, or remove its member. captions = false ignores them")
    if longest := max((len(text) for text in texts if len(text) > LONGEST_CAPTION), default=0):
        raise DataError(
            f"{where} has a caption of {longest:,} characters; the limit is {LONGEST_CAPTION:,}: shorten it. "
            "captions = false ignores captions"
        )
    return Sample(name, picture.offset_data, picture.size, label, tuple(texts))


def _text(where: str, file: BinaryIO, member: tarfile.TarInfo) -> str:
    if member.size > _LARGEST_TEXT:
        raise DataError(
            f"{where}: {member.name!r} has {member.size:,} bytes; labels and texts have at most {_LARGEST_TEXT:,}"
        )
    here = file.tell()
    file.seek(member.offset_data)
    content = file.read(member.size)
    file.seek(here)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"{where}: {member.name!r} is no UTF-8 ({problem.reason}); save it as UTF-8") from None


def _label(where: str, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text.strip()) is None:
        raise DataError(f"{where}: its label (.cls) is {text.strip()[:40]!r}; the number of a class from 0 is needed")
    return int(text)


def _json_texts(where: str, text: str, column: str | None) -> list[str]:
    """The captions in a `json`; none if it has no such key."""
    found = json_object(f"{where}: its .json", text, "write one object with keys, or set captions = false to ignore it")
    keys = [key for key in ((column,) if column is not None else _TEXT_KEYS) if key in found]
    if len(keys) > 1:
        raise DataError(f"{where}: its .json has captions in {' and '.join(keys)}; set caption_column to one of them")
    if not keys:
        return []
    value = found[keys[0]]
    texts: Any = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
        raise DataError(f"{where}: {keys[0]!r} in its .json is no text or list of texts")
    check_unicode(f"{where}: {keys[0]!r} in its .json", texts)
    return [each.strip() for each in texts]
