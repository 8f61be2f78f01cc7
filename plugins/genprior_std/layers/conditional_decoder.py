"""Decoders that can be told a condition."""

from __future__ import annotations

from typing import Any

from genprior import Decoder

__all__ = ["ConditionalDecoder"]


class ConditionalDecoder(Decoder):
    """A decoder whose setting `conditional` says whether it is told what is known."""

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """As its setting says."""
        return bool(config.conditional)
