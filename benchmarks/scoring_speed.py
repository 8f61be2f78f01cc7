"""Speed of the Inception score and FID, compared with torch-fidelity.

Both score the same generated and real images with the same weights, from memory, without PNG files: genprior by its
scores `inception_score` and `fid`, torch-fidelity by `calculate_metrics`, which its command `fidelity` calls. The
weights are random (speed does not depend on them), but such that activations keep their scale and images differ: if the
two disagree, the benchmark says so and fails.

Each candidate runs in its own process with one thread and reports that process's CPU time, or with `--device cuda` the
time that passes; the processes take turns. In
a round each scores twice: with an empty cache, and with the cached features of the real images. A ratio is taken within
each round, and the median of the ratios is quoted with its quartiles.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from speed import quartiles

__all__ = [
    "CANDIDATES",
    "PARTS",
    "Scores",
    "largest_difference",
    "main",
    "make_weights",
    "measure",
    "pictures",
    "ratios",
    "tables",
]

SIDE = 32
GOAL = 1.4
TOLERANCE = 1e-3
WHAT = {"empty": "IS and FID, nothing kept", "kept": "IS and FID, features of real images kept"}


class Scores(NamedTuple):
    """The scores that a candidate computed."""

    inception_score: float
    fid: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print tables, and write JSON; returns 1 if the candidates' scores differ by more than 1e-3."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000, help="generated images, and as many real ones")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, in each of which every candidate runs twice")
    parser.add_argument("--no-parts", action="store_true", help="leave the times of resize, network and FID out")
    parser.add_argument("--out", help="the JSON file to write")
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="where the networks run; parts on CPUs"
    )
    options = parser.parse_args(arguments)
    if options.images < 20:
        parser.error(f"--images is {options.images}, and ten splits of the Inception score need at least 20 images")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; at least one round is needed")
    result = measure(options.images, options.rounds, parts=not options.no_parts, device=options.device)
    print(tables(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["largest_difference"] <= TOLERANCE else 1


# ---------------------------------------------------------------------------------------------------------------------
# What is scored
# ---------------------------------------------------------------------------------------------------------------------


def pictures(n: int, seed: int, contrast: float = 1.0) -> Any:
    """Smooth random images with noise on top, uint8 [n, 3, 32, 32]: unlike mere noise, they differ in their features.

    Args:
        n: how many.
        seed: of their random numbers.
        contrast: of the smooth part; another one gives another distribution.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    smooth = torch.randn(n, 3, 4, 4, generator=draw)
    smooth = torch.nn.functional.interpolate(smooth, size=(SIDE, SIDE), mode="bilinear")
    noise = torch.randn(smooth.shape, generator=draw)
    return (128 + 60 * contrast * smooth + 20 * noise).clamp(0, 255).to(torch.uint8)


def make_weights(path: Path) -> None:
    """Write random weights of the Inception network to a file, as torch-fidelity reads them.

    He's initialisation, batch norm's statistics from 16 images, and logits with a standard deviation of 2.
    """
    import torch
    import torch_fidelity.feature_extractor_inceptionv3 as upstream

    with (
        torch.random.fork_rng(),
        mock.patch.object(upstream, "load_state_dict_from_url", return_value={}),
        mock.patch.object(upstream.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        torch.manual_seed(0)
        network = upstream.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], verbose=False
        )
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean over the batches seen, which is one
                module.train()
        with torch.no_grad():
            logits = network(pictures(16, seed=3))[1]
            network.fc.weight *= 2 / logits.std(0).mean()
    torch.save(network.state_dict(), path)


# ---------------------------------------------------------------------------------------------------------------------
# The candidates, each in a process of its own
# ---------------------------------------------------------------------------------------------------------------------


