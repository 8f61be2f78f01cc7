from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from genprior.data.foreign import read_images
from genprior.errors import DataError
from genprior.parts import DataInfo, ImageSet
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.folder import Folder
from genprior_std.datasets.shared import hold_out


def save(path, colour, size=(20, 20), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def colours(image_set):
    """The first pixel of each image, sorted: flat test images are told apart by it."""
    return sorted(tuple(image.tolist()) for image in image_set.images[:, :, 0, 0])


def folder(path, split="train", **settings):
    return Folder.Config(path=path, **settings).make().load(split)


def both(part_load, *args, **settings):
    return [part_load(*args, split=split, **settings) for split in ("train", "test")]


# --- the held-out part ------------------------------------------------------------------------------------------------


@given(n=st.integers(2, 200), fraction=st.floats(0.01, 0.5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_holding_out_is_a_partition(n, fraction):
    whole = ImageSet(torch.arange(n)[:, None, None, None], torch.arange(n), ())
    train, test = (hold_out(whole, split, fraction=fraction, name="it").labels.tolist() for split in ("train", "test"))
    assert sorted(train + test) == list(range(n))
    assert len(test) == max(1, round(n * fraction))
    assert train == sorted(train) and test == sorted(test)


def test_what_is_held_out_is_spread_over_the_set():
    whole = ImageSet(torch.zeros(1000, 1, 1, 1), torch.arange(1000), ())
    held = hold_out(whole, "test", fraction=0.3, name="it").labels
    # The ranks of a random subset are uniform; a sorted file would put whole classes into one split.
    assert scipy.stats.kstest(held.numpy() / 1000, "uniform").pvalue > 0.01


def test_an_empty_part_is_refused():
    one = ImageSet(torch.zeros(1, 1, 1, 1), torch.zeros(1), ())
    with pytest.raises(
        DataError, match=r"^it: of 1 images, test_fraction = 0.1 leaves none for the split 'train'; add"
    ):
        hold_out(one, "train", fraction=0.1, name="it")
    with pytest.raises(DataError, match=r"test_fraction = 0 leaves none for the split 'test'"):
        hold_out(one, "test", fraction=0, name="it")


# --- folder -----------------------------------------------------------------------------------------------------------


def test_a_flat_folder_has_no_labels(tmp_path):
    wanted = [(10 * i, 5, 255 - i) for i in range(20)]
    for i, colour in enumerate(wanted):
        save(tmp_path / "in" / f"{i}.png", colour)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / ".hidden.png").write_text("no image either")
    train, test = both(folder, tmp_path / "in")
    assert (len(train.images), len(test.images)) == (18, 2)
    assert train.info == DataInfo((3, 32, 32), ()) and not train.labels.any()
    assert sorted(colours(train) + colours(test)) == sorted(wanted)


def test_sub_folders_are_classes(tmp_path):
    for i in range(6):
        save(tmp_path / "in" / "b dog" / f"{i}.jpg", (200, 200, 200))
        save(tmp_path / "in" / "a cat" / "deep" / f"{i}.PNG", (30, 30, 30))
    train, test = both(folder, tmp_path / "in", test_fraction=0.5, channels=1, size=8)
    assert train.classes == ("a cat", "b dog") and train.info.image == (1, 8, 8)
    for part in (train, test):
        assert torch.equal((part.images[:, 0, 0, 0] > 100).long(), part.labels)


def test_train_and_test_folders_are_the_splits(tmp_path):
    for split, classes in (("train", "abc"), ("test", "ac")):
        for name in classes:
            save(tmp_path / split / name / "1.png", (ord(name), 0, 0))
    train, test = both(folder, tmp_path)
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.labels.tolist() == [0, 1, 2] and test.labels.tolist() == [0, 2]
    assert colours(test) == [(97, 0, 0), (99, 0, 0)]


def test_a_test_class_that_training_lacks_is_refused(tmp_path):
    save(tmp_path / "train" / "a" / "1.png", 0)
    save(tmp_path / "test" / "z" / "1.png", 0)
    with pytest.raises(DataError, match=r"test: the classes z are not in 'train'; possible: a$"):
        folder(tmp_path, "test")


def test_the_middle_is_cut_out_and_turned_upright(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    for i in range(3):
        Image.fromarray(wide).save(tmp_path / "in" / f"wide{i}.png")
        Image.fromarray(np.rot90(np.arange(100, dtype=np.uint8).reshape(10, 10), 1)).save(
            tmp_path / "in" / f"turned{i}.png", exif=exif
        )
    got = folder(tmp_path / "in", size=10, channels=1, test_fraction=0).images
    turned, straight = got[:3], got[3:]
    assert (straight == 200).all()
    assert torch.equal(turned, torch.arange(100).byte().reshape(1, 1, 10, 10).expand(3, -1, -1, -1))


def test_scaling_is_pillows_bilinear(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (48, 48, 3)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    wanted = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR))
    got = folder(tmp_path / "in", size=16, test_fraction=0).images[0]
    assert np.array_equal(got.permute(1, 2, 0).numpy(), wanted)


def test_decoded_images_are_cached_until_the_folder_changes(tmp_path, cache, monkeypatch):
    for i in range(4):
        save(tmp_path / "in" / f"{i}.bmp", (i, i, i))
    first = folder(tmp_path / "in", test_fraction=0)
    assert len(list(cache.glob("folder-*-all.safetensors"))) == 1
    with monkeypatch.context() as without:
        without.setattr(Image, "open", lambda *a, **k: pytest.fail("the cache was not used"))
        assert torch.equal(folder(tmp_path / "in", test_fraction=0).images, first.images)
        folder(tmp_path / "in", "test")
    # Same length in bytes: only the time tells.
    before = (tmp_path / "in" / "0.bmp").stat()
    save(tmp_path / "in" / "0.bmp", (9, 9, 9))
    assert (tmp_path / "in" / "0.bmp").stat().st_size == before.st_size
    os.utime(tmp_path / "in" / "0.bmp", ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert colours(folder(tmp_path / "in", test_fraction=0))[-1] == (9, 9, 9)
    assert folder(tmp_path / "in", size=8, test_fraction=0).info.image == (3, 8, 8)
    (tmp_path / "in" / "1.bmp").rename(tmp_path / "in" / "z.bmp")
    assert folder(tmp_path / "in", test_fraction=0).images[-1].unique().tolist() == [1]


def test_unreadable_images_are_counted_and_named(tmp_path):
    for i in range(9):
        save(tmp_path / "in" / f"{i}.png", (i, i, i))
    for i in range(2, 9):
        (tmp_path / "in" / f"{i}.png").write_bytes(b"no image")
    cut = tmp_path / "in" / "1.png"
    cut.write_bytes(cut.read_bytes()[:60])
    with pytest.raises(DataError) as caught:
        folder(tmp_path / "in")
    text = str(caught.value)
    assert text.startswith(f"folder {tmp_path / 'in'}: 8 of 9 images cannot be read: {cut} (")
    assert text.count(".png") >= 5 and text.endswith(", and 3 more; repair or remove them")


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ([], "gone", r"^data set 'folder': path = .*gone does not exist; give a folder of images$"),
        (["in.png"], "in.png", r"path = .*in\.png is a file; give a folder of images"),
        (
            ["in/a.txt"],
            "in",
            r"^folder .*in: there are no images in it; .*png.* are read, flat or in one folder a class",
        ),
        (["in/a/b.txt"], "in", r"there are no images in it"),
        (
            ["in/a.png", "in/cats/b.png"],
            "in",
            r"there are 1 images beside the class folders cats; put each image into a",
        ),
        (["in/cats/b.png", "in/dogs/b.txt"], "in", r"the class folders dogs have no images; fill or remove them"),
        (
            ["in/train/a/1.png", "in/test/1.png"],
            "in",
            r"its images are flat, but those of 'train' are in class folders",
        ),
        (
            ["in/train/1.png", "in/test/a/1.png"],
            "in",
            r"the classes a are not in 'train'; possible: none, its images are",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, path, message):
    for name in files:
        if name.endswith(".png"):
            save(tmp_path / name, (1, 2, 3))
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=message):
        folder(tmp_path / path, "test")


# --- what is read and what is left out --------------------------------------------------------------------------------


def test_hidden_folders_are_left_out_and_counted(tmp_path, caplog):
    for name in "ab":
        for i in range(10):
            save(tmp_path / "in" / name / f"{i}.png", (10 * i, 0, 0))
            save(tmp_path / "in" / name / ".ipynb_checkpoints" / f"{i}-checkpoint.png", (10 * i, 0, 0))
    (tmp_path / "in" / "a" / "labels.csv").write_text("")
    parts = both(folder, tmp_path / "in")
    assert sum(len(part.images) for part in parts) == 20
    left_out = "2 hidden files or folders, 1 other file (.csv)"
    assert caplog.messages == [f"folder {tmp_path / 'in'}: 20 images are read; left out: {left_out}"]


@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_train_and_val_folders_are_splits(tmp_path, val, caplog):
    for split, first in (("train", 10), (val, 100)):
        for name in "ab":
            save(tmp_path / "in" / split / name / "1.png", (first + ord(name), 0, 0))
    train, test = both(folder, tmp_path / "in")
    assert train.classes == test.classes == ("a", "b")
    assert colours(train) == [(107, 0, 0), (108, 0, 0)] and colours(test) == [(197, 0, 0), (198, 0, 0)]
    assert caplog.messages == [f"folder {tmp_path / 'in'}: {val} is the split 'test', because there is no folder test"]
    with pytest.raises(DataError, match=r"has no split 'validation'\. Possible: test, train$"):
        folder(tmp_path / "in", "validation")


def test_train_val_and_test_folders_are_three_splits(tmp_path, caplog):
    for split, value in (("train", 10), ("val", 20), ("test", 30), ("unlabelled", 40)):
        save(tmp_path / "in" / split / "1.png", (value, 0, 0))
    read = [colours(folder(tmp_path / "in", split)) for split in ("train", "validation", "test")]
    assert read == [[(10, 0, 0)], [(20, 0, 0)], [(30, 0, 0)]]
    said = f"folder {tmp_path / 'in'}: 3 images are read; left out: 1 image beside the folders train, val, test"
    assert caplog.messages == [said]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "car", "train"):
        save(tmp_path / name / "1.png", 0)
    assert folder(tmp_path).classes == ("bus", "car", "train")


@pytest.mark.parametrize("present", [["train"], ["test", "val"]])
def test_a_part_of_the_splits_is_refused(tmp_path, present):
    for name in present:
        save(tmp_path / name / "a" / "1.png", 0)
    message = f"of the splits there is only {', '.join(reversed(present))}; add the folders train and test"
    with pytest.raises(DataError, match=message):
        folder(tmp_path)


def test_two_folders_of_one_split_are_refused(tmp_path):
    for name in ("train", "val", "valid"):
        save(tmp_path / name / "1.png", 0)
    with pytest.raises(DataError, match="the folders val, valid are the same split 'validation'; keep or rename one"):
        folder(tmp_path)


def test_linked_class_folders_are_read(tmp_path):
    for name in ("cats", "dogs"):
        save(tmp_path / "store" / name / "1.png", (ord(name[0]), 0, 0))
    (tmp_path / "in").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "store" / name)
    got = folder(tmp_path / "in", test_fraction=0)
    assert got.classes == ("cats", "dogs") and colours(got) == [(99, 0, 0), (100, 0, 0)]
    (tmp_path / "in" / "cows").symlink_to(tmp_path / "store" / "cows")
    with pytest.raises(DataError, match=r"in: a link leads to nothing: .*in/cows; repair or remove them"):
        folder(tmp_path / "in")


