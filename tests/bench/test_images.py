"""Images of any tool are rows like runs: folders and .npz files, and the errors about them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

import genprior.bench.rescore
from genprior.bench.rescore import Real
from genprior.registry import installed
from genprior.runs.run import load_run

from .tables import DIGITS, PARZEN, ROWS, noise, png_folder, refused, row_of, table_of, values


def test_images_score_as_the_run_that_made_them(small, call, tmp_path):
    """The .npz of the exporter, a plain one, and PNG files, grey and in colours, of the same 60 images."""
    run = load_run(small / "runs" / "AAE" / "seed-1")
    images = run.sample(60, seed=1)
    exported = tmp_path / "exported.npz"
    assert call("sample", run.folder, "--n", 60, "--seed", 1, "--to", exported).exit_code == 0
    np.savez(tmp_path / "plain.npz", images.permute(0, 2, 3, 1).numpy(), np.zeros(60))
    grey = png_folder(tmp_path / "grey", images)
    colours = png_folder(tmp_path / "colours", images.expand(-1, 3, -1, -1))
    table, _ = table_of(call, tmp_path, small / "runs", exported, tmp_path / "plain.npz", grey, colours)
    expected = values(small / "runs")["AAE"][1]
    assert [row["label"] for row in table["rows"]] == [*ROWS, "exported", "plain", "grey", "colours"]
    for label in ("exported", "plain", "grey", "colours"):
        assert row_of(table, label)["scores"]["parzen"]["values"] == [pytest.approx(expected, rel=1e-9)]
    assert [column["key"] for column in table["columns"]] == ["parzen"]


def test_images_alone_take_the_real_ones_from_where_they_are_told(small, call, tmp_path):
    made = png_folder(tmp_path / "made", noise(60))
    tables = [
        table_of(call, tmp_path, made, "--score", PARZEN, "--data", data)[0]["rows"]
        for data in (DIGITS, small / "small.toml")
    ]
    assert tables[0] == tables[1] and math.isfinite(tables[0][0]["scores"]["parzen"]["mean"])
    assert "give them with --data" in refused(call, made, "--score", PARZEN)
    assert "give one with --score" in refused(call, made, "--data", DIGITS)


def test_images_of_a_folder_are_flat_or_in_sub_folders(tmp_path):
    flat = Real.of_images(genprior.bench.rescore.Images(tmp_path, noise(6)))
    png_folder(tmp_path / "deep" / "0", noise(3))
    png_folder(tmp_path / "deep" / "1", noise(6)[3:])
    deep = genprior.data.foreign.read_images(tmp_path / "deep")
    assert torch.equal(deep.images[:3], noise(3)) and torch.equal(deep.images[3:], noise(6)[3:])
    assert torch.equal(flat.load("train").images, flat.load("test").images)


def test_a_folder_without_images_or_runs(call, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds neither runs nor images (bmp, gif, jpeg, jpg, pgm, png, ppm, tif, tiff, webp)" in refused(
        call, tmp_path / "empty", "--score", PARZEN
    )
    assert "there is no folder" in refused(call, tmp_path / "absent")
    assert "there is no file" in refused(call, tmp_path / "absent.npz")


def test_images_of_mixed_sizes(call, tmp_path):
    mixed = png_folder(tmp_path / "mixed", noise(9))
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(mixed / "odd.png")
    said = refused(call, mixed, "--score", PARZEN, "--data", DIGITS)
    assert "its images have 2 sizes: 8x8 (9, such as 00000.png), 6x4 (1, such as odd.png)" in said


def test_one_unreadable_image_among_many_is_named_and_counted(call, tmp_path):
    folder = png_folder(tmp_path / "images", noise(1500))
    broken = folder / "00700.png"
    broken.write_bytes(broken.read_bytes()[:50])
    said = refused(call, folder, "--score", PARZEN, "--data", DIGITS)
    assert "1 of 1,500 images cannot be read" in said and str(broken) in said and "repair or remove" in said
    for place in range(10, 17):
        (folder / f"000{place}.png").write_bytes(b"nothing")
    said = refused(call, folder, "--score", PARZEN, "--data", DIGITS)
    assert "8 of 1,500 images cannot be read" in said and "and 3 more" in said
    Image.fromarray(np.zeros((8, 8), np.float32)).save(png_folder(tmp_path / "deep", noise(1)) / "deep.tif")
    said = refused(call, tmp_path / "deep", "--score", PARZEN, "--data", DIGITS)
    assert "deep.tif (mode 'F' does not say which values are black and white; save 8 or 16 bits a channel" in said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3), "y": np.zeros(3)}, "has no array 'images' or 'arr_0'; it has x, y"),
        ({"images": np.zeros((4, 8, 8))}, "'images' is float64; uint8 values"),
        ({"images": np.zeros((4, 8), np.uint8)}, "'images' has shape [4, 8]"),
        ({"images": np.zeros((4, 3, 8, 3), np.uint8)}, "could be channels-first or channels-last"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "'images' has shape [0, 8, 8, 3]"),
        ({"images": np.zeros((8, 8, 3), np.uint8)}, "[8, 8, 3], which could be one image or 8 grey images; save one"),
        ({"images": np.zeros((3, 8, 8), np.uint8)}, "[3, 8, 8], which could be one image or 3 grey images; save one"),
        ({"images": np.eye(8, dtype=np.uint8)[None]}, "its values are 0 and 1, but 255 is white"),
    ],
)
def test_an_npz_without_images(call, tmp_path, arrays, message):
    np.savez(tmp_path / "odd.npz", **arrays)
    assert message in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)
    (tmp_path / "odd.npz").write_bytes(b"PK no archive")
    assert "it is no .npz of plain arrays" in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)


def test_more_images_than_samples_are_drawn_over_all(call, tmp_path):
    """The same images in one file and in class folders: the first ones by name would be of one class."""
    bright = torch.cat([noise(100) // 8, 255 - noise(100, seed=1) // 8])
    for place, name in ((0, "dark"), (100, "light")):
        png_folder(tmp_path / "classes" / name, bright[place : place + 100])
    for place, name in ((0, "first"), (100, "last")):
        png_folder(tmp_path / name, bright[place : place + 100])
    score = '{ name = "parzen", samples = 100, validation = 50 }'
    arguments = (tmp_path / "classes", tmp_path / "first", tmp_path / "last", "--score", score, "--data", DIGITS)
    table, said = table_of(call, tmp_path, *arguments)
    drawn, first, last = (row_of(table, name)["scores"]["parzen"]["mean"] for name in ("classes", "first", "last"))
    assert drawn not in (first, last)
    assert any("classes: 100 of 200 images are scored, drawn under a fixed seed." in note for note in table["notes"])
    assert "first" not in " ".join(table["notes"])
    again, _ = table_of(call, tmp_path, *arguments)
    assert row_of(again, "classes")["scores"] == row_of(table, "classes")["scores"]


def test_a_drawn_subset_is_spread_over_the_images(tmp_path):
    """What a score sees of 1,000 images of their own brightness: 250 different ones, uniform over the order."""
    images = (torch.arange(1000) % 250).byte()[:, None, None, None].expand(-1, 1, 8, 8)
    images = torch.cat(
        [images[:, :, :4], (torch.arange(1000) // 250).byte()[:, None, None, None].expand(-1, 1, 4, 8)], 2
    )
    seen = []

    class Kept(genprior.bench.rescore.Scorer):
        def _all(self, context, real, configs, subject):
            seen.append((context.generated(configs[0].samples), subject[0]))
            return [None] * len(configs)

    real = Real.of_images(genprior.bench.rescore.Images(tmp_path, images))
    configs = [installed().configure("score", {"name": "parzen", "samples": n}) for n in (250, 1000)]
    Kept(torch.device("cpu"), tmp_path).of_images(genprior.bench.rescore.Images(tmp_path, images), real, configs)
    (few, drawn), (whole, all_of_them) = seen
    place = (few[:, 0, 0, 0].long() + 250 * few[:, 0, 7, 0].long()).numpy()
    assert len(set(place)) == 250 and (place == np.sort(place)).all()
    assert scipy.stats.kstest(place / 1000, "uniform").pvalue > 0.01
    assert torch.equal(whole, images) and (drawn, all_of_them) == ("images drawn", "images")


def test_what_is_left_out_is_counted_and_said(call, tmp_path):
    folder = png_folder(tmp_path / "made", noise(60))
    for name in ("made/.cache", "made/deeper"):
        png_folder(tmp_path / name, noise(2))
    (folder / "notes.txt").write_text("")
    for kind in ("bmp", "webp", "tiff"):
        Image.fromarray(noise(1)[0, 0].numpy()).save(folder / f"a.{kind}", lossless=True)
    table, _ = table_of(call, tmp_path, folder, "--score", PARZEN, "--data", DIGITS)
    left_out = "2 pictures in sub-folders, 1 hidden file or folder, 1 other file (.txt)."
    assert f"{folder}: 63 images are read; left out: {left_out}" in table["notes"]


def test_linked_folders_are_read_and_links_to_nothing_are_named(call, tmp_path):
    png_folder(tmp_path / "store" / "cats", noise(5))
    png_folder(tmp_path / "all" / "dogs", noise(5, seed=1))
    (tmp_path / "all" / "cats").symlink_to(tmp_path / "store" / "cats")
    (tmp_path / "all" / "dogs" / "up").symlink_to(tmp_path / "all")
    read = genprior.data.foreign.read_images(tmp_path / "all")
    assert torch.equal(read.images, torch.cat([noise(5), noise(5, seed=1)]))
    assert read.left_out == "1 link to a folder above it"
    for name in ("gone.png", "lost"):
        (tmp_path / "all" / name).symlink_to(tmp_path / "nowhere")
    said = refused(call, tmp_path / "all", "--score", PARZEN, "--data", DIGITS)
    assert f"2 links lead to nothing: {tmp_path / 'all' / 'gone.png'}, {tmp_path / 'all' / 'lost'}; repair or" in said


def test_a_file_that_is_no_npz_is_refused(call, tmp_path):
    folder = png_folder(tmp_path / "made", noise(60))
    (tmp_path / "README.md").write_text("hello")
    for file in (folder / "00000.png", tmp_path / "README.md"):
        message = f"{file} is a file, and no .npz; give a folder of images (bmp, gif"
        assert message in refused(call, folder, "--score", PARZEN, "--data", file)
        assert message in refused(call, file, "--score", PARZEN, "--data", DIGITS)
