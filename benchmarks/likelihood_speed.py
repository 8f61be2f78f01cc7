"""Speed of training a VAE and of estimating log p(x), compared with pythae.

Networks, prior, likelihood, batch and Adam's settings are the same on both sides, and so are the weights at the start:
two hidden ReLU layers each way, Bernoulli pixels of black and white 28 x 28 images. Training is genprior's trainer step
and pythae's `train_step`; the likelihood is genprior's score `nll`, with the conversion of images, and pythae's
`get_nll`, under `no_grad`, as no gradient is wanted. Both draw the same number of codes from q(z | x) of each image.

Each candidate runs in its own process and reports that process's CPU time; the processes take turns. A ratio is taken
within each round, and the median of the ratios is quoted with its quartiles.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from speed import alternate, quartiles

__all__ = ["CANDIDATES", "COMPARISONS", "Setting", "main", "make", "our_trainer", "their_model"]

RECIPE = Path(__file__).parents[1] / "recipes" / "vampprior_mnist.toml"
ROWS = {"gaussian": "VAE", "vampprior": "VAE + VampPrior"}
BLOCK = 100


class Setting(NamedTuple):
    """The settings that all candidates share."""

    hidden: tuple[int, ...] = (300, 300)
    code: int = 40
    components: int = 500
    batch: int = 100
    importance_samples: int = 1_000


class Candidate(NamedTuple):
    """One loop; `run` is its number of training steps, or of images to estimate the likelihood of, in a round."""

    side: str
    prior: str
    does: str
    precision: str = "fp32"
    run: int = 40


CANDIDATES = {
    "vae-fp32": Candidate("ours", "gaussian", "train"),
    "vae-bf16": Candidate("ours", "gaussian", "train", "bf16"),
    "vae-pythae": Candidate("pythae", "gaussian", "train"),
    "vampprior-fp32": Candidate("ours", "vampprior", "train", run=20),
    "vampprior-bf16": Candidate("ours", "vampprior", "train", "bf16", run=20),
    "vampprior-pythae": Candidate("pythae", "vampprior", "train", run=20),
    "vae-nll": Candidate("ours", "gaussian", "nll", run=BLOCK),
    "vae-nll-pythae": Candidate("pythae", "gaussian", "nll", run=20),
    "vampprior-nll": Candidate("ours", "vampprior", "nll", run=BLOCK),
    "vampprior-nll-pythae": Candidate("pythae", "vampprior", "nll", run=4),
}

# (ours, the other, the goal for the ratio, what is compared).
COMPARISONS = (
    ("vae-fp32", "vae-pythae", 1.3, "training, Gaussian prior, at equal precision"),
    ("vae-bf16", "vae-pythae", None, "training, Gaussian prior, bf16 against fp32"),
    ("vampprior-fp32", "vampprior-pythae", 1.3, "training, VampPrior, at equal precision"),
    ("vampprior-bf16", "vampprior-pythae", None, "training, VampPrior, bf16 against fp32"),
    ("vae-nll", "vae-nll-pythae", 10, "log p(x), Gaussian prior"),
    ("vampprior-nll", "vampprior-nll-pythae", 10, "log p(x), VampPrior"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says, print tables, and write JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    setting = Setting(
        tuple(options.hidden), options.code, options.components, importance_samples=options.importance_samples
    )
    names = [name for name in CANDIDATES if name in (options.only or CANDIDATES)]
    rounds = 1 if options.quick else options.rounds
    result = {"setting": setting._asdict(), "rounds": rounds} | _measure(names, setting, rounds, options.quick)
    print(_tables(result))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    default = Setting()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=default.hidden, help="widths of the hidden layers")
    parser.add_argument("--code", type=int, default=default.code, help="width of the code")
    parser.add_argument("--components", type=int, default=default.components, help="pseudo-inputs of the VampPrior")
    parser.add_argument("--importance-samples", type=int, default=default.importance_samples, help="codes per image")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, in each of which every candidate runs once")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CANDIDATES, help="candidates; all by default")
    parser.add_argument("--quick", action="store_true", help="one round of one step or image, as a check")
    parser.add_argument("--out", help="the JSON file to write")
    return parser


# ---------------------------------------------------------------------------------------------------------------------
# The loops
# ---------------------------------------------------------------------------------------------------------------------


def our_trainer(
    setting: Setting,
    prior: str,
    precision: str,
    folder: Path,
    test_images: int = BLOCK,
    splits: dict[str, Any] | None = None,
) -> Any:
    """Genprior's trainer of a row of the VampPrior recipe with `mlp` networks, prepared."""
    import torch
    from pythae_vae import black_and_white

    import genprior
    from genprior.parts import ImageSet
    from genprior.runs.trainer import Trainer

    hidden = list(setting.hidden)
    settings = [
        f'model.encoder={{name="mlp",hidden={hidden},posterior="gaussian"}}',
        f'model.decoder={{name="mlp",hidden={hidden}}}',
        f"model.code_size={setting.code}",
        "model.warmup=0",
        *([f"model.prior.components={setting.components}"] if prior == "vampprior" else []),
        'optimiser.default={name="adam",lr=1e-3}',
        'data.binarise="static"',
        f'run.precision="{precision}"',
        f"run.batch={setting.batch}",
        f'scores=[{{name="nll",importance_samples={setting.importance_samples}}}]',
    ]
    plan = genprior.load_recipe(RECIPE, rows=[ROWS[prior]], settings=settings).plans[0]
    splits = {} if splits is None else splits
    for split, n in (("train", 8 * setting.batch), ("test", test_images)):
        splits[split] = ImageSet(black_and_white(n), torch.zeros(n, dtype=torch.int64), ())
    trainer = Trainer(plan, 0, folder, device="cpu", splits=splits)
    trainer.prepare()
    trainer.model.train()
    return trainer


