"""Loads entry points of plugins: whatever they raise can be told in a line, and what they print goes to stderr."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from genprior.errors import GenpriorError, PluginError, in_a_sentence
from genprior.version import __version__

__all__ = [
    "load_entry",
    "load_named",
    "package_of",
    "raised",
    "refused_version",
    "same_folder",
    "stdout_to_stderr",
    "what_was_raised",
]


def load_entry(entry: metadata.EntryPoint) -> Any:
    """The object that an entry point names; what its module prints while it is imported goes to stderr.

    A working directory that the module changes is changed back: relative paths of the command begin there.
    """
    with stdout_to_stderr(), same_folder():
        return entry.load()


def load_named(entry: metadata.EntryPoint, named: str) -> Any:
    """The object that an entry point names, for a message that calls it `named`.

    Raises:
        PluginError: its module raised something, other than by Ctrl-C.
    """
    try:
        return load_entry(entry)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, also what sys.exit() raises
        raise PluginError(
            f"{named} cannot be loaded: {what_was_raised(error)}. Update or uninstall that package."
        ) from error


def package_of(entry: metadata.EntryPoint) -> str:
    """The package of an entry point and its version, `name version`, also if its metadata is incomplete."""
    if entry.dist is None:
        return "an unknown package"
    name, version = None, None
    # There may be no file METADATA (an OSError of the package importlib_metadata, which takes over where it is
    # installed), or (a KeyError in later versions of Python) no such line in it.
    with contextlib.suppress(TypeError, KeyError, OSError):
        name = entry.dist.metadata["Name"]
        version = entry.dist.metadata["Version"]
    return f"{name or 'a package without a name'}{f' {version}' if version else ', version unknown'}"


def refused_version(entry: metadata.EntryPoint) -> str | None:
    """Why the plugin's metadata excludes this version of genprior; None if it does not."""
    try:
        lines = (entry.dist.requires if entry.dist is not None else None) or []
    except (TypeError, OSError):  # no METADATA file
        return None
    for line in lines:
        try:
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedEnvironmentName, UndefinedComparison) as error:
            # Requirements of other packages do not concern genprior, even if they cannot be read.
            if re.match(r"\s*genprior(?![\w.-])", line, re.IGNORECASE):
                return (
                    f"its metadata has a requirement that cannot be read, '{line}': {str(error).partition(chr(10))[0]}"
                )
            continue
        included = requirement.specifier.contains(__version__, prereleases=True)
        if canonicalize_name(requirement.name) == "genprior" and applies and not included:
            return f"it requires genprior{requirement.specifier}, and this is genprior {__version__}"
    return None


def what_was_raised(error: BaseException) -> str:
    """An exception in one line: the text of an error of genprior, else the exception's type and text."""
    text = in_a_sentence(error)
    if isinstance(error, GenpriorError):
        return text
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def raised(error: BaseException) -> str:
    """The predicate of a sentence on what raised an exception: `raised ValueError: ...`, or `called sys.exit(3)`."""
    text = what_was_raised(error)
    return text.removeprefix("it ") if isinstance(error, SystemExit) else f"raised {text}"


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed inside the `with` block to stderr, also by programs that are started and by C libraries."""
    with contextlib.ExitStack() as restored:
        with contextlib.suppress(OSError, ValueError):  # a process may have no stdout or no stderr
            _flush()
            kept = os.dup(1)
            restored.callback(os.close, kept)
            os.dup2(2, 1)
            restored.callback(os.dup2, kept, 1)
        # Python's own stdout may be another file than descriptor 1, in a notebook for example.
        restored.callback(_flush)
        restored.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def same_folder() -> Iterator[None]:
    """Change back to the working directory, if the `with` block changed it."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(folder)


def _flush() -> None:
    if sys.__stdout__ is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.__stdout__.flush()
