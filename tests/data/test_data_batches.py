from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genprior.data import batches
from genprior.data.batches import DeviceData
from genprior.data.images import images_to_float
from genprior.errors import DataError, PlanError
from genprior.parts import ImageSet


def numbered(n, h=1, w=1):
    """n images, each all of its own number, which is its label too."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, h, w).contiguous()
    return ImageSet(images, torch.arange(n), tuple(str(i) for i in range(n)))


def random_images(n=24, h=4, w=6):
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, 3, h, w), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n), tuple(str(i) for i in range(n)))


def epoch(data, e):
    steps = range(e * data.batches_per_epoch, (e + 1) * data.batches_per_epoch)
    return torch.cat([data.batch(step).y for step in steps]).tolist()


few = settings(max_examples=40, deadline=None, derandomize=True)


def same_batches(a, b):
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


@given(n=st.integers(1, 60), batch=st.integers(1, 60), seed=st.integers(0, 2**40), e=st.integers(0, 5))
@few
def test_an_epoch_shows_each_image_at_most_once(n, batch, seed, e):
    batch = min(batch, n)
    data = DeviceData(numbered(n), "cpu", batch=batch, seed=seed)
    seen = epoch(data, e)
    assert data.batches_per_epoch == n // batch and len(data) == n
    assert len(seen) == len(set(seen)) == n - n % batch
    assert set(seen) <= set(range(n))


def test_images_keep_their_labels():
    data = DeviceData(numbered(50, 2, 2), "cpu", batch=7, seed=3)
    for step in range(20):
        x, y, *_ = data.batch(step)
        assert x.shape == (7, 3, 2, 2) and x.dtype == torch.float32 and y.dtype == torch.int64
        wanted = (2 * y.double() / 255 - 1)[:, None, None, None].expand_as(x)
        torch.testing.assert_close(x.double(), wanted, rtol=0, atol=1e-7)


def test_epochs_and_seeds_have_orders_of_their_own():
    # Two random orders of 60 images are equal with probability 1/60!.
    orders = [
        tuple(epoch(DeviceData(numbered(60), "cpu", batch=10, seed=seed), e)) for seed in range(6) for e in range(6)
    ]
    assert len(set(orders)) == 36


def test_which_image_comes_first_is_uniform():
    # Chi-squared at 1e-4 under a fixed seed: a right implementation fails for 1 in 10,000 choices of that seed.
    data = DeviceData(numbered(10), "cpu", batch=10, seed=0)
    first = np.bincount([int(data.batch(step).y[0]) for step in range(3000)], minlength=10)
    assert stats.chisquare(first).pvalue > 1e-4


@given(
    seed=st.integers(0, 2**40), steps=st.lists(st.integers(0, 200), min_size=1, max_size=6),
    flip=st.booleans(), stochastic=st.booleans(),
)  # fmt: skip
@few
def test_a_batch_depends_on_seed_and_step_alone(seed, steps, flip, stochastic):
    images = random_images()
    running = DeviceData(images, "cpu", batch=5, seed=seed, flip=flip, stochastic=stochastic)
    for step in steps:
        torch.rand(3)
        fresh = DeviceData(images, "cpu", batch=5, seed=seed, flip=flip, stochastic=stochastic).batch(step)
        assert same_batches(running.batch(step), fresh)


def test_batches_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    DeviceData(random_images(), "cpu", batch=5, seed=1, flip=True, stochastic=True).batch(0)
    assert torch.equal(torch.get_rng_state(), state)


@given(
    world=st.sampled_from([1, 2, 3, 4]), share=st.integers(1, 5), seed=st.integers(0, 99), step=st.integers(0, 30),
    flip=st.booleans(), stochastic=st.booleans(), channels_last=st.booleans(), resident=st.booleans(),
)  # fmt: skip
@few
def test_the_ranks_slices_are_the_batch(world, share, seed, step, flip, stochastic, channels_last, resident):
    def data(**rank):
        return DeviceData(
            random_images(), "cpu", batch=world * share, seed=seed, flip=flip, stochastic=stochastic,
            channels_last=channels_last, resident=resident, **rank,
        ).batch(step)  # fmt: skip

    slices = [data(rank=rank, world=world) for rank in range(world)]
    whole = data()
    assert all(len(part.y) == share for part in slices)
    assert torch.equal(torch.cat([part.x for part in slices]), whole.x)
    assert torch.equal(torch.cat([part.y for part in slices]), whole.y)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("flip", "stochastic"), [(False, False), (True, False), (False, True), (True, True)])
def test_where_the_set_lies_changes_nothing(channels_last, flip, stochastic):
    def batch(resident):
        data = DeviceData(
            random_images(), "cpu", batch=6, seed=2, flip=flip, stochastic=stochastic,
            channels_last=channels_last, resident=resident,
        )  # fmt: skip
        assert data.resident is resident
        return data.batch(9)

    assert same_batches(batch(True), batch(False))


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("resident", [False, True])
def test_channels_last_is_a_layout_only(resident, stochastic):
    plain = DeviceData(random_images(), "cpu", batch=6, seed=2, flip=True, stochastic=stochastic).batch(1).x
    other = DeviceData(
        random_images(), "cpu", batch=6, seed=2, flip=True, stochastic=stochastic,
        channels_last=True, resident=resident,
    )  # fmt: skip
    x = other.batch(1).x
    assert torch.equal(x, plain) and plain.is_contiguous()
    assert x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


@pytest.mark.parametrize("channels_last", [False, True])
def test_flips_mirror_half_of_the_images_left_to_right(channels_last):
    images = random_images(16)
    data = DeviceData(images, "cpu", batch=16, seed=4, flip=True, channels_last=channels_last)
    flipped = 0
    for step in range(50):
        x, y, *_ = data.batch(step)
        as_it_is = images_to_float(images.images[y])
        mirrored = torch.from_numpy(np.fliplr(as_it_is.permute(2, 3, 0, 1).numpy()).copy()).permute(2, 3, 0, 1)
        is_flipped = (x == mirrored).flatten(1).all(1)
        assert torch.equal(is_flipped, ~(x == as_it_is).flatten(1).all(1))
        flipped += int(is_flipped.sum())
    # Two-sided binomial test at 1e-4 under a fixed seed.
    assert stats.binomtest(flipped, 800, 0.5).pvalue > 1e-4


def test_without_flip_nothing_is_mirrored():
    images = random_images(16)
    x, y, *_ = DeviceData(images, "cpu", batch=16, seed=4).batch(3)
    assert torch.equal(x, images_to_float(images.images[y]))


# --- black or white, drawn anew ---------------------------------------------------------------------------------------


def alike(value, n=10, h=12, w=12):
    """n images of one and the same grey."""
    return ImageSet(torch.full((n, 1, h, w), value, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), ())


def every_byte(n=10):
    """n images whose 16x16 pixels are the 256 bytes."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(n, 1, 1, 1)
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), ())


