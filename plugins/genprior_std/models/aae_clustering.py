"""The adversarial autoencoder that sorts images into clusters without labels.

Makhzani et al. 2015 ("Adversarial autoencoders", section 6): the code is a category, which becomes the cluster, and a
small style, which holds what differs within it.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from genprior import DataInfo
from genprior_std.models.categorical_aae import CategoricalAutoencoder

__all__ = ["ClusteringAutoencoder"]


class ClusteringAutoencoder(CategoricalAutoencoder):
    """AAE that finds K clusters: its code is a category of K and a style.

    All of it is as `CategoricalAutoencoder` says, including where it departs from the paper's phases. The number of
    clusters is chosen larger than that of the classes one hopes to find, 16 or 30 for the ten digits; the head of a
    cluster is the image of its one-hot and z = 0.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 6.
    """

    name = "aae_clustering"

    class Config(CategoricalAutoencoder.Config):
        """The parts of an adversarial autoencoder that clusters."""

        categories: int = Field(16, ge=2)
        """K, how many clusters there are."""

    def count_categories(self, config: Any, info: DataInfo) -> int:
        """K, as the settings say."""
        return int(config.categories)