# --- pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "tiff", "pgm"])
def test_16_bits_of_grey_become_8(tmp_path, kind):
    levels = np.random.RandomState(0).randint(0, 65536, (12, 12)).astype(np.uint16)
    levels[0, :2] = 0, 65535
    Image.fromarray(levels).save(tmp_path / f"a.{kind}")
    wanted = np.rint(levels / 65535 * 255).astype(np.uint8)
    ours = folder(tmp_path, size=12, channels=1, test_fraction=0).images
    assert np.array_equal(ours[0, 0].numpy(), wanted)
    assert np.array_equal(read_images(tmp_path).images[0, 0].numpy(), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.ones((8, 8), dtype)).save(tmp_path / "a.tiff")
    message = (
        r"1 of 1 images cannot be read: .*a\.tiff \(mode '[FI]' does not say which values are black and white; save"
    )
    for read in (folder, read_images):
        with pytest.raises(DataError, match=message):
            read(tmp_path)


def test_12_bits_are_not_taken_for_16(tmp_path):
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "a.tiff", tiffinfo={258: 12})
    content = bytearray((tmp_path / "a.tiff").read_bytes())
    place = content.find(bytes((2, 1, 3, 0, 1, 0, 0, 0, 16, 0)))  # the tag BitsPerSample, one short, 16
    if place >= 0:
        content[place + 8] = 12
        (tmp_path / "a.tiff").write_bytes(content)
    with Image.open(tmp_path / "a.tiff") as image:
        assert image.mode == "I;16"
    with pytest.raises(DataError, match="does not say which values are black and white"):
        folder(tmp_path)