def white_as_often_as_it_is_bright(x):
    """Two-sided binomial tests of x [n, 256], column v against v / 255; together they err with probability 1e-4."""
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    white = (x == 1).sum(0).tolist()
    assert white[0] == 0 and white[255] == len(x)
    return all(stats.binomtest(white[v], len(x), v / 255).pvalue > 1e-4 / 254 for v in range(1, 255))


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_stochastic_batch_is_black_and_white(channels_last):
    data = DeviceData(random_images(), "cpu", batch=8, seed=5, stochastic=True, channels_last=channels_last)
    for step in range(6):
        x, y, *_ = data.batch(step)
        assert x.shape == (8, 3, 4, 6) and x.dtype == torch.float32 and y.shape == (8,)
        assert torch.equal(x.abs(), torch.ones_like(x))
    assert data.info.binary and not DeviceData(random_images(), "cpu", batch=8, seed=5).info.binary


def test_a_pixel_is_white_as_often_as_it_is_bright():
    data = DeviceData(every_byte(), "cpu", batch=10, seed=6, stochastic=True)
    assert white_as_often_as_it_is_bright(torch.cat([data.batch(step).x for step in range(300)]).flatten(1))


def test_pixels_and_images_are_drawn_independently():
    # 51 / 255 = 1 / 5, so two independent pixels are alike with probability 1/25 + 16/25. The pairs do not overlap.
    # Three two-sided binomial tests at 1e-4 under a fixed seed.
    data = DeviceData(alike(51), "cpu", batch=10, seed=7, stochastic=True)
    x = torch.stack([data.batch(step).x for step in range(40)])
    pairs = (x[..., ::2], x[..., 1::2]), (x[:, ::2], x[:, 1::2]), (x[::2], x[1::2])
    for one, other in pairs:
        assert stats.binomtest(int((one == other).sum()), one.numel(), 17 / 25).pvalue > 1e-4


