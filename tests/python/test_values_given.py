"""What Python passes to a run: every form of the same values gives the same, and what is none is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genprior
from genprior import DataError, PlanError, RunError

from ..small import aae

RUN = """
[run]
steps = 1
batch = 8
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
LABELLED = (
    aae(batch_norm=True)
    .replace('conditioner = { name = "none" }', 'conditioner = { name = "label" }')
    .replace("batch_norm = true }", "batch_norm = true, conditional = true }", 2)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "r.toml").write_text(RUN + LABELLED)
    recipe = genprior.load_recipe(folder / "r.toml", settings=["run.hooks.pictures.enabled=false"])
    genprior.train(recipe, out=folder / "out", progress=False)
    return genprior.load_run(folder / "out" / "base" / "seed-0")


@pytest.fixture
def images(run):
    return run.sample(4)


def test_strides_and_byte_orders_change_nothing(run, images):
    levels = images.numpy()
    floats = levels / 255
    expected = run.encode(images, label=3)
    of_floats = run.encode(torch.from_numpy(floats), label=3, range=(0, 1))
    backwards = np.ascontiguousarray(levels[..., ::-1])[..., ::-1]
    assert backwards.strides[-1] < 0 and torch.equal(run.encode(backwards, label=3), expected)
    fixed = levels.copy()
    fixed.flags.writeable = False
    assert torch.equal(run.encode(fixed, label=3), expected)
    for form in (floats.astype(">f8"), floats.astype("<f8"), floats.astype(np.longdouble)):
        assert torch.equal(run.encode(form, label=3, range=np.array([0, 1])), of_floats)
    codes = expected.numpy()
    for form in (codes.astype(">f4"), np.ascontiguousarray(codes[::-1])[::-1], codes.tolist()):
        assert torch.equal(run.decode(form, label=3), run.decode(expected, label=3))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: x.numpy().astype(object), r"images are object \[4, 1, 8, 8\]; an array of numbers is needed"),
        (lambda x: x.numpy().astype(str), r"images are <U\d+ \[4, 1, 8, 8\]; an array of numbers is needed"),
        (lambda x: x.numpy().astype(complex), r"images are complex128 .*an array of numbers is needed"),
        (lambda x: x.to_sparse(), "images are a tensor of the layout sparse_coo; give a dense one"),
        (lambda x: x.to("meta"), "images are a tensor on the device 'meta', which has no values"),
        (lambda x: (x / 255).to(torch.float8_e4m3fn), "images are float8_e4m3fn .*; give uint8, float16"),
        (lambda x: x + 0j, "images are complex64 .*; give uint8, float16"),
    ],
)
def test_arrays_without_usable_numbers_are_refused(run, images, wrong, text):
    with pytest.raises(DataError, match=text):
        run.encode(wrong(images), label=3)


@pytest.mark.parametrize("bounds", [1, "01", (0,), [[0, 1], [0, 1]], {0: 1}])
def test_a_range_is_a_pair_of_numbers(run, images, bounds):
    with pytest.raises(DataError, match=r"range=\(0, 1\) or range=\(-1, 1\), not "):
        run.encode(images / 255, label=3, range=bounds)


@pytest.mark.parametrize("codes", [None, "x", [[1.0], [1.0, 2.0]], [["a"]]])
def test_codes_that_are_no_numbers_are_refused(run, codes):
    with pytest.raises(PlanError, match=r"codes = .* are no array of numbers; give a tensor or NumPy array \[n, d\]"):
        run.decode(codes)


@pytest.mark.parametrize("codes", [torch.zeros(2, 4).to_sparse(), torch.zeros(2, 4, device="meta")])
def test_codes_without_values_are_refused(run, codes):
    with pytest.raises(PlanError, match="codes are a tensor o"):
        run.decode(codes)


def test_one_label_in_every_form(run, images):
    expected = run.encode(images, label=3)
    for label in (np.array(3), torch.tensor(3), np.int8(3), [3] * 4, np.full(4, 3), torch.full((4,), 3), "3"):
        assert torch.equal(run.encode(images, label=label), expected)
    assert torch.equal(run.sample(2, label=torch.tensor(3)), run.sample(2, label=3))
    for wrong in (3.0, np.array(3.0), torch.full((4,), 3.0), torch.full((4, 2), 3), [None] * 4, [3.5] * 4):
        with pytest.raises(PlanError, match="label = .* is no class; give a class's name or its index"):
            run.encode(images, label=wrong)


@pytest.mark.parametrize("steps", [2.5, "3", None, True, 3.0])
def test_steps_of_an_interpolation_are_whole(run, images, steps):
    with pytest.raises(PlanError, match=r"steps = .* is no whole number; give one of at least"):
        run.interpolate(images, images, steps=steps, label=3)
    assert run.interpolate(images, images, steps=np.int64(3), label=3).shape[1] == 3


@pytest.mark.parametrize("n", ["3", 2.5, None, True])
def test_a_number_of_images_is_whole(run, n):
    with pytest.raises(RunError, match=r"n = .* is no whole number"):
        run.sample(n)


def test_equal_seeds_give_equal_images(run, images):
    expected = run.sample(2, seed=5)
    for seed in (np.int64(5), np.uint8(5), torch.tensor(5)):
        assert torch.equal(run.sample(2, seed=seed), expected)


@pytest.mark.parametrize("seed", [5.0, True, None, 1.5, "5", np.float64(5), torch.tensor(5.0)])
def test_seeds_are_whole_numbers(run, images, seed):
    text = r"seed = .* is no whole number; give one of at least 0"
    with pytest.raises(RunError, match=text):
        run.sample(2, seed=seed)
    with pytest.raises(PlanError, match=text):
        run.decode(torch.zeros(1, 4), seed=seed)
    with pytest.raises(PlanError, match=text):
        run.reconstruct(images, label=3, seed=seed)


def test_seeds_are_not_negative(run):
    with pytest.raises(RunError, match="seed = -1 is too small; give a whole number of at least 0"):
        run.sample(2, seed=-1)


def test_a_link_to_nothing_is_not_overwritten(run, call, tmp_path):
    link = tmp_path / "mine.png"
    link.symlink_to(tmp_path / "elsewhere.png")
    done = call("sample", run.folder, "--to", link)
    assert done.exit_code == 2 and "mine.png exists already; give another file, or --force" in done.stderr
    assert link.is_symlink() and list(tmp_path.iterdir()) == [link]
    assert call("sample", run.folder, "--to", link, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("path", "given", "text"),
    [
        ("a\0.png", {}, "has a null character, which no file's name can have"),
        ("a.png", {"n": 2.5}, r"n = 2.5 \(float\) is no whole number"),
        ("a.png", {"n": 0}, "n = 0 is too small; give a whole number of at least 1"),
        ("a.png", {"seed": True}, r"seed = True \(bool\) is no whole number"),
    ],
)
def test_an_export_is_refused_before_a_file_is_written(run, tmp_path, path, given, text):
    with pytest.raises(RunError, match=text):
        genprior.export(run, tmp_path / path, **given)
    assert not list(tmp_path.iterdir())
