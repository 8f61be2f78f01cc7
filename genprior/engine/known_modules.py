"""Modules by name whose tensors are looked up once for many steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

__all__ = ["KnownModules", "known"]


class KnownModules(dict[str, nn.Module]):
    """Modules by name; the parameters and the running statistics of each are looked up at their first use only.

    So a phase walks through no module. The tensors must be the same in all steps, as optimisers demand anyway: a module
    may change their values, but have no other ones. Whether a parameter is trained (`requires_grad`) may change.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        """Hold the modules; nothing is looked up yet."""
        super().__init__(modules)
        self._parameters: dict[str, list[nn.Parameter]] = {}
        self._statistics: dict[str, list[Tensor]] = {}

    def parameters_of(self, name: str) -> list[nn.Parameter]:
        """The parameters of a module that are trained."""
        if name not in self._parameters:
            self._parameters[name] = list(self[name].parameters())
        return [parameter for parameter in self._parameters[name] if parameter.requires_grad]

    def statistics_of(self, name: str) -> Sequence[Tensor]:
        """Buffers that a forward pass in training mode updates: of batch normalisation and spectral normalisation."""
        if name not in self._statistics:
            kinds = (nn.modules.batchnorm._BatchNorm, nn.utils.parametrize.ParametrizationList)
            layers = (layer for layer in self[name].modules() if isinstance(layer, kinds))
            self._statistics[name] = [buffer for layer in layers for buffer in layer.buffers()]
        return self._statistics[name]


def known(modules: Mapping[str, nn.Module]) -> KnownModules:
    """The modules themselves if their tensors are looked up once already, else so for what follows."""
    return modules if isinstance(modules, KnownModules) else KnownModules(modules)
