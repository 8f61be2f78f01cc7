"""Checks what parts return to a model, by the contract of their kind, so that a wrong value names its part."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from genprior.errors import PartFailed
from genprior.parts import (
    AutoregressiveDecoder,
    Condition,
    Conditioner,
    Critic,
    Decoder,
    DensityPosterior,
    DensityPrior,
    Encoder,
    EnergyPrior,
    FeatureCritic,
    Game,
    LeaveOneOutPrior,
    Model,
    ModulePart,
    Posterior,
    Prior,
    Reconstruction,
    Sizes,
    TextConditioner,
)
from genprior.registry import Registry, installed

__all__ = ["checking_returns"]

Shape = tuple[int | None, ...]
"""A shape, in which None is any number."""


class _Promise(NamedTuple):
    """What a method returns: a tensor of a shape, a `Condition`, or a `Posterior`."""

    base: type
    method: str
    what: str
    shape: Callable[[Sizes, Mapping[str, Any]], Shape | None] | None = None
    """From the part's sizes and the arguments: the shape; None where arguments are not as the contract has them."""
    kind: type = Tensor


def _rows_of(argument: str, dimensions: int | None = 2) -> Callable[[Sizes, Mapping[str, Any]], Shape | None]:
    """The shape [n], for n rows of a tensor argument."""

    def shape(sizes: Sizes, given: Mapping[str, Any]) -> Shape | None:
        value = given[argument]
        fits = isinstance(value, Tensor) and value.dim() and dimensions in (None, value.dim())
        return (len(value),) if fits else None

    return shape


def _and(rows: Callable[[Sizes, Mapping[str, Any]], Shape | None], *rest: int | None) -> Any:
    def shape(sizes: Sizes, given: Mapping[str, Any]) -> Shape | None:
        n = rows(sizes, given)
        return None if n is None else (*n, *rest)

    return shape


def _codes(sizes: Sizes, given: Mapping[str, Any]) -> Shape | None:
    n = _rows_of("asked")(sizes, given)
    return None if n is None else (*n, sizes.code)


def _images(sizes: Sizes, given: Mapping[str, Any]) -> Shape | None:
    n = _rows_of("z", None)(sizes, given)
    return None if n is None else (*n, *sizes.image)


def _scalar(sizes: Sizes, given: Mapping[str, Any]) -> Shape:
    return ()


PROMISES = (
    _Promise(Prior, "sample", "one code for each row of asked", _codes),
    _Promise(DensityPrior, "log_prob", "one log-density for each code", _rows_of("z")),
    _Promise(LeaveOneOutPrior, "log_prob_without", "one log-density for each code", _rows_of("z")),
    _Promise(EnergyPrior, "energy", "one energy for each code", _rows_of("z")),
    _Promise(Encoder, "forward", "a posterior over codes", kind=Posterior),
    _Promise(Decoder, "forward", "one image for each code", _images),
    _Promise(AutoregressiveDecoder, "log_prob", "one log-likelihood for each image", _rows_of("x", 4)),
    _Promise(Critic, "forward", "one logit for each row of x", _rows_of("x", None)),
    _Promise(FeatureCritic, "features", "one row of features for each image", _and(_rows_of("x", None), None)),
    _Promise(FeatureCritic, "trunk", "one row for each image", _and(_rows_of("x", None), None)),
    _Promise(Reconstruction, "forward", "one error for each image", _rows_of("x", None)),
    _Promise(Conditioner, "forward", "the condition of a batch", kind=Condition),
    _Promise(Conditioner, "draw", "the condition of new images", kind=Condition),
    _Promise(Conditioner, "of_label", "the condition of new images", kind=Condition),
    _Promise(TextConditioner, "of_text", "the condition of new images", kind=Condition),
    _Promise(Conditioner, "consistency", "one number for all images", _scalar),
    _Promise(Conditioner, "recognition", "one number for all images", _scalar),
    _Promise(Game, "critic_loss", "one number, the loss", _scalar),
    _Promise(Game, "generator_loss", "one number, the loss", _scalar),
)
"""The methods of parts that a model calls; those of models are the model's own."""

OF_POSTERIORS = (
    _Promise(Posterior, "rsample", "one code for each image"),
    _Promise(DensityPosterior, "log_prob", "one log-density for each code", _rows_of("z")),
)


