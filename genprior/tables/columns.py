"""Builds a table from measured scores; a column holds only numbers that were measured with one protocol."""

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
from genprior.scoring.measure import columns_of, why_absent
from genprior.tables.published import Published, beside
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
    """All results of the score, by key."""
    extractor: str = ""
    """The keys of the feature extractors, which contain hashes of their weights; empty if none is recorded."""


@dataclass(frozen=True)
class Missed:
    """One score that could not be measured."""

    config: PartConfig
    data: Mapping[str, Any]
    reason: str


@dataclass
class Entry:
    """One run, or one set of images. Entries with the same label form one row, with a seed each."""

    label: str
    name: str
    """The label without the folder that distinguishes rows of the same name."""
    seed: int | None = None
    measured: list[Measured] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    others: Mapping[str, float] = field(default_factory=dict)
    """Further values, by key; they have no column."""
    seconds: float | None = None
    images_per_second: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the row, by the names of the fields of a published number's protocol."""
    state: str = ""
    """The state of an unfinished run, such as `not trained`; empty for a finished run and for images."""


class _Protocol(NamedTuple):
    """How a number was measured; numbers of different protocols cannot be compared."""

    data: str
    settings: str
    extractor: str

    def matches(self, other: _Protocol) -> bool:
        """Whether both are the same; an extractor that was not recorded matches every extractor."""
        extractors = {self.extractor, other.extractor} - {""}
        return (self.data, self.settings) == (other.data, other.settings) and len(extractors) < 2


@functools.lru_cache(maxsize=64)
def _hash_of_file(path: Path, size: int, modified: int) -> str:
    """The hash of a file's content; size and time of modification are part of the cache's key."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def settings_of(config: PartConfig) -> dict[str, Any]:
    """The settings of a part as JSON, in which file paths are replaced by content hashes."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    for key, value in config.model_dump().items():
        if isinstance(value, Path) and value.is_file():
            state = value.stat()
            settings[key] = _hash_of_file(value.resolve(), state.st_size, state.st_mtime_ns)
    return settings


def _json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, sort_keys=True)


def described(table: Mapping[str, Any]) -> str:
    """A part's name and settings as text: `fid (samples = 1000)`."""
    settings = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "name" and value is not None)
    return f"{table['name']} ({settings})" if settings else str(table["name"])


def _protocol_text(protocol: _Protocol, score: Score) -> str:
    """The protocol of a column as text: network, number of images, settings, real images."""
    items = score.protocol(json.loads(protocol.settings), protocol.extractor)
    return ", ".join([*items, f"real images: {described(json.loads(protocol.data))}"])


class _Columns:
    """The columns of a table, one for each result key and protocol."""

    def __init__(self) -> None:
        """Start without columns."""
        self.protocols: dict[str, list[_Protocol]] = {}
        self.columns: dict[str, Column] = {}
        self.protocol_of: dict[str, _Protocol] = {}
        self.score_of: dict[str, Score] = {}

    def of_missed(self, part: Missed) -> list[str]:
        """The columns of a score that could not be measured, once all measured ones are added.

        A number that is missing was not measured on any images. So its columns are those of the same settings; only
        settings with which nothing was measured have a column of their own.
        """
        settings = _json(settings_of(part.config))
        column_keys = []
        for key, own in columns_of([part.config.make()]).items():
            places = [n for n, other in enumerate(self.protocols.get(key, ())) if other.settings == settings]
            column_keys += [_column_key(key, place) for place in places] or [self._add_column(key, own, part)]
        return column_keys

    def add(self, part: Measured) -> dict[str, str]:
        """Add the columns of one score. Returns the column's key for each result key of the score.

        The first protocol of a result key has the key itself as its column; the n-th one has `key@n`.
        """
        return {key: self._add_column(key, column, part) for key, column in columns_of([part.config.make()]).items()}

    def _add_column(self, key: str, column: Column, part: Measured | Missed) -> str:
        protocol = _protocol_of(part)
        protocols = self.protocols.setdefault(key, [])
        place = next((n for n, other in enumerate(protocols) if protocol.matches(other)), len(protocols))
        if place == len(protocols):
            protocols.append(protocol)
        elif protocol.extractor:
            protocols[place] = protocol
        column_key = _column_key(key, place)
        title = column.title if not place else f"{column.title} ({place + 1})"
        self.columns.setdefault(column_key, column._replace(key=column_key, title=title))
        self.protocol_of[column_key] = protocols[place]
        self.score_of[column_key] = part.config.make()
        return column_key

    def notes(self) -> list[str]:
        """A note for each result key that has several columns: how their protocols differ."""
        return [
            f"'{key}' was measured with {len(protocols)} protocols that cannot be compared: "
            + "; ".join(
                f"({place}) {described(json.loads(protocol.settings))} on {described(json.loads(protocol.data))}"
                + (f" with features of {protocol.extractor}" if protocol.extractor else "")
                for place, protocol in enumerate(protocols, 1)
            )
            + "."
            for key, protocols in self.protocols.items()
            if len(protocols) > 1
        ]


