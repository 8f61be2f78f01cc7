"""The data set `webdataset`: which shards a name means, what is read of them, and what is refused."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import genprior
from genprior.data.streamed import StreamedImages
from genprior.errors import DataError, RunError
from genprior.runs.trainer import Trainer
from genprior_std.datasets.folder import Folder
from genprior_std.datasets.shards import samples_of, shard_files
from genprior_std.datasets.webdataset import WebDataset

from ..small import aae


def picture(place, kind="PNG"):
    """A small picture of random pixels, as the bytes of a file."""
    pixels = np.random.RandomState(place).randint(0, 256, (9, 8 + place % 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write(path, members):
    """A tar of members, which are pairs of a name and bytes or a ready `TarInfo`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(place, **others):
    """The members of a sample: its picture, and others by their suffix."""
    return [
        (f"{place:03}.png", picture(place)),
        *((f"{place:03}.{key}", text.encode()) for key, text in others.items()),
    ]


@pytest.fixture
def shards(tmp_path):
    """Three shards of ten samples with labels and captions."""
    for shard in range(3):
        places = range(10 * shard, 10 * shard + 10)
        members = [member for place in places for member in sample(place, cls=str(place % 3), txt=f"picture {place}")]
        write(tmp_path / "shards" / f"train-{shard:02}.tar", members)
    return tmp_path / "shards"


def loaded(path, split="train", **options):
    return WebDataset.Config(path=path, **options).make().load(split)


def refused(path, match, **options):
    with pytest.raises(DataError, match=match):
        loaded(path, **options).images.float()


# --- which files ------------------------------------------------------------------------------------------------------


@given(first=st.integers(0, 30), more=st.integers(0, 30), width=st.integers(1, 4))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_braces_are_numbers_of_equal_width(tmp_path_factory, first, more, width):
    folder = tmp_path_factory.mktemp("shards")
    names = [f"s-{number:0{width}}.tar" for number in range(first, first + more + 1)]
    for name in names:
        (folder / name).touch()
    low, high = (f"{number:0{width}}" for number in (first, first + more))
    assert [file.name for file in shard_files(folder / f"s-{{{low}..{high}}}.tar")] == names


def test_names_of_shards(shards):
    files = sorted(shards.iterdir())
    assert shard_files(shards) == files
    assert shard_files(shards / "train-{00..02}.tar") == files
    assert shard_files(shards / "train-0{2,0}.tar") == [files[2], files[0]]
    assert shard_files(shards / "train-01.tar") == [files[1]]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("train-{00..05}.tar", r"3 of 6 shards are missing: .*train-03.tar, .*; give a .tar, a folder of them"),
        ("other.tar", r"there is no shard: .*other.tar"),
        ("train-{00..02.tar", "a brace is not closed"),
        ("train-{0}.tar", r"\{0\} is neither a range, such as \{000..099\}, nor a list"),
        ("train-{5..2}.tar", r"\{5..2\} has 0 numbers"),
        ("t{0..999999}-{0..9}.tar", "they name 10,000,000 shards"),
    ],
)
def test_names_that_are_refused(shards, name, match):
    with pytest.raises(DataError, match=match):
        shard_files(shards / name)


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there are no .tar files in the folder .*; give a folder"):
        shard_files(tmp_path)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_samples_are_those_of_a_folder_of_the_same_pictures(shards, tmp_path):
    for place in range(30):
        file = tmp_path / "folder" / f"{place:03}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture(place))
    for split in ("train", "test"):
        found = loaded(shards, split, size=8)
        wanted = Folder.Config(path=tmp_path / "folder", size=8).make().load(split)
        assert isinstance(found.images, StreamedImages) and torch.equal(found.images.decoded(), wanted.images)
        places = [int(texts[0].split()[1]) for texts in found.captions]
        assert found.labels.tolist() == [place % 3 for place in places] and found.classes == ("0", "1", "2")


