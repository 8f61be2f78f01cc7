from __future__ import annotations

import json
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from genprior.data.cache import cache_file, read_cache, write_cache
from genprior.data.images import check_images, fit_images, images_to_float, to_uint8
from genprior.errors import DataError
from genprior.parts import DataInfo, ImageSet
from genprior.storage.cache import cache_folder


def some(n=5, c=3, h=4, w=4, classes=("cat", "dog")):
    images = torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    return ImageSet(images, torch.arange(n) % max(len(classes), 1), classes)


def raw_file(path, **change):
    tensors = {"images": np.zeros((2, 1, 3, 3), np.uint8), "labels": np.zeros(2, np.int64)}
    metadata = {"classes": json.dumps(["a"])}
    metadata |= change.pop("metadata", {})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: a for name, a in (tensors | change).items() if a is not None}, path, metadata)


# --- where ------------------------------------------------------------------------------------------------------------


def test_the_cache_folder_is_the_environments(cache):
    assert cache_folder() == cache
    assert cache_file("mnist", "test") == cache / "mnist-test.safetensors"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_environment_it_is_the_users_cache(monkeypatch, tmp_path, value):
    monkeypatch.delenv("GENPRIOR_DATA")
    if value is not None:
        monkeypatch.setenv("GENPRIOR_DATA", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "genprior" / "data"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENPRIOR_DATA", "~/pictures")
    assert cache_folder() == tmp_path / "pictures"


# --- read and write ---------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back():
    written = some(classes=("cat", "Stra\u00dfe", 'a "quoted" one'))
    write_cache("pets", "train", written)
    read = read_cache("pets", "train")
    assert torch.equal(read.images, written.images) and torch.equal(read.labels, written.labels)
    assert read.classes == written.classes


def test_the_file_form_is_plain_safetensors(cache):
    written = some()
    path = write_cache("pets", "train", written)
    assert path == cache / "pets-train.safetensors"
    tensors = load_file(path)
    assert {name: (a.dtype, a.shape) for name, a in tensors.items()} == {
        "images": (np.dtype("uint8"), (5, 3, 4, 4)),
        "labels": (np.dtype("int64"), (5,)),
    }
    assert np.array_equal(tensors["images"], written.images.numpy())


def test_a_view_of_another_layout_can_be_written():
    images = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 4, 3).permute(0, 3, 1, 2)
    write_cache("views", "train", ImageSet(images, torch.zeros(4, dtype=torch.int64)[::2], ("a",)))
    assert torch.equal(read_cache("views", "train").images, images)


def test_a_file_made_elsewhere_in_this_form_is_read(cache):
    raw_file(cache / "made-test.safetensors")
    assert read_cache("made", "test").info == DataInfo((1, 3, 3), ("a",), binary=True)


def test_what_is_not_there_is_none():
    assert read_cache("nothing", "train") is None


def test_the_umask_decides_who_may_read():
    old = os.umask(0o027)
    try:
        path = write_cache("pets", "train", some())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_truncated_file_is_refused(cache):
    path = write_cache("pets", "train", some())
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"pets-train\.safetensors: it is truncated .*; delete it, and it will be "):
        read_cache("pets", "train")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else altogether"])
def test_another_kind_of_file_is_refused(cache, content):
    cache.mkdir()
    (cache / "pets-train.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"it is truncated or no safetensors file .*; delete it"):
        read_cache("pets", "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, r"odd-train\.safetensors: it has no tensor labels; delete it"),
        ({"images": None, "labels": None, "pixels": np.zeros(1)}, r"it has no tensor images and no labels; delete it"),
        (
            {"labels": np.array([0, 1])},
            r"odd-train\.safetensors: labels run from 0 to 1; 0\.\.0 .* possible; delete it",
        ),
        ({"metadata": {"classes": "cat, dog"}}, r"metadata 'classes' is no JSON list .*; delete it"),
        ({"metadata": {"classes": "3"}}, r"metadata 'classes' is no JSON list of names; delete it"),
    ],
)
def test_a_file_of_other_content_is_refused(cache, change, message):
    raw_file(cache / "odd-train.safetensors", **change)
    with pytest.raises(DataError, match=message):
        read_cache("odd", "train")


