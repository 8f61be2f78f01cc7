"""The contract of a conditioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts import Batch, Condition, Conditioner, DataInfo, PartConfig, Sizes, Widths
from genprior.randomness import seeded
from genprior.testing.making import Workshop, check_config, config_of, setting_of
from genprior.testing.report import Contract, describe

__all__ = ["check_conditioner"]

N = 12


def check_conditioner(
    part: PartConfig | type[Conditioner],
    *,
    info: DataInfo | None = None,
    code: int = 2,
    labels: bool | None = None,
    one_hot: bool = False,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that a conditioner keeps its contract; see `genprior.Conditioner`.

    The widths that it announces are those of `forward`, `draw` and `of_label`; dtype and device follow the images;
    draws differ, and are a function of torch's seed; `of_label` tells classes apart and refuses a class that is not
    there with a PlanError, or refuses all; `consistency` is one finite number that reaches all own parameters.

    Args:
        part: the settings or the class.
        info: what it may know of the data; 8x8 images of three classes if not given.
        code: d, for parts that borrow an encoder.
        labels: True requires that it can be asked for a class, False that it refuses to; None takes either.
        one_hot: require that what is asked is one-hot, and that `of_label(y)` asks for column y.
        lend: modules for the roles that it borrows; an `encoder` and an `image_critic` are at hand.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Conditioner)
    data = info or DataInfo((1, 8, 8), ("circle", "square", "star"))
    contract = Contract(config.part, f"{data!r} and {config!r}")
    widths = contract.call(
        f"{config.part.__qualname__}.widths(config, {data!r})",
        lambda: config.part.widths(config, data),  # type: ignore[attr-defined]
        "a conditioner says its widths before any module exists",
    )
    if widths is None or not contract.require(
        isinstance(widths, Widths) and all(isinstance(w, int) and w >= 0 for w in widths),
        "widths(config, info)",
        describe(widths),
        "Widths(known=..., asked=...), whole numbers from 0 up",
        "return genprior.Widths(known=..., asked=...); 0 where there is nothing",
    ):
        return contract.finish()
    sizes = Sizes(data.image, code, widths.known, widths.asked)
    contract = Contract(config.part, setting_of(config, sizes))
    check_config(contract, config)
    workshop = Workshop(contract, config, sizes, lend)
    made = workshop.make()
    if made is not None:
        for dtype in (torch.float32, torch.float64):
            made = workshop.make(dtype=dtype)
            _check_conditions(contract, made, data, dtype, one_hot)
        _check_draws(contract, made, sizes)
        _check_labels(contract, made, data, labels, one_hot)
        _check_consistency(contract, workshop, data)
        workshop.check_ownership(made)
        like = torch.zeros(N, dtype=torch.float64)
        workshop.check_state(f"draw(like [{N}])", lambda part: torch.cat(part.draw(like), 1))
        workshop.check_device(f"draw(like [{N}])", lambda part, device: part.draw(like.to(device)).asked)
    contract.finish()


def _batch(data: DataInfo, dtype: torch.dtype = torch.float64) -> Batch:
    with seeded("testing", "batch"):
        x = 2 * torch.rand(N, *data.image, dtype=dtype) - 1
    return Batch(x, torch.arange(N) % max(len(data.classes), 1))


def _check_condition(
    contract: Contract, called: str, came: Any, sizes: Sizes, dtype: torch.dtype, one_hot: bool
) -> bool:
    if came is None or not contract.require(
        isinstance(came, Condition),
        called,
        describe(came),
        "a genprior.Condition(known, asked), of width 0 where there is nothing, and never None",
        "return Condition(known=..., asked=...)",
    ):
        return False
    good = contract.tensor(f"{called}.known", came.known, (N, sizes.known), dtype, "as wide as widths() announced")
    good = (
        contract.tensor(f"{called}.asked", came.asked, (N, sizes.asked), dtype, "as wide as widths() announced")
        and good
    )
    if good and one_hot:
        rows = came.asked
        contract.require(
            bool((((rows == 0) | (rows == 1)).all(1) & (rows.sum(1) == 1)).all()),
            f"{called}.asked",
            f"a row such as {rows[0].tolist()}",
            "this conditioner's rows are one-hot (one_hot=True)",
            "use torch.nn.functional.one_hot(y, width).to(dtype), or leave one_hot out",
        )
    return good


def _check_conditions(contract: Contract, made: Any, data: DataInfo, dtype: torch.dtype, one_hot: bool) -> None:
    batch, sizes, word = _batch(data, dtype), made.sizes, str(dtype).removeprefix("torch.")
    called = f"forward(Batch(x {list(batch.x.shape)} {word}, y [{N}] int64))"
    with seeded("testing", "forward"):
        came = contract.call(called, lambda: made(batch), "forward gives the condition of a batch")
    _check_condition(contract, called, came, sizes, dtype, one_hot)
    for like in (torch.zeros(N, dtype=dtype), batch.x):
        called = f"draw(like {list(like.shape)} {word})"
        with seeded("testing", "draw"):
            came = contract.call(called, lambda like=like: made.draw(like), "draw gives a condition for new images")  # type: ignore[misc]
        _check_condition(contract, called, came, sizes, dtype, one_hot)


def _check_draws(contract: Contract, made: Any, sizes: Sizes) -> None:
    if contract.failures or not sizes.asked:
        return
    like, draws = torch.zeros(64, dtype=torch.float64), []
    for seed in (1, 1, 2):
        with seeded("testing", seed):
            draws.append(made.draw(like).asked)
    contract.require(
        torch.equal(draws[0], draws[1]),
        "draw(like [64]), twice under the same torch.manual_seed",
        "different conditions",
        "a draw depends on torch's random generators alone, so that a run can be repeated",
        "draw with torch, not with numpy, random or a generator of your own",
    )
    contract.require(
        not torch.equal(draws[0], draws[2]),
        "draw(like [64]), under two seeds",
        "the same conditions",
        "each call draws anew",
        "draw inside draw(), not in __init__, and do not seed inside the part",
    )


def _check_labels(contract: Contract, made: Any, data: DataInfo, labels: bool | None, one_hot: bool) -> None:
    y, called = torch.arange(N) % max(len(data.classes), 1), f"of_label(y [{N}] int64)"
    try:
        with seeded("testing", "labels"):
            came = made.of_label(y)
    except PlanError as error:
        contract.require(
            labels is not True,
            called,
            f"PlanError: {error}",
            "this conditioner can be asked for a class (labels=True)",
            "override of_label(y), or leave labels out",
        )
        return
    except Exception as error:
        contract.require(
            False,
            called,
            f"{type(error).__name__}: {error}",
            "a conditioner that asks for no class says so with a genprior.PlanError",
            "leave of_label as the base class has it, or return the condition",
        )
        return
    contract.require(
        labels is not False,
        called,
        describe(came),
        "this conditioner refuses to be asked for a class (labels=False)",
        "raise genprior.PlanError from of_label",
    )
    if not _check_condition(contract, called, came, made.sizes, torch.get_default_dtype(), one_hot):
        return
    classes = len(data.classes)
    if one_hot and classes:
        contract.require(
            torch.equal(came.asked.argmax(1), y),
            called,
            f"classes {came.asked.argmax(1).tolist()} for the labels {y.tolist()}",
            "of_label(y) asks for column y",
            "use torch.nn.functional.one_hot(y, width)",
        )
    if classes > 1:
        contract.require(
            not torch.equal(came.asked[0], came.asked[1]),
            f"{called} with labels 0 and 1",
            "the same is asked for both",
            "different classes ask for different things",
            "let `asked` depend on y, or raise genprior.PlanError",
        )
        beyond = _raised(lambda: made.of_label(torch.full((N,), 10_000)))
        contract.require(
            isinstance(beyond, PlanError),
            "of_label(10000) where there is no such class",
            "an answer" if beyond is None else f"{type(beyond).__name__}: {beyond}",
            "a class that is not there is refused with a genprior.PlanError that says what is possible",
            "compare y with the number of classes before it is used",
        )


def _raised(function: Any) -> Exception | None:
    """What `function()` raises, or None."""
    try:
        function()
    except Exception as error:
        return error
    return None


def _check_consistency(contract: Contract, workshop: Workshop, data: DataInfo) -> None:
    made, batch = workshop.make(), _batch(data)
    called = f"consistency(x {list(batch.x.shape)}, asked [{N}, {workshop.sizes.asked}])"
    with seeded("testing", "consistency"):
        condition = contract.call("draw(like)", lambda: made.draw(batch.x))
    if not isinstance(condition, Condition):
        return
    x = batch.x.clone().requires_grad_()
    value = contract.call(called, lambda: made.consistency(x, condition.asked), "consistency gives one number")
    if contract.tensor(called, value, (), torch.float64, "one number for the batch, E[-log Q(asked | x)] in nats"):
        outputs: list[Tensor] = [value]
        workshop.check_reached(called, made, outputs)
        if any(True for _ in made.parameters()):
            gradient = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
            contract.require(
                gradient is not None and bool((gradient != 0).any()),
                f"the gradient of {called} in x",
                "nothing reaches the images",
                "whoever makes the images descends the consistency, so it is differentiable in x",
                "take out detach() and no_grad() on the way from x to the result",
            )
