"""Writes the prior and the decoder of a run as one ONNX graph, which runs without genprior and without torch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from genprior.engine.graph import ModelGraph, model_graph
from genprior.errors import PlanError, RunError, in_a_sentence, system_error
from genprior.runs.export import run_of
from genprior.runs.part_errors import naming_parts
from genprior.runs.run import Run
from genprior.storage.files import path_with_ending, to_file, whole_file
from genprior.version import __version__

__all__ = ["export_onnx"]

_CHECKED = 16
"""Images on which the file is compared with the model."""
_EQUAL = 1e-4
"""How far images of the file may be from those of the model."""


def export_onnx(
    run: Run | str | Path, path: str | Path, *, start: Literal["noise", "code"] = "noise", force: bool = False
) -> dict[str, str]:
    """Write the prior and the decoder of a run as one ONNX graph: noise and condition in, images out.

    Every random number that the model draws is an input: standard normal ones as `noise` [n, a], uniform ones as
    `uniform_noise` [n, b]. A condition is `label` or `category`, int64 [n], or `text`, the embedder's vectors. The
    output is `images`, float32 [n, c, h, w] in [-1, 1], for any n. The file is compared with the
    model before it is written, in onnxruntime, to 1e-4. Its metadata describe the inputs and name the classes.

    Args:
        run: a run, from `genprior.load_run`, or its folder.
        path: the file, which ends in `.onnx`.
        start: where the graph begins: with the random numbers, or with a `code` [n, d], without the prior.
        force: whether a file that exists is overwritten.

    Returns:
        What each input is, by its name.

    Raises:
        PlanError: the model is no graph with fixed inputs, as of a decoder that draws pixel by pixel; the message names
            the part and says what can be exported. Or a package is missing.
        RunError: the file exists, its name does not end in `.onnx`, or the run has no checkpoint.
        SystemFailure: the file cannot be written.
    """
    run, path = run_of(run), Path(path)
    if path.suffix != ".onnx":
        raise RunError(
            f"an ONNX graph is a file that ends in .onnx, and {path} "
            f"{'has no name before it' if path.name == '.onnx' else 'does not'}; give {path_with_ending(path, '.onnx')}"
        )
    if os.path.lexists(path) and not force:
        raise RunError(f"{path} exists already; give another file, or --force to overwrite it")
    onnxruntime = _packages()
    model = (run if run.device.type == "cpu" else run.unread()).model
    with naming_parts(run.label):
        graph = model_graph(model, code=start == "code")
    facts = {
        "genprior": __version__,
        "row": run.label,
        "inputs": json.dumps(graph.inputs),
        "classes": json.dumps(run.classes),
    }
    try:
        with to_file("write", path), whole_file(path) as partial:
            _write(graph, partial, facts)
            _compare(graph, partial, onnxruntime)
    except OSError as error:
        raise system_error(error) from error
    return graph.inputs


def _packages() -> Any:
    """The module onnxruntime, with which a file is checked."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PlanError(
            f"ONNX graphs need the packages onnx, onnxscript and onnxruntime, and {error.name} is not installed. "
            'Install them with `pip install "genprior[onnx]"`'
        ) from None
    return onnxruntime


def _write(graph: ModelGraph, path: Path, facts: Mapping[str, str]) -> None:
    given = graph.draw(5, 0)
    number = torch.export.Dim("n")
    try:
        with _quiet():
            with torch.no_grad():
                exported = torch.export.export(
                    graph.module, given, dynamic_shapes=[{0: number} for _ in given], strict=False
                )
            program = torch.onnx.export(
                exported, given, dynamo=True, input_names=list(graph.inputs), output_names=["images"], verbose=False
            )
            if program is None:
                raise RuntimeError("torch returned no graph")
            program.model.metadata_props.update(facts)
            program.save(str(path))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise PlanError(
            f"torch cannot write this model as ONNX: {in_a_sentence(str(error)[:400])}. Share it with --to FOLDER"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch prints and logs while it exports."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for log in logs:
                log.setLevel(logging.ERROR)
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


def _compare(graph: ModelGraph, path: Path, onnxruntime: Any) -> None:
    """Check that the file makes the images of the model.

    Raises:
        PlanError: it does not.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n, seed in ((1, 1), (_CHECKED, 2)):
        given = graph.draw(n, seed)
        images: Tensor = graph.compute(*given)
        made = session.run(["images"], {k: v.numpy() for k, v in zip(graph.inputs, given, strict=True)})[0]
        distance = (
            float((images - torch.from_numpy(made)).abs().max()) if made.shape == tuple(images.shape) else float("inf")
        )
        if not distance <= _EQUAL:
            raise PlanError(
                f"the ONNX graph of this model differs from it by {distance:.1g} in onnxruntime, and {_EQUAL:g} is "
                "allowed; nothing was written. Share the run with --to FOLDER"
            )
