"""Parts made from functions that return plain networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts.base import ModulePart
from genprior.parts.networks import Critic, Decoder, Encoder, PointPosterior, Posterior
from genprior.parts.values import Sizes

__all__ = ["adapted"]

Make = Callable[[Sizes], nn.Module]


def adapted(kind: str, name: str, make: Make, *, module: str, sees_known: bool) -> type[ModulePart]:
    """A part class whose network is `make(sizes)`, made anew, under the seed of its role, for every run.

    Args:
        kind: `encoder` (a network from x [n, c, h, w] to codes [n, d], or to a `Posterior`), `decoder` (from codes
            [n, d] to images [n, c, h, w] in [-1, 1]) or `critic` (to logits [n] or [n, 1]).
        name: the part's name in recipes.
        make: makes the network for the sizes.
        module: the module of `make`, where errors are looked for.
        sees_known: whether the network is called with `known` [n, k] as a second argument.

    Raises:
        PlanError: no network of this kind can be adapted.
    """
    if kind not in _BASES:
        raise PlanError(f"no {kind} can be made from a network; possible: {', '.join(_BASES)}. Write a class instead")
    base, checked = _BASES[kind]

    def initialise(self: Any, config: Any, sizes: Sizes) -> None:
        ModulePart.__init__(self, config, sizes)
        network = make(sizes)
        if not isinstance(network, nn.Module):
            raise PlanError(
                f"{kind} '{name}': the function returned a {type(network).__name__}; it must return a torch.nn.Module"
            )
        self.network = network

    def forward(self: Any, x: Tensor, known: Tensor) -> Any:
        out = self.network(x, known) if sees_known else self.network(x)
        return checked(out, x, self.sizes, f"{kind} '{name}'")

    body = {
        "__doc__": f"A network that was adapted as {kind} '{name}'.",
        "__module__": module,
        "name": name,
        "__init__": initialise,
        "forward": forward,
        "sees_known": classmethod(lambda cls, config: sees_known),
    }
    made: type[ModulePart] = type(f"Adapted_{name}", (base,), body)
    return made


def _posterior(out: Any, x: Tensor, sizes: Sizes, what: str) -> Posterior:
    if isinstance(out, Posterior):
        return out
    return PointPosterior(_shaped(out, (len(x), sizes.code), what, "codes"))


def _images(out: Any, x: Tensor, sizes: Sizes, what: str) -> Tensor:
    return _shaped(out, (len(x), *sizes.image), what, "images")


def _logits(out: Any, x: Tensor, sizes: Sizes, what: str) -> Tensor:
    flat = out[:, 0] if isinstance(out, Tensor) and out.shape == (len(x), 1) else out
    return _shaped(flat, (len(x),), what, "logits")


def _shaped(out: Any, shape: tuple[int, ...], what: str, meant: str) -> Tensor:
    if not isinstance(out, Tensor) or out.shape != shape:
        got = list(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise PlanError(f"{what}: its network returned {got}; {meant} {list(shape)} are needed")
    return out


_BASES: dict[str, tuple[type[ModulePart], Callable[[Any, Tensor, Sizes, str], Any]]] = {
    "encoder": (Encoder, _posterior),
    "decoder": (Decoder, _images),
    "critic": (Critic, _logits),
}