def test_another_step_and_another_seed_draw_anew():
    # 1,440 pixels of probability 1/2: two draws are equal with probability 2^-1440.
    def draws(seed):
        data = DeviceData(alike(128), "cpu", batch=10, seed=seed, stochastic=True)
        return [data.batch(step).x for step in range(4)]

    drawn = draws(1) + draws(2)
    assert not any(torch.equal(drawn[i], drawn[j]) for i in range(8) for j in range(i))


def test_black_and_white_images_are_left_as_they_are():
    images = ImageSet(255 * (random_images().images % 2), torch.arange(24), tuple(str(i) for i in range(24)))
    x, y, *_ = DeviceData(images, "cpu", batch=12, seed=1, stochastic=True).batch(2)
    assert torch.equal(x, images_to_float(images.images[y]))


# --- images to start from ---------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), asked=st.integers(1, 40), channels_last=st.booleans(), resident=st.booleans())
@few
def test_drawn_images_differ_and_keep_their_labels(n, asked, channels_last, resident):
    asked = min(n, asked)
    data = DeviceData(numbered(n, 2, 3), "cpu", batch=1, seed=0, channels_last=channels_last, resident=resident)
    x, y, *_ = data.draw(asked)
    assert x.shape == (asked, 3, 2, 3) and len(set(y.tolist())) == asked and set(y.tolist()) <= set(range(n))
    assert torch.equal(x, images_to_float(numbered(n, 2, 3).images[y]))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("resident", [False, True])
def test_a_draw_is_torchs_own_whatever_the_layout(channels_last, resident):
    def drawn(seed, **settings):
        torch.manual_seed(seed)
        return DeviceData(random_images(), "cpu", batch=1, seed=0, stochastic=True, **settings).draw(9)

    first, again = drawn(3), drawn(3, channels_last=channels_last, resident=resident)
    assert torch.equal(first.x, again.x) and torch.equal(first.y, again.y)
    assert torch.equal(first.x.abs(), torch.ones_like(first.x))
    assert not torch.equal(first.x, drawn(4).x)


def test_drawn_pixels_are_white_as_often_as_they_are_bright():
    assert white_as_often_as_it_is_bright(
        DeviceData(every_byte(3000), "cpu", batch=1, seed=0, stochastic=True).draw(3000).x.flatten(1)
    )


@pytest.mark.parametrize("channels_last", [False, True])
def test_shifts_move_each_image_by_itself_and_black_comes_in(channels_last):
    images = random_images(40)
    data = DeviceData(images, "cpu", batch=20, seed=4, shift=2, channels_last=channels_last)
    still = DeviceData(images, "cpu", batch=20, seed=4)
    seen = set()
    for step in range(4):
        moved, there = (((each.batch(step).x + 1) * 127.5).round() for each in (data, still))
        for image, original in zip(moved, there, strict=True):
            padded = np.pad(original.numpy(), ((0, 0), (2, 2), (2, 2)))
            found = [
                (down, across)
                for down in range(5) for across in range(5)
                if np.array_equal(padded[:, down : down + 4, across : across + 6], image.numpy())
            ]  # fmt: skip
            assert found
            seen.add(found[0])
    # Of 25 shifts one is missing after 80 draws with probability below 25 (24/25)^80 = 0.95: most are there.
    assert len(seen) > 18


