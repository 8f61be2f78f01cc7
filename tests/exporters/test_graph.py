"""Models as graphs whose random numbers are inputs."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.engine.graph import model_graph
from genprior.engine.sampling import evaluating
from genprior.errors import PlanError

from .small_models import MODELS, PRIORS, model_of, model_with_prior

REFUSED_PRIORS = {"student_t": "_standard_gamma"}
REFUSED_MODELS = {
    "labels_alone": "makes no images",
    "pixelcnn": "pixel by pixel",
    "pixelgan": "pixel by pixel",
    "pixelgan_semi_supervised": "pixel by pixel",
}


class Recorded(TorchDispatchMode):
    """Keeps what torch itself draws."""

    def __init__(self):
        super().__init__()
        self.normal, self.uniform = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        value = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.randn, torch.ops.aten.randn_like):
            self.normal.append(value.clone())
        elif func.overloadpacket is torch.ops.aten.rand:
            self.uniform.append(value.clone())
        elif func.overloadpacket is torch.ops.aten.randint:
            self.uniform.append((value + 0.5) / args[-2 if len(args) == 3 else 0])
        return value


@pytest.mark.parametrize(
    "name", ["gaussian", "uniform", "code_generator", "sphere", "two_stage_vae", "swiss_roll", "vampprior"]
)
def test_the_graph_makes_the_images_of_the_numbers_that_torch_draws(name):
    model = model_with_prior(name)
    graph = model_graph(model)
    torch.manual_seed(5)
    with evaluating(model), Recorded() as drawn:
        images = model.generate(model.condition(torch.zeros(9)))
    given = {}
    if drawn.normal:
        given["noise"] = torch.cat([each.reshape(9, -1) for each in drawn.normal], 1)
    if drawn.uniform:
        given["uniform_noise"] = torch.cat([each.reshape(9, -1) for each in drawn.uniform], 1)
    made = graph.module(*[given[key] for key in graph.inputs])
    torch.testing.assert_close(made, images, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRIORS if name not in REFUSED_PRIORS])
def test_every_prior_is_a_graph_for_any_number_of_images(name):
    if name == "flow":
        pytest.importorskip("zuko")
    graph = model_graph(model_with_prior(name))
    for n in (1, 2, 23):
        given = graph.draw(n, 9)
        torch.testing.assert_close(graph.module(*given), graph.compute(*given), atol=1e-5, rtol=0)
    if name != "nearest":  # which has one code before it is fitted
        other = graph.module(*graph.draw(23, 10))
        assert float((other - graph.module(*graph.draw(23, 9))).abs().max()) > 1e-4  # the inputs are what it draws


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED_MODELS])
def test_every_model_that_decodes_a_code_is_a_graph(name):
    graph = model_graph(model_of(name))
    given = graph.draw(11, 9)
    torch.testing.assert_close(graph.module(*given), graph.compute(*given), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", REFUSED_MODELS)
def test_a_model_that_is_no_graph_is_refused(name):
    with pytest.raises(PlanError, match=f"{REFUSED_MODELS[name]}.*--to FOLDER"):
        model_graph(model_of(name))


def test_a_prior_that_draws_by_rejection_is_refused_and_its_decoder_is_not():
    model = model_with_prior("student_t")
    with pytest.raises(PlanError, match=r"prior 'student_t' cannot be part.*_standard_gamma.*--input code"):
        model_graph(model)
    graph = model_graph(model, code=True)
    assert list(graph.inputs) == ["code"]
    z = torch.randn(6, 4)
    with evaluating(model):
        images = model.decode(z, model.condition(torch.zeros(6)))
    torch.testing.assert_close(graph.module(z), images)


@pytest.mark.parametrize("conditioner", ["label", "partial_label"])
def test_labels_are_an_input(conditioner):
    model = model_of("aae", conditioner={"name": conditioner})
    graph = model_graph(model)
    assert graph.inputs["label"] == "the label of each image, int64 [n], 0 to 2"
    noise, label = torch.randn(8, 3), torch.tensor([2, 2, 0, 1, 0, 0, 1, 2])
    with evaluating(model):
        condition = model.condition(torch.zeros(8), label)
        z = model.prior.network(torch.cat([condition.asked, noise], 1))
        images = model.decoder(z, condition.known)
    torch.testing.assert_close(graph.module(noise, label), images)


def test_categories_are_an_input_and_other_codes_are_drawn():
    conditioner = {"name": "infogan", "categorical": [3, 2], "continuous": 1}
    graph = model_graph(model_of("gan", conditioner=conditioner))
    assert set(graph.inputs) == {"noise", "uniform_noise", "category"}
    assert graph.inputs["uniform_noise"].endswith("[n, 2]")


def test_components_are_drawn_with_their_weights():
    model = model_with_prior("gaussian_mixture")
    with torch.no_grad():
        model.prior.logits.copy_(torch.tensor([0.7, 0.2, 0.1]).log())
        model.prior.means.copy_(torch.tensor([0.0, 100.0, 200.0])[:, None].expand(3, 4))
        model.prior.factors.fill_(-9)
    model.decoder.forward = lambda z, known: z
    graph = model_graph(model)
    u = ((torch.arange(1000) + 0.5) / 1000)[:, None]
    given = {"noise": torch.zeros(1000, 4), "uniform_noise": u}
    z = graph.module(*[given[key] for key in graph.inputs])[:, 0]
    assert [int((z.round() == mean).sum()) for mean in (0, 100, 200)] == [700, 200, 100]


def test_whole_numbers_of_many_bits_are_spread_evenly():
    model = model_with_prior("nearest")
    model.fitted_prior.codes = torch.arange(8.0)[:, None].expand(8, 4).contiguous()
    model.fitted_prior.counts.fill_(8)
    model.decoder.forward = lambda z, known: z
    graph = model_graph(model)
    drawn = graph.module(torch.rand(8000, 3, generator=torch.Generator().manual_seed(0)))[:, 0].long().bincount()
    assert len(drawn) == 8 and int(drawn.min()) > 850  # mean 1,000, standard deviation 30


def test_the_model_is_left_as_it_is():
    model = model_with_prior("vampprior")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    model_graph(model)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_numbers_that_images_share_are_refused():
    model = model_with_prior("gaussian")
    sample = model.prior.sample
    model.prior.sample = lambda asked: sample(asked) + torch.rand(())
    with pytest.raises(PlanError, match="prior 'gaussian'.*random numbers that all images of a batch share"):
        model_graph(model)


def test_what_depends_on_values_is_refused():
    model = model_with_prior("gaussian")
    sample = model.prior.sample
    model.prior.sample = lambda asked: (lambda z: z if float(z.sum()) > 0 else -z)(sample(asked))
    with pytest.raises(PlanError, match="prior 'gaussian'.*depends on its values"):
        model_graph(model)
