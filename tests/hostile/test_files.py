"""Hostile files end in a message and neither run code nor take memory that they only claim to need."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.data import room
from genprior.data.archives import read_archive
from genprior.data.cache import cache_file, read_cache
from genprior.data.foreign import read_images
from genprior.data.images import fit_images
from genprior.data.picture_files import open_picture
from genprior.errors import CheckpointError, DataError, GenpriorError, RunError
from genprior.runs.embedder_file import read_embedder
from genprior.storage import checkpoint
from genprior.storage.cache import keep_on_disk
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.folder import Folder


def archive(path, content, name="images.npy", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as packed:
        packed.writestr(name, content)
    return path


def npy(header, data=b"", version=(1, 0)):
    stated = header.encode()
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(stated)) + stated + data


def described(shape, dtype="|u1"):
    return f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n"


HEADERS = {
    "a terabyte in a hundred bytes": npy(described("(1000000, 1, 1000, 1000)"), b"x" * 100),
    "a negative size": npy(described("(-1, 8, 8)"), b"x" * 64),
    "a size beyond 64 bits": npy(described(f"({10**30}, 8, 8)"), b"x" * 64),
    "less than is there": npy(described("(1, 8, 8)"), b"x" * 65),
    "objects": npy(described("(1, 8, 8)", "|O"), b"x" * 64),
    "a deep header": npy("(" * 5000),
    "a header of minus signs": npy("-" * 9000 + "1"),
    "no table": npy("[1, 2]"),
    "a call": npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,)}"),
    "a header of 200 MB": npy(" ", version=(2, 0))[:8] + struct.pack("<I", 200_000_000) + b" " * 1000,
    "a version of the future": npy(described("(1, 8, 8)"), b"x" * 64, version=(9, 0)),
    "nothing": b"",
    "a huge item": npy(described("(1, 8, 8)", "|V1000000000000"), b"x"),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_a_hostile_header_of_an_array_is_refused_without_its_memory(tmp_path, content):
    path = archive(tmp_path / "x.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="x.npz"):
            read_archive(path)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_the_size_that_a_header_claims_is_compared_with_what_is_there(tmp_path):
    with pytest.raises(DataError) as caught:
        read_archive(archive(tmp_path / "x.npz", HEADERS["a terabyte in a hundred bytes"]))
    assert (
        "'images': its header says [1000000, 1, 1000, 1000] of uint8, which is 1,000,000,000,000 bytes, and 100 are"
        in str(caught.value)
    )


def test_a_bomb_that_is_as_large_as_it_says_is_measured_against_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, images=np.zeros((1000, 32, 32), np.uint8))
    assert path.stat().st_size < 10_000
    assert read_archive(path).images.shape == (1000, 1, 32, 32)
    monkeypatch.setattr(room, "_memory", lambda: 2_000_000)
    with pytest.raises(DataError, match="zeros.npz: 'images' would take .* GiB, more than half of the .* use fewer or"):
        read_archive(path)


def test_archives_that_zip_cannot_read_are_refused(tmp_path):
    whole = archive(tmp_path / "x.npz", npy(described("(1, 8, 8)"), b"x" * 64), compression=zipfile.ZIP_STORED)
    content = bytearray(whole.read_bytes())
    first, listed = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    for place, value in {(first + 6, listed + 8): 1, (first + 8, listed + 10): 99}.items():
        odd = bytearray(content)
        for each in place:
            odd[each] = value  # encrypted, or packed in an unknown way
        whole.write_bytes(odd)
        with pytest.raises(DataError, match="x.npz: it cannot be read"):
            read_archive(whole)


def test_no_image_is_made_that_does_not_fit(monkeypatch, tmp_path):
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    for how in ("pad", "resize"):
        with pytest.raises(DataError, match="2 images of 1,000,000,000 x 1,000,000,000 pixels would take"):
            fit_images(images, 10**9, how)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="1 images of 100,000,000 x 100,000,000 pixels would take"):
        Folder(Folder.Config(path=tmp_path, size=10**8, test_fraction=0)).load("train")


# ---------------------------------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------------------------------


def png(path, width, height, data=b""):
    """A PNG whose header claims a size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [10_000, 20_000, 1_000_000])
def test_a_picture_bomb_is_refused_with_its_size_and_what_to_do(tmp_path, side):
    png(tmp_path / "bomb.png", side, side, zlib.compress(bytes(1000)))
    said = f"it has {side:,} x {side:,} pixels, and at most {Image.MAX_IMAGE_PIXELS:,} are read, because a small file"
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_images, lambda folder: Folder(Folder.Config(path=folder)).load("train")):
            with pytest.raises(DataError) as caught:
                read(tmp_path)
            assert "bomb.png" in str(caught.value) and said in str(caught.value)
            assert "make it smaller" in str(caught.value)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pictures_that_are_cut_off_are_refused_and_of_frames_the_first_is_read(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (10, 200, 250)]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    for name in ("many.gif", "many.tif"):
        assert set(np.asarray(open_picture(tmp_path / name, "L")).flat) == {10}
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:1500])
    with pytest.raises(DataError, match=r"1 of 3 images cannot be read: .*cut.png"):
        Folder(Folder.Config(path=tmp_path)).load("train")


# ---------------------------------------------------------------------------------------------------------------------
# Safetensors and JSON
# ---------------------------------------------------------------------------------------------------------------------


