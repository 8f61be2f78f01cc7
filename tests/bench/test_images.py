"""Images of any tool are rows like runs: folders and .npz files, and the errors about them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import genprior.bench.rescore
from genprior.bench.rescore import Real
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
    assert "holds neither runs nor images (PNG or JPEG)" in refused(call, tmp_path / "empty", "--score", PARZEN)
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
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(png_folder(tmp_path / "deep", noise(1)) / "deep.png")
    assert "has no 8 bits a channel" in refused(call, tmp_path / "deep", "--score", PARZEN, "--data", DIGITS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3), "y": np.zeros(3)}, "has no array 'images' or 'arr_0'; it has x, y"),
        ({"images": np.zeros((4, 8, 8))}, "'images' is float64; uint8 values"),
        ({"images": np.zeros((4, 8), np.uint8)}, "'images' has shape [4, 8]"),
        ({"images": np.zeros((4, 3, 8, 3), np.uint8)}, "could be channels-first or channels-last"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "'images' has shape [0, 8, 8, 3]"),
    ],
)
def test_an_npz_without_images(call, tmp_path, arrays, message):
    np.savez(tmp_path / "odd.npz", **arrays)
    assert message in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)
    (tmp_path / "odd.npz").write_bytes(b"PK no archive")
    assert "it is no .npz of plain arrays" in refused(call, tmp_path / "odd.npz", "--score", PARZEN, "--data", DIGITS)