def ours(generated: Any, real: Any, weights: Path, cache: Path, device: str = "cpu") -> Scores:
    """Genprior's scores of images uint8 [n, 3, h, w]; features of the real ones are cached in `cache`."""
    import torch

    from genprior.parts import ImageSet
    from genprior.scoring.context import SampleContext
    from genprior.scoring.measure import measure_all
    from genprior_std.scores.fid import FID
    from genprior_std.scores.inception_score import InceptionScore

    n = len(generated)
    context = SampleContext(
        lambda n: generated[:n],
        lambda split: ImageSet(real, torch.zeros(len(real), dtype=torch.int64), ()),
        device=device,
        seed=0,
        cache=cache,
    )
    # Against the split that the Inception score looks at as well, so that both candidates process each image once.
    scores = [
        InceptionScore(InceptionScore.Config(samples=n, weights=weights)),
        FID(FID.Config(samples=n, weights=weights, reference="test")),
    ]
    found = measure_all(scores, context, "benchmark")
    return Scores(found["inception_score"], found["fid"])


def theirs(generated: Any, real: Any, weights: Path, cache: Path, device: str = "cpu") -> Scores:
    """torch-fidelity's scores of images uint8 [n, 3, h, w]; features of the real ones are cached in `cache`."""
    import torch_fidelity

    found = torch_fidelity.calculate_metrics(
        input1=_as_dataset(generated),
        input2=_as_dataset(real),
        input2_cache_name="real",
        cache_root=str(cache),
        feature_extractor_weights_path=str(weights),
        cuda=device == "cuda",
        isc=True,
        fid=True,
        save_cpu_ram=True,  # images come from this process, so that its CPU time is all there is
        verbose=False,
    )
    return Scores(found["inception_score_mean"], found["frechet_inception_distance"])


def _as_dataset(images: Any) -> Any:
    from torch.utils.data import Dataset

    class Images(Dataset[Any]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, i: int) -> Any:
            return images[i]

    return Images()


CANDIDATES: dict[str, Callable[[Any, Any, Path, Path, str], Scores]] = {"genprior": ours, "torch-fidelity": theirs}


def _scored(name: str, images: int, weights: Path, cache: Path, device: str) -> tuple[float, Scores]:
    """Seconds that it took, of CPU time on a CPU, and the scores."""
    generated, real = pictures(images, seed=1), pictures(images, seed=2, contrast=1.1)
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    scores = CANDIDATES[name](generated, real, weights, cache, device)
    return clock() - began, scores


# ---------------------------------------------------------------------------------------------------------------------
# The parts
# ---------------------------------------------------------------------------------------------------------------------

PARTS = {"resize": "resizing, an image", "network": "network with resizing, an image", "fid": "FID of the features"}


def _part(name: str, part: str, images: int, weights: Path) -> float:
    """Seconds of CPU time that a part of a candidate takes."""
    import torch
    import torch_fidelity.feature_extractor_inceptionv3 as upstream
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    from genprior_std.scores.fid import frechet_distance
    from genprior_std.scores.inception import InceptionExtractor
    from genprior_std.scores.inception_network import resize_like_tensorflow

    batch = pictures(64, seed=1)

    def features(seed: int) -> Any:
        return torch.randn(images, 2048, generator=torch.Generator().manual_seed(seed))

    if part == "fid":
        a, b = features(1), features(2)
        if name == "genprior":
            return _seconds(lambda: frechet_distance(a, b))
        return _seconds(
            lambda: fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)
        )
    run: Callable[[Any], Any]
    if part == "resize":
        if name == "genprior":
            run = lambda x: resize_like_tensorflow(x.float(), 299)  # noqa: E731
        else:
            run = lambda x: upstream.interpolate_bilinear_2d_like_tensorflow1x(  # noqa: E731
                x.float(), size=(299, 299), align_corners=False
            )
        size = 16
    elif name == "genprior":
        run = InceptionExtractor(weights, torch.device("cpu"))
        size = run.batch
    else:
        run = upstream.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
        )
        size = len(batch)  # torch-fidelity's own
    with torch.no_grad():
        run(batch[:2])
        return _seconds(lambda: [run(x) for x in batch.split(size)]) / len(batch)


