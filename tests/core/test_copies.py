"""Copies of the buffers of a phase: the same values, each tensor for itself, in one operation for each dtype."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.engine import copies
from genprior.engine.copies import choose_into, copies_of, copy_into


class Operations(TorchDispatchMode):
    """Counts the operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_copies_are_equal_separate_and_keep_their_strides():
    conv = torch.rand(2, 3, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last)
    tensors = [torch.rand(5), torch.tensor(3), torch.rand(2, 3), conv, torch.zeros(0), torch.tensor([True, False])]
    copies = copies_of(tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        assert torch.equal(copy, tensor) and copy.dtype == tensor.dtype and copy.stride() == tensor.stride()
    for tensor in tensors:
        tensor.zero_()
    assert copies[1] == 3 and copies[0].any() and copies[3].all()
    copy_into(tensors, copies)
    assert all(torch.equal(copy, tensor) for copy, tensor in zip(copies, tensors, strict=True))
    assert copies_of([]) == []


def test_parameters_are_copied_without_a_graph():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    copy_into(list(layer.parameters()), list(other.parameters()))
    assert torch.equal(layer.weight, other.weight) and layer.weight.is_leaf
    assert not any(each.requires_grad for each in copies_of(list(layer.parameters())))


def test_the_buffers_of_many_layers_are_two_operations():
    buffers = [buffer for _ in range(9) for buffer in nn.BatchNorm2d(3).buffers()]
    copies = copies_of(buffers)
    with Operations() as counted:
        copy_into(buffers, copies)
    assert counted.names == ["_foreach_copy_", "_foreach_copy_"]  # running averages, and numbers of batches


@pytest.mark.parametrize("small", [0, 2**16])
@pytest.mark.parametrize("chosen", [True, False])
def test_chosen_values_are_those_of_where_for_each_tensor(chosen, small, monkeypatch):
    """Also where one of the two is not a number, in every shape, dtype and order of memory."""
    monkeypatch.setattr(copies, "SMALL", small)
    conv = torch.rand(2, 3, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last)
    tensors = [torch.rand(5), torch.tensor(3), torch.full((2, 3), torch.nan), conv, torch.zeros(0), torch.rand(7, 2).T]
    others = [
        torch.full((5,), torch.nan),
        torch.tensor(4),
        torch.rand(2, 3),
        conv + 1,
        torch.zeros(0),
        torch.rand(2, 7),
    ]
    expected = [torch.where(torch.tensor(chosen), new, old) for old, new in zip(tensors, others, strict=True)]
    strides = [each.stride() for each in tensors]
    choose_into(tensors, torch.tensor(chosen), others)
    for tensor, value, stride in zip(tensors, expected, strides, strict=True):
        assert torch.equal(tensor.nan_to_num(-1), value.nan_to_num(-1)) and tensor.stride() == stride


def test_a_choice_for_many_layers_is_made_together():
    buffers = [buffer for _ in range(9) for buffer in nn.BatchNorm2d(3).buffers()]
    before = copies_of(buffers)
    with Operations() as counted:
        choose_into(buffers, torch.tensor(True), before)
    assert counted.names.count("where") == counted.names.count("_foreach_copy_") == 2