def test_pictures_of_zeros_and_ones_are_refused(tmp_path):
    for i in range(3):
        Image.fromarray(np.eye(8, k=i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    for read in (folder, read_images):
        with pytest.raises(DataError, match="its values are 0 and 1, but 255 is white in images of bytes, so all of"):
            read(tmp_path)


# --- the files of a run -----------------------------------------------------------------------------------------------


def test_the_cache_follows_the_content_and_not_the_time(tmp_path):
    def fill(value):
        for i in range(10):
            save(tmp_path / "in" / f"{i}.pgm", value, (8, 8), "L")
            os.utime(tmp_path / "in" / f"{i}.pgm", (315532800, 315532800))

    means = []
    for value in (10, 200, 10):
        fill(value)
        means.append(int(folder(tmp_path / "in", size=8).images.float().mean()))
    assert means == [10, 200, 10]


def test_the_hash_of_a_folder_is_of_contents_names_and_classes(tmp_path):
    def hash_of(path, **settings):
        return Folder.Config(path=path, **settings).make().files_hash()

    for place in ("one", "two"):
        for name in "ab":
            save(tmp_path / place / name / "1.png", (ord(name), 0, 0))
    first = hash_of(tmp_path / "one")
    assert first == hash_of(tmp_path / "two") == hash_of(tmp_path / "one", size=8)
    (tmp_path / "two" / "notes.txt").write_text("")
    assert hash_of(tmp_path / "two") == first
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert hash_of(tmp_path / "two") != first
    save(tmp_path / "one" / "a" / "1.png", (1, 2, 3))
    assert hash_of(tmp_path / "one") != first


def test_the_hash_of_an_archive_is_of_its_content(tmp_path):
    hashes = []
    for name, images in (("a", BYTES), ("b", BYTES), ("c", 255 - BYTES)):
        np.savez(tmp_path / f"{name}.npz", images=images)
        hashes.append(Arrays.Config(path=tmp_path / f"{name}.npz").make().files_hash())
    assert hashes[0] == hashes[1] != hashes[2]
    with pytest.raises(DataError, match="does not exist; give an .npz"):
        Arrays.Config(path=tmp_path / "gone.npz").make().files_hash()


@pytest.mark.parametrize("part", [Folder, Arrays])
def test_a_relative_path_is_kept_as_an_absolute_one(tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    config = part.Config(path="a/b")
    monkeypatch.chdir("/")
    assert config.path == tmp_path / "a" / "b" and config.model_dump(mode="json")["path"] == str(tmp_path / "a" / "b")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert part.Config(path="~/b").path == tmp_path / "b"


# --- arrays -----------------------------------------------------------------------------------------------------------


def arrays(tmp_path, split="train", settings=None, **content):
    path = tmp_path / "set.npz"
    if content:
        np.savez(path, **content)
    return Arrays.Config(path=path, **{"size": None, "test_fraction": 0} | (settings or {})).make().load(split)


BYTES = np.random.RandomState(0).randint(0, 256, (5, 3, 6, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "wanted"),
    [(BYTES, BYTES), (BYTES.transpose(0, 2, 3, 1), BYTES), (BYTES[:, 0], BYTES[:, :1]), (BYTES[:, :1], BYTES[:, :1])],
)
def test_all_shapes_are_the_same_images(tmp_path, images, wanted):
    assert np.array_equal(arrays(tmp_path, images=images).images.numpy(), wanted)


@pytest.mark.parametrize("others", [{}, {"x": np.arange(3)}], ids=["alone", "beside others"])
@pytest.mark.parametrize("images", [BYTES, BYTES.transpose(0, 2, 3, 1), BYTES[:, 0]], ids=["nchw", "nhwc", "nhw"])
@pytest.mark.parametrize("name", ["images", "arr_0", "pictures"])
def test_the_data_set_and_bench_read_the_same_files(tmp_path, name, images, others):
    if name == "pictures":  # an array of another name is taken where it is the only one
        others = {}
    ours = arrays(tmp_path, **{name: images}, **others).images
    theirs = read_images(tmp_path / "set.npz").images
    assert np.array_equal(ours.flatten(), (images.transpose(0, 3, 1, 2) if images.shape[-1] == 3 else images).flatten())
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("low", [0, -1])
def test_floats_become_the_bytes_they_came_from(tmp_path, low, dtype):
    floats = (BYTES / 255 * (1 - low) + low).astype(dtype)
    got = arrays(tmp_path, settings={"range": [low, 1]}, images=floats)
    assert np.array_equal(got.images.numpy(), BYTES)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_beyond_the_range_by_rounding_are_black_or_white(tmp_path, dtype):
    floats = (BYTES / 127.5 - 1).astype(dtype)
    one = dtype(1)
    floats.flat[:2] = np.nextafter(one, dtype(2)), -np.nextafter(one, dtype(2))
    got = arrays(tmp_path, settings={"range": [-1, 1]}, images=floats).images.numpy()
    assert got.flat[0] == 255 and got.flat[1] == 0
    wrong = floats.astype(np.float64)
    wrong.flat[0] = 1.0002
    with pytest.raises(
        DataError, match=r"runs from -1(\.0+\d+)? to 1\.0002, but range = \[-1, 1\]; correct the range or"
    ):
        arrays(tmp_path, settings={"range": [-1, 1]}, images=wrong)


def test_bool_is_black_and_white(tmp_path):
    wanted = (BYTES > 100) * 255
    assert np.array_equal(arrays(tmp_path, images=BYTES > 100).images.numpy(), wanted)
    assert np.array_equal(read_images(tmp_path / "set.npz").images.numpy(), wanted)


def test_labels_and_class_names(tmp_path):
    labels = np.array([0, 2, 1, 2, 0], np.uint8)
    named = arrays(tmp_path, images=BYTES, labels=labels, classes=np.array(["x", "y", "z"]))
    assert named.labels.tolist() == labels.tolist() and named.labels.dtype == torch.int64
    assert named.classes == ("x", "y", "z")
    assert arrays(tmp_path, images=BYTES, labels=labels).classes == ("0", "1", "2")
    assert arrays(tmp_path, images=BYTES).info == DataInfo((3, 6, 4), ())


def test_sizes_and_splits(tmp_path):
    content = {"images": np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)}
    train, test = (
        arrays(tmp_path, split, {"size": 16, "test_fraction": 0.25}, **content) for split in ("train", "test")
    )
    assert (len(train.images), len(test.images)) == (15, 5) and train.info.image == (1, 16, 16)
    assert sorted(int(x.unique()) for x in [*train.images, *test.images]) == list(range(20))
    padded = arrays(tmp_path, settings={"size": 12, "how": "pad"}, **content)
    assert padded.images[7].sum() == 7 * 64 and padded.info.image == (1, 12, 12)


@pytest.mark.parametrize(
    ("settings", "content", "message"),
    [
        ({}, {"pictures": BYTES, "x": BYTES}, r"^.*set\.npz: it has no array 'images' or 'arr_0'; it has pictures, x$"),
        ({}, {"images": BYTES[0, 0]}, r"'images' has shape \[6, 4\]; \[n, h, w\], \[n, h, w, c\] and \[n, c, h, w\]"),
        ({}, {"images": BYTES[:0]}, r"'images' has shape \[0, 3, 6, 4\], so there are no images in it"),
        (
            {},
            {"images": BYTES.reshape(5, 6, 4, 3)[:, :3]},
            r"\[5, 3, 4, 3\], which could be channels-first or channels-",
        ),
        (
            {},
            {"images": BYTES[0]},
            r"'images' has shape \[3, 6, 4\], which could be one image or 3 grey images; save one",
        ),
        (
            {},
            {"images": BYTES.reshape(5, 6, 4, 3)[0]},
            r"\[6, 4, 3\], which could be one image or 6 grey images; save one",
        ),
        (
            {},
            {"images": BYTES % 2},
            r"set\.npz: its values are 0 and 1, but 255 is white in images of bytes, so all of",
        ),
        (
            {},
            {"images": BYTES.reshape(5, 2, 36, 1)[:, :, :36].reshape(5, 6, 2, 6)},
            r"\[5, 6, 2, 6\], which has no axis that must be the channels; .* and channels = \"first\" or",
        ),
        ({}, {"images": BYTES.astype(np.int64)}, r"'images' is int64; uint8 or floating point with a range is needed"),
        (
            {},
            {"images": BYTES / 255},
            r"'images' is float64; set range to the values of black and white, \[0, 1\] or \[-1, 1\]",
        ),
        (
            {"range": [0, 1]},
            {"images": BYTES},
            r"'images' is uint8, but range is for floating point; leave the range out",
        ),
        (
            {"range": [0, 1]},
            {"images": BYTES / 127.5 - 1},
            r"runs from -1 to [01.9]+, but range = \[0, 1\]; correct the",
        ),
        (
            {"range": [-1, 1]},
            {"images": BYTES / 1.0},
            r"runs from \d+ to 25\d, but range = \[-1, 1\]; correct the range",
        ),
        ({"range": [0, 1]}, {"images": BYTES * np.nan}, r"runs from nan to nan, but range = \[0, 1\]"),
        ({}, {"images": BYTES, "labels": np.zeros(5)}, r"'labels' is float64; integers from 0 are needed"),
        ({}, {"images": BYTES, "labels": np.arange(4)}, r"set\.npz: labels have shape \[4\] for 5 images"),
        ({}, {"images": BYTES, "labels": np.arange(5) - 1}, r"labels run from -1 to 3"),
        (
            {},
            {"images": BYTES, "labels": np.arange(5) * 10**6},
            r"'labels' runs up to 4000000; number the classes from 0",
        ),
        ({}, {"images": BYTES, "labels": np.arange(5), "classes": np.array(["a"])}, r"labels run from 0 to 4; 0\.\.0"),
        ({}, {"images": BYTES, "classes": np.arange(5)}, r"'classes' is int64 \[5\]; a list of strings is needed"),
        ({"size": 4, "how": "pad"}, {"images": BYTES}, r"images of 6x4 cannot be padded to size = 4"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, settings, content, message):
    with pytest.raises(DataError, match=message):
        arrays(tmp_path, settings=settings, **content)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("bomb-went-off",))


@pytest.mark.parametrize("name", ["images", "classes"])
def test_pickled_content_is_never_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content = {"images": BYTES} | {name: np.array([Bomb()], dtype=object)}
    with pytest.raises(DataError, match=r"it is no \.npz of plain arrays \(.*pickle.*\); save it with numpy\.savez"):
        arrays(tmp_path, **content)
    assert not (tmp_path / "bomb-went-off").exists()


def test_the_refusal_of_objects_does_not_say_how_to_load_them(tmp_path):
    with pytest.raises(
        DataError, match=r"\('images': it holds Python objects, which are pickled and never read\)"
    ) as no:
        arrays(tmp_path, images=np.array([Bomb()], dtype=object))
    assert "allow_pickle" not in str(no.value)


OTHERS = {
    "a table": (b"label,pixel\n1,0\n", r"'label,pixel\\n1,0\\n'"),
    "a picture": (b"\x89PNG\r\n\x1a\n", r"'\\x89PNG\\r\\n\\x1a\\n'"),
    "a pickle": (pickle.dumps([1]), r"'\\x80"),
    "half a zip": (b"PK\x03", r"'PK\\x03'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_told_by_its_first_bytes_and_no_way_to_unpickle_it_is_advised(tmp_path, name):
    content, shown = OTHERS[name]
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(DataError, match=rf"set\.npz: it is no \.npz of plain arrays: it begins with {shown}") as caught:
        arrays(tmp_path)
    assert str(caught.value).endswith(
        "and an .npz is a zip archive; read the file with a tool of its format, and save its images with "
        "numpy.savez(path, images=...)"
    )
    assert "allow_pickle" not in str(caught.value)


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(DataError, match=r"^data set 'arrays': path = .*set\.npz does not exist; give an \.npz file"):
        arrays(tmp_path)
    path.write_text("hello")
    with pytest.raises(DataError, match=r"it is no \.npz of plain arrays"):
        arrays(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"it cannot be read"):
        arrays(tmp_path)
    with path.open("wb") as file:
        np.save(file, BYTES)
    with pytest.raises(DataError, match=r"it holds a single array; save it with numpy\.savez\(path, images=\.\.\.\)"):
        arrays(tmp_path)
    np.savez(path, images=BYTES)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"it cannot be read \(.*\); is it a whole \.npz file\?"):
        arrays(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="it cannot be read"):
        arrays(tmp_path)


def test_damaged_pixels_are_noticed(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=BYTES)
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset + 200
    content = bytearray(path.read_bytes())
    content[start] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"it cannot be read \(Bad CRC"):
        arrays(tmp_path)


def test_a_wrong_range_is_refused_with_the_recipe():
    with pytest.raises(
        ValidationError, match=r"\[0\.0, 255\.0\] is not a range of images; possible: \[0, 1\] and \[-1, 1\]"
    ):
        Arrays.Config(path="x.npz", range=[0, 255])
