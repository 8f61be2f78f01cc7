"""The types of what the files of a run folder hold, and reading a file as such a type."""

from __future__ import annotations

import json
import tomllib
import warnings
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from genprior.errors import GenpriorWarning, RunError, refuse_newer, wrong_settings
from genprior.recipe.structure import excess
from genprior.storage.files import to_file

__all__ = [
    "CHECKPOINT",
    "FACTS",
    "NETWORKS",
    "RECIPE",
    "SCORES",
    "TABLE",
    "Facts",
    "ResolvedRecipe",
    "TableFile",
    "TableRow",
    "checked",
    "damaged",
    "metrics_in",
    "read_json",
    "read_recipe",
    "read_text",
]

T = TypeVar("T")

_EXACT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


@with_config(ConfigDict(strict=True, extra="allow"))
class FirstStage(TypedDict):
    """The first stage of a run with a fitted prior, in its run.json."""

    folder: str
    weights: str
    seconds: float
    parameters: NotRequired[dict[str, int]]


@with_config(_EXACT)
class Facts(TypedDict):
    """The content of `run.json`; keys that an older version did not write may be absent."""

    format: NotRequired[int]
    label: str
    seed: int
    finished: bool
    step: int
    seconds: float
    images_per_second: NotRequired[float | None]
    parameters: NotRequired[dict[str, int]]
    plugins: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]
    hardware: NotRequired[dict[str, Any]]
    command: NotRequired[list[str]]
    written: NotRequired[str]
    embedder: NotRequired[str]
    data_hash: NotRequired[str | None]
    skipped_steps: NotRequired[int]
    scored_step: NotRequired[int]
    stopped_step: NotRequired[int | None]
    best_step: NotRequired[int | None]
    best_value: NotRequired[float | None]
    best_of: NotRequired[str]
    hook_failures: NotRequired[dict[str, int]]
    first_stage: NotRequired[FirstStage]


@with_config(ConfigDict(strict=True, extra="allow"))
class ResolvedRecipe(TypedDict):
    """The tables of `recipe.toml`; `Plan` validates their content."""

    format: NotRequired[int]
    label: str
    run: dict[str, Any]
    data: dict[str, Any]
    optimiser: dict[str, dict[str, Any]]
    model: dict[str, Any]
    title: NotRequired[str]
    scores: NotRequired[list[dict[str, Any]]]


@with_config(_EXACT)
class TableRow(TypedDict):
    """A row of `table.json`, as far as it is read."""

    label: str


@with_config(_EXACT)
class TableFile(TypedDict):
    """The content of `table.json`, as far as it is read."""

    format: NotRequired[int]
    title: str
    columns: list[dict[str, Any]]
    rows: list[TableRow]


@with_config(_EXACT)
class CheckpointData(TypedDict):
    """The form of the training data in the JSON file of a checkpoint."""

    image: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
    classes: list[str]
    binary: NotRequired[bool]
    labelled: NotRequired[int | None]
    captioned: NotRequired[bool]


@with_config(_EXACT)
class CheckpointStopping(TypedDict):
    """The state of early stopping in the JSON file of a checkpoint."""

    waited: int
    improved: float | None


@with_config(_EXACT)
class CheckpointFacts(TypedDict):
    """The JSON file of a checkpoint, beside what `genprior.storage.checkpoint` reads of it."""

    data: CheckpointData
    seconds: float
    best_step: NotRequired[int]
    best_value: NotRequired[float]
    early_stopping: NotRequired[CheckpointStopping]
    hook_failures: NotRequired[dict[str, int]]


@with_config(ConfigDict(strict=True, extra="allow"))
class ScoreNetworks(TypedDict):
    """What `scores.json` holds beside the numbers."""

    networks: NotRequired[dict[str, str]]


CHECKPOINT: TypeAdapter[CheckpointFacts] = TypeAdapter(CheckpointFacts)
FACTS: TypeAdapter[Facts] = TypeAdapter(Facts)
RECIPE: TypeAdapter[ResolvedRecipe] = TypeAdapter(ResolvedRecipe)
TABLE: TypeAdapter[TableFile] = TypeAdapter(TableFile)
NETWORKS: TypeAdapter[ScoreNetworks] = TypeAdapter(ScoreNetworks)


def _without_networks(value: Any) -> Any:
    return {key: each for key, each in value.items() if key != "networks"} if isinstance(value, dict) else value


SCORES: TypeAdapter[dict[str, Any]] = TypeAdapter(
    Annotated[dict[str, FiniteFloat], BeforeValidator(_without_networks)], config=ConfigDict(strict=True)
)
"""Numbers by name; `networks` beside them is of `NETWORKS`."""
_RECORD: TypeAdapter[dict[str, float | None]] = TypeAdapter(
    dict[str, FiniteFloat | None], config=ConfigDict(strict=True)
)


def read_text(path: Path, remedy: str) -> str | None:
    """The text of a file of a run; None if it does not exist.

    Raises:
        RunError: it is not UTF-8; the message ends with the remedy.
        OSError: the system cannot read it.
    """
    try:
        with to_file("read", path):
            return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 text: {error}", remedy) from error


def read_json(path: Path, record: TypeAdapter[T], remedy: str) -> T | None:
    """The content of a JSON file of a run; None if it does not exist.

    Raises:
        RunError: it is empty, is not JSON, or a field has another type; the message names file and field.
        NewerFormat: a newer genprior wrote it.
        OSError: the system cannot read it.
    """
    text = read_text(path, remedy)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if text.strip() else "it is empty, as after a power cut"
        raise damaged(path, reason, remedy) from error
    return checked(value, record, path, remedy)


def read_recipe(path: Path, remedy: str) -> dict[str, Any] | None:
    """The tables of a `recipe.toml` of a run; None if it does not exist.

    Raises:
        RunError: it is not TOML, is nested too deeply, or a table is missing or has another type.
        OSError: the system cannot read it.
    """
    text = read_text(path, remedy)
    if text is None:
        return None
    try:
        kept = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error), remedy) from error
    if wrong := excess(kept):
        raise damaged(path, f"it {wrong}", remedy)
    checked(kept, RECIPE, path, remedy)
    kept.pop("format", None)
    return kept


def checked(value: Any, record: TypeAdapter[T], path: Path, remedy: str) -> T:
    """The parsed content of a file, unchanged, if its fields have the types of a record.

    Raises:
        RunError: a field is missing or has another type; the message names file and field.
        NewerFormat: a newer genprior wrote it.
    """
    refuse_newer(value, path)
    try:
        record.validate_python(value)
    except ValidationError as error:
        raise damaged(path, wrong_settings(error), remedy) from error
    return cast(T, value)


def damaged(path: Path, reason: str, remedy: str) -> RunError:
    """The error that a file of a run is damaged."""
    return RunError(f"{path} is damaged ({reason}); {remedy}")


def metrics_in(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; empty if it does not exist.

    A damaged line is left out, with a warning. The last line may be incomplete while a run is training.

    Raises:
        OSError: the system cannot read it.
    """
    try:
        with to_file("read", path):
            lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            _RECORD.validate_python(record)
            if not isinstance(record.get("step"), int):
                raise ValueError("it has no whole number 'step'")
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                reason = wrong_settings(error) if isinstance(error, ValidationError) else str(error)
                text = f"line {number} of {path} is damaged and is left out: {reason or 'it is empty'}"
                warnings.warn(text, GenpriorWarning, stacklevel=2)
        else:
            records.append(record)
    return records
