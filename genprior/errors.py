"""The errors that genprior raises.

Each message says what was requested, what is wrong, what is possible and what to do. The command line prints only the
message and exits with `exit_code`: 2 for a user error, 1 for a failed run.
"""

from __future__ import annotations

import difflib
import errno
import json
import operator
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "FORMAT",
    "CheckpointError",
    "DataError",
    "GenpriorError",
    "GenpriorWarning",
    "Interrupted",
    "LaunchError",
    "NameTaken",
    "NewerFormat",
    "NotFinite",
    "OutOfMemory",
    "PartFailed",
    "PlanError",
    "PluginError",
    "RankLost",
    "RecipeError",
    "RunError",
    "ScoreError",
    "SystemFailure",
    "did_you_mean",
    "did_you_mean_path",
    "in_a_sentence",
    "listed",
    "meant_as_text",
    "refuse_newer",
    "shown",
    "system_error",
    "visible",
    "what_is_wrong",
    "whole_number",
    "wrong_settings",
]


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udc7f\udd00-\udfff]"
)
"""Control characters but for tabs and line feeds, characters that reverse the order of others, and lone surrogates but
those that stand for the bytes of a file name."""


def visible(text: str) -> str:
    r"""The text with control characters as their codes, `\x1b` for an escape, so that no terminal obeys them.

    Texts that are printed come from recipes, folders and files of others, which may hold the escape sequences of
    terminals. Line feeds and tabs stay.
    """
    return _UNSEEN.sub(lambda found: _code(ord(found[0])), text)


def _code(number: int) -> str:
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


class GenpriorError(Exception):
    """Base of all errors with a message for the user, in which control characters are codes, see `visible`."""

    exit_code = 2

    def __str__(self) -> str:
        """The message."""
        return visible(super().__str__())


class GenpriorWarning(UserWarning):
    """A warning with a message for the user; the command line prints it as `warning: <message>`."""

    def __str__(self) -> str:
        """The message, in which control characters are codes."""
        return visible(super().__str__())


class PlanError(GenpriorError):
    """Parts that are each valid do not fit together."""


class NameTaken(GenpriorError):
    """Two plugins registered a part of the same kind under one name."""


class PluginError(GenpriorError):
    """The plugin of a requested part could not be loaded, or a plugin registered something that is not a part."""


class RecipeError(GenpriorError):
    """A recipe that cannot be read or does not validate; the message lists every error of every row."""


class DataError(GenpriorError):
    """A data set that is missing, empty or corrupt, or has the wrong range or shape."""


class ScoreError(GenpriorError):
    """A score that cannot be computed from this run or these images."""


class CheckpointError(GenpriorError):
    """A checkpoint that is truncated, altered or of another run."""


class RunError(GenpriorError):
    """A run folder that cannot be used: held by another process, or made by another recipe."""


class LaunchError(GenpriorError):
    """A cluster that cannot be reached, that refuses a task or that lost one."""


class NewerFormat(RunError):
    """A file of a run folder that a newer genprior wrote, in a format that this one does not know."""


class NotFinite(GenpriorError):
    """A loss or a gradient became infinite or NaN during training."""

    exit_code = 1


class PartFailed(GenpriorError):
    """A part or a hook raised an exception; the message names it, its plugin, and the line of the plugin."""

    exit_code = 1


class OutOfMemory(GenpriorError):
    """There was too little memory for a row; the message names its batch and what to lower."""

    exit_code = 1


class Interrupted(GenpriorError):
    """Training was interrupted; the run can be resumed."""

    exit_code = 130


class RankLost(GenpriorError):
    """Another process of a training that several processes share ended, or did not answer in time."""

    exit_code = 1
    told = False
    """Whether the first process is there, which prints errors."""


class SystemFailure(GenpriorError):
    """The operating system could not read or write a file (a full disk, no permission, a defect)."""

    exit_code = 1


_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EACCES: "Give yourself permission there, or use another folder",
    errno.EPERM: "Give yourself permission there, or use another folder",
    errno.EROFS: "Use another folder",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.ENAMETOOLONG: "Use a shorter path",
    errno.ENOTDIR: "Move the file that stands where a folder is needed, or use another folder",
    errno.EEXIST: "Move the file that stands where a folder is needed, or use another folder",
    errno.EISDIR: "Move the folder that stands where a file is needed",
    errno.ENOENT: "Put the file there, or use another folder",
}


def system_error(error: OSError, *, training: bool = False) -> SystemFailure:
    """The message for an error of the operating system, in one line: what was done to which file, and what to do.

    Args:
        error: the error; a note of `genprior.storage.files.to_file` says what was done.
        training: whether it ended a training, which the same command resumes.
    """
    done = next(iter(getattr(error, "__notes__", ())), None)
    file = f" ({error.filename})" if error.filename is not None and done is None else ""
    reason = in_a_sentence(error.strerror or error)
    remedy = _REMEDIES.get(error.errno or 0, "Check the disk, or use another folder")
    resumes = "; training resumes from the last checkpoint" if training else ""
    return SystemFailure(
        f"{done or 'a file could not be read or written'}{file}: {reason}. {remedy}, and give the same command again"
        f"{resumes}."
    )


