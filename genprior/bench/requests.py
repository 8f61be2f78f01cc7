"""Reads the scores that a command requests: by name, by result key, or by a TOML table of settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from genprior.errors import ScoreError, wrong_settings
from genprior.parts import PartConfig, Score
from genprior.recipe.mistakes import explained_settings
from genprior.registry import Registry
from genprior.scoring.measure import columns_of
from genprior.tables.columns import Entry

__all__ = ["ScoreRequest", "read_score", "read_table", "refuse_samples", "with_samples"]


@dataclass(frozen=True)
class ScoreRequest:
    """One requested score. Exactly one field is set."""

    part: str | None = None
    """The name of an installed score, measured with the settings that the rows of the table have."""
    key: str | None = None
    """A result key that runs have, such as `classifier_fid`."""
    config: PartConfig | None = None
    """The settings of a score."""

    def matches(self, config: PartConfig) -> bool:
        """Whether a score with these settings fits the request; of a request by settings only the name is compared."""
        if self.key is not None:
            return self.key in columns_of([config.make()])
        return config.name == (self.config.name if self.config is not None else self.part)

    def keys(self, configs: Sequence[PartConfig], entries: Iterable[Entry]) -> list[str]:
        """The result keys of the requested score, given the settings to measure it with and the entries."""
        if self.key is not None:
            return [self.key]
        shown = [each.config for entry in entries for each in entry.measured if self.matches(each.config)]
        return list(columns_of([config.make() for config in (*configs, *shown)]))


def read_score(text: str, registry: Registry) -> ScoreRequest:
    """Read a requested score: a name, a result key, or a TOML table such as `{ name = "kid", subset_size = 100 }`.

    Raises:
        ScoreError: the text is not a TOML table, or its settings are invalid.
    """
    if text.lstrip().startswith("{"):
        return ScoreRequest(config=read_table(text, "score", registry, "--score"))
    return ScoreRequest(part=text) if text in registry.names("score") else ScoreRequest(key=text)


def read_table(text: str, kind: str, registry: Registry, option: str) -> PartConfig:
    """Read the settings of a part from an inline TOML table.

    Raises:
        ScoreError: the text is not a TOML table, or its settings are invalid.
    """
    table: Any = None
    try:
        table = tomllib.loads(f"table = {text}")["table"]
        return registry.configure(kind, table)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ScoreError(
            f"{option} {text}: this is not a TOML table ({error}); give a name, or name and settings in one line, "
            f"such as '{{ name = \"fid\", samples = 1000 }}' (strings in double quotes, the whole in single quotes)"
        ) from None
    except ValidationError as error:
        raise ScoreError(f"{option} {text}: {explained_settings(error, kind, table, registry)}") from None
    except ValueError as error:
        raise ScoreError(f"{option} {text}: {error}") from None


def with_samples(config: PartConfig, samples: int | None) -> PartConfig:
    """The settings with another number of generated images, if the score has such a setting.

    Raises:
        ScoreError: the score does not allow this number.
    """
    if samples is None:
        return config
    score: Score = config.make()
    try:
        return score.with_samples(samples)
    except ValidationError as error:
        raise ScoreError(
            f"--samples {samples} is not possible for score '{config.name}': {wrong_settings(error)}"
        ) from None


def refuse_samples(configs: Sequence[PartConfig], samples: int) -> list[str]:
    """Refuse a number of generated images if no score has one; a note for each score that has none beside others.

    Raises:
        ScoreError: no score has such a setting.
    """
    without = {config.name: config for config in configs if config.make().samples is None}
    described = []
    for name, config in without.items():
        settings = ", ".join(
            f"{key} = {value}" for key, value in config.model_dump(mode="json").items() if key != "name"
        )
        described.append(f"'{name}', whose settings are {settings or 'none'}")
    if without and len(without) == len({config.name for config in configs}):
        raise ScoreError(
            f"--samples {samples} is not possible for score {', or '.join(described)}: there is no number of samples. "
            "Leave --samples out, or give settings, such as --score '{ name = \"...\", ... }'"
        )
    return [f"--samples {samples} has no effect on score {text}." for text in described]