def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(cache):
    write_cache("big", "test", some(3))
    before = sorted(cache.iterdir()), (cache / "big-test.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for split in ("train", "test"):
            with pytest.raises(DataError, match=r"it cannot be written \(.*\); free some space .* GENPRIOR_DATA"):
                write_cache("big", split, some(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (sorted(cache.iterdir()), (cache / "big-test.safetensors").read_bytes()) == before


def test_a_cache_folder_that_is_a_file_is_refused(cache):
    cache.write_text("")
    with pytest.raises(DataError, match=r"pets-train\.safetensors: it cannot be written"):
        write_cache("pets", "train", some())


def test_an_invalid_set_is_not_written(cache):
    with pytest.raises(DataError, match="there are no images"):
        write_cache("pets", "train", ImageSet(torch.empty((0, 1, 4, 4), dtype=torch.uint8), torch.empty(0).long(), ()))
    assert not cache.exists()


# --- validate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(5, 3, 4, 4)}, r"^it: images are float32; uint8 values 0\.\.255 are needed$"),
        ({"images": torch.zeros(5, 4, 4).byte()}, r"images have shape \[5, 4, 4\]; \[n, channels, height, width\]"),
        ({"images": torch.zeros(0, 3, 4, 4).byte()}, r"there are no images in it \(shape \[0, 3, 4, 4\]\)"),
        (
            {"images": torch.zeros(5, 4, 4, 3).byte()},
            r"images have shape \[5, 4, 4, 3\], with the channels last; .*permute\(0, 3, 1, 2\) gives",
        ),
        ({"labels": torch.zeros(5)}, r"labels are float32; int64 is needed"),
        ({"labels": torch.zeros(4).long()}, r"labels have shape \[4\] for 5 images; one label an image"),
        ({"labels": torch.tensor([0, 1, 2, 0, 0])}, r"labels run from 0 to 2; 0\.\.1 \(2 classes\) is possible"),
        ({"labels": torch.tensor([0, -1, 1, 0, 0])}, r"labels run from -1 to 1"),
        ({"classes": ()}, r"labels run from 0 to 1; 0 \(no class names are given\) is possible"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(change, message):
    good = some()
    assert check_images(good, "it") is good
    with pytest.raises(DataError, match=message):
        check_images(good._replace(**change), "it")


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("h", "w", "size", "top", "left"), [(28, 28, 32, 2, 2), (3, 4, 8, 2, 2), (5, 2, 6, 0, 2)])
def test_padding_puts_zeros_around_the_middle(h, w, size, top, left):
    images = some(2, 3, h, w).images
    wanted = np.zeros((2, 3, size, size), np.uint8)
    wanted[:, :, top : top + h, left : left + w] = images.numpy()
    assert np.array_equal(fit_images(images, size, "pad").numpy(), wanted)


def test_padding_to_a_smaller_size_is_refused():
    with pytest.raises(
        DataError, match=r'^images of 28x30 cannot be padded to size = 16; .* >= 30, or how = "resize"$'
    ):
        fit_images(some(1, 1, 28, 30).images, 16, "pad")


@pytest.mark.parametrize("how", ["pad", "resize"])
def test_the_size_they_have_or_none_leaves_images_alone(how):
    images = some(1, 3, 4, 4).images
    assert fit_images(images, 4, how) is images and fit_images(images, None, how) is images


@pytest.mark.parametrize(("h", "w", "size"), [(8, 8, 32), (28, 28, 16), (64, 64, 24), (30, 50, 16), (41, 20, 32)])
@pytest.mark.parametrize("c", [1, 3])
def test_resizing_agrees_with_pillow(h, w, size, c):
    images = some(3, c, h, w).images
    scale = size / min(h, w)
    new_w, new_h = max(size, round(w * scale)), max(size, round(h * scale))
    top, left = (new_h - size) // 2, (new_w - size) // 2
    for image, ours in zip(images, fit_images(images, size, "resize"), strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy().squeeze())
        scaled = np.atleast_3d(np.asarray(picture.resize((new_w, new_h), Image.Resampling.BILINEAR)))
        wanted = scaled[top : top + size, left : left + size].transpose(2, 0, 1).astype(int)
        # Pillow rounds to bytes between its two passes; we round once.
        assert np.abs(ours.numpy().astype(int) - wanted).max() <= 1


def test_resizing_in_chunks_is_resizing_one_by_one():
    images = some(1500, 1, 4, 4).images
    together = fit_images(images, 8, "resize")
    for place in (0, 1023, 1024, 1499):
        assert torch.equal(together[place], fit_images(images[place : place + 1], 8, "resize")[0])


# --- bytes and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_bytes_survive_the_round_trip(dtype):
    every = torch.arange(256, dtype=torch.uint8)
    there = images_to_float(every)
    assert there.dtype == torch.float32
    assert there[0] == -1 and there[255] == 1 and torch.equal(there, -there.flip(0))
    torch.testing.assert_close(there.double(), torch.linspace(-1, 1, 256, dtype=torch.float64), rtol=0, atol=1e-7)
    assert torch.equal(to_uint8(there.to(dtype)), every)


def test_numbers_are_float32_whatever_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        assert images_to_float(torch.zeros(2, dtype=torch.uint8)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_bytes_are_the_nearest_and_clamped(values):
    x = torch.tensor(values, dtype=torch.float32)
    grid = np.linspace(-1, 1, 256)
    distance = np.abs(np.asarray(values)[:, None] - grid)
    got = distance[np.arange(len(values)), to_uint8(x).numpy()]
    np.testing.assert_allclose(got, distance.min(1), atol=1e-6)


def test_half_precision_is_rounded_as_it_stands():
    x = torch.linspace(-1, 1, 97).to(torch.bfloat16)
    assert torch.equal(to_uint8(x), to_uint8(x.float()))


def test_bytes_carry_no_gradient():
    assert not to_uint8(torch.zeros(2, requires_grad=True)).requires_grad


# --- the real sets, where the cache has them --------------------------------------------------------------------------

REAL = os.environ.get("GENPRIOR_DATA")


@pytest.mark.parametrize(
    ("name", "info", "means"),
    # Published training means: of MNIST (0.1307), Fashion-MNIST (0.2860) and CIFAR-10 (0.4914, 0.4822, 0.4465).
    [
        ("mnist", (1, 28, 28), [0.1307]),
        ("fashion_mnist", (1, 28, 28), [0.2860]),
        ("cifar10", (3, 32, 32), [0.4914, 0.4822, 0.4465]),
    ],
)
def test_real_sets(monkeypatch, name, info, means):
    if not REAL or not (Path(REAL) / f"{name}-train.safetensors").exists():
        pytest.skip(f"GENPRIOR_DATA has no {name}")
    monkeypatch.setenv("GENPRIOR_DATA", REAL)
    train, test = read_cache(name, "train"), read_cache(name, "test")
    assert train.info.image == info and len(train.classes) == 10
    assert len(train.images) in (50_000, 60_000) and len(test.images) == 10_000
    got = [float(train.images[:, channel].double().mean() / 255) for channel in range(info[0])]
    assert got == pytest.approx(means, abs=1e-4)
