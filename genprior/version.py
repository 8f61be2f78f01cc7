"""The version of genprior; importing it imports nothing else."""

__all__ = ["__version__"]

__version__ = "0.2.0"