def test_shards_of_a_test_split(shards):
    both = {"path": shards / "train-{00..01}.tar", "test": shards / "train-02.tar", "classes": ("a", "b", "c")}
    train, test = (WebDataset.Config(**both).make().load(split) for split in ("train", "test"))
    assert (len(train.labels), len(test.labels)) == (20, 10) and test.captions[0] == ("picture 20",)
    assert train.classes == test.classes == ("a", "b", "c")


def test_captions_in_json_and_pictures_of_other_kinds(tmp_path):
    members = [
        ("./some/b.v1.jpg", picture(1, "JPEG")),
        ("./some/b.json", b'{"text": ["one ", "two"], "other": 3}'),
        ("c.JPG", picture(2, "JPEG")),
        ("c.json", b'{"caption": "three"}'),
        ("c.txt", b"\xef\xbb\xbffour\n"),
        (".hidden", b""),
        ("README", b"no sample"),
    ]
    members[0] = ("./some/b.jpg", members[0][1])
    found = loaded(write(tmp_path / "0.tar", members), test_fraction=0)
    assert found.captions == (("one", "two"), ("four", "three")) and found.classes == ()
    assert loaded(tmp_path / "0.tar", test_fraction=0, captions=False).captions == ()


def test_grey_pictures_and_captions_of_another_key(tmp_path):
    path = write(tmp_path / "0.tar", sample(3, json='{"title": "three", "text": "other"}'))
    found = (
        WebDataset.Config(path=path, size=8, channels=1, caption_column="title", test_fraction=0).make().load("train")
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "3.png").write_bytes(picture(3))
    wanted = Folder.Config(path=tmp_path / "folder", size=8, channels=1, test_fraction=0).make().load("train")
    assert torch.equal(found.images, wanted.images) and found.captions == (("three",),)


def test_the_index_of_a_changed_shard_is_made_anew(tmp_path):
    path = write(tmp_path / "0.tar", sample(0, cls="0") + sample(1, cls="0"))
    assert len(samples_of(path, True, None)) == 2 and samples_of(path, True, None) is samples_of(path, True, None)
    write(path, sample(0, cls="0"))
    assert len(samples_of(path, True, None)) == 1


def test_the_hash_follows_the_content_and_not_the_place(shards, tmp_path):
    one = WebDataset.Config(path=shards).make().files_hash()
    moved = shards.rename(tmp_path / "moved")
    assert WebDataset.Config(path=moved / "train-{00..02}.tar").make().files_hash() == one
    assert WebDataset.Config(path=moved / "train-{00..01}.tar").make().files_hash() != one


# --- what is refused --------------------------------------------------------------------------------------------------


def linked(kind):
    info = tarfile.TarInfo("001.png")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


