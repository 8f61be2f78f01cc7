"""A Gaussian whose mean and variance a network computes from the condition `asked`."""

from __future__ import annotations

from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.layers.gated import GatedMlp, PosteriorHead
from genprior_std.layers.posterior import GaussianPosterior

__all__ = ["ConditionalGaussian"]


class ConditionalGaussian(DensityPrior):
    """A Gaussian whose mean and diagonal covariance a gated network computes from `asked`.

        p(z | asked) = N(z; m(asked), diag(exp(v(asked))))

    asked - 300 - 300 - m and v, with v in [-6, 2]; a gated layer is (W h + b) * sigmoid(V h + c). With the upper code
    z2 as `asked` it is p(z1 | z2) of the hierarchical VAE; both `sample` and `log_prob` are differentiable in `asked`.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 4 (p(z1 | z2)) and section 5 (300 units).
    """

    name = "conditional_gaussian"

    class Config(PartConfig):
        """Settings of the conditional Gaussian."""

        hidden: tuple[PositiveInt, ...] = Field(default=(300, 300), min_length=1)
        """Widths of the hidden layers."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: the sizes of codes and of the condition.

        Raises:
            PlanError: `asked` has width 0.
        """
        super().__init__(config, sizes)
        if not sizes.asked:
            raise PlanError(
                f"prior '{self.name}' needs a condition, from which it computes its mean and variance; here nothing "
                "is asked of new images. Use conditioner 'label' or 'infogan', or prior 'gaussian', which needs none"
            )
        self.layers = GatedMlp(sizes.asked, self.config.hidden)
        self.to_code = PosteriorHead(self.layers.width, sizes.code)

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = m + exp(v / 2) e [n, d] with e ~ N(0, I), one for each row of `asked` [n, k]."""
        return self._of(asked).rsample().to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density -(1/2) sum_j (log 2 pi + v_j + (z_j - m_j)^2 exp(-v_j)): [n] in nats for z [n, d]."""
        return self._of(asked).log_prob(z)

    def _of(self, asked: Tensor) -> GaussianPosterior:
        gaussian: GaussianPosterior = self.to_code(self.layers(asked, asked))
        return gaussian
