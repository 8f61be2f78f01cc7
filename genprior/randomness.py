"""Where every random number comes from: a seed of (run seed, purpose), so that nothing depends on what came before."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator

import torch

__all__ = ["derive", "reseed", "seeded"]


def derive(*key: object) -> int:
    """A 63-bit seed that depends on all of `key` and on nothing else."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def reseed(*key: object) -> None:
    """Seed torch's generators on all devices from `key`."""
    if _has_an_accelerator():
        torch.manual_seed(derive(*key))
    else:
        # torch.manual_seed also prepares the seeding of devices that may come, which takes longer than a small layer.
        torch.default_generator.manual_seed(derive(*key))


@functools.cache
def _has_an_accelerator() -> bool:
    return torch.accelerator.is_available() or torch.cuda.is_available()


@contextlib.contextmanager
def seeded(*key: object) -> Iterator[None]:
    """Draw under a seed of `key` inside the block; the generators are as before after it."""
    with torch.random.fork_rng():
        reseed(*key)
        yield