def tensors(path, header, data=b""):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape, offsets, dtype="U8"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


SAFETENSORS = {
    "a huge shape": {"images": entry([10**6, 10**6], [0, 8])},
    "a shape beyond 64 bits": {"images": entry([2**63, 2**63], [0, 8])},
    "offsets out of the file": {"images": entry([8], [0, 800_000])},
    "offsets that overlap": {"images": entry([8], [0, 8]), "labels": entry([8], [4, 12])},
    "an unknown dtype": {"images": entry([8], [0, 8], "Q9")},
    "four bits": {"images": entry([16], [0, 8], "F4"), "labels": entry([0], [8, 8], "I64")},
    "another dtype": {"images": entry([2], [0, 8], "F32"), "labels": entry([0], [8, 8], "F64")},
    "no table": "[]",
    "a deep header": '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "twice the same name": '{"images": %s, "images": %s}' % ((json.dumps(entry([8], [0, 8])),) * 2),
    "huge numbers": '{"images": {"dtype": "U8", "shape": [1e400], "data_offsets": [0, 8]}}',
    "metadata that is no text": {"__metadata__": {"classes": 3}, "images": entry([8], [0, 8])},
    "deep classes": {
        "__metadata__": {"classes": "[" * 5000},
        "images": entry([1, 1, 2, 2], [0, 4]),
        "labels": entry([0], [4, 4], "I64"),
    },
    "a class of 5000 digits": {
        "__metadata__": {"classes": f"[{'9' * 5000}]"},
        "images": entry([1, 1, 2, 2], [0, 4]),
        "labels": entry([0], [4, 4], "I64"),
    },
}


@pytest.mark.parametrize("header", SAFETENSORS.values(), ids=SAFETENSORS)
def test_hostile_safetensors_are_refused(tmp_path, header, monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    data = bytes(4 if "[1, 1, 2, 2]" in str(header) else 8)
    tensors(cache_file("x", "train"), header, data)
    with pytest.raises(DataError, match="x-train.safetensors"):
        read_cache("x", "train")
    path = tensors(tmp_path / "step-00000001.safetensors", header, data)
    facts = {"step": 1, "sha256": checkpoint._checksum(path)}
    path.with_suffix(".json").write_text(json.dumps(facts))
    for read in (checkpoint.read, read_embedder):
        try:
            read(path)
        except GenpriorError as error:
            assert path.name in str(error)
    made = []

    def make():
        made.append(1)
        return {"a": torch.zeros(1)}, {}

    keep_on_disk(path, make)


FACTS = ("", "null", "[]", "{}", '{"sha256": 3}', '{"step": 1e400, "sha256": "%s"}', '{"step": "x", "sha256": "%s"}',
         '{"step": %s, "sha256": "%%s"}' % ("9" * 5000), "[" * 100_000, '{"step": null, "sha256": "%s"}')  # fmt: skip


@pytest.mark.parametrize("text", FACTS, ids=range(len(FACTS)))
def test_hostile_json_beside_a_checkpoint_is_refused(tmp_path, text):
    path = tensors(tmp_path / "step-00000001.safetensors", {"a": entry([8], [0, 8])}, bytes(8))
    path.with_suffix(".json").write_text(text.replace("%s", checkpoint._checksum(path)))
    with pytest.raises(CheckpointError, match="step-00000001"):
        checkpoint.read(path)


# ---------------------------------------------------------------------------------------------------------------------
# Captions
# ---------------------------------------------------------------------------------------------------------------------

CAPTIONS = {
    "captions.jsonl": (
        '{"file_name": "a.png", "text": %s}' % ("9" * 5000),
        '{"file_name": "a.png", "text": ' + "[" * 100_000,
        '{"file_name": "%s", "text": "x"}' % ("b" * 1_000_000),
        '{"file_name": "a\\u0000.png", "text": "x"}',
        '{"file_name": "../../a.png", "text": "x"}',
        '{"file_name": "/etc/passwd", "text": "x"}',
        "\x00",
    ),
    "metadata.csv": (
        "file_name,text\na.png," + "x" * 200_000,
        "file_name,text\na\x00.png,x",
        "file_name,text\n" + "b" * 100_000 + ".png,x",
        "file_name,text" + ",c" * 50_000 + "\na.png,x",
        'file_name,text\na.png,"x',
    ),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, some in CAPTIONS.items() for text in some])
def test_hostile_captions_are_refused_in_a_short_message(tmp_path, name, text):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name) as caught:
        Folder(Folder.Config(path=tmp_path, size=4, test_fraction=0)).load("train")
    assert len(str(caught.value)) < 2_000


def test_captions_of_an_archive_that_are_pickled_are_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8), np.uint8), captions=np.array([{}, []], dtype=object))
    with pytest.raises(DataError, match="'captions': .*pickle"):
        Arrays(Arrays.Config(path=tmp_path / "x.npz", size=8)).load("train")


def test_a_json_file_of_a_run_that_is_nested_without_end_is_refused(tmp_path):
    from genprior.runs.folder import RunFolder

    (tmp_path / "run.json").write_text("[" * 100_000)
    (tmp_path / "recipe.toml").write_text(".".join("a" * 3000) + " = 1")
    for read in (RunFolder(tmp_path).facts, RunFolder(tmp_path).recipe):
        with pytest.raises(RunError, match="is damaged"):
            read()