BAD = {
    "a link": ([*sample(0), (linked(tarfile.SYMTYPE), b"")], r"its member '001.png' is a link; a shard has ordinary"),
    "a hard link": ([*sample(0), (linked(tarfile.LNKTYPE), b"")], "its member '001.png' is a link"),
    "a device": ([(linked(tarfile.CHRTYPE), b"")], "its member '001.png' is no ordinary file"),
    "no picture": ([*sample(0), ("001.cls", b"1"), ("001.txt", b"x")], r"sample '001' has no picture .*\.cls, \.txt"),
    "two pictures": ([*sample(0), ("000.jpg", picture(0, "JPEG"))], r"sample '000' has 2 pictures .*\.png, \.jpg"),
    "a member twice": ([*sample(0, cls="1"), ("000.cls", b"2")], r"sample '000' has two members \.cls; keep one"),
    "a sample twice": ([*sample(0), *sample(1), *sample(0)], "sample '000' appears twice, with others between"),
    "no sample": ([("README", b"text")], "there are no samples in it; a sample is a picture, such as 000.jpg"),
    "a label of letters": (sample(0, cls="cat"), r"sample '000': its label \(\.cls\) is 'cat'; the number of a class"),
    "a label below zero": (sample(0, cls="-1"), "is '-1'; the number of a class from 0"),
    "some labels": (
        [*sample(0, cls="1"), *sample(1)],
        r"1 of 2 samples has no label \(\.cls\): '001' in 0.tar; give every sample one, or none$",
    ),
    "some captions": (
        [*sample(0), *sample(1), *sample(2, txt="a")],
        r"2 of 3 samples have no caption .*: '000' in 0.tar, '001' in 0.tar; .* captions = false ignores captions",
    ),
    "an empty caption": (sample(0, txt=" \n"), "sample '000' has an empty caption"),
    "a long text": (sample(0, txt="x" * (2**20 + 1)), "'000.txt' has 1,048,577 bytes; labels and texts have at most"),
    "no UTF-8": ([*sample(0), ("000.txt", b"\xff\xfe")], "'000.txt' is no UTF-8"),
    "no JSON": (sample(0, json="{"), r"its \.json is no JSON"),
    "deep JSON": (sample(0, json="[" * 200_000), r"its \.json is no JSON"),
    "a list": (
        sample(0, json="[1]"),
        r"its \.json is a JSON list; write one object with keys, or set captions = false",
    ),
    "two keys": (sample(0, json='{"text": "a", "caption": "b"}'), "captions in text and caption; set caption_column"),
    "a number": (sample(0, json='{"text": 3}'), "'text' in its .json is no text or list of texts"),
    "a key twice": (sample(0, json='{"text": "a", "text": "b"}'), r"its \.json has text more than once; keep one"),
    "half a pair": (sample(0, json='{"text": "a\\ud800"}'), r"'text' in its \.json has half a surrogate pair"),
    "a long caption": (
        sample(0, txt="x" * 131_073),
        "sample '000' has a caption of 131,073 characters; the limit is 131,072: shorten it",
    ),
    "a large label": (
        sample(0, cls="999999999"),
        "labels run up to 999,999,999; number the classes from 0, or name them in classes",
    ),
    "a damaged picture": ([("000.png", picture(0)[:60])], r"the picture of sample '000' cannot be read \(.*\); repair"),
    "no picture inside": (
        [("000.png", b"text")],
        r"the picture of sample '000' cannot be read \(its content is of no kind of picture that is read\); repair",
    ),
}


@pytest.mark.parametrize(("members", "match"), BAD.values(), ids=BAD)
def test_bad_shards_are_refused_with_their_names(tmp_path, members, match):
    refused(write(tmp_path / "0.tar", members), match, test_fraction=0)
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "cache") == ["0.tar"]


def test_names_outside_of_the_shard_are_no_paths(tmp_path):
    members = [("/absolute.png", picture(0)), ("../../above.png", picture(1))]
    found = loaded(write(tmp_path / "in" / "0.tar", members), test_fraction=0)
    assert len(found.images.float()) == 2
    assert not (tmp_path.parent / "above.png").exists() and list((tmp_path / "in").iterdir()) == [tmp_path / "in/0.tar"]


def test_too_many_classes_for_their_names(shards):
    refused(shards, "labels run up to 2, but classes has 2 names; give 3 names", classes=("a", "b"))


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 700, 1100])
def test_a_shard_that_ends_too_early_is_refused(tmp_path, cut):
    path = write(tmp_path / "0.tar", sample(0) + [("001.png", b"x" * 2000)])
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[:-cut])
    refused(path, r"0\.tar: (it is no plain tar, or damaged|its member .* the file ends before|its sample '001')")


def test_a_damaged_header_is_no_end(tmp_path):
    path = write(tmp_path / "0.tar", sample(0) + sample(1))
    content = bytearray(path.read_bytes())
    place = content.index(b"001.png")
    content[place + 148 : place + 156] = b"12345678"  # the checksum
    path.write_bytes(content)
    refused(path, r"0\.tar: it is damaged after 1,024 bytes; repair or remove the shard")


