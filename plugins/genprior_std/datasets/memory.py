"""Images that Python passed."""

from __future__ import annotations

from genprior import MemoryDataset

__all__ = ["Memory"]


class Memory(MemoryDataset):
    """Images that were passed in Python, with `genprior.in_memory`; only their hash is in the recipe.

    Another process cannot train on them, nor measure scores that need real images, unless it passes them again.
    """

    name = "memory"
