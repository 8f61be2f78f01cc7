"""Captions of a user's own images, of an archive and of the flowers, and in the cache."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.io import savemat

from genprior.data.cache import read_cache, write_cache
from genprior.data.foreign import read_images
from genprior.errors import DataError
from genprior.parts import ImageSet
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.captions import read_captions
from genprior_std.datasets.flowers102 import Flowers102
from genprior_std.datasets.folder import Folder

NAMES = ["a.png", "b.png", "c.png", "d.png"]


def save(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, 0, 0)).save(path)


@pytest.fixture
def home(tmp_path):
    """A flat folder of four images, of red 10, 20, 30 and 40."""
    for place, name in enumerate(NAMES, 1):
        save(tmp_path / "in" / name, 10 * place)
    return tmp_path / "in"


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_table(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def load(home, split="train", **settings):
    return Folder.Config(path=home, size=4, **{"test_fraction": 0, **settings}).make().load(split)


def by_red(image_set):
    """The captions of each image by its level of red."""
    return dict(zip(image_set.images[:, 0, 0, 0].tolist(), image_set.captions, strict=True))


def hash_of(home, **settings):
    return Folder.Config(path=home, **settings).make().files_hash()


ONE_EACH = [{"file_name": name, "text": f"image {name[0]}"} for name in NAMES]
WANTED = {10 * place: (f"image {name[0]}",) for place, name in enumerate(NAMES, 1)}


# --- folder: what is read ---------------------------------------------------------------------------------------------


def write_as(path, column):
    if path.suffix == ".csv":
        write_table(path, [["file_name", column], *([name, f"image {name[0]}"] for name in NAMES)])
    else:
        write_lines(path, [{"file_name": name, column: f"image {name[0]}"} for name in NAMES])


@pytest.mark.parametrize("column", ["text", "caption", "captions"])
@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.csv", "metadata.jsonl"])
def test_captions_beside_the_images_are_read(home, name, column, caplog):
    write_as(home / name, column)
    got = load(home)
    assert by_red(got) == WANTED and got.info.captioned
    # The file is used, so it is not among those that are left out.
    assert caplog.messages == [f"folder {home}: captions are read from {name}"]


def test_a_column_may_have_any_name(home):
    write_lines(home / "metadata.jsonl", [{**record, "prompt": record["text"].upper()} for record in ONE_EACH])
    assert by_red(load(home)) == WANTED
    assert by_red(load(home, caption_column="prompt"))[10] == ("IMAGE A",)


def test_several_captions_are_a_list_or_several_lines(home):
    records = [{"file_name": name, "text": [f"{name} once", f"{name} twice"]} for name in NAMES]
    write_lines(home / "captions.jsonl", [*records, {"file_name": "./b.png", "text": " b thrice "}])
    got = by_red(load(home))
    assert got[10] == ("a.png once", "a.png twice") and got[20] == ("b.png once", "b.png twice", "b thrice")


def test_a_table_may_have_commas_quotes_line_ends_and_a_mark(home):
    texts = ["one, two", 'a "quoted" word', "first\nsecond", "Stra\u00dfe \u2028 \u82b1"]
    write_table(home / "metadata.csv", [["file_name", "text"], *zip(NAMES, texts, strict=True), []])
    path = home / "metadata.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(by_red(load(home)).values()) == [(text,) for text in texts]


@given(texts=st.lists(st.lists(st.text(min_size=1).map(lambda t: "x" + t), min_size=1, max_size=3), min_size=1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_text_is_read_as_written(tmp_path_factory, texts):
    home = tmp_path_factory.mktemp("in")
    texts = [[text for text in some if text.isprintable()] or ["x"] for some in texts]
    pictures = [home / f"{place}.png" for place in range(len(texts))]
    wanted = {picture: tuple(text.strip() for text in some) for picture, some in zip(pictures, texts, strict=True)}
    write_lines(
        home / "metadata.jsonl", [{"file_name": p.name, "text": t} for p, t in zip(pictures, texts, strict=True)]
    )
    assert read_captions([home], pictures, None).of == wanted
    (home / "metadata.jsonl").unlink()
    rows = [[p.name, text] for p, some in zip(pictures, texts, strict=True) for text in some]
    write_table(home / "metadata.csv", [["file_name", "text"], *rows])
    assert read_captions([home], pictures, None).of == wanted


def test_captions_follow_their_images_into_classes_and_the_held_out_part(tmp_path):
    names = [f"{name}/{place}.png" for place in range(10) for name in ("cats", "dogs")]
    for place, name in enumerate(names):
        save(tmp_path / "in" / name, place + 2)
    write_lines(
        tmp_path / "in" / "captions.jsonl", [{"file_name": n, "text": f"red {names.index(n) + 2}"} for n in names[::-1]]
    )
    parts = [load(tmp_path / "in", split, test_fraction=0.3) for split in ("train", "test")]
    assert [len(part.captions) for part in parts] == [14, 6]
    assert {red: texts for part in parts for red, texts in by_red(part).items()} == {
        place + 2: (f"red {place + 2}",) for place in range(20)
    }


@pytest.mark.parametrize("where", ["root", "splits"])
def test_splits_have_captions_in_the_root_or_each_its_own(tmp_path, where, caplog):
    for split, red in (("train", 10), ("test", 50)):
        save(tmp_path / split / "1.png", red)
        if where == "splits":
            write_lines(tmp_path / split / "metadata.jsonl", [{"file_name": "1.png", "text": split}])
    if where == "root":
        save(tmp_path / "beside.png", 90)
        both = [{"file_name": f"{split}/1.png", "text": split} for split in ("test", "train")]
        write_lines(tmp_path / "metadata.jsonl", [*both, {"file_name": "beside.png", "text": "left out"}])
    assert by_red(load(tmp_path)) == {10: ("train",)} and by_red(load(tmp_path, "test")) == {50: ("test",)}
    files = "metadata.jsonl" if where == "root" else "train/metadata.jsonl, test/metadata.jsonl"
    assert f"folder {tmp_path}: captions are read from {files}" in caplog.messages


def test_captions_may_be_ignored(home, caplog):
    (home / "metadata.csv").write_bytes(b"file_name,text\n\xff")
    assert load(home, captions=False).captions == ()
    assert caplog.messages == [f"folder {home}: 4 images are read; left out: 1 other file (.csv)"]


@pytest.mark.parametrize(
    ("name", "content", "lacking"),
    [
        (
            "metadata.csv",
            "file_name,width\na.png,4\n",
            "it has no column text, caption or captions; its columns are file_",
        ),
        ("metadata.csv", "image,text\na.png,4\n", "it has no column 'file_name'; its columns are image, text"),
        ("metadata.csv", "", "it has no column 'file_name'; its columns are none"),
        ("metadata.csv", b"file_name,size\n\xff", "it has no column text, caption or captions; its columns are"),
        ("metadata.jsonl", '\n{"file_name": "a.png", "box": [1]}\n', "it has no column text, caption or captions; its"),
    ],
)
def test_metadata_of_another_kind_is_no_error(home, name, content, lacking, caplog):
    (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert load(home).captions == ()
    assert caplog.messages[0].startswith(f"{home / name}: no captions are read from it: {lacking}")
    write_lines(home / "captions.jsonl", ONE_EACH)
    assert by_red(load(home)) == WANTED


def test_changed_captions_are_read_and_no_image_is_decoded_again(home, cache):
    before = hash_of(home), hash_of(home, captions=False)
    assert before[0] == before[1] and load(home).captions == ()
    write_lines(home / "captions.jsonl", ONE_EACH)
    captioned = hash_of(home)
    assert captioned not in before and hash_of(home, captions=False) == before[0] and by_red(load(home)) == WANTED
    changed = [*ONE_EACH[:-1], {"file_name": "d.png", "text": "image e"}]
    write_lines(home / "captions.jsonl", changed)
    assert hash_of(home) not in (*before, captioned) and by_red(load(home)) == {**WANTED, 40: ("image e",)}
    # The order of lines and the kind of file are not part of the captions.
    write_lines(home / "metadata.jsonl", [{**record, "more": 1} for record in ONE_EACH[::-1]])
    (home / "captions.jsonl").unlink()
    assert hash_of(home) == captioned
    (home / "metadata.jsonl").unlink()
    assert hash_of(home) == before[0] and load(home).captions == ()
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_the_hash_of_images_alone_is_that_of_older_runs(home):
    from genprior import content_hash, hash_file

    assert hash_of(home) == content_hash("all", *(f"{name} 0 {hash_file(home / name)}" for name in NAMES))


def test_bench_reads_the_images_of_a_captioned_folder(home):
    write_lines(home / "captions.jsonl", ONE_EACH)
    (home / "metadata.csv").write_bytes(b"\xff")
    got = read_images(home)
    assert got.images[:, 0, 0, 0].tolist() == [10, 20, 30, 40] and got.left_out == "2 other files (.jsonl, .csv)"


# --- folder: what is refused ------------------------------------------------------------------------------------------


LINE = '{"file_name": "a.png", "text": "word"}\n'
COLUMNS = "file_name,text\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "captions.jsonl",
            LINE,
            r"^folder .*in: 3 of 4 images have no caption in captions\.jsonl: b\.png, c\.png, d\.png; ",
        ),
        (
            "metadata.csv",
            COLUMNS + "a.png,x\nb.png,x\nc.png,x\n",
            r"in: 1 of 4 images has no caption in metadata\.csv: d",
        ),
        (
            "captions.jsonl",
            LINE.replace("a.", "gone."),
            r"captions of an image that is not there: gone\.png; correct file_n",
        ),
        (
            "metadata.csv",
            COLUMNS + "".join(f"{place}.png,x\n" for place in range(1200)),
            r"captions of 1,200 images that are not there: 0\.png, 1\.png, .*4\.png, and 1,195 more; correct file_",
        ),
        (
            "captions.jsonl",
            LINE.replace("a.png", "captions.jsonl"),
            r"of a file that is not read as images, being hidden or of another kind: captions\.jsonl; convert",
        ),
        (
            "captions.jsonl",
            LINE.replace("a.png", "../in/a.png"),
            r"line 1 has file_name = \.\./in/a\.png, which leaves the folder",
        ),
        (
            "captions.jsonl",
            LINE.replace("a.png", "../a.png"),
            r"line 1 has file_name = \.\./a\.png, which leaves the folder",
        ),
        (
            "metadata.csv",
            COLUMNS + "a.png,x\n/b.png,x\n",
            r"line 3 has file_name = /b\.png, which leaves the folder; give",
        ),
        (
            "metadata.csv",
            COLUMNS + ",x\n",
            r"metadata\.csv: line 2 has no file_name; give the path of an image from .*in",
        ),
        ("captions.jsonl", '{"file_name": 3, "text": "x"}', r"captions\.jsonl: line 1 has no file_name; give the path"),
        (
            "captions.jsonl",
            LINE + LINE.replace("word", " "),
            r"line 2 has an empty caption of a\.png; write one, or remove",
        ),
        (
            "metadata.csv",
            COLUMNS + "a.png,\n",
            r"metadata\.csv: line 2 has an empty caption of a\.png; write one, or rem",
        ),
        (
            "captions.jsonl",
            LINE.replace('"word"', "[]"),
            r"line 1 has an empty caption of a\.png; write one, or remove the l",
        ),
        (
            "captions.jsonl",
            LINE.replace('"word"', '["x", ""]'),
            r"line 1 has an empty caption of a\.png; write one, or rem",
        ),
        (
            "captions.jsonl",
            LINE.replace('"word"', '["x", 3]'),
            r'line 1 has text = \["x", 3\] for a\.png; a text or a list',
        ),
        (
            "captions.jsonl",
            LINE.replace('"word"', "null"),
            r"line 1 has no text for a\.png; give each line a caption, or r",
        ),
        ("captions.jsonl", LINE + '{"file_name": "b.png"}', r"line 2 has no text for b\.png; give each line a caption"),
        (
            "captions.jsonl",
            LINE.replace("word", r"\ud800"),
            r"captions\.jsonl: line 1 has half a surrogate pair \(.*\); write the character",
        ),
        (
            "captions.jsonl",
            LINE + "\n{a: 3}\n",
            r"captions\.jsonl: line 3 is no JSON \(Expecting .*\); each line is one ",
        ),
        (
            "captions.jsonl",
            LINE + "[" * 100_000,
            r"captions\.jsonl: line 2 is no JSON \(.*\); each line is one JSON object",
        ),
        ("captions.jsonl", LINE + "[1]\n", r"captions\.jsonl: line 2 is a JSON list; each line is one JSON object"),
        (
            "metadata.csv",
            COLUMNS + '"a.png","x\n',
            r"metadata\.csv: line 2 is no CSV \(unexpected end of data\); correct",
        ),
        (
            "metadata.csv",
            COLUMNS + "a.png,one\nb.png,one, two\n",
            r"line 3 has 3 cells for the 2 columns file_name, text; put a text with commas between double quotes",
        ),
        (
            "captions.jsonl",
            (LINE + LINE).encode() + '{"text": "caf\u00e9"}'.encode("latin-1"),
            r"line 3 is not UTF-8 \(byte 0xE9\); its encoding may be Latin-1 or Windows-1252: save it as UTF-8",
        ),
        ("metadata.csv", (COLUMNS + "a.png,x\nb.png,").encode() + b"\xe9\n", r"line 3 is not UTF-8 \(byte 0xE9\)"),
        (
            "metadata.csv",
            (COLUMNS + "a.png,x\n").encode("utf-16"),
            r"metadata\.csv: its encoding is UTF-16; save it as UT",
        ),
        (
            "captions.jsonl",
            '{"file_name": "a.png", "prompt": "x"}\n',
            r"captions\.jsonl: it has no column text, caption or captions; its columns are file_name, prompt; give it"
            r" the columns file_name and text, or set caption_column to the column of the captions",
        ),
        (
            "captions.jsonl",
            "",
            r"captions\.jsonl: it has no column 'file_name'; its columns are none; give it the columns",
        ),
        (
            "metadata.csv",
            "file_name,text,caption\na.png,x,y\n",
            r"its columns text, caption may all be the captions; set caption_column to the one to use",
        ),
        ("metadata.csv", "file_name,text,text\n", r"its columns text, text may all be the captions; rename one"),
    ],
)
def test_captions_that_cannot_be_used(home, name, content, message):
    (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        load(home)
    assert str(caught.value).endswith(". captions = false ignores captions")
    assert load(home, captions=False).captions == ()


def test_a_named_column_that_is_missing_is_refused(home):
    write_table(home / "metadata.csv", [["file_name", "text"], ["a.png", "x"]])
    with pytest.raises(
        DataError,
        match=r"metadata\.csv: it has no column 'prompt', which is the caption_column; its columns are file_name, text",
    ):
        load(home, caption_column="prompt")


def test_two_files_of_captions_are_refused(home):
    write_lines(home / "captions.jsonl", ONE_EACH)
    write_table(home / "metadata.csv", [["file_name", "text"], ["a.png", "x"]])
    with pytest.raises(
        DataError,
        match=r"in: captions\.jsonl and metadata\.csv both hold captions; keep one file, or one in each folder",
    ):
        load(home)


def test_captions_in_the_root_and_in_a_split_are_refused(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / split / "1.png", 10)
    write_lines(tmp_path / "captions.jsonl", [{"file_name": "train/1.png", "text": "x"}])
    write_lines(tmp_path / "test" / "captions.jsonl", [{"file_name": "1.png", "text": "x"}])
    with pytest.raises(
        DataError, match=r": captions\.jsonl and test/captions\.jsonl both hold captions; keep one file"
    ):
        load(tmp_path)
    (tmp_path / "captions.jsonl").unlink()
    with pytest.raises(
        DataError, match=r"1 of 2 images has no caption in test/captions\.jsonl: train/1\.png; give each"
    ):
        load(tmp_path)


# --- arrays -----------------------------------------------------------------------------------------------------------

PIXELS = np.arange(10, 130, 30, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)


def archive(tmp_path, captions, split="train", **settings):
    np.savez(tmp_path / "set.npz", images=PIXELS, captions=captions)
    return Arrays.Config(path=tmp_path / "set.npz", size=4, **settings).make().load(split)


@pytest.mark.parametrize("k", [None, 1, 3])
def test_an_archive_may_hold_captions(tmp_path, k):
    texts = np.array(["the first", " the second ", "\u82b1", "4"])
    captions = texts if k is None else np.stack([np.char.add(texts, str(j)) for j in range(k)], axis=1)
    wanted = [tuple(str(text).strip() for text in np.atleast_1d(some)) for some in captions]
    train, test = (archive(tmp_path, captions, split, test_fraction=0.25) for split in ("train", "test"))
    got = {**by_red(train), **by_red(test)}
    assert [got[red] for red in (10, 40, 70, 100)] == wanted and len(test.captions) == 1
    assert train.info.captioned and {type(text) for some in train.captions for text in some} == {str}


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (
            np.array(["a"] * 3),
            r"set\.npz: 'captions' has shape \[3\] for 4 images; \[4\], or \[4, k\] for k captions an im",
        ),
        (np.array("a"), r"'captions' has shape \[\] for 4 images; \[4\], or"),
        (np.full((4, 0), "a"), r"'captions' has shape \[4, 0\] for 4 images; \[4\], or"),
        (
            np.array(["a", "b", " ", "d"]),
            r"set\.npz: image 2 has an empty caption; every image of a captioned set needs",
        ),
        (np.arange(4), r"'captions' is int64; strings are needed, saved as numpy\.array\(captions, dtype=str\)"),
        (np.array([b"a"] * 4), r"'captions' is \|S1; strings are needed, saved as"),
        (
            np.array(["a", "b", "c", "d"], dtype=object),
            r"no \.npz of plain arrays \('captions': .*pickle.*\); save it with numpy\.savez, without Python objects, "
            r"and texts as numpy\.array\(texts, dtype=str\)$",
        ),
    ],
)
def test_captions_of_an_archive_that_cannot_be_used(tmp_path, captions, message):
    with pytest.raises(DataError, match=message):
        archive(tmp_path, captions)


def test_the_hash_of_an_archive_covers_its_captions(tmp_path):
    hashes = []
    for text in ("a", "b"):
        archive(tmp_path, np.array([text] * 4))
        hashes.append(Arrays.Config(path=tmp_path / "set.npz").make().files_hash())
    assert hashes[0] != hashes[1]


# --- flowers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def flowers(cache, monkeypatch):
    """The official files of six photographs."""
    base = cache / "raw" / "flowers102" / "flowers-102"
    for i in range(1, 7):
        (base / "jpg").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(base / "jpg" / f"image_{i:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": np.array([[1, 102, 50, 7, 8, 9]], np.uint8)})
    ids = {"trnid": [2, 5], "valid": [1, 6], "tstid": [4, 3]}
    savemat(base / "setid.mat", {name: np.array([i], np.uint16) for name, i in ids.items()})
    official = torchvision.datasets.Flowers102._file_dict
    checked = {
        key: (official[key][0], hashlib.md5((base / official[key][0]).read_bytes()).hexdigest())
        for key in ("label", "setid")
    }
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", official | checked)
    return base.parent


def describe(folder, numbers=range(1, 7)):
    """Text files of the published form: a folder for each class, a caption a line."""
    for i in numbers:
        path = folder / f"class_{i % 3 + 1:05d}" / f"image_{i:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"flower {i} is red\nits petals are {i}\n", encoding="utf-8")
    return folder


def told(*numbers):
    return tuple((f"flower {i} is red", f"its petals are {i}") for i in numbers)


def read_flowers(split="train", **settings):
    return Flowers102.Config(size=8, **settings).make().load(split)


def test_flowers_have_the_captions_of_their_photographs(flowers, tmp_path, cache):
    assert read_flowers().captions == () and Flowers102.Config().make().files_hash() is None
    folder = describe(tmp_path / "texts" / "text_c10")
    for captions in (folder, folder.parent):
        assert read_flowers(captions=captions).captions == told(2, 5, 1, 6)
        assert read_flowers("test", captions=captions).captions == told(4, 3)
    assert len(list(cache.glob("flowers102-8-*.safetensors"))) == 4
    assert read_flowers().captions == () and not read_flowers().info.captioned


@pytest.mark.parametrize("place", ["text_c10", "cvpr2016_flowers/text_c10"])
def test_captions_of_flowers_are_found_in_the_raw_folder(flowers, place, caplog):
    describe(flowers / place)
    assert read_flowers().captions == told(2, 5, 1, 6)
    assert f"data set 'flowers102': captions are read from {flowers / place}" in caplog.messages


def test_changed_captions_of_flowers_are_read(flowers, tmp_path):
    folder = describe(tmp_path / "text_c10")
    part = Flowers102.Config(size=8, captions=folder).make()
    before = part.files_hash()
    assert part.load("test").captions == told(4, 3)
    (folder / "class_00002" / "image_00004.txt").write_bytes(b"another\r\n\r\n text \rlast\r")
    assert part.load("test").captions == (("another", "text", "last"), *told(3))
    assert part.files_hash() not in (before, None)
    moved = folder.rename(tmp_path / "elsewhere")
    assert (
        Flowers102.Config(captions=moved).make().files_hash()
        == part.config.model_copy(update={"captions": moved}).make().files_hash()
    )


def remove(folder):
    for path in folder.glob("class_00001/*"):
        path.unlink()


def write_one(name, content):
    def write(folder):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            remove,
            r"'flowers102': 2 of 6 photographs have no captions: image_00003, image_00006; unpack cvpr2016_flowers\.",
        ),
        (
            write_one("class_00009/image_00007.txt", b"a"),
            r"captions of photographs that are not there, in 1 files: .*class_00009/image_00007\.txt; remove them, or",
        ),
        (
            write_one("class_00009/image_00002.txt", b"a"),
            r"the captions of the photograph image_00002 are in .*_00003/image_00002\.txt and in .*_00009/.*; remove",
        ),
        (
            write_one("class_00001/image_00003.txt", b" \n\n"),
            r"1 of 6 files of captions are empty: .*class_00001/image_00003\.txt; unpack cvpr2016_flowers\.tar",
        ),
        (
            write_one("class_00001/image_00003.txt", b"a\nb\xe9\n"),
            r"image_00003\.txt: line 2 is not UTF-8 \(byte 0xE9\)",
        ),
    ],
)
def test_captions_of_flowers_that_cannot_be_used(flowers, tmp_path, cache, change, message):
    folder = describe(tmp_path / "text_c10")
    change(folder)
    with pytest.raises(DataError, match=message):
        read_flowers(captions=folder)
    assert not list(cache.glob("*.safetensors"))


def test_a_folder_without_captions_of_flowers_is_refused(flowers, tmp_path):
    with pytest.raises(
        DataError, match=r"captions = .*gone does not exist; give the folder text_c10, unpacked from cvpr"
    ):
        read_flowers(captions=tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"captions = .*file is a file; give the folder text_c10"):
        read_flowers(captions=tmp_path / "file")
    (tmp_path / "empty" / "text_c10").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"there are no captions in .*empty/text_c10, which needs files such as class_0000"
    ):
        read_flowers(captions=tmp_path / "empty")


# --- the cache --------------------------------------------------------------------------------------------------------


def some(captions):
    n = len(captions) or 2
    return ImageSet(torch.arange(n * 4, dtype=torch.uint8).reshape(n, 1, 2, 2), torch.zeros(n).long(), (), captions)


def test_the_cache_keeps_captions(cache):
    captions = (("a", "Stra\u00dfe", 'with "quotes"\n'), ("\u82b1",))
    path = write_cache("told", "train", some(captions))
    assert read_cache("told", "train").captions == captions
    assert json.loads(load_file(path)["captions"].numpy().tobytes().decode("utf-8")) == [
        list(some) for some in captions
    ]
    write_cache("told", "train", some(()))
    assert read_cache("told", "train").captions == () and set(load_file(path)) == {"images", "labels"}


def bytes_of(text):
    return torch.frombuffer(bytearray(text, "latin-1"), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (
            bytes_of('[["a"], ["b"'),
            r"told-train\.safetensors: its tensor 'captions' is no JSON \(.*\); delete it, and it",
        ),
        (bytes_of('[["a"], ["\u00e9"]]'), r"its tensor 'captions' is no JSON \(.*utf-8.*\); delete it"),
        (bytes_of('["a", "b"]'), r"its tensor 'captions' is no JSON list of texts for each image; delete it"),
        (bytes_of("3"), r"its tensor 'captions' is no JSON list of texts for each image; delete it"),
        (bytes_of('[["a"], [3]]'), r"its tensor 'captions' is no JSON list of texts for each image; delete it"),
        (bytes_of('[["a"]]'), r"there are captions of 1 images for 2 images; give each image some; delete it"),
        (bytes_of('[["a"], []]'), r"image 1 has no caption; every image .*; delete it"),
        (torch.zeros(2, 2), r"its tensor 'captions' is torch\.float32 \[2, 2\], and not bytes of JSON; delete it"),
    ],
)
def test_damaged_captions_in_the_cache_are_refused(cache, captions, message):
    path = write_cache("told", "train", some(()))
    save_file({**load_file(path), "captions": captions}, path, {"classes": "[]"})
    with pytest.raises(DataError, match=message):
        read_cache("told", "train")
