"""The check of conditioners on text finds what is broken in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts import Batch, Condition, DataInfo, PartConfig, Sizes, TextConditioner, Widths
from genprior.testing import ContractError, check_conditioner

from ..small_embedder import HashedWords


class Told(TextConditioner):
    """The sentence as the condition; new images have one of three kept sentences."""

    name = "test_told"
    kept: Tensor

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        if not info.captioned:
            raise PlanError("no captions")
        return Widths(0, 4)

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.embedder = HashedWords.Config(size=4).make()
        self.register_buffer("kept", torch.zeros(3, 4))

    def begin(self, draw: Callable[[int], Batch]) -> None:
        text = draw(3).text
        assert text is not None
        self.kept.copy_(text)

    def forward(self, batch: Batch) -> Condition:
        if batch.text is None:
            raise PlanError("no captions")
        return self.of_text(batch.text)

    def draw(self, like: Tensor) -> Condition:
        chosen = self.kept[torch.randint(3, (len(like),), device=self.kept.device)]
        return self.of_text(chosen.to(like.dtype))

    def of_text(self, text: Tensor) -> Condition:
        return Condition(text[:, :0], text)


def test_what_is_not_broken_passes() -> None:
    check_conditioner(Told, labels=False)


def test_widths_may_refuse_images_without_captions() -> None:
    with pytest.raises(ContractError, match="PlanError: no captions"):
        check_conditioner(Told, info=DataInfo((1, 8, 8), ("a", "b")))


def without_text(self: Any, batch: Batch) -> Condition:
    return self.of_text(batch.x.new_zeros(len(batch.x), 4) if batch.text is None else batch.text)


def no_embedder(self: Any, config: PartConfig, sizes: Sizes) -> None:
    Told.__init__(self, config, sizes)
    self.embedder = torch.nn.Identity()
    self.embedder.config = HashedWords.Config(size=4)  # type: ignore[assignment]


def made_anew(self: Any, draw: Callable[[int], Batch]) -> None:
    self.rows = draw(3).text


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"of_text": lambda self, text: Condition(text[:, :0], torch.ones_like(text))}, "different sentences have"),
        ({"of_text": lambda self, text: Condition(text[:, :0], text[:, :2])}, "as wide as widths"),
        ({"forward": without_text}, "images without captions are refused with a genprior.PlanError"),
        ({"__init__": no_embedder}, "a genprior.Embedder, which training fits to the captions"),
        (
            {
                "begin": made_anew,
                "draw": lambda self, like: self.of_text(self.rows[torch.randint(3, (len(like),))].to(like.dtype)),
            },
            "all that a part has learned or drawn is in its state_dict",
        ),
    ],
    ids=["ignores the sentence", "too narrow", "takes images without text", "has no embedder", "keeps no buffer"],
)
def test_what_is_broken_is_found(broken: dict[str, Any], message: str) -> None:
    part = type("Broken", (Told,), {"name": "test_broken", **broken})
    with pytest.raises(ContractError, match=message):
        check_conditioner(part)
