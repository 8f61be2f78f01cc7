from __future__ import annotations

import hashlib
import os
import pickle
import socket
import struct
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from filelock import FileLock
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat
from sklearn.datasets import load_digits

from genprior.data import downloads
from genprior.data.cache import read_cache, write_cache
from genprior.errors import DataError
from genprior.parts import DataInfo, ImageSet
from genprior_std.datasets.cifar10 import Cifar10
from genprior_std.datasets.digits import Digits
from genprior_std.datasets.fashion_mnist import FashionMnist
from genprior_std.datasets.flowers102 import Flowers102
from genprior_std.datasets.mnist import Mnist
from genprior_std.datasets.svhn import Svhn

URLOPEN = urllib.request.urlopen
OFFLINE = "this test has no network"
REAL = os.environ.get("GENPRIOR_DATA")


def pixels(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def load(part, split="train", **settings):
    return part.Config(**settings).make().load(split)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    whole, theirs = load(Digits, "all", size=None), load_digits()
    assert whole.images.shape == (1797, 1, 8, 8) and whole.classes == tuple("0123456789")
    assert np.array_equal(whole.labels.numpy(), theirs.target)
    np.testing.assert_allclose(whole.images[:, 0].double().numpy() * 16 / 255, theirs.images, atol=16 / 255 / 2 + 1e-9)
    assert whole.images.min() == 0 and whole.images.max() == 255


def test_digits_split_is_a_stratified_partition():
    whole, train, test = (load(Digits, split, size=None) for split in ("all", "train", "test"))
    assert (len(train.images), len(test.images)) == (1437, 360)
    # Digits may repeat, so the partition is checked as a multiset of (image, label).
    parts = [torch.cat([x.images.flatten(1).long(), x.labels[:, None]], 1).tolist() for x in (whole, train, test)]
    assert sorted(parts[0]) == sorted(parts[1] + parts[2])
    share = torch.bincount(whole.labels) * 360 / 1797
    assert (torch.bincount(test.labels) - share).abs().max() < 1


def test_digits_split_is_the_same_each_time():
    torch.manual_seed(5)
    np.random.seed(5)
    first = load(Digits, "test")
    np.random.seed(6)
    assert torch.equal(first.images, load(Digits, "test").images)


def test_digits_are_32x32_by_default_and_any_size():
    assert load(Digits).info == DataInfo((1, 32, 32), tuple("0123456789"))
    assert load(Digits, "test", size=16).info.image == (1, 16, 16)


@pytest.mark.parametrize("part", [Digits, Mnist, Svhn])
def test_an_unknown_split_is_refused(part):
    with pytest.raises(
        DataError, match=rf"^data set '{part.name}' has no split 'tset'; did you mean 'test'\? Possible"
    ):
        load(part, "tset")


# --- MNIST and Fashion-MNIST: official idx files ----------------------------------------------------------------------


def idx_files(folder, n=12):
    folder.mkdir(parents=True)
    made = {}
    for split, stem, seed in (("train", "train", 1), ("test", "t10k", 2)):
        images, labels = pixels(n, 28, 28, seed=seed), (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, n, 28, 28) + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, n) + labels.tobytes())
        made[split] = images, labels
    return made


@pytest.mark.parametrize(
    ("part", "official", "second"), [(Mnist, "MNIST", "1"), (FashionMnist, "FashionMNIST", "Trouser")]
)
def test_idx_files_are_decoded_padded_and_cached(cache, part, official, second):
    made = idx_files(cache / "raw" / part.name / official / "raw")
    for split, (images, labels) in made.items():
        got = load(part, split)
        assert got.info.image == (1, 32, 32) and len(got.classes) == 10 and got.classes[1] == second
        assert np.array_equal(got.images[:, 0].numpy(), np.pad(images, ((0, 0), (2, 2), (2, 2))))
        assert np.array_equal(got.labels.numpy(), labels)
        assert np.array_equal(read_cache(part.name, split).images[:, 0].numpy(), images)
    # What a person put there is theirs.
    assert (cache / "raw" / part.name / official / "raw").exists()


