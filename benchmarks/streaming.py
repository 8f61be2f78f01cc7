"""Images/s of sets that are streamed from files, beside the same images in memory: `benchmarks/streaming.py --help`.

Pictures are made under a fixed seed: smooth random fields with noise, saved as JPEG of quality 90, which take as long
to decode as photographs of their size. A folder of them and shards of the WebDataset format are read by the data sets
`folder` and `webdataset`. Stated are the images/s of batches alone, and of training steps of row AAE of
`table3_ablation --with quick` on these images, each with the processor time an image of the whole process, threads
included. The first steps are not timed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import genprior
from genprior.data.batches import DeviceData
from genprior.runs.row_training import RowTraining

__all__ = ["main", "make_pictures"]

BATCH = 64
WARM = 4
"""Steps that are not timed: the first batch is not read ahead."""


def make_pictures(folder: Path, n: int, width: int, height: int, a_shard: int = 500) -> None:
    """Write n JPEG files to `pictures` in a folder, and the same files to `shards`, in tars of `a_shard` samples."""
    random = np.random.RandomState(0)
    (folder / "pictures").mkdir()
    (folder / "shards").mkdir()
    for first in range(0, n, a_shard):
        with tarfile.open(folder / "shards" / f"{first // a_shard:03}.tar", "w") as shard:
            for place in range(first, min(first + a_shard, n)):
                coarse = Image.fromarray(random.randint(0, 256, (9, 12, 3), dtype=np.uint8))
                smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
                noisy = (smooth + random.randint(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(noisy).save(file, "JPEG", quality=90)
                (folder / "pictures" / f"{place:06}.jpg").write_bytes(file.getvalue())
                member = tarfile.TarInfo(f"{place:06}.jpg")
                member.size = file.tell()
                file.seek(0)
                shard.addfile(member, file)


def sources(folder: Path, size: int) -> dict[str, dict[str, Any]]:
    """The table `data` of a recipe, for each way of reading."""
    common = {"size": size, "test_fraction": 0.02}
    pictures = {"name": "folder", "path": str(folder / "pictures"), **common}
    shards = {"name": "webdataset", "path": str(folder / "shards"), **common}
    return {
        "in memory": pictures,
        **{f"folder, {workers} workers": {**pictures, "stream": True, "workers": workers} for workers in (0, 1, 2)},
        **{f"shards, {workers} workers": {**shards, "workers": workers} for workers in (0, 2)},
    }


def timed(step: Callable[[int], object], steps: int) -> tuple[float, float]:
    """Images/s of wall time, and milliseconds of processor time an image."""
    for number in range(WARM):
        step(number)
    wall, processor = time.perf_counter(), time.process_time()
    for number in range(WARM, WARM + steps):
        step(number)
    images = steps * BATCH
    return images / (time.perf_counter() - wall), 1000 * (time.process_time() - processor) / images


def measure(data: dict[str, Any], steps: int, device: str) -> dict[str, Any]:
    """One way of reading: seconds until the set is ready, and speeds."""
    settings = [f"data={_inline(data)}", "run.steps=100000", f"run.batch={BATCH}", 'run.precision="fp32"', "scores=[]"]
    recipe = genprior.load_recipe("table3_ablation", changes=["quick"], rows=["AAE"], settings=settings)
    begun = time.perf_counter()
    train = recipe.row("AAE").data.make().load("train")
    ready = time.perf_counter() - begun
    batches = DeviceData(train, device, batch=BATCH, seed=0, channels_last=True)
    alone, alone_processor = timed(batches.batch, steps)
    with tempfile.TemporaryDirectory() as run:
        row = RowTraining(recipe.row("AAE"), 0, Path(run), device=device, splits={"train": train})
        row.prepare()
        trained, trained_processor = timed(lambda _: row.one_step(), steps)
    return {
        "ready": ready,
        "batches": alone,
        "batches_processor_ms": alone_processor,
        "training": trained,
        "training_processor_ms": trained_processor,
    }


def _inline(table: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + "}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make pictures, measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="pictures that are made")
    parser.add_argument("--width", type=int, default=500, help="of a picture in pixels")
    parser.add_argument("--height", type=int, default=375, help="of a picture in pixels")
    parser.add_argument("--size", type=int, default=64, help="height and width that they are scaled to")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    if options.images < 2 * BATCH:
        parser.error(f"--images {options.images} is less than two batches; at least {2 * BATCH} are needed")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENPRIOR_DATA"] = str(Path(folder, "cache"))
        make_pictures(Path(folder), options.images, options.width, options.height)
        print(
            f"{options.images:,} JPEG of {options.width} x {options.height} at {options.size} x {options.size}, batch "
            f"{BATCH}; torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} processors, "
            f"{platform.machine()}, load {os.getloadavg()[0]:.1f}\n"
        )
        print("| read from | ready (s) | batches: images/s | CPU ms an image | training: images/s | CPU ms an image |")
        print("|---|---|---|---|---|---|")
        for name, data in sources(Path(folder), options.size).items():
            found = measure(data, options.steps, options.device)
            print(
                f"| {name} | {found['ready']:.1f} | {found['batches']:,.0f} | {found['batches_processor_ms']:.2f} "
                f"| {found['training']:,.0f} | {found['training_processor_ms']:.2f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