def _seconds(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


# ---------------------------------------------------------------------------------------------------------------------
# Processes and tables
# ---------------------------------------------------------------------------------------------------------------------


def largest_difference(one: Scores, other: Scores) -> float:
    """The largest difference between two candidates' scores; a share of the other's where that is above 1."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(one, other, strict=True))


def measure(images: int, rounds: int, *, parts: bool, device: str = "cpu") -> dict[str, Any]:
    """Seconds of each candidate in each round, with an empty cache and with a full one, and the scores."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    spawn = multiprocessing.get_context("spawn")
    processes = {name: ProcessPoolExecutor(1, spawn, initializer=_prepare) for name in CANDIDATES}
    seconds: dict[str, dict[str, list[float]]] = {name: {cache: [] for cache in WHAT} for name in CANDIDATES}
    of_parts: dict[str, dict[str, float]] = {}
    found: dict[str, Scores] = {}
    difference = 0.0
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        try:
            processes["genprior"].submit(make_weights, weights).result()
            for i in range(rounds):
                names = list(CANDIDATES) if i % 2 == 0 else list(CANDIDATES)[::-1]
                for cache in WHAT:
                    for name in names:
                        kept = Path(folder) / f"{name}-{i}"
                        task = processes[name].submit(_scored, name, images, weights, kept, device)
                        taken, found[name] = task.result()
                        seconds[name][cache].append(taken)
                    difference = max(difference, largest_difference(*found.values()))
            for part in PARTS if parts else ():
                of_parts[part] = {
                    name: processes[name].submit(_part, name, part, images, weights).result() for name in CANDIDATES
                }
        finally:
            for process in processes.values():
                process.shutdown(cancel_futures=True)
    return {
        "images": images,
        "rounds": rounds,
        "device": device,
        "seconds": seconds,
        "ratios": {cache: ratios(seconds, cache) for cache in WHAT},
        "parts": of_parts,
        "scores": {name: scores._asdict() for name, scores in found.items()},
        "largest_difference": difference,
    }


def ratios(seconds: dict[str, dict[str, list[float]]], cache: str) -> list[float]:
    """How many times as fast genprior is, in each round."""
    both = zip(seconds["genprior"][cache], seconds["torch-fidelity"][cache], strict=True)
    return [other / own for own, other in both]


def _prepare() -> None:
    """One thread, and everything imported before a clock runs."""
    import torch
    import torch_fidelity  # noqa: F401

    import genprior_std.scores.fid
    import genprior_std.scores.inception_score  # noqa: F401

    torch.set_num_threads(1)


def tables(result: dict[str, Any]) -> str:
    """The measurements in Markdown."""
    import torch

    on_gpu = result["device"] == "cuda"
    where = f"on one {torch.cuda.get_device_name()}" if on_gpu else "one thread, process CPU time"
    lines = [
        f"{result['images']} generated and as many real images of {SIDE} x {SIDE}, random weights, {where}, "
        f"{result['rounds']} rounds; torch {torch.__version__}",
        "",
        "| | genprior | torch-fidelity | times as fast: median [quartiles] | goal |",
        "|---|---|---|---|---|",
    ]
    for cache, what in WHAT.items():
        own, other = (statistics.median(result["seconds"][name][cache]) for name in CANDIDATES)
        low, middle, high = quartiles(result["ratios"][cache])
        lines.append(f"| {what} | {own:.1f} s | {other:.1f} s | {middle:.2f} [{low:.2f}, {high:.2f}] | >= {GOAL} |")
    for part, taken in result["parts"].items():
        own, other = (taken[name] for name in CANDIDATES)
        lines.append(f"| {PARTS[part]} | {1e3 * own:.1f} ms | {1e3 * other:.1f} ms | {other / own:.2f} | - |")
    lines += ["", "| | inception score | FID |", "|---|---|---|"]
    lines += [f"| {name} | {s['inception_score']:.6f} | {s['fid']:.6f} |" for name, s in result["scores"].items()]
    difference = result["largest_difference"]
    verdict = "within" if difference <= TOLERANCE else "MORE THAN"
    lines.append(
        f"\nLargest difference of a score (a share, where it is above 1): {difference:.1e}, {verdict} {TOLERANCE:g}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
