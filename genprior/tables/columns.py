"""Makes a table of what was measured, row by row: only numbers that can be compared share a column."""

from __future__ import annotations

import functools
import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from genprior.parts import Column, PartConfig, Score
from genprior.scoring.measure import columns_of
from genprior.tables.published import Published, matching
from genprior.tables.table import Cell, Row, Table

__all__ = ["Entry", "Measured", "Missed", "described", "settings_of", "tabulate"]


@dataclass(frozen=True)
class Measured:
    """One score of one run, or of one set of images."""

    config: PartConfig
    """The score's settings."""
    data: Mapping[str, Any]
    """The real images: a data set's settings, with its name."""
    values: Mapping[str, float]
    """All that the score wrote, by key."""
    extractor: str = ""
    """The networks that it looked through, by keys that hold a hash of their weights; empty where none is recorded."""


@dataclass(frozen=True)
class Missed:
    """One score that could not be measured."""

    config: PartConfig
    data: Mapping[str, Any]
    reason: str


@dataclass
class Entry:
    """One run, or one set of images; those of one label are the seeds of a row."""

    label: str
    name: str
    """What it is called without the folder that tells it from others of this name."""
    seed: int | None = None
    measured: list[Measured] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    others: Mapping[str, float] = field(default_factory=dict)
    """Further values, which are no columns."""
    seconds: float | None = None
    images_per_second: float | None = None
    state: str = ""
    """Why it has no numbers at all; empty where it may have some."""


class _Way(NamedTuple):
    """How a number came about; numbers of two ways cannot be compared."""

    data: str
    settings: str
    extractor: str

    def agrees(self, other: _Way) -> bool:
        """Whether they are the same as far as is recorded of both."""
        known = {self.extractor, other.extractor} - {""}
        return (self.data, self.settings) == (other.data, other.settings) and len(known) < 2


@functools.lru_cache(maxsize=64)
def _content(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def settings_of(config: PartConfig) -> dict[str, Any]:
    """The settings of a part as JSON, in which file paths are replaced by content hashes."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    for key, value in config.model_dump().items():
        if isinstance(value, Path) and value.is_file():
            state = value.stat()
            settings[key] = _content(value.resolve(), state.st_size, state.st_mtime_ns)
    return settings


def _json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, sort_keys=True)


def described(table: Mapping[str, Any]) -> str:
    """A part's settings in words: `fid (samples = 1000)`."""
    inside = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "name" and value is not None)
    return f"{table['name']} ({inside})" if inside else str(table["name"])


def _protocol(way: _Way, score: Score) -> str:
    """How a column was measured: network, number of images, settings, real images."""
    words = score.protocol(json.loads(way.settings), way.extractor)
    return ", ".join([*words, f"real images: {described(json.loads(way.data))}"])


class _Columns:
    """The columns that came up so far, and in which ways the scores behind them were measured."""

    def __init__(self) -> None:
        """No columns yet."""
        self.ways: dict[str, list[_Way]] = {}
        self.columns: dict[str, Column] = {}
        self.way_of: dict[str, _Way] = {}
        self.score_of: dict[str, Score] = {}

    def of(self, part: Measured | Missed) -> dict[str, str]:
        """The column's key for each key that the score writes."""
        recorded = part.extractor if isinstance(part, Measured) else ""
        score: Score = part.config.make()
        way = _Way(_json(part.data), _json(settings_of(part.config)), recorded)
        found = {}
        for key, column in columns_of([score]).items():
            known = self.ways.setdefault(key, [])
            place = next((n for n, other in enumerate(known) if way.agrees(other)), len(known))
            if place == len(known):
                known.append(way)
            elif way.extractor:
                known[place] = way
            own = key if not place else f"{key}@{place + 1}"
            title = column.title if not place else f"{column.title} ({place + 1})"
            self.columns.setdefault(own, Column(own, title, column.higher_is_better))
            self.way_of[own] = known[place]
            self.score_of[own] = score
            found[key] = own
        return found

    def notes(self) -> list[str]:
        """What a reader must know of columns that share a name."""
        return [
            f"'{key}' was measured in {len(known)} ways that cannot be compared: "
            + "; ".join(
                f"({place}) {described(json.loads(way.settings))} on {described(json.loads(way.data))}"
                + (f" through {way.extractor}" if way.extractor else "")
                for place, way in enumerate(known, 1)
            )
            + "."
            for key, known in self.ways.items()
            if len(known) > 1
        ]