@contextlib.contextmanager
def checking_returns(model: Model, registry: Registry | None = None) -> Iterator[None]:
    """Check in the `with` block what the model's parts return: its type, and the shape of a tensor.

    A wrong value would fail later, in code of the model, or not at all: [n, 1] in place of [n] is broadcast to [n, n].

    Args:
        model: the model, whose parts are called through their attributes inside the block.
        registry: the registry of the parts; the installed plugins by default.

    Raises:
        PartFailed: names the part, its plugin, the method, what it returned, and what is needed.
    """
    registry = registry or installed()
    with contextlib.ExitStack() as undone:
        for role, part in model.named_modules():
            if isinstance(part, ModulePart):
                named = f"{part.kind} '{part.name}'" + (f" ({role})" if role != part.kind else "")
                named += f" of {registry.origin(type(part))}" if registry.offers(type(part)) else ""
                for promise in PROMISES:
                    if isinstance(part, promise.base):
                        undone.callback(_watch(part, part.sizes, promise, named))
        yield


def _watch(owner: Any, sizes: Sizes, promise: _Promise, named: str) -> Callable[[], None]:
    """Check what a method of an object returns from now on; returns what undoes it."""
    name, own = promise.method, vars(owner)
    before, method = own.get(name), getattr(owner, name)
    signature = inspect.signature(getattr(promise.base, name))

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        value = method(*args, **kwargs)
        try:
            given = dict(signature.bind(owner, *args, **kwargs).arguments)
        except TypeError:  # called in a way of its own
            return value
        _check(value, sizes, promise, given, named, method)
        return value

    own[name] = checked

    def undo() -> None:
        if before is None:
            own.pop(name, None)
        else:
            own[name] = before

    return undo


def _check(value: Any, sizes: Sizes, promise: _Promise, given: dict[str, Any], named: str, method: Any) -> None:
    needed = _wrong(value, sizes, promise, given)
    if needed is not None:
        arguments = ", ".join(f"{key} {list(v.shape)}" for key, v in given.items() if isinstance(v, Tensor))
        raise PartFailed(
            f"{named} returned {_described(value)} from {promise.method}({arguments}), at {_place(method)}; it returns "
            f"{promise.what}, {needed}. {_advice(value)}"
        )
    if promise.kind is Posterior:
        rows = (len(given["x"]), sizes.code)
        for each in OF_POSTERIORS:
            # Classes with __slots__ cannot be watched.
            if isinstance(value, each.base) and type(value).__dictoffset__:
                of = each if each.shape else each._replace(shape=lambda *_: rows)
                _watch(value, sizes, of, f"the posterior {type(value).__name__} that {named} returned")


def _wrong(value: Any, sizes: Sizes, promise: _Promise, given: Mapping[str, Any]) -> str | None:
    """What is needed in place of a value that is wrong; None for a right one."""
    if promise.kind is Posterior:
        if not isinstance(value, Posterior):
            return "a genprior.Posterior"
        rows = len(given["x"])
        right = _fits(value.mean, (rows, sizes.code))
        return None if right else f"whose mean is a tensor [{rows}, {sizes.code}]"
    if promise.kind is Condition:
        right = isinstance(value, Condition) and _fits(value.known, (None, sizes.known))
        right = right and _fits(value.asked, (None, sizes.asked))
        return None if right else f"a genprior.Condition of known [n, {sizes.known}] and asked [n, {sizes.asked}]"
    shape = promise.shape(sizes, given) if promise.shape is not None else None
    if shape is None or _fits(value, shape):
        return None
    return f"a tensor [{', '.join('?' if size is None else str(size) for size in shape)}]"


def _fits(value: Any, shape: Shape) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dim() == len(shape)
        and all(needed in (None, size) for size, needed in zip(value.shape, shape, strict=True))
    )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, Condition):
        return f"a Condition of {_described(value.known)} and {_described(value.asked)}"
    if isinstance(value, Posterior):
        return f"the posterior {type(value).__name__}, whose mean is {_described(value.mean)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _advice(value: Any) -> str:
    if value is None:
        return "Return a value on every path"
    return "genprior.testing has a check of each kind of part, which finds more of the kind"


def _place(method: Any) -> str:
    code = inspect.unwrap(method).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
