"""Published numbers to show beside measured ones: read from TOML files and matched by row, data set and score.

A file holds a list of tables `[[number]]`. The fields `method`, `data`, `metric` and `value` state what was measured,
`paper` and `where` the publication and the place in it, `source` and `verified` whether the number was read there. A
table `protocol` states how it was measured, see `genprior.tables.protocol`: a number stands only beside those measured
alike. A plugin package may contain such a file, named `expected.toml`; `genprior bench --published FILE` reads another
one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from genprior.errors import ScoreError, wrong_settings
from genprior.parts import SettingsTable
from genprior.registry import Registry
from genprior.tables.protocol import Protocol

__all__ = ["FILE", "Beside", "Published", "beside", "matching", "of_plugins", "read_published"]

FILE = "expected.toml"
"""The name of the file in a plugin package."""


class Published(SettingsTable):
    """One published number and its source."""

    id: str = ""
    """An identifier, by which other files refer to the number."""
    method: str
    """The method as the paper names it; matches the row with this label."""
    rows: tuple[str, ...] = ()
    """Labels of further rows that the number belongs to, if they differ from `method`."""
    data: str | dict[str, Any]
    """The data set's name, or a table with its name and the settings that must agree."""
    metric: str
    """The result key of the score, such as `inception_score`, `fid` or `nll`."""
    value: float = Field(allow_inf_nan=False)
    """The number."""
    spread: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Its standard deviation as published."""
    paper: str = ""
    """The publication."""
    where: str = ""
    """The table or page of the publication."""
    source: str = ""
    """How the number was read, for example `read in the paper` or `recalled, unverified`."""
    verified: bool = False
    """Whether the number was read in the source; if not (recalled), it is marked as unverified wherever it is shown."""
    note: str = ""
    """A caveat for comparisons."""
    protocol: Protocol | None = None
    """How it was measured; None if nothing is known of that."""

    @model_validator(mode="after")
    def _spread_is_over_something(self) -> Published:
        if self.spread is None and self.protocol is not None and self.protocol.over is not None:
            raise ValueError(
                "protocol.over says what the spread is over, and there is no spread; give it, or leave over out"
            )
        return self

    def __str__(self) -> str:
        """For example `7.31 ± 0.05`, or `8.42 (unverified)`."""
        spread = f" ± {self.spread:g}" if self.spread is not None else ""
        return f"{self.value:g}{spread}{'' if self.verified else ' (unverified)'}"

    @property
    def citation(self) -> str:
        """Method, publication, source and note in one line."""
        parts = [f"published as '{self.method}'", ", ".join(each for each in (self.paper, self.where) if each)]
        parts += [self.source or ("" if self.verified else "unverified"), self.note.rstrip(".")]
        if self.spread is not None:
            parts.append(
                f"± over {self.protocol.over}" if self.protocol and self.protocol.over else "± of unknown kind"
            )
        return "; ".join(each for each in parts if each)

    def is_of(self, label: str, data: Mapping[str, Any], metric: str) -> bool:
        """Whether the number belongs to this row, data set (name and settings) and score."""
        named = {"name": self.data} if isinstance(self.data, str) else self.data
        same_data = all(data.get(key) == value for key, value in named.items())
        return self.metric == metric and same_data and _normalised(label) in map(_normalised, (self.method, *self.rows))


def _normalised(label: str) -> str:
    return " ".join(label.split()).casefold()


def matching(numbers: Iterable[Published], label: str, data: Mapping[str, Any], metric: str) -> tuple[Published, ...]:
    """The published numbers of a row on a data set under a score, in the given order."""
    return tuple(number for number in numbers if number.is_of(label, data, metric))


@dataclass(frozen=True)
class Beside:
    """A published number in the cell beside a measured one, and whether both were measured alike."""

    number: Published
    differences: tuple[str, ...] = ()
    """In what the measured number differs, in words; if there is any difference, the published number is not shown."""
    unstated: tuple[str, ...] = ()
    """Facts of the measured number that are not known of the published one."""
    unknown: tuple[str, ...] = ()
    """Facts of the published number that are not known of the measured one."""

    def __str__(self) -> str:
        """The number, or what differs: `not comparable: 10 importance samples, published 5,000`."""
        return f"not comparable: {'; '.join(self.differences)}" if self.differences else str(self.number)

    @property
    def citation(self) -> str:
        """The number's citation, with what could not be compared."""
        protocol = self.number.protocol
        parts = [self.number.citation]
        if protocol is None:
            return f"{parts[0]}; protocol unknown"
        if protocol.assumed:
            parts.append(f"assumed: {', '.join(name.replace('_', ' ') for name in protocol.assumed)}")
        if self.unstated:
            parts.append(f"not known of it: {', '.join(self.unstated)}")
        if self.unknown:
            parts.append(f"not known of this row: {', '.join(self.unknown)}")
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """The published number as JSON; without its value and spread where it is not comparable."""
        without = {"value", "spread"} if self.differences else set()
        table = self.number.model_dump(mode="json", exclude=without | {"protocol"})
        protocol = self.number.protocol
        return table | {
            "protocol": protocol.model_dump(mode="json", exclude_none=True) if protocol else None,
            "comparable": not self.differences,
            "differences": list(self.differences),
            "not_known_of_it": list(self.unstated),
            "not_known_of_the_row": list(self.unknown),
        }


def beside(
    numbers: Iterable[Published], label: str, data: Mapping[str, Any], metric: str, facts: Mapping[str, Any]
) -> tuple[Beside, ...]:
    """The published numbers of a row, each compared with the facts of the row's measured number."""
    return tuple(
        Beside(number)
        if number.protocol is None
        else Beside(
            number,
            number.protocol.differences(facts),
            number.protocol.unstated(facts),
            number.protocol.unknown(facts),
        )
        for number in matching(numbers, label, data, metric)
    )


def read_published(path: Path) -> tuple[Published, ...]:
    """Read a file of published numbers.

    Raises:
        ScoreError: the file is missing or is not TOML, or one of its numbers is invalid; the message names the number.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScoreError(
            f"there is no file of published numbers {path}; give a TOML file of [[number]] tables"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ScoreError(f"the published numbers in {path} cannot be read: {error}") from error
    entries = document.get("number")
    if set(document) != {"number"} or not isinstance(entries, list):
        raise ScoreError(
            f"{path} holds {', '.join(document) or 'nothing'}; a file of published numbers holds only "
            "[[number]] tables, each with method, data, metric and value"
        )
    found = []
    for place, entry in enumerate(entries, 1):
        try:
            found.append(Published.model_validate(entry))
        except ValidationError as error:
            raise ScoreError(
                f"{path}: number {place} is not valid ({wrong_settings(error)}); it needs method, data, metric and "
                "value"
            ) from None
    return tuple(found)


def of_plugins(registry: Registry) -> tuple[Published, ...]:
    """The published numbers of all installed plugins, from the `expected.toml` of each plugin package.

    Raises:
        ScoreError: such a file cannot be read.
    """
    found: list[Published] = []
    for plugin in registry.manager.get_plugins():
        for folder in getattr(plugin, "__path__", ()):
            if (path := Path(folder) / FILE).is_file():
                found += read_published(path)
    return tuple(found)
