"""The fixture of the contract tests: makes a part with the modules that it borrows, and checks any module part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.parts import Borrowed, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.capabilities import check_capabilities
from genprior.testing.devices import ELSEWHERE, SecondDevice, place_module
from genprior.testing.edges import check_finite_at_edges
from genprior.testing.lent import LentCritic, LentEncoder
from genprior.testing.report import Contract, ContractError, describe, dtype_name
from genprior.testing.settings import check_config, setting_of

__all__ = ["ONE_OWNER", "Fixture", "begin"]

ONE_OWNER = "each parameter has one owner: a borrowed module is no child, and is in no state_dict but its owner's"


class Fixture:
    """Makes instances of one part, and lends them modules.

    It has an encoder with a Gaussian posterior and an image critic with features to lend; others must be given.
    """

    def __init__(
        self, contract: Contract, config: PartConfig, sizes: Sizes, lend: Mapping[str, nn.Module] | None
    ) -> None:
        """Collect the modules to lend.

        Raises:
            ContractError: the part borrows a role for which there is no module.
        """
        self._contract = contract
        self._config = config
        self.sizes = sizes
        self.prepare: Callable[[Any, torch.dtype], None] | None = None
        """Called with each part that is made and its dtype, under the seed of the part."""
        given = dict(lend or {})
        with seeded("testing", "lent"):
            available: dict[str, nn.Module] = {"encoder": LentEncoder(sizes), "image_critic": LentCritic(sizes)}
        absent = [role for role in config.part.borrows_of(config) if role not in {**available, **given}]
        if absent:
            raise ContractError(
                f"{config.part.kind} '{config.part.name}' borrows '{absent[0]}', and this check lends "
                f"{', '.join(available)} only. Pass a module: lend={{'{absent[0]}': module}}"
            )
        self.dtype = torch.float64
        """The dtype of the part that was made last."""
        self.lent = {role: {**available, **given}[role] for role in config.part.borrows_of(config)}

    def make(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
        """The part with weights drawn under `seed`, it and the lent modules in `dtype`; None where making it fails."""
        self.dtype = dtype
        for module in self.lent.values():
            module.to(dtype=dtype)

        def build() -> Any:
            with seeded("testing", seed):
                made = self._config.make(self.sizes, **{role: Borrowed(module) for role, module in self.lent.items()})
            made = made.to(dtype=dtype)
            if self.prepare is not None:
                with seeded("testing", "prepare", seed):
                    self.prepare(made, dtype)
            return made

        return self._contract.call(f"{self._config.part.__qualname__}(config, sizes)", build, "a part can be made")

    def check_ownership(self, part: nn.Module) -> None:
        """Each parameter has one owner: nothing that was lent is found inside `part`."""
        inside = {id(module) for module in part.modules()} | {id(p) for p in part.parameters()}
        for role, module in self.lent.items():
            owned = [m for m in module.modules() if id(m) in inside] + [
                p for p in module.parameters() if id(p) in inside
            ]
            self._contract.require(
                not owned,
                f"made with the borrowed module '{role}'",
                f"the part owns {len(owned)} of its modules and parameters",
                ONE_OWNER,
                f"keep the `Borrowed` object that __init__ is given (self.{role} = {role}) and call it; "
                "never store the module inside it",
            )

    def check_state(self, called: str, use: Callable[[Any], Any]) -> None:
        """A state_dict loaded into another instance gives the same results, and evaluation changes no state.

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
        if not all(isinstance(result, Tensor) for result in results):
            return  # the checks of the result's form report it
        self._contract.require(
            results[0].shape == results[1].shape and torch.equal(results[0], results[1]),
            f"{called}, after its state_dict was loaded into another instance",
            "other numbers under the same seed",
            "all that a part has learned or drawn is in its state_dict, so that a checkpoint holds it",
            "make it an nn.Parameter, or a buffer with register_buffer(...) if it is not trained",
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
        """New tensors are made where the inputs are, and constants move with the part.

        This is checked on a simulated second device (see `SecondDevice`), and on CUDA where there is one.

        Args:
            called: what `use` does, for the report.
            use: computes tensors from the part and the device, to which it moves its inputs.
        """
        came, where = "", "another device"
        for training in (False, True):
            part = self.make()
            if part is None:
                return
            for module in (part.train(training), *self.lent.values()):
                place_module(module)
            with SecondDevice() as second, seeded("testing", "device"):
                try:
                    came = came or second.wrong(use(part, ELSEWHERE))
                except Exception:  # it does not work on the CPU in this way, which is not the device's fault
                    came = came or second.wrong(())
        if torch.cuda.is_available() and not came:
            came, where = self._wrong_on_cuda(use), "the device 'cuda'"
        self._contract.require(
            not came,
            f"{called} with the part and its inputs on {where}",
            came,
            "new tensors are made on the device of the inputs, and what a part holds moves with it, by part.to(device)",
            "make new tensors with device=..., and hold constants as buffers: "
            "self.register_buffer('name', tensor) in __init__, in place of self.name = tensor",
        )

    def _wrong_on_cuda(self, use: Callable[[Any, torch.device], Any]) -> str:
        """What fails on CUDA; empty if nothing does."""
        part, device = self.make(), torch.device("cuda")
        for module in (part, *self.lent.values()):
            module.to(device)
        try:
            value = use(part.eval(), device)
            return describe(value) if isinstance(value, Tensor) and value.device.type != device.type else ""
        except Exception as error:
            return f"{type(error).__name__}: {error}" if "same device" in str(error).lower() else ""
        finally:
            for module in self.lent.values():
                module.to("cpu")

    def check_edges(self, called: str, use: Callable[[Any], Any], what: str) -> None:
        """Results are finite also where `torch.rand` draws 0 or the largest number below 1.

        Args:
            called: what `use` does, for the report.
            use: computes tensors from the part, in the dtype of its parameters.
            what: the results in a word, such as `codes`.
        """
        for dtype, training in ((torch.float32, False), (torch.float32, True), (torch.float64, False)):
            part = self.make(dtype=dtype)
            if part is None or self._contract.failures:
                break
            part.train(training)
            check_finite_at_edges(self._contract, f"{called} in {dtype_name(dtype)}", lambda: use(part), what)  # noqa: B023
        self.make()  # brings lent modules back to float64

    def check_reached(self, called: str, part: nn.Module, outputs: list[Tensor]) -> None:
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
            "the result is differentiable in the part's own parameters",
            "take out detach(), no_grad() and .data on the way, draw with a reparameterisation, "
            "and remove unused parameters",
        )
        present = [gradient for gradient in gradients if gradient is not None]
        if present:
            self._contract.require(
                any(bool((gradient != 0).any()) for gradient in present),
                called,
                "all gradients of the part's parameters are exactly zero",
                "the result depends on the part's own parameters",
                "let the result use the parameters",
            )


def _weighted(output: Tensor) -> Tensor:
    """A weighted sum of all numbers of `output`; the weights differ, so that no symmetry hides a dependence."""
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype, device=output.device)
    return (output.flatten() * weights).sum() + output.square().sum()


def begin(config: PartConfig, sizes: Sizes, lend: Mapping[str, nn.Module] | None) -> tuple[Contract, Fixture]:
    """Start the report on a part: check its settings, and make a fixture for it.

    Args:
        config: the settings under test.
        sizes: the sizes to make it with.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: the part borrows a role for which there is no module.
    """
    contract = Contract(config.part, setting_of(config, sizes))
    check_config(contract, config)
    check_capabilities(contract, config.part)
    return contract, Fixture(contract, config, sizes, lend)
