"""The contract of a conditioner."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts import Condition, Conditioner, DataInfo, Embedder, PartConfig, Sizes, TextConditioner, Widths
from genprior.randomness import seeded
from genprior.testing.asks import check_asks
from genprior.testing.fixture import Fixture, begin
from genprior.testing.report import Contract, describe, dtype_name
from genprior.testing.settings import config_of
from genprior.testing.tensors import batch_of, check_reaches_input, moved

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

    `forward`, `draw` and `of_label` return conditions of the widths that `widths` announces; dtype and device follow
    the images; draws differ, and are a function of torch's seed; `of_label` gives different classes different
    conditions and refuses an unknown class with a PlanError, or refuses all, and `asks` states which; `asked` is
    one-hot where `widths` says so; `consistency` is one finite number; every parameter of the conditioner has a
    gradient from it or from the condition that `forward` returns; a `consistency` of its own has one in the images.

    A conditioner on text gets captioned images, each with a random vector, also in `begin`: it has an `embedder`,
    refuses images without text with a PlanError, and `of_text` gives different sentences different conditions.

    Args:
        part: the settings or the class.
        info: the data's form; 8x8 images of three classes if not given.
        code: d, for parts that borrow an encoder.
        labels: True requires that `of_label` returns a condition, False that it refuses; None accepts either.
        one_hot: require that `asked` is one-hot and stated to be, and that column y of `of_label(y).asked` is 1.
        lend: modules for the roles that it borrows; an `encoder` and an `image_critic` are provided.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Conditioner)
    of_text = issubclass(config.part, TextConditioner)
    data = info or DataInfo((1, 8, 8), ("circle", "square", "star"), captioned=of_text)
    contract = Contract(config.part, f"{data!r} and {config!r}")
    widths = contract.call(
        f"{config.part.__qualname__}.widths(config, {data!r})",
        lambda: config.part.widths(config, data),  # type: ignore[attr-defined]
        "a conditioner announces its widths before any module exists",
    )
    if widths is None or not contract.require(
        isinstance(widths, Widths) and all(isinstance(w, int) and w >= 0 for w in widths),
        "widths(config, info)",
        describe(widths),
        "Widths(known=..., asked=...), whole numbers from 0 up",
        "return genprior.Widths(known=..., asked=...); 0 without a condition",
    ):
        return contract.finish()
    sizes = Sizes(data.image, code, *widths)._replace(classes=len(data.classes))
    contract, fixture = begin(config, sizes, lend)
    if one_hot:
        contract.require(
            widths.one_hot,
            "widths(config, info)",
            repr(widths),
            "this conditioner's rows are one-hot (one_hot=True), which priors with a component for each number need",
            "return genprior.Widths(known=..., asked=..., one_hot=True), or leave one_hot out",
        )
    fixture.prepare = lambda part, dtype: _begin(part, data, dtype)
    made = fixture.make()
    if made is not None:
        for dtype in (torch.float32, torch.float64):
            made = fixture.make(dtype=dtype)
            _check_conditions(contract, made, data, dtype, widths.one_hot or one_hot)
        _check_draws(contract, made, sizes)
        _check_labels(contract, made, data, labels, one_hot)
        if isinstance(made, TextConditioner):
            _check_text(contract, made, data)
        _check_consistency(contract, fixture, data)
        fixture.check_ownership(made)
        like = torch.zeros(N, dtype=torch.float64)
        fixture.check_state(f"draw(like [{N}])", lambda part: torch.cat(part.draw(like), 1))

        def use(part: Any, device: torch.device = like.device) -> Any:
            placed = moved(batch_of(data, N, fixture.dtype, _embedder(part)), device)
            return [*part.draw(placed.x), *part(placed)]

        called = f"draw(like [{N}, ...]) and forward(Batch of {N})"
        fixture.check_edges(called, use, "conditions")
        fixture.check_device(called, use)
    contract.finish()


def _embedder(made: Any) -> Embedder | None:
    return made.embedder if isinstance(made, TextConditioner) else None


def _begin(part: Any, data: DataInfo, dtype: torch.dtype) -> None:
    """Let a conditioner begin from random training images, which differ in each draw."""
    first = int(torch.randint(1_000_000, ()))
    starts = itertools.count(first)
    part.begin(lambda n: batch_of(data, n, dtype, _embedder(part), next(starts)))


def _check_condition(
    contract: Contract, called: str, came: Any, sizes: Sizes, dtype: torch.dtype, one_hot: bool
) -> bool:
    if came is None or not contract.require(
        isinstance(came, Condition),
        called,
        describe(came),
        "a genprior.Condition(known, asked), of width 0 without a condition, and never None",
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
            "use torch.nn.functional.one_hot(y, width).to(dtype), or leave one_hot out here and in Widths",
        )
    return good


def _check_conditions(contract: Contract, made: Any, data: DataInfo, dtype: torch.dtype, one_hot: bool) -> None:
    batch, sizes, word = batch_of(data, N, dtype, _embedder(made)), made.sizes, dtype_name(dtype)
    called = f"forward(Batch(x {list(batch.x.shape)} {word}, y [{N}] int64))"
    with seeded("testing", "forward"):
        came = contract.call(called, lambda: made(batch), "forward returns the condition of a batch")
    _check_condition(contract, called, came, sizes, dtype, one_hot)
    for like in (torch.zeros(N, dtype=dtype), batch.x):
        called = f"draw(like {list(like.shape)} {word})"
        with seeded("testing", "draw"):
            came = contract.call(called, lambda like=like: made.draw(like), "draw returns a condition for new images")  # type: ignore[misc]
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
        "each call is a new draw",
        "draw inside draw(), not in __init__, and do not seed inside the part",
    )


def _check_labels(contract: Contract, made: Any, data: DataInfo, labels: bool | None, one_hot: bool) -> None:
    y, called = torch.arange(N) % max(len(data.classes), 1), f"of_label(y [{N}] int64)"
    try:
        with seeded("testing", "labels"):
            came = made.of_label(y)
    except PlanError as error:
        check_asks(contract, lambda: made.asks, called, taken=False, labels=len(data.classes))
        contract.require(
            labels is not True,
            called,
            f"PlanError: {error}",
            "this conditioner can condition on a class (labels=True)",
            "override of_label(y), or leave labels out",
        )
        return
    except Exception as error:
        contract.require(
            False,
            called,
            f"{type(error).__name__}: {error}",
            "a conditioner that cannot condition on a class raises a genprior.PlanError",
            "keep the base class's of_label, or return the condition",
        )
        return
    if not contract.require(
        came is not None,
        called,
        "None",
        "a genprior.Condition, or a genprior.PlanError where the conditioner cannot condition on a class",
        "return a value on every path, or leave of_label out",
    ):
        return
    contract.require(
        labels is not False,
        called,
        describe(came),
        "this conditioner refuses to condition on a class (labels=False)",
        "raise genprior.PlanError from of_label",
    )
    check_asks(contract, lambda: made.asks, called, taken=True, labels=len(data.classes))
    # Labels have no dtype to follow: torch's default, or that of the conditioner's own tensors.
    own = {tensor.dtype for tensor in (*made.parameters(), *made.buffers())}
    follows = isinstance(came, Condition) and isinstance(came.asked, Tensor) and came.asked.dtype in own
    dtype = came.asked.dtype if follows else torch.get_default_dtype()
    if not _check_condition(contract, called, came, made.sizes, dtype, one_hot):
        return
    classes = len(data.classes)
    if one_hot and classes:
        contract.require(
            torch.equal(came.asked.argmax(1), y),
            called,
            f"classes {came.asked.argmax(1).tolist()} for the labels {y.tolist()}",
            "column y of of_label(y).asked is 1",
            "use torch.nn.functional.one_hot(y, width)",
        )
    if classes > 1:
        contract.require(
            not torch.equal(came.asked[0], came.asked[1]),
            f"{called} with labels 0 and 1",
            "`asked` is the same for both",
            "different classes have different conditions",
            "let `asked` depend on y, or raise genprior.PlanError",
        )
        refusal = _raised(lambda: made.of_label(torch.full((N,), 10_000)))
        contract.require(
            isinstance(refusal, PlanError),
            "of_label(10000), a class that does not exist",
            "a condition" if refusal is None else f"{type(refusal).__name__}: {refusal}",
            "a class that does not exist is refused with a genprior.PlanError that says what is possible",
            "compare y with the number of classes first",
        )


def _check_text(contract: Contract, made: Any, data: DataInfo) -> None:
    if not contract.require(
        isinstance(made.embedder, Embedder),
        "embedder",
        describe(made.embedder),
        "a genprior.Embedder, which training fits to the captions",
        "make it in __init__: self.embedder = self.config.embedder.make()",
    ):
        return
    text = batch_of(data, N, torch.get_default_dtype(), made.embedder).text
    called = f"of_text(text [{N}, {made.embedder.config.size}])"
    came = contract.call(called, lambda: made.of_text(text), "of_text returns the condition of new images")
    if _check_condition(contract, called, came, made.sizes, torch.get_default_dtype(), one_hot=False):
        contract.require(
            not torch.equal(came.asked[0], came.asked[1]),
            f"{called} with two sentences",
            "`asked` is the same for both",
            "different sentences have different conditions",
            "let `asked` depend on the sentence",
        )
    refusal = _raised(lambda: made(batch_of(data, N)))
    contract.require(
        isinstance(refusal, PlanError),
        "forward(Batch(x, y)), without text",
        "a condition" if refusal is None else f"{type(refusal).__name__}: {refusal}",
        "images without captions are refused with a genprior.PlanError that says what to do",
        "raise it where batch.text is None",
    )


def _raised(function: Any) -> Exception | None:
    """The error that `function()` raises, or None."""
    try:
        function()
    except Exception as error:
        return error
    return None


def _check_consistency(contract: Contract, fixture: Fixture, data: DataInfo) -> None:
    """The consistency is a number that images descend, and each parameter is in the consistency or in a condition."""
    made = fixture.make()
    batch = batch_of(data, N, torch.float64, _embedder(made))
    called = f"consistency(x {list(batch.x.shape)}, asked [{N}, {fixture.sizes.asked}])"
    with seeded("testing", "consistency"):
        condition = contract.call("draw(like)", lambda: made.draw(batch.x))
        own = contract.call("forward(batch)", lambda: made(batch))
    if not isinstance(condition, Condition):
        return
    x = batch.x.clone().requires_grad_()
    value = contract.call(called, lambda: made.consistency(x, condition.asked), "consistency returns one number")
    if not contract.tensor(called, value, (), torch.float64, "one number for the batch, E[-log Q(asked | x)] in nats"):
        return
    # A model trains a conditioner by its consistency, or by a loss of what sees the condition of a batch.
    trained: list[Tensor] = [value, *(own if isinstance(own, Condition) else ())]
    has_consistency = type(made).consistency is not Conditioner.consistency
    before = len(contract.failures)
    fixture.check_reached(f"{called} and forward(batch)", made, [each for each in trained if each.numel()])
    if len(contract.failures) > before and not has_consistency:
        unreached = contract.failures.pop()
        contract.require(
            False,
            "forward(batch)",
            unreached.came,
            "a conditioner that overrides no consistency is trained by losses of what sees its condition, so `known` "
            "or `asked` is differentiable in its parameters",
            "compute the condition from the parameters, without detach() and no_grad(); override consistency; or "
            "freeze them with requires_grad_(False) or register_buffer(...)",
        )
    if has_consistency and any(each.requires_grad for each in made.parameters()):
        reason = "the module that makes the images descends the consistency, so it is differentiable in x"
        check_reaches_input(contract, called, value, x, "images", reason)