def bar(n, side=17):
    """n images of a white upright bar in the middle."""
    images = torch.zeros(n, 1, side, side, dtype=torch.uint8)
    images[:, :, 2:-2, side // 2 - 1 : side // 2 + 2] = 255
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), ())


@pytest.mark.parametrize("channels_last", [False, True])
def test_turns_stay_within_the_angle_and_go_both_ways(channels_last):
    data = DeviceData(bar(64), "cpu", batch=64, seed=0, rotate=30.0, channels_last=channels_last)
    x = (data.batch(0).x + 1) / 2
    place = torch.arange(17.0) - 8
    down, across = place[:, None].expand(17, 17), place[None].expand(17, 17)
    mass = x.sum((1, 2, 3))
    assert torch.allclose(mass, mass.mean(), rtol=0.05)
    # The direction of the longer axis by second moments, 0 for upright.
    moments = [(x[:, 0] * product).sum((1, 2)) for product in (down * across, down**2 - across**2)]
    angles = torch.rad2deg(0.5 * torch.atan2(2 * moments[0], moments[1]))
    assert angles.abs().max() < 31 and angles.max() > 15 and angles.min() < -15


@pytest.mark.parametrize("sides", [(32, 64), (64, 32)])
def test_images_that_are_not_square_are_turned_and_not_sheared(sides):
    """A disc stays a disc under any turn: its second moments are equal, and none of its area goes."""
    h, w = sides
    down, across = torch.arange(h)[:, None] - (h - 1) / 2, torch.arange(w)[None] - (w - 1) / 2
    disc = (255 * (down**2 + across**2 < 12**2)).to(torch.uint8).expand(16, 1, h, w)
    images = ImageSet(disc.contiguous(), torch.zeros(16, dtype=torch.int64), ())
    x = (DeviceData(images, "cpu", batch=16, seed=0, rotate=90.0).batch(0).x[:, 0] + 1) / 2
    mass = x.sum((1, 2))
    ratio = (x * down**2).sum((1, 2)) / (x * across**2).sum((1, 2))
    assert torch.allclose(ratio, torch.ones(16), atol=0.02)
    assert torch.allclose(mass, torch.full_like(mass, math.pi * 12**2), rtol=0.02)


def test_zooms_stay_within_the_factor():
    x = (DeviceData(bar(64), "cpu", batch=64, seed=0, zoom=0.2).batch(0).x + 1) / 2
    areas = x.sum((1, 2, 3)) / (13 * 3)
    assert areas.max() < 1.2**2 + 0.05 and areas.min() > 0.8**2 - 0.05
    assert areas.max() > 1.2 and areas.min() < 0.85


