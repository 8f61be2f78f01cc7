"""The semi-supervised adversarial autoencoder: which labels it uses, and which modules they update."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo
from genprior.testing import check_model
from genprior_std.models.aae_semi_supervised import SemiSupervisedAutoencoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder

from .small_categorical_aae import (
    INFO,
    LEARNED,
    STYLE,
    batch_of,
    config,
    gradients,
    hidden,
    model_of,
    moved,
    phase_of,
    sgd,
    snapshot,
)

CLASSES = 3


def semi_supervised(**changes):
    return model_of(SemiSupervisedAutoencoder, **changes)


def trained(batch, steps=3, **changes):
    """The state after a few steps of all phases, and what each phase recorded."""
    model = semi_supervised(**changes)
    modules, optimisers, records = dict(model.named_children()), sgd(model), []
    torch.manual_seed(3)
    for _ in range(steps):
        records += [run_phase(phase, batch, modules, optimisers).values for phase in model.phases()]
    return snapshot(model), records


def equal(a, b):
    return all(torch.equal(a[name][key], b[name][key]) for name in a for key in a[name])


@pytest.mark.parametrize("changes", [{}, {"prior": LEARNED["prior"], "improves": {"prior": True, "decoder": True}}])
def test_it_keeps_the_contract_of_a_model(changes):
    check_model(config(SemiSupervisedAutoencoder, **changes))


@pytest.mark.parametrize("improves", [{}, {"prior": True}, {"decoder": True}, {"prior": True, "decoder": True}])
def test_each_phase_moves_what_the_paper_moves(improves):
    model = semi_supervised(prior=LEARNED["prior"], improves=improves)
    expected = {"regularise": {"encoder", "decoder", "category_critic", "style_critic"}, "classify": {"encoder"}}
    if improves:
        expected["improve_prior"] = {"image_critic", *improves}
    assert [phase.name for phase in model.phases()] == list(expected)
    for phase in model.phases():
        before = snapshot(model)
        run_phase(phase, batch_of(), dict(model.named_children()), sgd(model))
        assert moved(model, before) == expected[phase.name]


@pytest.mark.parametrize("few", [True, False])
def test_the_phase_of_the_labels_descends_torchs_cross_entropy(few):
    model, labelled = semi_supervised(label_weight=0.6), batch_of(4, seed=5)
    batch = hidden(batch_of(), labelled) if few else labelled
    objectives = phase_of(model, "classify").objectives(batch)
    logits = model.encoder(labelled.x, labelled.x.new_zeros(4, 0)).mean[:, :CLASSES]
    expected = 0.6 * cross_entropy(logits, labelled.y)
    assert set(objectives) == {"encoder"}
    torch.testing.assert_close(objectives["encoder"], expected)
    torch.testing.assert_close(objectives.note["cross_entropy"], expected / 0.6)
    ours, theirs = (gradients(loss, model.encoder) for loss in (objectives["encoder"], expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    # The last layer's rows of the style learn nothing from labels.
    assert torch.equal(ours[-1][CLASSES:], torch.zeros(STYLE).double())
    assert float(ours[-1][:CLASSES].abs().min()) > 0


def test_hidden_labels_are_never_used():
    labelled = batch_of(4, seed=5)
    start = trained(hidden(batch_of(), labelled))
    told = trained(batch_of()._replace(labelled=labelled))
    shuffled = trained(Batch(batch_of().x, batch_of().y.flip(0), labelled))
    for other in (told, shuffled):
        assert equal(start[0], other[0])
        assert all(torch.equal(a, b) for a, b in zip(start[1], other[1], strict=True))


def test_known_labels_change_the_phase_of_the_labels_alone():
    labelled = batch_of(4, seed=5)
    model = semi_supervised(**LEARNED)
    for phase in model.phases():
        losses = []
        for y in (labelled.y, (labelled.y + 1) % CLASSES):
            torch.manual_seed(3)
            losses.append(phase.objectives(hidden(batch_of(), labelled._replace(y=y))).losses)
        same = all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
        assert same == (phase.name != "classify")


def test_it_classifies_by_the_category_without_a_look_at_labels():
    model, batch = semi_supervised().eval(), batch_of()
    out = model.encoder(batch.x, batch.x.new_zeros(6, 0)).mean[:, :CLASSES]
    expected = out.exp() / out.exp().sum(1, keepdim=True)
    torch.testing.assert_close(model.classify(batch), expected)
    torch.testing.assert_close(model.clusters(batch), expected)
    assert torch.equal(model.classify(batch), model.classify(batch._replace(y=batch.y.flip(0))))


@pytest.mark.parametrize("like", [torch.zeros(3), torch.zeros(3, dtype=torch.int64)])
def test_a_class_can_be_asked_for(like):
    model = semi_supervised().float()
    condition = model.condition(like, torch.tensor([2, 0, 1]))
    assert torch.equal(condition.asked, torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    assert condition.known.shape == (3, 0)
    assert model.generate(condition).shape == (3, *INFO.image)


def test_three_kinds_of_images_are_named_by_one_label_each():
    """Bars in three places, with noise: three labels name all of them, and most images of a class have its bar."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 3
    x = torch.full((96, 1, 1, 3), -0.6)
    x[torch.arange(96), 0, 0, y] = 0.6
    x = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
    batch = hidden(Batch(x, y), Batch(x[:3], y[:3]))
    networks = {"encoder": MlpEncoder.Config(hidden=(16,)), "decoder": MlpDecoder.Config(hidden=(16,))}
    critics = dict.fromkeys(("category_critic", "style_critic"), CodeCritic.Config(hidden=(16,)))
    settings = config(SemiSupervisedAutoencoder, code_size=1, **networks, **critics)
    model = build_model(settings, DataInfo((1, 1, 3), INFO.classes, labelled=3), 0).train()
    modules = dict(model.named_children())
    optimisers = {
        name: torch.optim.Adam(module.parameters(), lr=3e-3, betas=(0.5, 0.999))
        for name, module in modules.items()
        if list(module.parameters())
    }
    assert (model.classify(batch).argmax(1) == y).double().mean() < 0.5
    for _ in range(300):
        for phase in model.phases():
            run_phase(phase, batch, modules, optimisers)
    model.eval()
    assert torch.equal(model.classify(batch).argmax(1), y)
    new = model.generate(model.condition(x, y))
    assert (new.flatten(1).argmax(1) == y).double().mean() > 0.5  # 1/3 by chance


@pytest.mark.parametrize(("classes", "text"), [((), "has no classes"), (("one",), "has 1 class,")])
def test_data_without_classes_is_refused(classes, text):
    with pytest.raises(PlanError, match=rf"'aae_semi_supervised' learns classes from labels.*{text}.*'aae_clustering'"):
        semi_supervised(info=DataInfo((1, 4, 4), classes))


@pytest.mark.parametrize("y", [3, -1])
def test_a_class_that_the_data_has_not_is_refused(y):
    text = rf"'aae_semi_supervised' was asked for classes from {min(y, 0)} to {max(y, 0)}; the data has 3.*from 0 to 2"
    with pytest.raises(PlanError, match=text):
        semi_supervised().condition(torch.zeros(2), torch.tensor([0, y]))
