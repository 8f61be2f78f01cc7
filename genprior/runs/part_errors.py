"""Names the part, and the plugin that it comes from, in which an exception was raised.

The traceback has the answer: the innermost of its frames whose `self` (or `cls`) is a registered part.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from genprior.engine.build import Builder
from genprior.errors import GenpriorError, PartFailed
from genprior.loading import raised
from genprior.parts import Model, Part, PartConfig
from genprior.registry import Registry, installed

__all__ = ["Culprit", "culprit_of", "naming_parts", "part_failed", "place_of"]


@contextlib.contextmanager
def naming_parts(row: str | None = None, registry: Registry | None = None) -> Iterator[None]:
    """Raise what a part raises in the `with` block as a `PartFailed`, which names the part and its plugin.

    Errors of genprior, Ctrl-C, and exceptions that no part raised pass unchanged.

    Args:
        row: the label of the row, for the message.
        registry: the registry of the parts; the installed plugins by default.

    Raises:
        PartFailed: a part raised another exception than a `GenpriorError`.
    """
    try:
        yield
    except (GenpriorError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() in a part is an error too
        failed = part_failed(error, row, registry)
        if failed is None:
            raise
        raise failed from error


def part_failed(error: BaseException, row: str | None = None, registry: Registry | None = None) -> PartFailed | None:
    """The error that names the part which raised `error`; None if no part did."""
    culprit = culprit_of(error, registry)
    if culprit is None:
        return None
    return PartFailed(f"row '{row}': {culprit.text}" if row is not None else culprit.text)


class Culprit(NamedTuple):
    """What raised an exception: a part, or other code of a plugin."""

    part: type[Part] | None
    text: str
    """The part and its role, or the function; the plugin; what it raised, and where in its plugin."""


def culprit_of(error: BaseException, registry: Registry | None = None) -> Culprit | None:
    """What raised `error`: the innermost part, or code of a plugin that no part of the same package calls.

    Such code is a class that a part returned, for example a posterior, or a function that it handed over. The standard
    parts are not blamed for what they do with the values of others. None if neither is in the traceback.

    Args:
        error: an exception that was raised and caught.
        registry: the registry of the parts; the installed plugins by default.
    """
    registry = registry or installed()
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    plugins = {_package(part.__module__): registry.origin(part) for part in registry.all()}
    alone: FrameType | None = None
    for frame in reversed(frames):
        owner, package = _owner(frame), _package(str(frame.f_globals.get("__name__", "")))
        part = owner if owner is None or isinstance(owner, type) else type(owner)
        if part is not None and registry.offers(part):
            if alone is not None and _package(part.__module__) != _package(alone.f_globals["__name__"]):
                break
            role = _role(owner, frames) if owner is not None else None
            named = f"{part.kind} '{part.name}'" + (f" ({role})" if role and role != part.kind else "")
            place = place_of(error, part.__module__)
            return Culprit(part, f"{named} of {registry.origin(part)} {raised(error)}, at {place}")
        if alone is None and package in plugins and plugins[package] != registry.plugins[0]:
            alone = frame
    if alone is None:
        return None
    module = alone.f_globals["__name__"]
    named = f"{alone.f_code.co_qualname} of {plugins[_package(module)]}"
    return Culprit(None, f"{named} {raised(error)}, at {place_of(error, module)}")


def _package(module: str) -> str:
    return module.partition(".")[0]


def _owner(frame: FrameType) -> Part | type[Part] | None:
    """The part whose method a frame runs, or its class."""
    # Only these names are asked for: reading all locals of a frame may be slow.
    for name in ("self", "cls"):
        found = frame.f_locals.get(name)
        if isinstance(found, PartConfig):
            return found.part if "part" in vars(type(found)) else None
        if isinstance(found, type) and issubclass(found, PartConfig):
            return found.part if "part" in vars(found) else None
        if isinstance(found, Part) or (isinstance(found, type) and issubclass(found, Part)):
            return found
    return None


def _role(owner: Part | type[Part], frames: list[FrameType]) -> str | None:
    """The role that a part has in the model of these frames; None if it has none."""
    for frame in frames:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Builder) and "role" in frame.f_locals:
            return str(frame.f_locals["role"])
        # A model whose __init__ has not called its base class has no modules yet.
        if isinstance(caller, Model) and "_modules" in vars(caller) and owner is not caller:
            for name, module in caller.named_modules():
                if module is owner:
                    return str(name)
    return None


def place_of(error: BaseException, module: str) -> str:
    """The last line of `error`'s traceback in the package of a module, `file:line`; else its very last line."""
    package = _package(module)
    last = ""
    inside = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        last = f"{frame.f_code.co_filename}:{line}"
        if _package(str(frame.f_globals.get("__name__", ""))) == package:
            inside = last
    return inside or last
