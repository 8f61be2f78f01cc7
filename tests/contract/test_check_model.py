"""Each promise of a model, broken on purpose: `check_model` must fail, and say what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from genprior import Codes, DataInfo, Objectives, Phase, PlanError
from genprior.testing import ContractError, check_model

from .right_parts import Auto, LinearDecoder, LinearEncoder, Normal, Shifted

INFO = DataInfo((1, 4, 4), ())


def test_what_is_not_broken_passes() -> None:
    check_model(Auto.Config(), INFO)


def test_a_model_that_was_trained_before_still_passes_with_data_of_another_form() -> None:
    check_model(Auto.Config(), DataInfo((3, 6, 5), ("a", "b")), batch=3)


def shares(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.encoder.spare = self.decoder.layer


def orphan(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.prior = build("prior", Shifted.Config(), self.sizes)


def own_parameter(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.temperature = nn.Parameter(torch.ones(()))


def unseeded(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.encoder = LinearEncoder(LinearEncoder.Config(), self.sizes)


def drawn_by_numpy(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    with torch.no_grad():
        self.encoder.layer.weight.mul_(float(np.random.default_rng().random()))


def writes_to_another(self: Any, batch: Any) -> Objectives:
    with torch.no_grad():
        self.decoder.layer.bias.add_(0.1)
    return Auto.regularise(self, batch)


def counts_in_a_buffer(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.prior.register_buffer("seen", torch.zeros(()))


def counting(self: Any, batch: Any) -> Objectives:
    self.prior.seen += 1
    return Auto.regularise(self, batch)


def hides_a_weight(self: Any, config: Any, info: Any, build: Any) -> None:
    Auto.__init__(self, config, info, build)
    self.k = torch.ones(())


def remembering(self: Any, batch: Any) -> Objectives:
    losses = Auto.regularise(self, batch).losses
    self.k = 0.5 * self.k
    return Objectives({name: self.k * loss for name, loss in losses.items()})


def not_reached(self: Any, batch: Any) -> Objectives:
    losses = Auto.by_pixels(self, batch).losses
    return Objectives({**losses, "code_critic": losses["encoder"]})


def constant_loss(self: Any, batch: Any) -> Objectives:
    return Objectives(
        {"decoder": 0.0 * self.decoder.layer.weight.sum(), "encoder": Auto.by_pixels(self, batch)["encoder"]}
    )


def infinite(self: Any, batch: Any) -> Objectives:
    losses = Auto.by_pixels(self, batch).losses
    return Objectives(losses, note={"ratio": losses["encoder"].detach() / 0})


BROKEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "shared parameters": ({"__init__": shares}, ["several modules own", "encoder.spare.weight", "owned once"]),
    "orphan": ({"__init__": orphan}, ["no gradient ever reached prior.shift", "frozen=('name',)"]),
    "own parameter": ({"__init__": own_parameter}, ["parameter 'temperature'", "belongs to the model itself"]),
    "made by itself": (
        {"__init__": unseeded},
        ["makes 'encoder' (encoder.layer.weight) itself", "build.module('encoder', "],
    ),
    "unseeded": ({"__init__": drawn_by_numpy}, ["encoder.layer.weight", "start equal", "build.module(role, make)"]),
    "moves another parameter": ({"regularise": writes_to_another}, ["'decoder' changed (layer.bias)", "'regularise'"]),
    "moves another buffer": (
        {"__init__": counts_in_a_buffer, "regularise": counting},
        ["'prior' changed (seen)", "no parameter, no buffer"],
    ),
    "hidden state": (
        {"__init__": hides_a_weight, "regularise": remembering},
        ["register_buffer", "checkpoint holds all"],
    ),
    "not reached": ({"by_pixels": not_reached}, ["PlanError", "'code_critic'", "does not depend on its parameters"]),
    "no such module": (
        {"by_pixels": lambda s, b: Objectives({"generator": Auto.by_pixels(s, b)["encoder"]})},
        ["moves 'generator', which is not a module of the model"],
    ),
    "zero gradient": ({"by_pixels": constant_loss}, ["'decoder' did not move, though the phase names it"]),
    "no objectives": ({"by_pixels": lambda s, b: dict(Auto.by_pixels(s, b))}, ["a dict", "genprior.Objectives"]),
    "infinite note": ({"by_pixels": infinite}, ["the note 'ratio'", "inf", "finite scalar"]),
    "phase names": (
        {"phases": lambda s: (Phase("a/b", s.by_pixels), Phase("a/b", s.regularise))},
        ["['a/b', 'a/b']", "a name of its own"],
    ),
    "phases is a list": ({"phases": lambda s: [Phase("a", s.by_pixels)]}, ["a list", "a tuple of genprior.Phase"]),
    "every": ({"phases": lambda s: (Phase("a", s.by_pixels, 0),)}, ["every = [0]", "from 1 up"]),
    "batch changed": (
        {"by_pixels": lambda s, b: Auto.by_pixels(s, b._replace(x=b.x.mul_(0.9)))},
        ["it changed `batch.x`"],
    ),
    "pixels": ({"generate": lambda s, c: 3 * Auto.generate(s, c)}, ["pixels from", "[-1, 1]", "tanh"]),
    "image shape": ({"generate": lambda s, c: Auto.generate(s, c).flatten(1)}, ["[5, 16]", "[5, 1, 4, 4]"]),
    "always the same images": (
        {"generate": lambda s, c: s.decoder(c.known.new_ones(len(c.known), 3), c.known)},
        ["under 33 seeds", "the same images"],
    ),
    "reconstructs one": ({"reconstruct": lambda s, b: b.x[:1]}, ["reconstruct(Batch of 8)", "[1, 1, 4, 4]"]),
    "codes of another space": (
        {"encode": lambda s, b: b.x.flatten(1)},
        ["draw_codes(condition(like [5]))", "shape [5, 3], and codes [8, 16] from encode", "as encode does, or None"],
    ),
    "posterior of another space": (
        {
            "encode": lambda s, b: b.x.flatten(1)[:, :3],
            "draw_posterior": lambda s, b: Codes(b.x.flatten(1), b.x.new_zeros(8, 0)),
        },
        ["draw_posterior(Batch of 8)", "shape [8, 16], and codes [8, 3] from encode", "as encode does, or None"],
    ),
    "label": (
        {"condition": lambda s, like, y=None: Auto.condition(s, like) if y is None else y.no},
        ["AttributeError", "PlanError"],
    ),
    "generating": ({"generating": ("generator",)}, ["generating = ('generator',)", "the modules that make images"]),
    "cannot be built": ({"__init__": lambda s, config, info, build: build.no}, ["build_model", "AttributeError"]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what: str) -> None:
    changes, words = BROKEN[what]
    broken = type("Broken", (Auto,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_model(broken.Config(), INFO)
    text = str(caught.value)
    for word in ["model 'broken'", *words, "came back:", "contract:", "what to do:"]:
        assert word in text


def test_a_module_that_is_meant_to_stay_is_no_orphan() -> None:
    broken = type("Broken", (Auto,), {"__init__": orphan, "name": "broken"})
    check_model(broken.Config(), INFO, frozen=["prior"])


def test_a_part_of_another_kind_is_refused() -> None:
    for part in (Normal, LinearDecoder):
        with pytest.raises(ContractError, match="a model is needed here"):
            check_model(part.Config())


def test_a_model_that_makes_no_images_says_so_and_is_not_asked_for_any() -> None:
    class Blind(Auto):
        name = "test_blind"
        makes_images = False

        def generate(self, condition: Any) -> Any:
            raise PlanError("no images; use another model")

    class Silent(Auto):
        name = "test_silent"
        makes_images = False

    check_model(Blind.Config(), INFO)
    with pytest.raises(
        ContractError, match=r"(?s)makes_images = False.*\[5, 1, 4, 4\].*PlanError that says what to do"
    ):
        check_model(Silent.Config(), INFO)
