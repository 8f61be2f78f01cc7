"""The scores that a command asks for: by name, by the key of a result, or with settings of their own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from genprior.errors import ScoreError, wrong_settings
from genprior.parts import PartConfig, Score
from genprior.registry import Registry
from genprior.scoring.measure import columns_of
from genprior.tables.columns import Entry

__all__ = ["Asked", "read_score", "read_table", "with_samples"]


@dataclass(frozen=True)
class Asked:
    """One score that is asked for, in one of three ways."""

    part: str | None = None
    """An installed score, with the settings that the rows of the table have."""
    key: str | None = None
    """The key of a result that runs have, such as `classifier_fid`."""
    config: PartConfig | None = None
    """Settings."""

    def names(self, config: PartConfig) -> bool:
        """Whether it asks for a score of these settings."""
        if self.key is not None:
            return self.key in columns_of([config.make()])
        return config.name == (self.config.name if self.config is not None else self.part)

    def keys(self, ways: Sequence[PartConfig], entries: Iterable[Entry]) -> list[str]:
        """The keys of the columns that show it."""
        if self.key is not None:
            return [self.key]
        shown = [each.config for entry in entries for each in entry.measured if self.names(each.config)]
        return list(columns_of([config.make() for config in (*ways, *shown)]))


def read_score(text: str, registry: Registry) -> Asked:
    """What a text asks for: a score's name, a key, or a table in TOML such as `{ name = "kid", subset_size = 100 }`.

    Raises:
        ScoreError: it is no such table, or its settings are wrong.
    """
    if text.lstrip().startswith("{"):
        return Asked(config=read_table(text, "score", registry, "--score"))
    return Asked(part=text) if text in registry.names("score") else Asked(key=text)


def read_table(text: str, kind: str, registry: Registry, option: str) -> PartConfig:
    """The settings of a part, from an inline table in TOML.

    Raises:
        ScoreError: it is no such table, or its settings are wrong.
    """
    try:
        return registry.configure(kind, tomllib.loads(f"table = {text}")["table"])
    except tomllib.TOMLDecodeError as error:
        raise ScoreError(
            f"{option} {text}: this is no TOML table ({error}); give a name, or name and settings in one line such as "
            f"'{{ name = \"fid\", samples = 1000 }}' (texts in double quotes, the whole in single ones)"
        ) from None
    except ValidationError as error:
        raise ScoreError(f"{option} {text}: {wrong_settings(error)}") from None
    except ValueError as error:
        raise ScoreError(f"{option} {text}: {error}") from None


def with_samples(config: PartConfig, samples: int | None) -> PartConfig:
    """The settings with another number of generated images, where the score has one.

    Raises:
        ScoreError: the score cannot have so many.
    """
    if samples is None:
        return config
    score: Score = config.make()
    try:
        return score.with_samples(samples)
    except ValidationError as error:
        raise ScoreError(
            f"--samples {samples} is not possible of score '{config.name}': {wrong_settings(error)}"
        ) from None
