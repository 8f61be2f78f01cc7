"""The former place of `SingleCodeModel`."""

from genprior_std.models.single_code import SingleCodeModel as OneCode

__all__ = ["OneCode"]
