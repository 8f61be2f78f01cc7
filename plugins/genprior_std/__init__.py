"""The standard parts of genprior, registered by entry point like those of any plugin: one part per file."""

from genprior_std.parts import genprior_parts

__all__ = ["genprior_parts"]
