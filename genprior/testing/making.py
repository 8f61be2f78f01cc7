"""How the contract tests make a part, lend it what it borrows, and test what holds for every part that is a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from genprior.parts import Borrowed, Part, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.lent import LentCritic, LentEncoder
from genprior.testing.report import Contract, ContractError, describe

__all__ = [
    "ONE_OWNER",
    "Workshop",
    "check_config",
    "config_of",
    "one_hot",
    "setting_of",
]

ONE_OWNER = "each parameter has one owner: a borrowed module is no child, and is in no state_dict but its owner's"


def config_of(part: PartConfig | type[Part], base: type[Part]) -> PartConfig:
    """The settings to test: those given, or the defaults of the class given.

    Raises:
        ContractError: it is not a part of this kind, has no name, is abstract, or has settings without a default.
    """
    found = part.part if isinstance(part, PartConfig) and hasattr(type(part), "part") else part
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ContractError(
            f"a {base.kind} is needed here: a class derived from genprior.{base.__name__}, or its Config(...). "
            f"This is {describe(part)}. Derive your class from genprior.{base.__name__}, and pass it or its settings."
        )
    label = f"{found.__module__}.{found.__qualname__}"
    if not found.name:
        raise ContractError(f'{label} has no name, so no recipe can call it: add `name = "..."` to the class body.')
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ContractError(f"{found.kind} '{found.name}' ({label}) lacks {', '.join(missing)}: write these methods.")
    if isinstance(part, PartConfig):
        return part
    try:
        return found.Config()
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise ContractError(
            f"{found.kind} '{found.name}' ({label}) has settings without a default: {fields}. "
            f"Pass the settings instead of the class: {found.__qualname__}.Config({fields}=...)"
        ) from error


def setting_of(config: PartConfig, sizes: Sizes) -> str:
    """The sizes and settings that a part was made with, for a headline."""
    c, h, w = sizes.image
    return f"image [{c}, {h}, {w}], code {sizes.code}, known {sizes.known}, asked {sizes.asked}, and {config!r}"


def one_hot(n: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """One-hot rows [n, width] that go through all columns in turn; [n, 0] for width 0."""
    return torch.eye(width, dtype=dtype)[torch.arange(n) % width] if width else torch.zeros(n, 0, dtype=dtype)


class Workshop:
    """Makes one part again and again, with modules to lend it.

    An encoder with a Gaussian posterior and an image critic with features are at hand; others must be given.
    """

    def __init__(
        self, contract: Contract, config: PartConfig, sizes: Sizes, lend: Mapping[str, nn.Module] | None
    ) -> None:
        """Check that all that the part borrows can be lent.

        Raises:
            ContractError: it borrows a role that nobody lends.
        """
        self._contract = contract
        self._config = config
        self.sizes = sizes
        given = dict(lend or {})
        with seeded("testing", "lent"):
            at_hand: dict[str, nn.Module] = {"encoder": LentEncoder(sizes), "image_critic": LentCritic(sizes)}
        absent = [role for role in config.part.borrows if role not in {**at_hand, **given}]
        if absent:
            raise ContractError(
                f"{config.part.kind} '{config.part.name}' borrows '{absent[0]}', and this check lends "
                f"{', '.join(at_hand)} alone. Give it one: lend={{'{absent[0]}': module}}"
            )
        self.lent = {role: {**at_hand, **given}[role] for role in config.part.borrows}

    def make(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
        """The part, with weights drawn under `seed`, in `dtype` as are the modules lent; None where it fails."""
        for module in self.lent.values():
            module.to(dtype=dtype)

        def build() -> Any:
            with seeded("testing", seed):
                made = self._config.make(self.sizes, **{role: Borrowed(module) for role, module in self.lent.items()})
            return made.to(dtype=dtype)

        return self._contract.call(f"{self._config.part.__qualname__}(config, sizes)", build, "a part can be made")

    def check_ownership(self, part: nn.Module) -> None:
        """Each parameter has one owner: nothing that was lent is found inside `part`."""
        inside = {id(module) for module in part.modules()} | {id(p) for p in part.parameters()}
        for role, module in self.lent.items():
            taken = [m for m in module.modules() if id(m) in inside] + [
                p for p in module.parameters() if id(p) in inside
            ]
            self._contract.require(
                not taken,
                f"made with the borrowed module '{role}'",
                f"the part owns {len(taken)} of its modules and parameters",
                ONE_OWNER,
                f"keep the `Borrowed` object that __init__ is given (self.{role} = {role}) and call it; "
                "never store what is inside it",
            )

    def check_state(self, called: str, use: Callable[[Any], Any]) -> None:
        """A state_dict loaded into a part made under another seed makes it behave alike, and use changes nothing.

        Args:
            called: what `use` does, for the report.
            use: computes a tensor from the part in evaluation mode.
        """
        first, second = self.make(0), self.make(1)
        if first is None or second is None:
            return
        first.eval(), second.eval()
        state = {key: value.clone() for key, value in first.state_dict().items()}
        self._contract.call(
            "load_state_dict(state_dict())", lambda: second.load_state_dict(state), "a state can be loaded"
        )
        results = []
        for part in (first, second):
            with seeded("testing", "state"), torch.no_grad():
                results.append(self._contract.call(called, lambda part=part: use(part)))  # type: ignore[misc]
        if any(result is None for result in results):
            return
        self._contract.require(
            results[0].shape == results[1].shape and torch.equal(results[0], results[1]),
            f"{called}, after its state_dict was loaded into another instance",
            "other numbers under the same seed",
            "all that a part has learned or drawn is in its state_dict, so that a checkpoint holds it",
            "make it an nn.Parameter, or register_buffer(...) what does not learn",
        )
        after = first.state_dict()
        moved = [key for key, value in state.items() if not torch.equal(value, after[key])]
        self._contract.require(
            not moved,
            f"{called} in evaluation mode",
            f"it changed {', '.join(moved)}",
            "in evaluation mode a part leaves its own state as it is",
            "change buffers only where self.training is true",
        )

    def check_device(self, called: str, use: Callable[[Any, torch.device], Any]) -> None:
        """New tensors are made where the inputs are: on torch's meta device, and on CUDA where there is one.

        A part that the meta device cannot run (because it looks at numbers) is not judged by it.
        """
        # Moving a lent module to the meta device would lose its numbers for the checks that follow.
        kinds = (["cuda"] if torch.cuda.is_available() else []) + ([] if self.lent else ["meta"])
        for kind in kinds:
            part = self.make()
            if part is None:
                return
            device = torch.device(kind)
            for module in (part, *self.lent.values()):
                module.to(device)
            came = ""
            try:
                value = use(part.eval(), device)
                if isinstance(value, Tensor) and value.device.type != kind:
                    came = describe(value)
            except Exception as error:
                text = str(error).lower()
                came = f"{type(error).__name__}: {error}" if "same device" in text or "on device meta" in text else ""
            finally:
                for module in self.lent.values():
                    module.to("cpu")
            self._contract.require(
                not came,
                f"{called} with inputs on the device '{kind}'",
                came,
                "new tensors are made on the device of the inputs",
                "make new tensors with device=..., and register_buffer(...) what the part holds",
            )

    def check_reached(self, called: str, part: nn.Module, outputs: list[Tensor], *, some: bool = True) -> None:
        """Every parameter of `part` gets a gradient from `outputs`, and not all gradients are zero."""
        named = [(name, p) for name, p in part.named_parameters() if p.requires_grad]
        if not named:
            return
        loss = torch.stack([_weighted(output) for output in outputs]).sum()
        gradients: tuple[Tensor | None, ...] = (None,) * len(named)
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, [p for _, p in named], retain_graph=True, allow_unused=True)
        missing = [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]
        self._contract.require(
            not missing,
            called,
            f"no gradient reaches {', '.join(missing)}",
            "what is returned is differentiable in the part's own parameters",
            "take out detach(), no_grad() and .data on the way, draw with a reparameterisation, "
            "and drop parameters that nothing uses",
        )
        found = [gradient for gradient in gradients if gradient is not None]
        if some and found:
            self._contract.require(
                any(bool((gradient != 0).any()) for gradient in found),
                called,
                "all gradients of the part's parameters are exactly zero",
                "what is returned depends on the part's own parameters",
                "let the parameters enter what is returned",
            )


def _weighted(output: Tensor) -> Tensor:
    """A scalar that depends on each number of `output` with a weight of its own, so that no symmetry hides it."""
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype, device=output.device)
    return (output.flatten() * weights).sum() + output.square().sum()


# ---------------------------------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------------------------------


def check_config(contract: Contract, config: PartConfig) -> None:
    """Settings are written into the run folder and into worker processes as TOML, so they must come back alike."""
    called = f"{type(config).__qualname__}.model_validate(config.model_dump(mode='json'))"
    table = contract.call("config.model_dump(mode='json')", lambda: config.model_dump(mode="json", exclude_none=True))
    if table is None:
        return
    again = contract.call(
        called,
        lambda: type(config).model_validate(table, context={"registry": _PartsOf(config)}),
        "settings can be written to a file and read again",
    )
    if again is not None:
        contract.require(
            again == config,
            called,
            f"{again!r} in place of {config!r}",
            "settings that are written to a file and read again are the same",
            "use fields that JSON can hold: numbers, texts, booleans, tuples, nested models and parts",
        )


class _PartsOf:
    """A registry of the parts that a configuration nests, installed or not."""

    def __init__(self, config: PartConfig) -> None:
        self._parts = {(each.part.kind, each.part.name): each.part for each in _nested(config)}

    def configure(self, kind: str, table: Any, context: Mapping[str, Any] | None = None) -> PartConfig:
        """The settings of the nested part that `table` names."""
        return self._parts[kind, table["name"]].Config.model_validate(table, context={"registry": self})


def _nested(value: Any) -> Iterator[PartConfig]:
    if isinstance(value, PartConfig):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _nested(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _nested(each)
