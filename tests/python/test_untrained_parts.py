"""The check of a recipe warns of parameters that no phase of the model trains."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import genprior
from genprior import Condition, Conditioner, Encoder, GenpriorWarning, Model, Objectives, Phase, PointPosterior, Widths
from genprior.launch.preflight import preflight

from .small_tables import tables

pytestmark = pytest.mark.usefixtures("clean_session")


class Learned(Conditioner):
    """A learned vector for each class."""

    name = "learned_vectors"

    @classmethod
    def widths(cls, config, info):
        return Widths(known=2, asked=2)

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.vectors = nn.Embedding(sizes.classes, 2)

    def forward(self, batch):
        known = self.vectors(batch.y).to(batch.x.dtype)
        return Condition(known=known, asked=known)

    def draw(self, like):
        known = self.vectors(torch.zeros(len(like), dtype=torch.int64, device=like.device))
        return Condition(known=known, asked=known)


class Frozen(Learned):
    """Vectors that are not to be trained."""

    name = "frozen_vectors"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.vectors.requires_grad_(False)


class Heads(Encoder):
    """An encoder of two layers, of which the first is cut off, and of a head that nothing uses."""

    name = "heads"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, sizes.code)
        self.unused = nn.Linear(8, 3)

    def forward(self, x, known):
        return PointPosterior(self.last(self.cut(self.first(x.flatten(1)))))

    def cut(self, hidden):
        return hidden.detach()


class Whole(Heads):
    """The same encoder without the cut."""

    name = "whole"

    def cut(self, hidden):
        return hidden


class Autoencoder(Model):
    """An autoencoder of linear layers, one module that is set in closed form, and an offset that nothing trains."""

    name = "offset_autoencoder"

    def __init__(self, config, info, build):
        super().__init__(config)
        self.encode_images = build.module("encode_images", lambda: nn.Linear(64, 4))
        self.decoder = build.module("decoder", lambda: nn.Linear(4, 64))
        self.steps = build.module("steps", lambda: nn.Linear(4, 4))
        self.offset = build.module("offset", lambda: nn.Linear(1, 64))

    def phases(self):
        return Phase("encode", self.reconstruction), Phase("rarely", self.rare, every=7)

    def images(self, z):
        return torch.tanh(self.decoder(z) + self.offset(z[:, :1])).view(-1, 1, 8, 8)

    def reconstruction(self, batch):
        loss = (self.images(self.encode_images(batch.x.flatten(1))) - batch.x).square().mean()
        return Objectives({"encode_images": loss, "decoder": loss})

    def rare(self, batch):
        weight = self.steps.weight

        def halve():
            weight.mul_(0.5)

        return Objectives({}, updates={"steps": halve})

    def generate(self, condition):
        return self.images(torch.randn(len(condition.known), 4))


def warned(**parts):
    content = tables()
    content["model"] = parts.pop("model", None) or content["model"] | parts
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preflight(genprior.make_recipe(content), "cpu")
    return [str(each.message) for each in caught if issubclass(each.category, GenpriorWarning)]


def test_a_learned_condition_in_a_model_without_a_loss_for_it():
    genprior.register(Learned)
    (text,) = warned(conditioner={"name": "learned_vectors"})
    assert text.startswith("row base: conditioner 'learned_vectors' of ")
    assert (
        " learns nothing here: no phase of model 'aae' ('regularise') trains conditioner.vectors.weight, which would "
        "keep the first values. To have them trained, use another conditioner or model; if the first values will do, "
        "ignore this. A part of your own can let a loss of the model reach them, or freeze them with "
        "requires_grad_(False), which ends this warning"
    ) in text


def test_no_warning_where_the_model_trains_it_or_where_it_is_frozen():
    genprior.register(Learned)
    genprior.register(Frozen)
    assert warned(conditioner={"name": "frozen_vectors"}) == []
    content = tables()["model"]
    vae = {key: content[key] for key in ("code_size", "prior", "decoder")} | {
        "name": "vae",
        "encoder": content["encoder"] | {"posterior": "gaussian"},
        "reconstruction": {"name": "pixel", "reduction": "sum", "metric": "gaussian"},
        "conditioner": {"name": "learned_vectors"},
    }
    vae["decoder"] = vae["decoder"] | {"conditional": True}
    assert warned(model=vae) == []


def test_a_layer_that_is_cut_off_is_named_and_one_that_is_not_used_is_not():
    genprior.register(Heads)
    genprior.register(Whole)
    (text,) = warned(encoder={"name": "heads"})
    assert "encoder 'heads' of " in text
    assert "does not learn all that it could here" in text
    assert "trains encoder.first.weight, encoder.first.bias, which" in text
    assert warned(encoder={"name": "whole"}) == []


def test_a_module_of_the_model_and_one_that_is_set_in_closed_form():
    genprior.register(Autoencoder)
    (text,) = warned(model={"name": "offset_autoencoder"})
    assert "module 'offset' of model 'offset_autoencoder' learns nothing here" in text
    assert "('encode', 'rarely') trains offset.weight, offset.bias, which" in text


def test_rows_share_a_warning():
    genprior.register(Learned)
    content = tables(row=[{"label": "one", "changes": []}, {"label": "two", "changes": []}])
    content["model"]["conditioner"] = {"name": "learned_vectors"}
    recipe = genprior.make_recipe(content)
    with pytest.warns(GenpriorWarning, match="row one, two: conditioner 'learned_vectors'"):
        preflight(recipe, "cpu")
