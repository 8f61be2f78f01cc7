"""Seeds for every purpose, derived from (run seed, purpose), so that no draw depends on earlier draws."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator

import torch

__all__ = ["derive", "reseed", "seeded"]


def derive(*key: object) -> int:
    """A 63-bit seed, a function of all items of `key`."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def reseed(*key: object) -> None:
    """Seed torch's generators on all devices with the seed of `key`."""
    if _has_accelerator():
        torch.manual_seed(derive(*key))
    else:
        # torch.manual_seed also queues the seeding of later devices, which takes longer than making a small layer.
        torch.default_generator.manual_seed(derive(*key))


@functools.cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available() or torch.cuda.is_available()


@contextlib.contextmanager
def seeded(*key: object) -> Iterator[None]:
    """Seed torch's generators with the seed of `key` inside the block, and restore their state after it."""
    with torch.random.fork_rng():
        reseed(*key)
        yield
