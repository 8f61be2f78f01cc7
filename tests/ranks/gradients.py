"""A phase with gradients of all kinds, of three modules and two losses, and what each rank sees."""

import torch
from torch import nn

from genprior.parts import Objectives, Phase


class Net(nn.Module):
    """A convolution, a layer on top, a parameter without a gradient, and one whose gradient is expanded."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.top = nn.Linear(3, 4)
        self.unused = nn.Parameter(torch.zeros(5))
        self.shift = nn.Parameter(torch.ones(4, 3))

    def forward(self, x):
        return self.top(self.convolution(x).relu().mean((2, 3))) + self.shift.sum()


class Tied(nn.Module):
    """Has the top layer of another network, and a layer of its own."""

    def __init__(self, top):
        super().__init__()
        self.top = top
        self.own = nn.Linear(4, 3)

    def forward(self, y):
        return self.top(self.own(y))


def modules():
    """Three modules, the same in every process: two share a layer, the third is in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = Net().to(memory_format=torch.channels_last)
        return {"net": net, "tied": Tied(net.top), "wide": nn.Linear(4, 2).double()}


def phase(made):
    """A phase whose first loss is that of two modules, and whose second one is that of the third."""

    def objectives(x):
        y = made["net"](x)
        loss = made["tied"](y).square().mean()
        return Objectives({"net": loss, "wide": made["wide"](y.double()).square().mean(), "tied": loss})

    return Phase("p", objectives)


def images(rank):
    """The slice of the batch that a rank sees."""
    return torch.randn(3 + rank, 2, 5, 5, generator=torch.Generator().manual_seed(rank))
