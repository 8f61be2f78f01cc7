"""Parts of this process: classes and networks of a script or notebook, registered without a package."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from genprior.errors import PlanError, PluginError, RecipeError
from genprior.parts import Dataset, Part, PartConfig, Sizes
from genprior.parts.adapted import adapted
from genprior.parts.base import nested_settings
from genprior.recipe.load import Recipe
from genprior.registry import Origin, installed

__all__ = ["adapt", "refuse_workers", "register"]

P = TypeVar("P", bound=type[Part])
_COUNT = itertools.count(1)


def register(part: P) -> P:
    """Register a class as a part of this process, so that recipes can name it; also a decorator of the class.

    A class of the same kind and name that was registered before is replaced, as when a cell of a notebook runs again.
    Only this process has the part: worker processes (`jobs`) and other scripts do not, and a run folder can be read
    only where it is registered again.

    Args:
        part: derived from `genprior.Prior` or another base of parts, with a `name`.

    Returns:
        The class itself.

    Raises:
        NameTaken: an installed plugin has a part of this kind and name.
        PluginError: it is not a class of a part, or lacks a method.
    """
    return _registered(part, part)


def adapt(
    kind: str, make: Callable[[Sizes], nn.Module], *, name: str | None = None, sees_known: bool = False
) -> PartConfig:
    """Use a plain `torch.nn.Module` as an encoder, decoder or critic of this process, see `register`.

    Each run needs weights of its own, made under its seed, and a run folder has only weights. So it takes what makes
    the network, not a network.

    Args:
        kind: `encoder` (images [n, c, h, w] in [-1, 1] to codes [n, d]), `decoder` (codes to images) or `critic`
            (images or codes to logits [n] or [n, 1]).
        make: makes the network for the sizes, such as `lambda sizes: MyNetwork(sizes.code)`.
        name: the part's name in recipes; by default that of the function or class.
        sees_known: whether the network is called with the condition `known` [n, k] as a second argument.

    Returns:
        The settings of the part, for a recipe: `{"encoder": genprior.adapt("encoder", make)}`.

    Raises:
        NameTaken: an installed plugin has a part of this kind and name.
        PlanError: `make` is a network, or there is no such kind or name.
    """
    if isinstance(make, nn.Module) or not callable(make):
        given = f"the network {type(make).__name__}" if isinstance(make, nn.Module) else f"a {type(make).__name__}"
        raise PlanError(
            f'adapt("{kind}") was given {given}; give a function that makes it, such as lambda sizes: MyNetwork('
            "sizes.code), because each run starts from weights of its own seed, and a run folder holds weights only"
        )
    named = inspect.isfunction(make) or inspect.isclass(make)
    called = name or (make.__name__ if named else "")
    if not called.isidentifier():
        raise PlanError(f'adapt("{kind}") needs a name for the part, in letters and digits: name="my_{kind}"')
    module = make.__module__ if named else "__main__"
    part = adapted(kind, called, make, module=module, sees_known=sees_known)
    return _registered(part, make).Config()


def _registered(part: P, source: Any) -> P:
    if not (isinstance(part, type) and issubclass(part, Part)):
        raise PluginError(
            f"genprior.register takes a class of a part, and this is {part!r}: derive it from genprior.Prior, ..."
        )
    installed().put(
        part, Origin(f"this process: {part.kind} {part.name}", f"genprior.register, source {_key(source)}", True)
    )
    return part


def _key(source: Any) -> str:
    """A hash of the source text, by which cached results of another version of the class are not reused."""
    try:
        text = inspect.getsource(source)
    except (OSError, TypeError):  # typed at a prompt
        return f"unknown {next(_COUNT)}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def refuse_workers(recipe: Recipe, where: str = "in several processes", instead: str = "use jobs=1") -> None:
    """Refuse to train in other processes what only this process has: its parts, and images in its memory.

    Args:
        recipe: the rows.
        where: where they would be trained, for the message.
        instead: what to do, for the message.

    Raises:
        RecipeError: names them.
    """
    only: dict[str, None] = {}
    for plan in recipe.plans:
        dataset = plan.data.part
        if issubclass(dataset, Dataset) and dataset.only_here:
            only["the images, which are in its memory"] = None
        for part in (each.part for each in nested_settings(plan)):
            if installed().offers(part) and installed().origin(part).session:
                only[f"{part.kind} '{part.name}'"] = None
    if only:
        raise RecipeError(
            f"rows cannot be trained {where}, because only this one has {' and '.join(only)}; {instead}. "
            "A package with the parts, and an .npz with the images (data set 'arrays'), can be read by all processes"
        )
