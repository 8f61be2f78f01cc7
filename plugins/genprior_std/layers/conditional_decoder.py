"""Decoders that can take a condition."""

from __future__ import annotations

from typing import Any

from genprior import Decoder

__all__ = ["ConditionalDecoder"]


class ConditionalDecoder(Decoder):
    """A decoder whose setting `conditional` says whether it takes `known` as an input."""

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether the setting `conditional` is on."""
        return bool(config.conditional)
