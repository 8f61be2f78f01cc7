"""The simulated second device: what torch allows between devices passes, and what it refuses is noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from genprior import Phase
from genprior.testing import ContractError, check_conditioner, check_encoder, check_game, check_model
from genprior.testing.devices import ELSEWHERE, SecondDevice, is_elsewhere, place_module

from .right_parts import Auto, LinearEncoder, Logistic, OneHot

NET = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LSTM(4, 4))
place_module(NET)
CONSTANT = torch.arange(3.0)


class Doubled(torch.autograd.Function):
    """A function with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        return 2 * slope


ALLOWED: dict[str, Callable[[Any], Any]] = {
    "network": lambda x: NET(x)[0],
    "noise like": torch.randn_like,
    "noise there": lambda x: torch.randn(5, 3, device=x.device, dtype=x.dtype) + x,
    "new": lambda x: x.new_zeros(5, 3) + x,
    "moved": lambda x: CONSTANT.to(x.device) + x,
    "moved as another": lambda x: CONSTANT.to(x) + x,
    "a number of the CPU": lambda x: x * torch.tensor(2.0),
    "an index of the CPU": lambda x: x[torch.tensor([0, 2])],
    "there and back": lambda x: x.cpu().to(x.device),
    "Normal": lambda x: torch.distributions.Normal(x, 1.0).rsample(),
    "Categorical": lambda x: torch.distributions.Categorical(logits=x).sample(),
    "MultivariateNormal": lambda x: torch.distributions.MultivariateNormal(x, torch.eye(3, device=x.device)).rsample(),
    "one-hot": lambda x: nn.functional.one_hot(x.argmax(1), 3),
    "a gradient": lambda x: torch.autograd.grad(NET[0](x).sum(), NET[0].weight)[0],
    "a function of its own": lambda x: Doubled.apply(NET[0](x)),
    "in place": lambda x: x.clone().mul_(2).clamp_(0),
    "assigned": lambda x: x.clone().index_fill_(1, torch.tensor([0], device=x.device), 1.0),
    "a maximum": lambda x: x.max(1).values,
    "values read": lambda x: x if float(x.sum()) < 1e9 else None,
    "vmap": lambda x: torch.vmap(lambda row: row * NET[0].weight[0])(x),
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    "a constant": lambda x: x * CONSTANT,
    "noise here": lambda x: x + torch.randn(5, 3),
    "a row of the CPU": lambda x: torch.eye(3)[x.argmax(1)],
    "linear": lambda x: nn.functional.linear(x, torch.ones(2, 3)),
    "stacked": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "where": lambda x: torch.where(x > 0, x, torch.zeros(5, 3)),
    "a loss": lambda x: nn.functional.mse_loss(x, torch.zeros(5, 3)),
    "left on the CPU": lambda x: torch.zeros(5),
    "brought to the CPU": lambda x: x.cpu(),
    "explicitly on the CPU": lambda x: x + torch.zeros(5, 3, device="cpu"),
}


def wrong(use: Callable[[Any], Any]) -> str:
    with SecondDevice() as second:
        x = torch.ones(5, 3).to(ELSEWHERE)
        assert x.device == ELSEWHERE
        return second.wrong(use(x))


@pytest.mark.parametrize("what", ALLOWED)
def test_what_works_on_a_gpu_passes(what: str) -> None:
    assert wrong(ALLOWED[what]) == ""


@pytest.mark.parametrize("what", REFUSED)
def test_what_fails_on_a_gpu_is_noted(what: str) -> None:
    assert "CPU" in wrong(REFUSED[what]) or "on cpu" in wrong(REFUSED[what])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("what", [*ALLOWED, *REFUSED])
def test_cuda_decides_in_the_same_way(what: str) -> None:
    net = NET.to("cuda")
    try:
        result = (ALLOWED | REFUSED)[what](torch.ones(5, 3, device="cuda"))
        assert (what in ALLOWED) == (result.device.type == "cuda")
    except RuntimeError as error:
        assert what in REFUSED and "device" in str(error)
    finally:
        net.to("cpu")


def test_nothing_is_left_behind() -> None:
    x = torch.ones(3)
    with SecondDevice():
        y = x.to(ELSEWHERE)
    assert not is_elsewhere(x) and is_elsewhere(y)
    assert x.device.type == y.device.type == "cpu" and torch.equal(x, y)


# ---------------------------------------------------------------------------------------------------------------------
# Each kind with tensors
# ---------------------------------------------------------------------------------------------------------------------


def drawn_on_the_cpu(self: Any, like: Any) -> Any:
    return OneHot.rows(self, torch.randint(3, (len(like),)), like.dtype)


def scaled_loss(self: Any, critic: Any, real: Any, *fakes: Any) -> Any:
    return (
        Logistic.generator_loss(self, critic, real, *fakes) * torch.ones(1)[0:1].sum()
        + 0 * (torch.ones(3) * fakes[0][0]).sum()
    )


def scaled_codes(self: Any, x: Any, known: Any) -> Any:
    return type(LinearEncoder.forward(self, x, known))(self.layer(x.flatten(1)) * torch.ones(2, dtype=x.dtype))


def with_a_constant(self: Any, batch: Any) -> Any:
    objectives = Auto.by_pixels(self, batch)
    for name, loss in objectives.losses.items():
        objectives.losses[name] = loss + 0 * (batch.x * torch.ones(16)).sum()
    return objectives


@pytest.mark.parametrize(
    ("check", "base", "changes"),
    [
        (check_encoder, LinearEncoder, {"forward": scaled_codes}),
        (lambda part: check_conditioner(part, labels=True, one_hot=True), OneHot, {"draw": drawn_on_the_cpu}),
        (check_game, Logistic, {"generator_loss": scaled_loss}),
        (
            lambda part: check_model(part.Config()),
            Auto,
            {
                "by_pixels": with_a_constant,
                "phases": lambda self: (Phase("reconstruct", self.by_pixels), Phase("regularise", self.regularise)),
            },
        ),
    ],
    ids=["encoder", "conditioner", "game", "model"],
)
def test_a_tensor_that_does_not_move_is_found(check: Any, base: type, changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError) as caught:
        check(type("Broken", (base,), {**changes, "name": "broken"}))
    assert "on another device" in str(caught.value) and "register_buffer" in str(caught.value)
