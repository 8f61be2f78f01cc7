"""Few labels: which images keep theirs, the second stream, and what models and runs receive."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genprior import load_recipe
from genprior.cli.train import check
from genprior.data.batches import DeviceData
from genprior.data.images import as_trained
from genprior.data.labels import HIDDEN_LABEL, balanced
from genprior.errors import DataError, PlanError
from genprior.launch.train import train
from genprior.parts import DataInfo, ImageSet
from genprior.recipe.plan import RunConfig
from genprior.registry import installed
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.datasets.digits import Digits

few = settings(max_examples=30, deadline=None, derandomize=True)


def image_set(counts):
    """Images that show their own place in the set, so many of each class."""
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    places = torch.arange(len(labels), dtype=torch.uint8)
    images = places[:, None, None, None].expand(-1, 1, 2, 3).contiguous()
    return ImageSet(images, labels, tuple(f"class {k}" for k in range(len(counts))))


def places(x):
    return (x[:, 0, 0, 0] * 127.5 + 127.5).round().long()


def chosen(images, count, seed=0):
    return balanced(images, count, torch.Generator().manual_seed(seed))


@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=6), share=st.floats(0, 1), seed=st.integers(0, 10**6)
)  # fmt: skip
@few
def test_labels_are_drawn_in_equal_numbers_of_each_class(counts, share, seed):
    images = image_set(counts)
    count = len(counts) + round(share * (sum(counts) - len(counts)))
    kept = chosen(images, count, seed)
    assert len(kept) == count == len(kept.unique()) and torch.equal(kept, kept.sort().values)
    got = torch.bincount(images.labels[kept], minlength=len(counts)).tolist()
    most = max(got)
    # Water filling: a class with fewer than the others has none left to give.
    assert all(n >= most - 1 or n == all_of_it for n, all_of_it in zip(got, counts, strict=True))
    assert torch.equal(kept, chosen(images, count, seed))


def test_other_seeds_keep_other_labels_and_all_images_have_their_turn():
    images = image_set([12, 12])
    draws = [chosen(images, 4, seed) for seed in range(60)]
    assert len({tuple(draw.tolist()) for draw in draws}) > 50
    # Each image is missed by 60 draws with probability (10/12)^60 = 2e-5, so by any of 24 with less than 5e-4.
    assert torch.cat(draws).unique().tolist() == list(range(24))


@pytest.mark.parametrize("count", [3, 25, 0])
def test_fewer_labels_than_classes_or_more_than_images_are_refused(count):
    with pytest.raises(
        DataError, match=rf"run.labels = {count}, .* 4 classes .* there are 24 training images; choose 4 to 24"
    ):
        chosen(image_set([6, 6, 6, 6]), count)


def test_labels_of_a_set_that_has_none_cannot_be_kept():
    with pytest.raises(
        DataError, match="this data set has no labels; use a labelled data set, or leave run.labels out"
    ):
        chosen(image_set([6])._replace(classes=()), 3)


@given(seed=st.integers(0, 99), step=st.integers(0, 40), stochastic=st.booleans(), channels_last=st.booleans())
@few
def test_the_second_stream_has_labelled_images_and_the_first_hides_the_other_labels(
    seed, step, stochastic, channels_last
):
    images = image_set([10, 7, 13])
    data = DeviceData(images, "cpu", batch=8, seed=seed, labels=9, labelled_batch=4, channels_last=channels_last)
    x, y, labelled, *_ = data.batch(step)
    mine = places(x)
    known = torch.isin(mine, data.labelled)
    assert torch.equal(y, torch.where(known, images.labels[mine], HIDDEN_LABEL))
    assert len(labelled.y) == 4 and labelled.labelled is None and torch.isin(places(labelled.x), data.labelled).all()
    assert torch.equal(labelled.y, images.labels[places(labelled.x)])
    fresh = DeviceData(images, "cpu", batch=8, seed=seed, labels=9, labelled_batch=4).batch(step)
    assert torch.equal(fresh.x, x) and torch.equal(fresh.labelled.x, labelled.x)


def test_each_epoch_of_the_second_stream_visits_every_labelled_image_once():
    data = DeviceData(image_set([10, 10]), "cpu", batch=5, seed=1, labels=6, labelled_batch=2)
    epochs = [[places(data.batch(3 * epoch + i).labelled.x) for i in range(3)] for epoch in range(4)]
    for epoch in epochs:
        assert torch.equal(torch.cat(epoch).sort().values, data.labelled)
    assert len({tuple(torch.cat(epoch).tolist()) for epoch in epochs}) > 1


def test_the_images_of_a_run_do_not_depend_on_how_many_labels_are_known():
    whole, part = (DeviceData(image_set([10, 10]), "cpu", batch=5, seed=1, labels=n) for n in (None, 6))
    assert all(torch.equal(whole.batch(step).x, part.batch(step).x) for step in range(9))
    assert whole.batch(0).labelled is None and whole.labelled is None and (whole.batch(0).y >= 0).all()


def test_black_and_white_pixels_of_the_second_stream_are_drawn_anew():
    data = DeviceData(image_set([60, 60]), "cpu", batch=5, seed=1, stochastic=True, labels=2)
    seen = torch.stack([data.batch(step).labelled.x for step in range(8)])
    assert set(seen.unique().tolist()) <= {-1.0, 1.0}
    assert len(seen.sum((1, 2, 3, 4)).unique()) > 1


def test_ranks_share_the_second_stream():
    def stream(**rank):
        return DeviceData(image_set([20, 20]), "cpu", batch=6, seed=3, labels=12, labelled_batch=4, **rank).batch(2)

    parts = [stream(rank=rank, world=2).labelled for rank in range(2)]
    whole = stream().labelled
    assert torch.equal(torch.cat([part.x for part in parts]), whole.x)
    assert torch.equal(torch.cat([part.y for part in parts]), whole.y)


@pytest.mark.parametrize(("labelled_batch", "world"), [(7, 1), (3, 2)])
def test_a_labelled_batch_that_cannot_be_had_is_refused(labelled_batch, world):
    with pytest.raises(DataError, match=rf"labelled_batch = {labelled_batch}, but 6 images keep .* {world}, up to 6"):
        DeviceData(image_set([8, 8]), "cpu", batch=4, seed=0, labels=6, labelled_batch=labelled_batch, world=world)


def test_a_model_is_told_how_many_labels_are_known():
    assert as_trained(Digits(Digits.Config()), 20).labelled == 20
    assert as_trained(Digits(Digits.Config()), None).labelled is None


@pytest.mark.parametrize("config", [Label.Config(), InfoGAN.Config(categorical=(3,), supervised=True)])
def test_a_condition_that_tells_every_label_is_refused_where_labels_are_hidden(config):
    info = DataInfo((1, 4, 4), ("a", "b", "c"), labelled=6)
    with pytest.raises(PlanError, match=r"needs the label of every image, and run.labels = 6 hides .* 'partial_label'"):
        config.part.widths(config, info)
    config.part.widths(config, info._replace(labelled=None))


def recipe(tmp_path, *changes):
    path = tmp_path / "few.toml"
    path.write_text(
        "\n".join(
            [
                "run = { steps = 2, batch = 6, labels = 20 }",
                'data = { name = "digits", size = 8 }',
                'optimiser.default = { name = "adam", lr = 1e-3 }',
                "[model]",
                'name = "gan"',
                "code_size = 4",
                'prior = { name = "gaussian" }',
                'decoder = { name = "mlp", hidden = [8] }',
                'image_critic = { name = "image_mlp", hidden = [8] }',
                'game = { name = "nonsaturating" }',
                'conditioner = { name = "none" }',
                *changes,
            ]
        )
    )
    return load_recipe(path)


def test_a_run_records_which_labels_it_saw_and_knows_it_when_it_is_read(tmp_path):
    train(recipe(tmp_path), out=tmp_path / "out")
    folder = tmp_path / "out" / "base" / "seed-0"
    kept = json.loads((folder / "labelled.json").read_text())["images"]
    labels = Digits(Digits.Config()).load("train").labels
    assert torch.bincount(labels[kept], minlength=10).tolist() == [2] * 10
    data = DeviceData(Digits(Digits.Config()).load("train"), "cpu", batch=6, seed=0, labels=20)
    assert kept == data.labelled.tolist()
    assert load_run(folder).model is not None
    check(recipe(tmp_path), "cpu")


def test_another_number_of_labels_is_another_run(tmp_path):
    plan = recipe(tmp_path).plans[0]
    other = plan.model_copy(update={"run": plan.run.model_copy(update={"labels": 30})})
    assert plan.differences(other.as_table()) == ["run.labels: was 30, is 20"]


def test_a_share_of_the_labels_is_kept(tmp_path):
    plan = recipe(tmp_path).plans[0]
    share = RunConfig.model_validate(plan.run.model_dump() | {"labels": 0.2}, context={"registry": installed()})
    trainer = Trainer(plan.model_copy(update={"run": share}), 0, tmp_path / "run")
    trainer.prepare()
    assert len(trainer.data.labelled) == round(0.2 * 1437) == trainer.data.info.labelled
    assert as_trained(Digits(Digits.Config()), 0.2).labelled == 287


@pytest.mark.parametrize("labels", [0, -3, 1.5, 1.0, 0.0])
def test_neither_a_number_nor_a_share_is_refused(labels):
    with pytest.raises(ValidationError, match="labels"):
        RunConfig(steps=1, labels=labels)