def their_model(setting: Setting, prior: str, ours: Any) -> Any:
    """Pythae's model with the weights of genprior's."""
    from pythae_vae import carry_over, make_model

    theirs = make_model(prior, hidden=setting.hidden, code=setting.code, components=setting.components)
    carry_over(ours, theirs)
    return theirs


def make(name: str, setting: Setting, folder: Path) -> Callable[[int], Any]:
    """A candidate by its name, as a function of the number of steps to take, or of images to score.

    A candidate that scores returns the negative log-likelihood in nats of that many first images.
    """
    import torch
    from pythae_aae import ReadyBatches
    from pythae_vae import black_and_white, make_trainer

    candidate = CANDIDATES[name]
    if candidate.side == "ours":
        splits: dict[str, Any] = {}
        trainer = our_trainer(setting, candidate.prior, candidate.precision, folder, splits=splits)
        if candidate.does == "train":
            return functools.partial(_repeat, trainer.one_step)

        def score(images: int) -> float:
            whole = splits["test"]
            splits["test"] = whole._replace(images=whole.images[:images], labels=whole.labels[:images])
            try:
                return float(trainer.score()["nll"])
            finally:
                splits["test"] = whole

        return score
    model = their_model(setting, candidate.prior, _untrained(setting, candidate.prior, folder))
    if candidate.does == "train":
        x = black_and_white(8 * setting.batch).float() / 255
        theirs = make_trainer(model, x, folder, batch=setting.batch)
        batches = [{"data": piece} for piece in x.split(setting.batch)]

        def train(steps: int) -> None:
            theirs.train_loader = ReadyBatches(batches[step % len(batches)] for step in range(steps))
            theirs.train_step(epoch=1)

        return train
    x = black_and_white(BLOCK).float() / 255
    model.eval()

    def estimate(images: int) -> float:
        # Pythae's VAMP prints its progress.
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            return -float(model.get_nll(x[:images], n_samples=setting.importance_samples))

    return estimate


def _untrained(setting: Setting, prior: str, folder: Path) -> Any:
    from unittest import mock

    # A process that only copies the weights must not change its memory settings.
    with mock.patch("genprior.runs.row_training.keep_freed_memory"):
        return our_trainer(setting, prior, "fp32", folder).model


def _repeat(step: Callable[[], object], steps: int) -> None:
    for _ in range(steps):
        step()


# ---------------------------------------------------------------------------------------------------------------------
# Processes and tables
# ---------------------------------------------------------------------------------------------------------------------


class _Worker:
    """The process of one candidate: it runs on request and reports its CPU time."""

    def __init__(self, name: str, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, setting, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, amount: int) -> float:
        """Take `amount` steps, or score `amount` images; returns the seconds of CPU time that the process reports."""
        try:
            self._pipe.send(amount)
            seconds: float = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            status = self._process.exitcode
            raise SystemExit(f"the process of '{self._name}' ended with status {status}; see above") from None
        return seconds

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(name: str, setting: Setting, pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        loop = make(name, setting, Path(folder))
        while True:
            try:
                amount: int = pipe.recv()
            except EOFError:
                return
            began = time.process_time()
            loop(amount)
            pipe.send(time.process_time() - began)


def _measure(names: Sequence[str], setting: Setting, rounds: int, quick: bool) -> dict[str, Any]:
    """Seconds of a step, or of an image, of each candidate in each round."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    amounts = {name: 1 if quick else CANDIDATES[name].run for name in names}
    workers = {name: _Worker(name, setting) for name in names}
    try:
        for name, worker in workers.items():
            worker.run(1 if quick or CANDIDATES[name].does == "nll" else 5)
        loops = {name: functools.partial(_of_one, worker, amounts[name]) for name, worker in workers.items()}
        seconds = alternate(loops, rounds, 1)
    finally:
        for worker in workers.values():
            worker.close()
    ratios = []
    for ours, other, goal, what in COMPARISONS:
        if ours in seconds and other in seconds:
            each = [theirs / mine for mine, theirs in zip(seconds[ours], seconds[other], strict=True)]
            low, middle, high = quartiles(each)
            ratios.append(
                {"what": what, "ours": ours, "other": other, "median": middle, "quartiles": [low, high], "goal": goal}
            )
    return {"seconds": seconds, "ratios": ratios}


def _of_one(worker: _Worker, amount: int, times: int) -> float:
    return sum(worker.run(amount) for _ in range(times)) / amount


def _tables(result: dict[str, Any]) -> str:
    import torch

    setting = Setting(**result["setting"])
    widths = "-".join(map(str, setting.hidden))
    lines = [
        f"mlp {widths}, code {setting.code}, 1 x 28 x 28, batch {setting.batch}, K = {setting.components}, "
        f"{setting.importance_samples} importance samples, one thread, process CPU time, {result['rounds']} rounds; "
        f"torch {torch.__version__}",
        "",
        "| candidate | median |",
        "|---|---|",
    ]
    for name, each in result["seconds"].items():
        middle = statistics.median(each)
        trained = CANDIDATES[name].does == "train"
        lines.append(f"| {name} | {f'{1 / middle:.1f} steps/s' if trained else f'{1e3 * middle:.2f} ms an image'} |")
    lines += ["", "| compared | times as fast: median [quartiles] | goal |", "|---|---|---|"]
    for ratio in result["ratios"]:
        low, high = ratio["quartiles"]
        goal = f">= {ratio['goal']}" if ratio["goal"] else "-"
        lines.append(f"| {ratio['what']} | {ratio['median']:.2f} [{low:.2f}, {high:.2f}] | {goal} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
