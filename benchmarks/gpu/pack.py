"""Transfer files to a machine without a network: one archive, in pieces of a bounded size, checked and joined there.

    python3 pack.py pack PIECES NAME=PATH [NAME=PATH ...]      here: files and folders into PIECES/
    python3 pack.py join PIECES FOLDER                         there: checked, joined and unpacked into FOLDER/

Needs Python 3.9 and nothing else. The pieces may travel in any order and at any time; `join` says which are missing or
damaged, and only those must be sent again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

__all__ = ["Damaged", "join", "main", "pack"]

MANIFEST = "manifest.json"
LIMIT_MB = 60
CHUNK = 1 << 20
LEFT_OUT = {"__pycache__", ".git", ".venv", ".lock"}


class Damaged(Exception):
    """Pieces are missing or not what was packed; the message names them."""


class _Splitter:
    """A writable file that is split into files of at most `limit` bytes, with the SHA-256 of each."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._file: BinaryIO | None = None
        self._room = 0
        self._sums: list[Any] = []
        self.pieces: list[dict[str, Any]] = []

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            if self._file is None or self._room == 0:
                self._file = self._next()
            part = rest[: self._room]
            self._file.write(part)
            self._sums[-1].update(part)
            self.pieces[-1]["bytes"] += len(part)
            self._room -= len(part)
            rest = rest[len(part) :]
        return len(data)

    def _next(self) -> BinaryIO:
        self._end()
        name = f"piece-{len(self.pieces):04d}"
        self._room = self._limit
        self._sums.append(hashlib.sha256())
        self.pieces.append({"name": name, "bytes": 0})
        return (self._folder / name).open("wb")

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        self._end()
        for piece, digest in zip(self.pieces, self._sums):  # noqa: B905 - Python 3.9 has no `strict`
            piece["sha256"] = digest.hexdigest()


class _Joiner:
    """The pieces as one readable file."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = iter(paths)
        self._file: BinaryIO | None = None

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    break
                self._file = path.open("rb")
            part = self._file.read(size)
            if not part:
                self._file.close()
                self._file = None
                continue
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def pack(
    folder: Path, items: dict[str, Path], limit: int = LIMIT_MB * 10**6, *, gzipped: bool = False
) -> list[dict[str, Any]]:
    """Pack files and folders into pieces.

    Args:
        folder: where the pieces and their manifest go; old pieces there are removed.
        items: each file or folder by the name that it has once unpacked.
        limit: the maximum size of a piece in bytes.
        gzipped: compress them.

    Returns:
        Name, bytes and SHA-256 of each piece.

    Raises:
        FileNotFoundError: an item does not exist; nothing was written.
    """
    missing = [f"{name}={path}" for name, path in items.items() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"not packed, because these do not exist: {', '.join(missing)}")
    if limit < 1:
        raise ValueError(f"a piece of {limit} bytes holds nothing")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("piece-*"), folder / MANIFEST]:
        if old.exists():
            old.unlink()
    splitter = _Splitter(folder, limit)
    mode = "w|gz" if gzipped else "w|"
    with tarfile.open(fileobj=splitter, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, path in sorted(items.items()):
            archive.add(path, arcname=name, filter=_wanted)
    splitter.close()
    text = json.dumps({"format": 1, "pieces": splitter.pieces}, indent=1) + "\n"
    # The manifest is written last, so a folder with a manifest is complete.
    partial = folder / (MANIFEST + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / MANIFEST)
    return splitter.pieces


def join(folder: Path, target: Path) -> list[str]:
    """Check the pieces and unpack them.

    Args:
        folder: where the pieces and the manifest are.
        target: where the files go.

    Returns:
        The names of the files that were unpacked.

    Raises:
        Damaged: pieces are missing or damaged, or the archive has files that would be written outside `target`;
            nothing was unpacked.
    """
    try:
        pieces = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["pieces"]
    except FileNotFoundError:
        raise Damaged(f"{folder / MANIFEST} is missing; it is written last, so packing may have been cut off") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder / MANIFEST} is damaged ({error!r}); send it again") from None
    wrong = [problem for piece in pieces for problem in _check(folder, piece)]
    if wrong:
        raise Damaged("send these again:\n" + "\n".join(f"  {line}" for line in wrong))
    paths = [folder / piece["name"] for piece in pieces]
    with tarfile.open(fileobj=_Joiner(paths), mode="r|*") as archive:  # type: ignore[call-overload]
        outside = [member.name for member in archive if not _safe(member)]
    if outside:
        raise Damaged(f"the archive holds files that are not plain or lie outside: {', '.join(outside[:5])}")
    target.mkdir(parents=True, exist_ok=True)
    names = []
    with tarfile.open(fileobj=_Joiner(paths), mode="r|*") as archive:  # type: ignore[call-overload]
        for member in archive:
            _unpack(archive, member, target)
            if member.isfile():
                names.append(member.name)
    return names


def _check(folder: Path, piece: dict[str, Any]) -> list[str]:
    path = folder / piece["name"]
    if not path.exists():
        return [f"{piece['name']}: missing"]
    if path.stat().st_size != piece["bytes"]:
        return [f"{piece['name']}: {path.stat().st_size} bytes in place of {piece['bytes']}"]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return [] if digest.hexdigest() == piece["sha256"] else [f"{piece['name']}: its checksum is wrong"]


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Keep plain files and folders, without owners and without machine-specific files."""
    if PurePosixPath(member.name).name in LEFT_OUT or not (member.isfile() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _safe(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    if source is None:
        raise Damaged(f"{member.name} cannot be read from the archive")
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            file.write(chunk)
    partial.chmod(member.mode & 0o777)
    os.utime(partial, (member.mtime, member.mtime))
    os.replace(partial, path)


def main(arguments: list[str] | None = None) -> int:
    """Pack or join, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="files and folders into pieces")
    packing.add_argument("pieces", type=Path)
    packing.add_argument("items", nargs="+", metavar="NAME=PATH")
    packing.add_argument("--gzip", action="store_true", help="compress them")
    packing.add_argument("--limit-mb", type=float, default=LIMIT_MB, help="the most megabytes (10^6 bytes) of a piece")
    joining = commands.add_parser("join", help="pieces into files and folders")
    joining.add_argument("pieces", type=Path)
    joining.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "join":
            names = join(options.pieces, options.folder)
            print(f"{len(names)} files unpacked into {options.folder}")
            return 0
        split = [item.partition("=") for item in options.items]
        bad = [name for name, sign, path in split if not (name and sign and path)]
        if bad:
            parser.error(f"items are given as NAME=PATH; this one is not: {bad[0]}")
        items = {name: Path(path) for name, _, path in split}
        made = pack(options.pieces, items, int(options.limit_mb * 10**6), gzipped=options.gzip)
        print(f"{len(made)} pieces, {sum(piece['bytes'] for piece in made) / 1e6:.1f} MB, and {MANIFEST}")
    except (Damaged, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
