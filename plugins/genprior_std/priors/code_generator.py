"""The code generator: a prior that is learned."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import PartConfig, PlanError, Prior, PriorSpec, Sizes
from genprior_std.priors.gaussian import Gaussian

__all__ = ["CodeGenerator"]


class CodeGenerator(Prior):
    """A network that turns simple noise into codes: z_c = CG([s, z]), z ~ p(z), s = asked.

        [asked, noise] -> FC 2n, BN, ReLU -> FC d, BN        n = width of asked + noise

    Codes are [n, d]. Because the output is batch-normalised without an activation, the location and scale of each
    number of a code are learned. Draw many codes at once while training, and in evaluation mode otherwise: a batch of
    one condition would shift the statistics of the normalisation.

    Raises:
        PlanError: `noise_prior` borrows a module of the model, which noise cannot.

    Source: "Learning priors for adversarial autoencoders", section 3 and table 3.
    """

    name = "code_generator"

    class Config(PartConfig):
        """Settings of the code generator."""

        noise: int | None = Field(default=None, gt=0)
        """Width of the noise; the width of the code if not given."""
        noise_prior: PriorSpec = Gaussian.Config()
        """The distribution of the noise: any prior that borrows no module of the model."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the noise and the network."""
        super().__init__(config, sizes)
        simple = self.config.noise_prior
        simple.part.check_role("noise_prior")
        if borrowed := simple.part.borrows_of(simple):
            raise PlanError(
                f"prior '{self.name}' has noise_prior '{simple.name}', which borrows {', '.join(borrowed)} "
                "of the model; noise cannot borrow modules. Use a simple prior such as 'gaussian' or 'uniform'"
            )
        noise = self.config.noise or sizes.code
        self.noise_prior: Prior = simple.make(sizes._replace(code=noise, asked=0, one_hot=False))
        n = noise + sizes.asked
        self.network = nn.Sequential(
            nn.Linear(n, 2 * n),
            nn.BatchNorm1d(2 * n),
            nn.ReLU(),
            nn.Linear(2 * n, sizes.code),
            nn.BatchNorm1d(sizes.code),
        )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw noise for each row of `asked` [n, k] and map both to codes [n, d]."""
        noise = self.noise_prior.sample(asked[:, :0])
        z: Tensor = self.network(torch.cat([asked, noise], 1))
        return z