def _protocol_of(part: Measured | Missed) -> _Protocol:
    extractor = part.extractor if isinstance(part, Measured) else ""
    return _Protocol(_json(part.data), _json(settings_of(part.config)), extractor)


def _column_key(key: str, place: int) -> str:
    return f"{key}@{place + 1}" if place else key


def _sorted_into_columns(
    entries: Sequence[Entry],
) -> tuple[_Columns, list[dict[str, str]], list[dict[str, float]]]:
    """The columns of all entries; and for each entry the reasons of missing scores, and the scores, by column key."""
    columns = _Columns()
    reasons: list[dict[str, str]] = []
    scores: list[dict[str, float]] = []
    for entry in entries:
        entry_scores: dict[str, float] = {}
        for part in entry.measured:
            for key, column_key in columns.add(part).items():
                for before, after in (("", ""), ("real_", ""), ("real_", "_images")):
                    if (name := f"{before}{key}{after}") in part.values:
                        entry_scores[f"{before}{column_key}{after}"] = part.values[name]
        scores.append(entry_scores)
    for entry in entries:
        reasons.append({key: missed.reason for missed in entry.missed for key in columns.of_missed(missed)})
    for entry, entry_scores in zip(entries, scores, strict=True):
        for key, value in entry.others.items():
            if key.removeprefix("real_") not in columns.protocols:
                entry_scores.setdefault(key, value)
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
        entries: runs and sets of images; entries with the same label form one row, in the order of first appearance.
        missing: runs to list as not finished.
        published: published numbers to show beside the measured ones.
        notes: notes on the rows; notes on the columns are appended.
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
        group_scores = [scores[place] for place in places]
        cells = {
            key: Cell(tuple(each[key] for each in group_scores))
            for key in group_scores[0]
            if not key.startswith("real_") and all(key in each for each in group_scores)
        }
        empty, row_published = {}, {}
        for column_key in columns.columns:
            protocol, key = columns.protocol_of[column_key], column_key.partition("@")[0]
            if column_key not in cells:
                empty[column_key] = _why_empty(
                    columns, column_key, group, group_scores, [reasons[place] for place in places]
                )
            elsewhere = column_key not in cells and any(other.partition("@")[0] == key for other in cells)
            facts = columns.score_of[column_key].facts(key, group[0].facts)
            matches = beside(numbers, group[0].name, json.loads(protocol.data), key, facts)
            if matches and not elsewhere:
                row_published[column_key] = matches
        seeds = tuple(entry.seed for entry in group if entry.seed is not None and not entry.state)
        seconds = _cell_of([entry.seconds for entry in group])
        speed = _cell_of([entry.images_per_second for entry in group])
        rows.append(Row(label, seeds, cells, seconds, speed, empty, row_published))
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
        protocols={
            key: _protocol_text(protocol, columns.score_of[key])
            for key, protocol in columns.protocol_of.items()
            if any(key in each for each in scores)
        },
        caveats={key: score.caveat for key, score in columns.score_of.items() if score.caveat},
        notes=(*notes, *columns.notes()),
    )


def _why_empty(
    columns: _Columns,
    column_key: str,
    group: Sequence[Entry],
    scores: Sequence[Mapping[str, float]],
    reasons: Sequence[Mapping[str, str]],
) -> str:
    """The reason why a row has no number in a column."""
    if states := dict.fromkeys(entry.state for entry in group if entry.state):
        return "; ".join(states)
    if known := dict.fromkeys(each[column_key] for each in reasons if column_key in each):
        return "; ".join(known)
    if count := sum(column_key in each for each in scores):
        return f"measured for {count} of {len(scores)} seeds"
    key = column_key.partition("@")[0]
    score, column = columns.score_of[column_key], columns.columns[column_key]
    measured = [part for entry in group for part in entry.measured if type(score) is part.config.part]
    if any(_protocol_of(part).matches(columns.protocol_of[column_key]) for part in measured):
        return why_absent(score, column._replace(key=key))
    if any(other.partition("@")[0] == key for each in scores for other in each):
        return "measured with another protocol, in another column"
    made = [part.config.make() for part in measured]
    # With another protocol, which gave no number either.
    if absent := dict.fromkeys(why_absent(each, own[key]) for each in made if key in (own := columns_of([each]))):
        return "; ".join(absent)
    if measured:
        return "measured with another protocol, in another column"
    if any(type(score) is missed.config.part for entry in group for missed in entry.missed):
        return "not measured with these settings"
    return f"not measured: score '{score.name}' is not among the scores of this row"


def _cell_of(values: Sequence[float | None]) -> Cell | None:
    """The values of all seeds; None if one of them is not known."""
    known = tuple(float(value) for value in values if value is not None)
    return Cell(known) if known and len(known) == len(values) else None
