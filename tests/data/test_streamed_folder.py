"""The data set `folder` with `stream = true`: the images, runs and scores of the set that is decoded at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

import genprior
from genprior.data.streamed import StreamedImages
from genprior.errors import DataError, RunError
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer
from genprior.storage import hashes
from genprior.storage.cache import hash_file
from genprior.storage.hashes import hash_files
from genprior_std.datasets.folder import Folder

from ..small import aae

pytestmark = pytest.mark.usefixtures("no_curves")

RECIPE = """
title = "streamed"
scores = [
  {{ name = "fid", extractor = "random", samples = 8 }},
  {{ name = "classifier_score", samples = 8, splits = 2 }},
  {{ name = "nearest_distance", samples = 8 }},
]
[run]
steps = 12
batch = 5
checkpoint_every = 4
log_every = 3
precision = "fp32"
shift = 1
[run.hooks.pictures]
enabled = false
[data]
name = "folder"
path = "{path}"
size = 8
{model}
[[row]]
label = "a"
changes = []
[[row]]
label = "b"
changes = ["few"]
[change.few.run]
batch = 4
"""


@pytest.fixture
def pictures(tmp_path):
    """A folder of 30 pictures of three classes in sizes and formats of their own, with captions."""
    folder, random = tmp_path / "pictures", np.random.RandomState(0)
    lines = []
    for place in range(30):
        file = folder / "abc"[place % 3] / f"{place}.{('png', 'jpg', 'bmp')[place % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (8 + place % 5, 11, 3), dtype=np.uint8)).save(file)
        lines.append(json.dumps({"file_name": file.relative_to(folder).as_posix(), "text": f"picture {place}"}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


def recipe(folder, *settings):
    path = folder.parent / "streamed.toml"
    path.write_text(RECIPE.format(path=folder.as_posix(), model=aae()))
    return genprior.load_recipe(path, settings=settings)


STREAM = "data.stream=true"


def loaded(folder, split="train", **settings):
    return Folder.Config(path=folder, **settings).make().load(split)


def last(folder):
    return load_file(sorted((folder / "checkpoints").glob("*.safetensors"))[-1])


def same_run(one: Path, other: Path):
    a, b = last(one), last(other)
    assert a.keys() == b.keys() and [key for key in a if not torch.equal(a[key], b[key])] == []
    assert (one / "scores.json").read_bytes() == (other / "scores.json").read_bytes()


# --- the set ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"channels": 1, "size": 5, "test_fraction": 0.4}], ids=["colour", "grey"])
def test_a_split_is_that_of_the_decoded_set(pictures, settings, cache):
    for split in ("train", "test"):
        memory, stream = loaded(pictures, split, **settings), loaded(pictures, split, stream=True, **settings)
        assert isinstance(stream.images, StreamedImages) and not isinstance(memory.images, StreamedImages)
        assert torch.equal(stream.images.decoded(), memory.images) and torch.equal(stream.labels, memory.labels)
        assert stream[2:] == memory[2:] and stream.info == memory.info


def test_folders_of_splits_are_streamed(pictures, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "divided").mkdir(exist_ok=True)
        (tmp_path / "divided" / split).symlink_to(pictures)
    memory, stream = (loaded(tmp_path / "divided", "test", stream=on, captions=False) for on in (False, True))
    assert torch.equal(stream.images, memory.images) and len(stream.images) == 30


def test_no_decoded_image_is_kept(pictures, cache):
    loaded(pictures, stream=True).images.float()
    assert not list(cache.glob("*.safetensors"))


def test_the_hash_is_that_of_the_decoded_set(pictures):
    memory, stream = (Folder.Config(path=pictures, stream=on).make().files_hash() for on in (False, True))
    assert stream == memory
    (pictures / "a" / "0.png").write_bytes((pictures / "a" / "6.png").read_bytes())
    assert Folder.Config(path=pictures, stream=True).make().files_hash() not in (None, memory)


def test_workers_are_for_streamed_images(tmp_path):
    with pytest.raises(ValidationError, match="workers = 4 is for streamed images, .* set stream = true, or leave"):
        Folder.Config(path=tmp_path, workers=4)
    assert Folder.Config(path=tmp_path, workers=0, stream=True).workers == 0


# --- damaged and changed files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named(pictures, workers):
    file = pictures / "b" / "7.jpg"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"folder .*: .*b/7\.jpg cannot be read \(.*\); repair or remove it"):
        loaded(pictures, stream=True, workers=workers).images.float()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda file: file.write_bytes(b"other"), "has changed while it was in use; restore it to resume"),
        (
            Path.unlink,
            r"cannot be read \(No such file or directory\); restore it to resume, or begin a new run without",
        ),
    ],
    ids=["changed", "removed"],
)
def test_a_picture_that_changes_in_use_is_named(pictures, change, match):
    stream = loaded(pictures, stream=True, test_fraction=0)
    change(pictures / "b" / "7.jpg")
    with pytest.raises(DataError, match=rf"b/7\.jpg {match}"):
        stream.images.float()


def test_training_ends_at_a_damaged_picture_with_its_name(pictures, tmp_path, call):
    for file in pictures.rglob("*.bmp"):
        file.unlink()
    file = pictures / "c" / "20.png"
    file.write_bytes(file.read_bytes()[:90])
    recipe(pictures)
    ended = call(
        "train", tmp_path / "streamed.toml", "--set", STREAM, "--rows", "a", "--out", tmp_path / "out", "--jobs", 1
    )
    assert ended.exit_code == 2, ended.output
    assert "c/20.png cannot be read" in " ".join(ended.output.split()) and "Traceback" not in ended.output


# --- remembered hashes ------------------------------------------------------------------------------------------------


def test_hashes_are_remembered_on_disk(tmp_path, cache, monkeypatch):
    files = [tmp_path / f"{place}.bin" for place in range(5)]
    for place, file in enumerate(files):
        file.write_bytes(bytes([place]))
    monkeypatch.setattr(hashes, "_SETTLED", -3600)  # files of this moment are remembered too
    wanted = [hash_file(file) for file in files]
    assert hash_files(files, "some") == wanted
    read = []
    monkeypatch.setattr(hashes, "hash_file", lambda file: read.append(file) or hash_file(file))
    assert hash_files(files, "some") == wanted and read == []
    files[2].write_bytes(b"new")
    assert hash_files(files, "some") == [*wanted[:2], hash_file(files[2]), *wanted[3:]] and read == [files[2]]
    next(cache.glob("hashes-*.json")).write_text("{")
    assert hash_files(files[:1], "some") == wanted[:1] and read == files[2:3] + files[:1]


def test_the_hash_of_a_file_of_this_moment_is_not_remembered(tmp_path, cache):
    (tmp_path / "new.bin").write_bytes(b"1")
    old = tmp_path / "old.bin"
    old.write_bytes(b"2")
    hash_files([tmp_path / "new.bin", old], "some")
    assert json.loads(next(cache.glob("hashes-*.json")).read_text()) == {}


def test_a_missing_file_has_no_hash(tmp_path):
    with pytest.raises(DataError, match=r"gone.png: it cannot be read \(No such file"):
        hash_files([tmp_path / "gone.png"], "some")


# --- runs -------------------------------------------------------------------------------------------------------------


def test_runs_and_scores_are_those_in_memory_and_resume_in_mid_epoch(pictures, tmp_path):
    Trainer(recipe(pictures).row("a"), 3, tmp_path / "memory").run()
    for workers in (0, 2):
        streamed = recipe(pictures, STREAM, f"data.workers={workers}").row("a")
        Trainer(streamed, 3, tmp_path / f"stream{workers}").run(until=7)  # 5 steps an epoch
        Trainer(recipe(pictures, STREAM, "data.workers=1").row("a"), 3, tmp_path / f"stream{workers}").run()
        same_run(tmp_path / "memory", tmp_path / f"stream{workers}")
    Trainer(recipe(pictures, STREAM).row("a"), 3, tmp_path / "mixed").run(until=4)
    Trainer(recipe(pictures).row("a"), 3, tmp_path / "mixed").run()
    same_run(tmp_path / "memory", tmp_path / "mixed")
    memory, stream = (load_run(tmp_path / name) for name in ("memory", "stream2"))
    assert memory.described_data == stream.described_data and "workers" not in memory.described_data


def test_a_run_is_not_resumed_on_other_pictures(pictures, tmp_path):
    plan = recipe(pictures, STREAM).row("a")
    Trainer(plan, 0, tmp_path / "run").run(until=4)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(pictures / "a" / "0.png")
    with pytest.raises(RunError, match="the images or captions of the run .* have changed"):
        Trainer(plan, 0, tmp_path / "run").run()


@pytest.mark.parametrize(
    "settings",
    [
        ("run.labels=9", "run.labelled_batch=3", 'model.conditioner={name="partial_label"}'),
        ('model.conditioner={name="sentence",embedder={name="lsa",size=2}}',),
        ('model.encoder.posterior="gaussian"', 'model.prior={name="vampprior",components=4}', "run.rotate=9"),
    ],
    ids=["few labels", "captions", "pseudo-inputs"],
)
def test_rows_that_use_labels_captions_or_a_draw_of_images(pictures, tmp_path, settings):
    plans = [recipe(pictures, *more, "scores=[]", *settings).row("a") for more in ((), (STREAM,))]
    for name, plan in zip(("memory", "stream"), plans, strict=True):
        Trainer(plan, 0, tmp_path / name).run(until=3)
    a, b = (last(tmp_path / name) for name in ("memory", "stream"))
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_rows_side_by_side(pictures, tmp_path, call):
    recipe(pictures)
    settings = (STREAM, "scores=[]")
    chosen = [argument for each in settings for argument in ("--set", each)]
    ended = call("train", tmp_path / "streamed.toml", *chosen, "--jobs", 2, "--out", tmp_path / "two")
    assert ended.exit_code == 0, ended.output
    for row in "ab":
        Trainer(recipe(pictures, "scores=[]").row(row), 0, tmp_path / row).run()
        a, b = last(tmp_path / "two" / row / "seed-0"), last(tmp_path / row)
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
