"""Published numbers that stand beside ours: read from TOML files, and matched by row, data and score.

A file holds a list of tables `[[number]]`. Each says in `method`, `data`, `metric` and `value` what was measured, in
`paper` and `where` where it was printed, and in `source` and `verified` how well that is known. A plugin that is a
package may carry such a file, called `expected.toml`; `genprior bench --published FILE` reads a user's own as well.
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
"""What a plugin's own file is called."""


class Published(BaseModel):
    """A number that somebody published."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    id: str = ""
    """What other files call it."""
    method: str
    """What was measured, in the words of the paper; it matches a row of this label."""
    rows: tuple[str, ...] = ()
    """Labels of the rows that measure the same, where they are called otherwise than `method`."""
    data: str | dict[str, Any]
    """The data set's name, or a table of its name and of the settings that matter."""
    metric: str
    """The score's key among results, such as `inception_score`, `fid` or `nll`."""
    value: float = Field(allow_inf_nan=False)
    """The number."""
    spread: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Its standard deviation as published."""
    paper: str = ""
    """Which publication."""
    where: str = ""
    """Which table or page of it."""
    source: str = ""
    """How the number was read, for example `read in the paper` or `recalled, unverified`."""
    verified: bool = False
    """Whether it was read, in contrast to recalled; what is not verified is marked wherever it is shown."""
    note: str = ""
    """What a reader must know before comparing."""

    def __str__(self) -> str:
        """For example `7.31 ± 0.05`, and `8.42 (unverified)` where it was only recalled."""
        spread = f" ± {self.spread:g}" if self.spread is not None else ""
        return f"{self.value:g}{spread}{'' if self.verified else ' (unverified)'}"

    @property
    def citation(self) -> str:
        """Where it stands and how well it is known, in a line."""
        parts = [f"published as '{self.method}'", ", ".join(each for each in (self.paper, self.where) if each)]
        parts += [self.source or ("" if self.verified else "unverified"), self.note.rstrip(".")]
        return "; ".join(each for each in parts if each)

    def is_of(self, label: str, data: Mapping[str, Any], metric: str) -> bool:
        """Whether it is the number of this row, data set (its name and settings) and score."""
        named = {"name": self.data} if isinstance(self.data, str) else self.data
        same_data = all(data.get(key) == value for key, value in named.items())
        return self.metric == metric and same_data and _plain(label) in map(_plain, (self.method, *self.rows))


def _plain(label: str) -> str:
    return " ".join(label.split()).casefold()


def matching(numbers: Iterable[Published], label: str, data: Mapping[str, Any], metric: str) -> tuple[Published, ...]:
    """The published numbers of a row, in their order."""
    return tuple(number for number in numbers if number.is_of(label, data, metric))


def read_published(path: Path) -> tuple[Published, ...]:
    """Read a file of published numbers.

    Raises:
        ScoreError: it is missing, no TOML, or one of its numbers lacks something; names the number.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScoreError(
            f"there is no file of published numbers {path}; give a TOML file of [[number]] tables"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScoreError(f"the published numbers in {path} cannot be read: {error}") from error
    entries = document.get("number")
    if set(document) != {"number"} or not isinstance(entries, list):
        raise ScoreError(
            f"{path} holds {', '.join(document) or 'nothing'}; a file of published numbers holds [[number]] tables "
            "alone, each with method, data, metric and value"
        )
    found = []
    for place, entry in enumerate(entries, 1):
        try:
            found.append(Published.model_validate(entry))
        except ValidationError as error:
            raise ScoreError(
                f"{path}: number {place} is not valid ({wrong_settings(error)}); needed are method, data, metric and "
                "value"
            ) from None
    return tuple(found)


def of_plugins(registry: Registry) -> tuple[Published, ...]:
    """The published numbers that the installed plugins carry: `expected.toml` in a plugin's own package.

    Raises:
        ScoreError: such a file cannot be read.
    """
    found: list[Published] = []
    for plugin in registry.manager.get_plugins():
        for folder in getattr(plugin, "__path__", ()):
            if (path := Path(folder) / FILE).is_file():
                found += read_published(path)
    return tuple(found)
