"""A tensor that checkpoints hold and training does not change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StoredTensor"]


class StoredTensor(nn.Module):
    """A constant tensor of any shape, which moves with the module and is in its state_dict.

    Unlike a buffer, it is loaded in whatever shape it was saved, and averaged weights hold no copy of it.
    """

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        """Hold `value`."""
        super().__init__()
        self.register_buffer("value", value, persistent=False)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.value)

    def set(self, value: Tensor) -> None:
        """Hold another value, on the device of the last one."""
        self.value = value.to(self.value.device).contiguous()

    def get_extra_state(self) -> Tensor:
        """The value, for the state_dict."""
        return self.value

    @torch.no_grad()
    def set_extra_state(self, state: Tensor) -> None:
        """Take a copy of the value of a state_dict."""
        self.set(state.clone())
