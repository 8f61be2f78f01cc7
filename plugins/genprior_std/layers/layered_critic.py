"""Critics that are a single chain of layers, with features, a trunk and a logit."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor, nn

from genprior import FeatureCritic, PlanError, did_you_mean
from genprior_std.layers.conditions import with_known, with_known_maps

__all__ = ["LayeredCritic"]


class LayeredCritic(FeatureCritic):
    """An image critic that is a chain: named layers, then a trunk, then a linear head.

    logit = head(to_trunk(layer_L(... layer_1(x))))

    A subclass makes the three modules, and has a setting `conditional`.
    """

    layers: nn.ModuleDict
    """From the image to the last map [n, c, h, w], or from flat images to [n, f], by name."""
    flat: ClassVar[bool] = False
    """Whether the layers take flat images [n, c h w]."""
    to_trunk: nn.Module
    """From the last map to the trunk [n, t]."""
    head: nn.Module
    """From the trunk to the logit [n, 1]."""

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether the setting `conditional` is on."""
        return bool(config.conditional)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The names of the layers, from the image on."""
        return tuple(self.layers)

    @property
    def trunk_width(self) -> int:
        """The input width of the head."""
        return cast(nn.Linear, self.head).in_features

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The map after the named layer, flattened: [n, f].

        Raises:
            PlanError: there is no such layer.
        """
        if layer not in self.layers:
            raise PlanError(
                f"critic '{self.name}' was asked for the features of layer '{layer}', which it does not have"
                f"{did_you_mean(layer, self.feature_layers)}"
            )
        return self._map(x, known, layer).flatten(1)

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """The input of the head: [n, t]."""
        trunk: Tensor = self.to_trunk(self._map(x, known, self.feature_layers[-1]))
        return trunk

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n] of images x [n, c, h, w] in [-1, 1] with known [n, k]."""
        logits: Tensor = self.head(self.trunk(x, known))
        return logits.squeeze(1)

    def _map(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The map after the named layer; no later one is computed."""
        x = x.flatten(1) if self.flat else x
        if self.config.conditional:
            x = with_known(x, known) if self.flat else with_known_maps(x, known)
        for name, module in self.layers.items():
            x = module(x)
            if name == layer:
                break
        return x
