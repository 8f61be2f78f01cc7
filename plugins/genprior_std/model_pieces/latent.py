"""Base class of models with one code whose densities p(z), p(x | z) and q(z | x) are known."""

from __future__ import annotations

from genprior import Batch, Inference
from genprior_std.model_pieces.code_inference import CodeInference
from genprior_std.model_pieces.reconstruction_likelihood import ReconstructionLikelihood
from genprior_std.model_pieces.single_code import SingleCodeModel

__all__ = ["LatentModel"]


class LatentModel(SingleCodeModel, ReconstructionLikelihood):
    """A model of one code with densities: p(x, z) = p(z) p(x | z), with q(z | x) beside it."""

    def infer(self, batch: Batch) -> Inference:
        """q(z | x) of each image, with p(z) and p(x | z).

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        return CodeInference(self, batch)