def did_you_mean(name: str, possible: Iterable[str]) -> str:
    """The end of an error message: a valid name that begins with `name` or is close to it, and all valid names.

    Args:
        name: the name that the user gave.
        possible: the valid names.

    Returns:
        For example `; did you mean 'gaussian'? Possible: gaussian, uniform`.
    """
    names = sorted(possible)
    close = [each for each in names if each.lower() == name.lower()]
    close = close or [each for each in names if len(name) > 2 and each.startswith(name)]
    if not close and len(name) < 100 and not name.isdecimal():  # of quadratic time; and no number is a slip of another
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    question = f"; did you mean '{close[0]}'?" if close else "."
    return f"{question} Possible: {listed(names) or 'none'}"


def listed(names: Iterable[str]) -> str:
    """Names with commas between them; one that has a comma itself, as a label of a row may, is in quotes."""
    return ", ".join(f"'{name}'" if "," in name else name for name in names)


def did_you_mean_path(path: Path, possible: Iterable[Path], what: str) -> str:
    """The end of an error message about a file or folder that is not there.

    Args:
        path: what the user gave.
        possible: what is there and could be meant.
        what: what `possible` are, such as `recipes`.

    Returns:
        The paths of the same or nearly the same name, whatever their ending and folder; if there are none, all of
        them. For example `; did you mean recipes/gans/began.toml?`.
    """
    there = sorted(possible)
    stem = path.stem.lower()
    near = [each for each in there if each.stem.lower() == stem] if stem else []
    if not near and len(stem) > 2:
        near = [each for each in there if each.stem.lower().startswith(stem)]
    if not near and len(stem) < 100:  # of quadratic time
        # Recipes have long names with common words in them: only slips of a few letters are near.
        near = [each for each in there if difflib.SequenceMatcher(None, stem, each.stem.lower()).ratio() >= 0.8]
    if near:
        return f"; did you mean {' or '.join(map(str, near[:3]))}?"
    return f". The {what} there: {', '.join(map(str, there))}" if there else f". There are no {what} there"


def in_a_sentence(error: object) -> str:
    """A text, such as another library's error, in one line and without its full stop, so that more can follow it."""
    text = " ".join(str(error).split())
    return text if text.endswith("..") else text.removesuffix(".")


_LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type")
_TABLES = ("dict_type", "model_type")
_LONGEST = 40
"""Characters of a value that an example repeats."""


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors in words of TOML and JSON, whose lists and tables Python holds in classes of its own.

    Args:
        error: an entry of `ValidationError.errors()`.
    """
    if error["type"] in _LISTS:
        alone = json.dumps(error["input"]) if isinstance(error["input"], bool | int | float | str) else ""
        return f"Input should be a list{f', such as [{alone}]' if 0 < len(alone) <= _LONGEST else ''}"
    if error["type"] in _TABLES:
        return "Input should be a table of keys and values"
    if error["type"] in ("too_short", "too_long"):
        named = error["ctx"]["field_type"]
        return str(error["msg"]).replace(named, "Table" if named == "Dictionary" else "List", 1)
    return str(error["msg"])


def wrong_settings(error: ValidationError) -> str:
    """What is wrong with a table of settings, in a line: each key with what pydantic says of it."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {what_is_wrong(each)}" for each in error.errors())


def meant_as_text(setting: str) -> str:
    """The end of an error message about a `KEY=VALUE` whose value is not TOML: how it is written if it is a text.

    Returns:
        For example `; if it is a text: --set 'separator=";"'`. Nothing where the value is more than a bare text.
    """
    key, _, value = setting.partition("=")
    if not key.strip() or not re.fullmatch(r"[^\"'\[\]{}=#\x00-\x1f\x7f]+", value):
        return ""
    return f"; if it is a text: --set {shlex.quote(f'{key}={json.dumps(value, ensure_ascii=False)}')}"


FORMAT = 1
"""The format of the files of a run folder that this version writes, and the newest that it reads; each JSON and TOML
file names it under `format`. Files of before formats had numbers name none."""


def refuse_newer(content: Any, path: Path) -> None:
    """Check that the parsed content of a file is of a known format.

    Raises:
        NewerFormat: a newer genprior wrote it.
    """
    named = content.get("format") if isinstance(content, dict) else None
    if isinstance(named, int) and named > FORMAT:
        raise NewerFormat(
            f"{path} has format {named}, which a newer genprior wrote; this one reads formats up to "
            f"{FORMAT}. Nothing was changed. Update genprior (pip install --upgrade genprior), or give another --out."
        )


def whole_number(given: Any, name: str, error: type[GenpriorError], *, least: int = 0) -> int:
    """A whole number of at least `least`, from an integer of Python, NumPy or PyTorch.

    Args:
        given: the value.
        name: the argument, for the message.
        error: the class of the error.
        least: the smallest number that is possible.

    Raises:
        GenpriorError: of the class `error`; it is no whole number, such as 2.0, "2" or True, or is too small.
    """
    try:
        if isinstance(given, bool):
            raise TypeError
        number = operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        raise error(
            f"{name} = {shown(given)} ({type(given).__name__}) is no whole number; give one of at least {least}"
        ) from None
    if number < least:
        raise error(f"{name} = {number} is too small; give a whole number of at least {least}")
    return number


def shown(given: Any) -> str:
    """A value in one line of a message, cut where it is long."""
    text = " ".join(repr(given).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
