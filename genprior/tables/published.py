"""Published numbers to show beside measured ones: read from TOML files and matched by row, data set and score.

A file holds a list of tables `[[number]]`. The fields `method`, `data`, `metric` and `value` state what was measured,
`paper` and `where` the publication and the place in it, `source` and `verified` whether the number was read there. A
plugin package may contain such a file, named `expected.toml`; `genprior bench --published FILE` reads another one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genprior.errors import ScoreError, wrong_settings
from genprior.registry import Registry

__all__ = ["FILE", "Published", "matching", "of_plugins", "read_published"]

FILE = "expected.toml"
"""The name of the file in a plugin package."""


class Published(BaseModel):
    """One published number and its source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
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

    def __str__(self) -> str:
        """For example `7.31 ± 0.05`, or `8.42 (unverified)`."""
        spread = f" ± {self.spread:g}" if self.spread is not None else ""
        return f"{self.value:g}{spread}{'' if self.verified else ' (unverified)'}"

    @property
    def citation(self) -> str:
        """Method, publication, source and note in one line."""
        parts = [f"published as '{self.method}'", ", ".join(each for each in (self.paper, self.where) if each)]
        parts += [self.source or ("" if self.verified else "unverified"), self.note.rstrip(".")]
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
