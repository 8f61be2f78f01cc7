"""Takes the tensors of a checkpoint into modules and optimisers, and refuses those of another form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.errors import CheckpointError

__all__ = [
    "SizesOfCheckpoint",
    "load_weights",
    "optimiser_scalars",
    "optimiser_tensors",
    "refuse_other_form",
    "restore_optimiser",
]


_ALWAYS_MADE = 2**26
"""Numbers of a tensor that may be made whatever a checkpoint holds: 256 MiB in float32."""
_TIMES_OF_ALL = 16
"""How many times as many numbers as a whole checkpoint has a tensor of its model may have, such as a buffer."""


class SizesOfCheckpoint(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses, inside a `with` block that builds the model of a checkpoint, tensors that cannot be that model's.

    Weights are compared with the checkpoint's once they are made; a recipe that was altered can ask for more of them
    than there is memory, or than are drawn in minutes.
    """

    def __init__(self, tensors: Mapping[str, Tensor], checkpoint: object) -> None:
        """Set the tensors of the checkpoint, and its name for messages."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._numbers = sum(tensor.numel() for tensor in tensors.values())
        self._checkpoint = checkpoint

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Look at the size that a factory such as `torch.empty` is given, which is its first argument.

        Raises:
            CheckpointError: it is too large.
        """
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if size and all(isinstance(each, int) for each in size):
            if math.prod(size) > max(_ALWAYS_MADE, _TIMES_OF_ALL * self._numbers):
                raise CheckpointError(
                    f"the checkpoint {self._checkpoint} does not fit recipe.toml, whose model has a tensor of "
                    f"{list(size)}: the whole checkpoint has {self._numbers:,} numbers. One of the two was altered; "
                    "restore them, or train anew with another --out"
                )
        return func(*args, **(kwargs or {}))


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the weights of a module by name, of the same shapes and dtypes: torch alone would round or cut numbers.

    Raises:
        RuntimeError: names or shapes differ.
        TypeError: a dtype differs.
    """
    for name, own in (*module.named_parameters(), *module.named_buffers()):
        if name in tensors and tensors[name].shape == own.shape:
            refuse_other_form(name, tensors[name], own)
    module.load_state_dict(tensors)


def refuse_other_form(name: str, tensor: Tensor, own: Tensor) -> None:
    """Refuse a tensor of another shape or dtype than that which it is to replace.

    Raises:
        TypeError: says which.
    """
    if tensor.shape != own.shape or tensor.dtype != own.dtype:
        has, needed = (f"{str(each.dtype).removeprefix('torch.')} {list(each.shape)}" for each in (tensor, own))
        raise TypeError(f"{name} is {has}, and the model has {needed}")


def optimiser_tensors(optimiser: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of an optimiser's state of a module's parameters, by parameter name and state name."""
    return {name: value for name, value in _state_of(optimiser, module) if isinstance(value, Tensor)}


def optimiser_scalars(optimiser: torch.optim.Optimizer, module: nn.Module) -> dict[str, bool | int | float | str]:
    """What an optimiser's state holds beside tensors, by parameter name and state name."""
    scalars = (bool, int, float, str)
    return {name: value for name, value in _state_of(optimiser, module) if isinstance(value, scalars)}


def _state_of(optimiser: torch.optim.Optimizer, module: nn.Module) -> Iterator[tuple[str, Any]]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    for parameter, state in optimiser.state.items():
        if parameter in names:  # others are of another module, which the optimiser moves too
            for key, value in state.items():
                yield f"{names[parameter]}/{key}", value


@torch.no_grad()
def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    scalars: Mapping[str, bool | int | float | str] | None = None,
) -> None:
    """Load into an optimiser the state that `optimiser_tensors` and `optimiser_scalars` returned.

    Args:
        optimiser: what it holds is replaced.
        parameters: all of its parameters, by their names.
        tensors: the tensors, by parameter name and state name.
        scalars: the numbers, booleans and texts, by parameter name and state name.

    Raises:
        KeyError: it is of another parameter.
        TypeError: a tensor cannot be a moment of its parameter.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
    # A state_dict numbers parameters in the order of the groups, which need not be that of the module.
    numbered = enumerate(each for group in optimiser.param_groups for each in group["params"])
    order = {names[parameter]: (index, parameter) for index, parameter in numbered}
    fused = {names[each] for group in optimiser.param_groups if group.get("fused") for each in group["params"]}
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **(scalars or {})}.items():
        role, _, key = name.rpartition("/")
        index, parameter = order[role]
        if isinstance(value, Tensor):
            _refuse_other_moments(name, value, parameter, fused=role in fused)
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            # Files hold tensors in the order of their indices. A fused step goes through parameter and moments in the
            # order of memory, and takes another element's moments where theirs is not the parameter's (channels last).
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(index, {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _refuse_other_moments(name: str, value: Tensor, parameter: Tensor, *, fused: bool) -> None:
    """Refuse a state that is no number for each element of a parameter, where the optimiser does not look at that.

    The fused steps of torch read and write as many elements as the parameter has, whatever the size of the state.

    Raises:
        TypeError: says which.
    """
    wrong = fused and value.ndim > 0 and (value.shape != parameter.shape or not value.is_floating_point())
    if wrong or value.is_complex() != parameter.is_complex():
        has, needed = (f"{str(each.dtype).removeprefix('torch.')} {list(each.shape)}" for each in (value, parameter))
        raise TypeError(f"the moments {name} are {has}, and the parameter is {needed}")