def _sorted_into_columns(
    entries: Sequence[Entry],
) -> tuple[_Columns, list[dict[str, str]], list[dict[str, float]]]:
    """The columns of all entries, and each entry's reasons and scores by the column's key."""
    columns = _Columns()
    reasons: list[dict[str, str]] = []
    scores: list[dict[str, float]] = []
    for entry in entries:
        mine: dict[str, float] = {}
        why: dict[str, str] = {}
        parts: list[Measured | Missed] = [*entry.measured, *entry.missed]
        for part in parts:
            for key, own in columns.of(part).items():
                if isinstance(part, Missed):
                    why[own] = part.reason
                    continue
                for prefix in ("", "real_"):
                    if prefix + key in part.values:
                        mine[prefix + own] = part.values[prefix + key]
        scores.append(mine)
        reasons.append(why)
    for entry, mine in zip(entries, scores, strict=True):
        for key, value in entry.others.items():
            if key.removeprefix("real_") not in columns.ways:
                mine.setdefault(key, value)
    return columns, reasons, scores


def tabulate(
    title: str,
    entries: Sequence[Entry],
    *,
    missing: Sequence[str] = (),
    published: Iterable[Published] = (),
    notes: Sequence[str] = (),
) -> Table:
    """The table of all entries.

    Args:
        title: of the table.
        entries: those of one label make one row, in the order in which labels come up.
        missing: runs to name as not finished.
        published: numbers to stand beside ours.
        notes: what a reader must know of the rows; what is to know of the columns comes behind.
    """
    columns, reasons, scores = _sorted_into_columns(entries)
    by_label: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        by_label.setdefault(entry.label, []).append(place)
    numbers = tuple(published)
    rows: list[Row] = []
    real: dict[str, list[float]] = {}
    for label, places in by_label.items():
        group = [entries[place] for place in places]
        mine = [scores[place] for place in places]
        cells = {
            key: Cell(tuple(each[key] for each in mine))
            for key in mine[0]
            if not key.startswith("real_") and all(key in each for each in mine)
        }
        empty, beside = {}, {}
        for own in columns.columns:
            way, key = columns.way_of[own], own.partition("@")[0]
            if own not in cells:
                empty[own] = _why_empty(own, group, mine, [reasons[place] for place in places])
            if found := matching(numbers, group[0].name, json.loads(way.data), key):
                beside[own] = found
        seeds = tuple(entry.seed for entry in group if entry.seed is not None and not entry.state)
        seconds = _cell_of([entry.seconds for entry in group])
        speed = _cell_of([entry.images_per_second for entry in group])
        rows.append(Row(label, seeds, cells, seconds, speed, empty, beside))
    for each in scores:
        for key, value in each.items():
            if key.startswith("real_"):
                real.setdefault(key.removeprefix("real_"), []).append(value)
    return Table(
        title,
        tuple(columns.columns.values()),
        tuple(rows),
        {key: statistics.fmean(values) for key, values in real.items()},
        tuple(missing),
        protocols={own: _protocol(way, columns.score_of[own]) for own, way in columns.way_of.items()},
        caveats={own: score.caveat for own, score in columns.score_of.items() if score.caveat},
        notes=(*notes, *columns.notes()),
    )


def _why_empty(
    own: str, group: Sequence[Entry], scores: Sequence[Mapping[str, float]], reasons: Sequence[Mapping[str, str]]
) -> str:
    if states := dict.fromkeys(entry.state for entry in group if entry.state):
        return "; ".join(states)
    if why := dict.fromkeys(each[own] for each in reasons if own in each):
        return "; ".join(why)
    if have := sum(own in each for each in scores):
        return f"measured for {have} of {len(scores)} seeds"
    key = own.partition("@")[0]
    if any(other.partition("@")[0] == key for each in scores for other in each):
        return "measured in another way, in a column of its own"
    return "not measured"


def _cell_of(values: Sequence[float | None]) -> Cell | None:
    """The values of all seeds; None where one of them is not known."""
    known = tuple(float(value) for value in values if value is not None)
    return Cell(known) if known and len(known) == len(values) else None
