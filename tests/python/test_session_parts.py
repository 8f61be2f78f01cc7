"""Parts of this process: classes and networks that recipes name without a package."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import genprior
from genprior import NameTaken, PlanError, PluginError, PointPosterior, Prior, RecipeError, RunError, Sizes
from genprior.testing import check_critic, check_decoder, check_encoder, check_prior

from .small_tables import tables

pytestmark = pytest.mark.usefixtures("clean_session")


def a_prior(scale, name="session_prior"):
    class Scaled(Prior):
        def sample(self, asked):
            z = torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)
            return scale * z

    return type("Scaled", (Scaled,), {"name": name, "__doc__": "Scaled noise."})


def model_with(**parts):
    content = tables()
    content["model"] |= parts
    return content


def test_a_registered_class_is_named_trained_and_read(tmp_path):
    part = a_prior(3.0)
    assert genprior.register(part) is part
    check_prior(part)
    recipe = genprior.make_recipe(model_with(prior={"name": "session_prior"}))
    genprior.train(recipe, out=tmp_path, progress=False)
    run = genprior.load_run(tmp_path / "base" / "seed-0")
    assert type(run.model.prior) is part
    assert run.sample(2).shape == (2, 1, 8, 8)
    assert run.facts["plugins"]["this process: prior session_prior"].startswith("genprior.register, source ")


def test_a_cell_that_runs_again_replaces_the_class():
    first = genprior.register(a_prior(1.0))
    second = genprior.register(a_prior(2.0))
    (plan,) = genprior.make_recipe(model_with(prior={"name": "session_prior"})).plans
    assert plan.model.prior.part is second
    with pytest.raises(RecipeError, match="which is not registered; call genprior.register with this class first"):
        genprior.make_recipe(model_with(prior=first.Config()))


def test_the_name_of_an_installed_part_is_refused(clean_session):
    with pytest.raises(NameTaken, match=r"prior 'gaussian' is offered by plugin 'std' \(genprior .*another name"):
        genprior.register(a_prior(1.0, name="gaussian"))
    assert clean_session.find("prior", "gaussian").__module__ == "genprior_std.priors.gaussian"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (nn.Linear, "genprior.register takes a class of a part, and this is .*Linear"),
        ("gaussian", "takes a class of a part, and this is 'gaussian'"),
        (Prior, r"^this process \(genprior.register, source \w+\) registered Prior without a name: add"),
        (type("Half", (Prior,), {"name": "half"}), "prior 'half', which lacks: sample"),
    ],
)
def test_what_is_no_part_is_refused(wrong, text):
    with pytest.raises(PluginError, match=text):
        genprior.register(wrong)


def test_worker_processes_are_refused_in_words(tmp_path):
    genprior.register(a_prior(1.0))
    recipe = genprior.make_recipe(model_with(prior={"name": "session_prior"}), seeds=[0, 1])
    with pytest.raises(
        RecipeError, match=r"in several processes, because only this one has prior 'session_prior'; use"
    ):
        genprior.train(recipe, jobs=2, out=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_an_optimiser_of_this_process_is_refused_too(tmp_path):
    class Own(genprior.Optimiser):
        """Plain gradient descent."""

        name = "session_optimiser"

        def build(self, parameters):
            return torch.optim.SGD(parameters.values(), lr=self.config.lr)

    genprior.register(Own)
    content = tables()
    content["optimiser"] = {"default": {"name": "session_optimiser", "lr": 0.1}}
    with pytest.raises(RecipeError, match="because only this one has optimiser 'session_optimiser'; use"):
        genprior.train(genprior.make_recipe(content, seeds=[0, 1]), jobs=2, out=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_part_is_not_registered_names_it(tmp_path, clean_session):
    genprior.register(a_prior(1.0))
    genprior.train(genprior.make_recipe(model_with(prior={"name": "session_prior"})), out=tmp_path, progress=False)
    del clean_session._parts["prior", "session_prior"]
    with pytest.raises(
        RunError, match="there is no prior named 'session_prior'.* a class of yours, genprior.register it"
    ):
        genprior.load_run(tmp_path / "base" / "seed-0")


def test_an_exception_of_a_registered_part_names_it(tmp_path):
    @genprior.register
    class Broken(Prior):
        name = "broken_here"

        def sample(self, asked):
            raise ZeroDivisionError("of a cell")

    with pytest.raises(
        RecipeError, match="prior 'broken_here' of .*genprior.register.* raised ZeroDivisionError: of a cell"
    ):
        genprior.train(genprior.make_recipe(model_with(prior=Broken.Config())), out=tmp_path, progress=False)


class Codes(nn.Module):
    """A plain network from images to codes."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        c, h, w = sizes.image
        self.layer = nn.Linear(c * h * w, sizes.code)

    def forward(self, x):
        return self.layer(x.flatten(1))