def test_tars_joined_by_cat_and_a_header_of_zeros_are_refused(tmp_path):
    """`tarfile` takes the first empty block for the end, so that all later samples would be left out."""
    first, second = (write(tmp_path / name, sample(place)) for place, name in enumerate(("0.tar", "1.tar")))
    joined = first.read_bytes() + second.read_bytes()
    first.write_bytes(joined)
    refused(first, r"0\.tar: it ends after 1,024 bytes, and more follows, as in tars that were joined by cat, or where")
    content = bytearray(write(tmp_path / "2.tar", sample(0) + sample(1)).read_bytes())
    content[1024:1536] = bytes(512)
    (tmp_path / "2.tar").write_bytes(content)
    refused(tmp_path / "2.tar", r"2\.tar: it ends after 1,024 bytes, and more follows")


def test_a_shard_without_a_mark_of_its_end_is_told_of(tmp_path, caplog):
    path = write(tmp_path / "0.tar", [*sample(0), *sample(1)])
    assert len(loaded(path, test_fraction=0).images) == 2 and not caplog.messages
    path.write_bytes(path.read_bytes()[:1024])  # as a writer leaves it that is killed between two samples
    assert len(loaded(path, test_fraction=0).images) == 1
    assert caplog.messages == [
        f"{path}: it has no mark of its end, so it may have been cut off; the samples that are there are read"
    ]


def test_shards_that_are_named_twice_are_refused(shards):
    refused(shards / "train-0{0,1,0}.tar", r"path names a shard twice: .*train-00\.tar; name each once")
    refused(shards, r"path and test both name .*train-01\.tar; scores would be of", test=shards / "train-01.tar")
    (shards.parent / "link.tar").symlink_to(shards / "train-02.tar")
    refused(shards, r"path and test both name .*link\.tar", test=shards.parent / "link.tar")


@pytest.mark.parametrize(
    "content", [b"", b"no tar at all" * 100, b"\x1f\x8b" + b"0" * 2000], ids=["empty", "text", "gzip"]
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "0.tar").write_bytes(content)
    refused(tmp_path / "0.tar", r"0\.tar: (it is no plain tar, or damaged .* not compressed|there are no samples)")


@given(data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_damaged_bytes_are_read_or_refused(tmp_path_factory, data):
    path = write(
        tmp_path_factory.mktemp("bad") / "0.tar", sample(0, cls="1", json='{"text": "a"}') + sample(1, cls="0")
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = loaded(path, test_fraction=0)
        images = found.images.float()
    except DataError:
        return
    assert len(images) == len(found.labels) in (1, 2) and 0 <= int(found.labels.min())
    assert images.isfinite().all() and images.min() >= -1 and images.max() <= 255


# --- runs -------------------------------------------------------------------------------------------------------------

RECIPE = """
title = "shards"
[run]
steps = 8
batch = 4
checkpoint_every = 3
precision = "fp32"
[run.hooks.pictures]
enabled = false
[data]
name = "webdataset"
path = "shards/train-{{00..02}}.tar"
size = 8
{model}
[[row]]
label = "a"
changes = []
"""


@pytest.mark.usefixtures("no_curves")
def test_a_run_resumes_in_mid_epoch_and_not_on_other_shards(shards, tmp_path):
    (tmp_path / "shards.toml").write_text(RECIPE.format(model=aae()))

    def plan(*given):
        return genprior.load_recipe(tmp_path / "shards.toml", settings=given).row("a")

    once = Trainer(plan("data.workers=0"), 0, tmp_path / "once")
    once.run()
    Trainer(plan(), 0, tmp_path / "twice").run(until=5)  # 6 steps an epoch
    twice = Trainer(plan("data.workers=1"), 0, tmp_path / "twice")
    twice.run()
    weights = twice.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in once.model.state_dict().items())
    Trainer(plan(), 0, tmp_path / "changed").run(until=5)
    write(shards / "train-01.tar", [m for place in range(10) for m in sample(place, cls="0", txt="other")])
    with pytest.raises(RunError, match="the images or captions of the run .* have changed"):
        Trainer(plan(), 0, tmp_path / "changed").run()