def test_turned_bytes_are_those_of_torchvision():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import affine

    images = random_images(6, 9, 9)
    data = DeviceData(images, "cpu", batch=6, seed=0, rotate=25.0, zoom=0.3)
    turn = torch.tensor([0.0, 1.0, -1.0, 0.5, 0.3, -0.7])
    growth = torch.tensor([1.0, 0.0, 0.4, -1.0, -0.2, 0.9])
    ours = data._rotated(images.images, turn, growth)
    for image, a, g, mine in zip(images.images, turn.tolist(), growth.tolist(), ours, strict=True):
        theirs = affine(
            image.float(), angle=-25.0 * a, translate=[0, 0], scale=1 + 0.3 * g, shear=[0, 0],
            interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        assert (mine.float() - theirs).abs().max() <= 1


def test_shifts_are_a_function_of_seed_and_step_and_shared_by_ranks():
    def batch(**more):
        images = random_images()._replace(labels=torch.arange(24) % 3, classes=("a", "b", "c"))
        return DeviceData(
            images, "cpu", batch=8, seed=3, shift=1, rotate=20.0, labels=6, labelled_batch=4, **more
        ).batch(5)

    whole, parts = batch(), [batch(rank=rank, world=2) for rank in range(2)]
    assert torch.equal(torch.cat([part.x for part in parts]), whole.x) and torch.equal(batch().x, whole.x)
    assert torch.equal(torch.cat([part.labelled.x for part in parts]), whole.labelled.x)
    assert torch.equal(batch(channels_last=True).x, whole.x)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_draw_does_not_depend_on_the_batch_or_the_rank(channels_last):
    def drawn(**settings):
        torch.manual_seed(8)
        data = DeviceData(random_images(), "cpu", seed=0, stochastic=True, channels_last=channels_last, **settings)
        return data.draw(7).x

    alone = drawn(batch=4)
    assert torch.equal(alone, drawn(batch=12)) and torch.equal(alone, drawn(batch=4, rank=1, world=2))


@pytest.mark.parametrize("asked", [51, 0, -1])
def test_more_images_than_there_are_cannot_be_drawn(asked):
    with pytest.raises(
        PlanError,
        match=rf"^{asked} different training images are needed, but the data set has 50; 1 to 50 are possible$",
    ):
        DeviceData(numbered(50), "cpu", batch=1, seed=0).draw(asked)


# --- where it lies, and what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "resident"), [(2 * 150, True), (2 * 150 - 1, False)])
def test_a_set_of_more_than_half_of_the_free_memory_stays_on_the_host(monkeypatch, free, resident):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    size = numbered(50).images.numel()
    assert size == 150
    assert batches._fits(size, torch.device("cuda")) is resident
    assert batches._fits(size, torch.device("cpu")) is True


@pytest.mark.parametrize("batch", [0, -1, 51])
def test_a_batch_that_the_set_cannot_fill_is_refused(batch):
    with pytest.raises(DataError, match=rf"^batch = {batch}, but the data set has 50 images; a batch of 1 to 50 is"):
        DeviceData(numbered(50), "cpu", batch=batch, seed=0)


@pytest.mark.parametrize(("rank", "world"), [(0, 11), (2, 2), (-1, 2), (0, 0)])
def test_ranks_that_cannot_share_a_batch_are_refused(rank, world):
    with pytest.raises(DataError, match=rf"^a batch of 10 images cannot be shared by {world} ranks .*at least as many"):
        DeviceData(numbered(50), "cpu", batch=10, seed=0, rank=rank, world=world)


def test_hidden_labels_need_equal_slices():
    with pytest.raises(DataError, match=r"^a batch of 10 images cannot be shared equally by 3 ranks.*is a multiple of"):
        DeviceData(numbered(50), "cpu", batch=10, seed=0, rank=0, world=3, labels=10)


@pytest.mark.parametrize("world", [1, 2, 3, 10])
def test_slices_of_a_batch_differ_by_one_image_at_most_and_make_the_batch(world):
    whole = DeviceData(numbered(50), "cpu", batch=10, seed=0).batch(3)
    ranks = [DeviceData(numbered(50), "cpu", batch=10, seed=0, rank=rank, world=world) for rank in range(world)]
    parts = [rank.batch(3) for rank in ranks]
    assert torch.equal(torch.cat([part.index for part in parts]), whole.index)
    sizes = [len(part.index) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [rank.share for rank in ranks] == [size / 10 for size in sizes]


def test_an_invalid_set_is_refused():
    with pytest.raises(DataError, match="labels have shape"):
        DeviceData(numbered(5)._replace(labels=torch.zeros(4).long()), "cpu", batch=1, seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("resident", [False, True])
def test_a_gpu_gets_the_batches_of_the_cpu(resident, stochastic):
    here = DeviceData(random_images(), "cpu", batch=6, seed=2, flip=True, stochastic=stochastic)
    there = DeviceData(
        random_images(), "cuda", batch=6, seed=2, flip=True, stochastic=stochastic,
        channels_last=True, resident=resident,
    )  # fmt: skip
    for step in range(10):
        x, y, *_ = there.batch(step)
        assert x.is_cuda and y.is_cuda and torch.equal(y.cpu(), here.batch(step).y)
        torch.testing.assert_close(x.cpu(), here.batch(step).x, rtol=0, atol=1e-6)
