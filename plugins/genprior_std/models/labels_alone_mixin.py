"""What a model does not show or score of a decoder that was never trained, where labels alone are learnt from."""

from __future__ import annotations

from torch import Tensor

from genprior import Batch, Condition, Model

__all__ = ["LabelsAlone"]


class LabelsAlone(Model):
    """A model whose setting `labels_alone` makes it the baseline that learns from nothing but the labelled images.

    It stands before the model that it is mixed into: what that one answers by its decoder is None then.
    """

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """As of the whole model; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().reconstruct(batch)

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """As of the whole model; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().decode(z, condition)

    def cluster_heads(self) -> Tensor | None:
        """As of the whole model; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().cluster_heads()

    def log_likelihood(self, batch: Batch) -> Tensor | None:
        """As of the whole model; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().log_likelihood(batch)

    def log_likelihood_given_code(self, batch: Batch) -> Tensor | None:
        """As of the whole model; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().log_likelihood_given_code(batch)