@pytest.mark.parametrize(("part", "official"), [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")])
@pytest.mark.parametrize("kept", [0, 3, 10, 5000])
def test_an_idx_file_that_is_not_whole_is_named(cache, part, official, kept):
    folder = cache / "raw" / part.name / official / "raw"
    idx_files(folder)
    cut = folder / "train-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:kept])
    with pytest.raises(DataError) as caught:
        load(part, "test")
    assert str(caught.value) == (
        f"{cut} is damaged or not whole ({kept:,} bytes), as an interrupted download leaves it; delete it and start "
        "again, and it is downloaded again, or put the whole file there"
    )
    assert cut.exists() and read_cache(part.name, "test") is None


def test_a_silent_server_is_given_up(cache, monkeypatch):
    """A server that accepts connections and never answers."""
    monkeypatch.setattr(urllib.request, "urlopen", URLOPEN)
    monkeypatch.setattr(downloads, "DOWNLOAD_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        mirror = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
        with pytest.raises(DataError, match=r"nor could it be downloaded \(.*timed out"):
            load(Mnist)
    assert socket.getdefaulttimeout() is None


def test_a_download_is_announced(cache, caplog):
    with pytest.raises(DataError):
        load(Mnist)
    assert caplog.messages == [
        f"downloading data set 'mnist' to {cache / 'raw' / 'mnist'} from its mirrors in torchvision; a server that is "
        "silent for 30 s is given up"
    ]


def test_waiting_for_another_download_is_said(cache, caplog):
    idx_files(cache / "raw" / "mnist" / "MNIST" / "raw")
    held = threading.Event()

    def hold():
        with FileLock(cache / ".mnist.lock"):
            held.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert len(load(Mnist).images) == 12
    other.join()
    assert "another process downloads or decodes data set 'mnist' now; waiting for it" in caplog.messages


def test_sizes_of_mnist(cache):
    idx_files(cache / "raw" / "mnist" / "MNIST" / "raw")
    assert load(Mnist, size=None).info.image == (1, 28, 28)
    assert load(Mnist, size=16, how="resize").info.image == (1, 16, 16)
    with pytest.raises(DataError, match=r'^images of 28x28 cannot be padded to size = 16; .* how = "resize"$'):
        load(Mnist, size=16)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Mnist.Config(size=0)


def test_limit_keeps_the_first_training_images(cache):
    made = idx_files(cache / "raw" / "mnist" / "MNIST" / "raw")
    few = load(Mnist, limit=5, size=None)
    assert np.array_equal(few.images[:, 0].numpy(), made["train"][0][:5]) and len(few.labels) == 5
    assert len(load(Mnist, limit=500).images) == 12
    assert len(load(Mnist, "test", limit=5).images) == 12


def test_what_a_download_brings_is_cleared_away(cache, monkeypatch):
    def download(self):
        if not self._check_exists():
            idx_files(Path(self.raw_folder))

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    assert len(load(Mnist).images) == 12
    assert not (cache / "raw" / "mnist").exists()
    assert read_cache("mnist", "test") is not None


# --- CIFAR-10 and SVHN ------------------------------------------------------------------------------------------------


def test_cifar10_batches_are_decoded_in_order(cache, monkeypatch):
    folder = cache / "raw" / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    images = pixels(18, 3, 32, 32)

    def save(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch(i):
        part = images[3 * i : 3 * i + 3]
        return {"data": part.reshape(3, -1), "labels": [(3 * i + j) % 10 for j in range(3)]}

    official = torchvision.datasets.CIFAR10
    monkeypatch.setattr(official, "train_list", [save(f"data_batch_{i + 1}", batch(i)) for i in range(5)])
    monkeypatch.setattr(official, "test_list", [save("test_batch", batch(5))])
    name, checksum = save("batches.meta", {"label_names": names})
    monkeypatch.setattr(official, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    train, test = load(Cifar10), load(Cifar10, "test")
    assert np.array_equal(train.images.numpy(), images[:15]) and np.array_equal(test.images.numpy(), images[15:])
    assert train.labels.tolist() == [i % 10 for i in range(15)] and test.labels.tolist() == [5, 6, 7]
    assert train.classes == tuple(names)


def svhn_files(folder, monkeypatch):
    folder.mkdir(parents=True)
    made, listed = {}, {}
    for split, seed in (("train", 1), ("test", 2)):
        images, labels = pixels(11, 3, 32, 32, seed=seed), np.arange(1, 12) % 10
        path = folder / f"{split}_32x32.mat"
        # The official form: X [h, w, c, n] and y [n, 1] with 10 for the digit 0.
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": y})
        made[split], listed[split] = (images, labels), ["http://nowhere.invalid/x.mat", path.name, md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    return made


def test_svhn_files_are_decoded_and_cached(cache, monkeypatch):
    made = svhn_files(cache / "raw" / "svhn", monkeypatch)
    for split, (images, labels) in made.items():
        got = load(Svhn, split)
        assert np.array_equal(got.images.numpy(), images) and np.array_equal(got.labels.numpy(), labels)
        assert got.images.is_contiguous() and got.classes == tuple("0123456789")
        assert np.array_equal(read_cache("svhn", split).images.numpy(), images)


@pytest.mark.parametrize("part", [Cifar10, Svhn])
def test_colour_images_are_padded_or_scaled_to_a_size(cache, part):
    images = torch.tensor(pixels(4, 3, 32, 32))
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)  # scaled, a flat image is what it was
    write_cache(part.name, "train", ImageSet(torch.cat([images, flat]), torch.zeros(5, dtype=torch.int64), ("a",)))
    padded = load(part, size=40, how="pad").images
    assert torch.equal(padded, torch.nn.functional.pad(torch.cat([images, flat]), (4, 4, 4, 4)))
    scaled = load(part, size=16, how="resize").images
    assert scaled.shape == (5, 3, 16, 16) and (scaled[4] == 77).all()
    # Antialiased halving is a weighted mean over neighbours: it keeps the mean of an image and narrows its spread.
    assert (scaled[:4].float().mean((1, 2, 3)) - images.float().mean((1, 2, 3))).abs().max() < 3
    assert (scaled[:4].float().std((1, 2, 3)) < 0.7 * images.float().std((1, 2, 3))).all()


def test_a_damaged_official_file_is_not_used(cache, monkeypatch):
    svhn_files(cache / "raw" / "svhn", monkeypatch)
    path = cache / "raw" / "svhn" / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"^data set 'svhn' is neither cached nor could it be downloaded"):
        load(Svhn)
    assert read_cache("svhn", "train") is None


# --- Flowers ----------------------------------------------------------------------------------------------------------


def test_flowers_are_decoded_with_the_official_split(cache, monkeypatch):
    base = cache / "raw" / "flowers102" / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    labels = np.array([1, 102, 50, 7, 8, 9])
    for i in range(1, 7):
        # A flat colour, which JPEG keeps, tells the images apart.
        Image.new("RGB", (50 + i, 40), (40 * i, 255 - 40 * i, 100)).save(base / "jpg" / f"image_{i:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})
    ids = {"trnid": [2, 5], "valid": [1, 6], "tstid": [4, 3]}
    savemat(base / "setid.mat", {name: np.array([i], np.uint16) for name, i in ids.items()})
    files = torchvision.datasets.Flowers102._file_dict
    checked = {id_: (files[id_][0], md5(base / files[id_][0])) for id_ in ("label", "setid")}
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", files | checked)
    for split, order in (("train", [2, 5, 1, 6]), ("test", [4, 3])):
        got = load(Flowers102, split, size=24)
        assert got.info.image == (3, 24, 24) and len(got.classes) == 102 and got.classes[0] == "pink primrose"
        assert got.labels.tolist() == [int(labels[i - 1]) - 1 for i in order]
        wanted = np.array([(40 * i, 255 - 40 * i, 100) for i in order])[:, :, None, None]
        assert np.abs(got.images.numpy().astype(int) - wanted).max() <= 3
    assert (cache / "flowers102-24-train.safetensors").exists()
    (base / "jpg" / "image_00003.jpg").unlink()
    with pytest.raises(
        DataError, match=r"1 of 2 photographs are missing, such as .*image_00003\.jpg, as an interr.*start"
    ):
        load(Flowers102, "test", size=32)
    Image.new("RGB", (53, 40), (120, 135, 100)).save(base / "jpg" / "image_00003.jpg")
    assert load(Flowers102, size=16).info.image == (3, 16, 16)


# --- offline, damaged, read-only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [Mnist, FashionMnist, Cifar10, Svhn])
def test_without_network_the_ways_out_are_said(cache, part):
    with pytest.raises(DataError) as caught:
        load(part, "test")
    text = str(caught.value)
    assert text.startswith(f"data set '{part.name}' is neither cached nor could it be downloaded (")
    assert OFFLINE in text
    assert f"Looked for {cache / part.name}-" in text and ".safetensors" in text
    assert "GENPRIOR_DATA" in text and str(cache / "raw" / part.name) in text and part.official in text
    assert "'digits' needs neither file nor network" in text
    assert not list(cache.glob("*.safetensors"))


def test_without_network_flowers_name_the_file_of_their_size(cache):
    with pytest.raises(DataError, match=rf"Looked for {cache}/flowers102-64-train\.safetensors"):
        load(Flowers102)


def test_the_cache_is_read_first():
    images = torch.from_numpy(pixels(4, 3, 32, 32))
    write_cache("cifar10", "train", ImageSet(images, torch.tensor([0, 1, 0, 1]), ("a", "b")))
    got = load(Cifar10)
    assert torch.equal(got.images, images) and got.classes == ("a", "b")
    assert load(Cifar10, size=16).info.image == (3, 16, 16)


def test_a_damaged_cache_is_named(cache):
    cache.mkdir()
    (cache / "svhn-test.safetensors").write_bytes(b"half a fi")
    with pytest.raises(DataError, match=r"svhn-test\.safetensors: it is truncated .*; delete it"):
        load(Svhn, "test")


def test_a_cache_folder_that_cannot_be_written_is_named(cache, monkeypatch):
    cache.mkdir()
    (cache / "file").write_text("")
    monkeypatch.setenv("GENPRIOR_DATA", str(cache / "file"))
    with pytest.raises(
        DataError, match=r"^data set 'mnist' is not in the cache folder .*point GENPRIOR_DATA at a fold"
    ):
        load(Mnist)


def test_real_mnist(monkeypatch):
    if not REAL or not (Path(REAL) / "mnist-train.safetensors").exists():
        pytest.skip("GENPRIOR_DATA has no mnist")
    monkeypatch.setenv("GENPRIOR_DATA", REAL)
    got = load(Mnist, limit=100)
    assert got.images.shape == (100, 1, 32, 32)
    # The first labels of MNIST, as its authors' page shows them.
    assert got.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
