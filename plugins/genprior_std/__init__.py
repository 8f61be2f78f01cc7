"""The standard parts of genprior, found by entry point like anyone's: one part a file."""

from genprior_std.parts import genprior_parts

__all__ = ["genprior_parts"]
