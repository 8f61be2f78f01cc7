"""A check of priors with a component for each number of a one-hot condition."""

from __future__ import annotations

from genprior import PlanError, Sizes

__all__ = ["check_one_hot"]


def check_one_hot(prior: str, sizes: Sizes) -> None:
    """Refuse a condition that is not a one-hot, in a prior that takes the place of its 1 for a component.

    Args:
        prior: the prior's name, for the message.
        sizes: the sizes of the prior.

    Raises:
        PlanError: there is a condition, and it is not a one-hot.
    """
    if sizes.asked and not sizes.one_hot:
        raise PlanError(
            f"prior '{prior}' needs a one-hot as the condition, or none; the condition here has {sizes.asked} numbers "
            "and is not a one-hot: it is a sentence, several codes side by side, or another code. Use a prior that "
            "takes any condition ('code_generator', 'gaussian'), or a condition that is a one-hot (conditioner "
            "'label', or 'infogan' with one categorical code)"
        )