def pictures(sizes):
    c, h, w = sizes.image
    return nn.Sequential(nn.Linear(sizes.code, c * h * w), nn.Tanh(), nn.Unflatten(1, sizes.image))


def judge(sizes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(1)) if sizes.code < 0 else nn.Sequential(nn.Linear(sizes.code, 1))


def test_adapted_networks_keep_the_contracts():
    check_encoder(genprior.adapt("encoder", Codes))
    check_decoder(genprior.adapt("decoder", pictures))
    check_critic(genprior.adapt("critic", judge), of="codes")


def test_adapted_networks_are_trained_from_weights_of_each_seed(tmp_path):
    content = model_with(
        encoder=genprior.adapt("encoder", Codes),
        decoder=genprior.adapt("decoder", pictures),
        code_critic=genprior.adapt("critic", judge, name="my_judge"),
    )
    recipe = genprior.make_recipe(content, seeds=[0, 1])
    genprior.train(recipe, out=tmp_path, progress=False)
    first, second = (genprior.load_run(tmp_path / "base" / f"seed-{seed}") for seed in (0, 1))
    weights = [run.model.encoder.network.layer.weight for run in (first, second)]
    assert not torch.allclose(*weights)
    x = first.sample(2)
    assert torch.allclose(first.encode(x), first.model.encoder.network(genprior.images_to_float(x)), atol=1e-6)
    assert recipe.plans[0].as_table()["model"]["encoder"] == {"name": "Codes"}


def test_an_adapted_network_may_see_the_condition():
    class Both(nn.Module):
        def __init__(self, sizes):
            super().__init__()
            self.layer = nn.Linear(sizes.code + sizes.known, sizes.code)

        def forward(self, z, known):
            return PointPosterior(self.layer(torch.cat([z.flatten(1)[:, : self.layer.out_features], known], 1)))

    config = genprior.adapt("encoder", Both, sees_known=True)
    part = config.make(Sizes((1, 2, 2), 3, 2, 2))
    assert type(part).sees_known(config) and part(torch.zeros(5, 1, 2, 2), torch.zeros(5, 2)).mean.shape == (5, 3)


def test_what_cannot_be_adapted_is_refused():
    sizes = Sizes((1, 2, 2), 3, 0, 0)
    with pytest.raises(
        PlanError, match=r'adapt\("encoder"\) was given the network Codes; give a function that makes it'
    ):
        genprior.adapt("encoder", Codes(sizes))
    with pytest.raises(PlanError, match="was given a int"):
        genprior.adapt("encoder", 3)
    with pytest.raises(PlanError, match=r'adapt\("decoder"\) needs a name .*name="my_decoder"'):
        genprior.adapt("decoder", lambda sizes: nn.Identity())
    with pytest.raises(PlanError, match="no prior can be made from a network; possible: encoder, decoder, critic"):
        genprior.adapt("prior", pictures)
    with pytest.raises(PlanError, match="decoder 'nothing': the function returned a NoneType; it must return"):
        genprior.adapt("decoder", lambda sizes: None, name="nothing").make(sizes)
    wrong = genprior.adapt("decoder", lambda sizes: nn.Identity(), name="same").make(sizes)
    with pytest.raises(
        PlanError, match=r"decoder 'same': its network returned \[5, 3\]; images \[5, 1, 2, 2\] are needed"
    ):
        wrong(torch.zeros(5, 3), torch.zeros(5, 0))
