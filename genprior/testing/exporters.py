"""The contract of an exporter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.parts import Condition, Exporter, Model, PartConfig, TextExporter
from genprior.randomness import derive, seeded
from genprior.runs.trial import trial
from genprior.testing.capabilities import check_capabilities
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of
from genprior.testing.stand_in import stand_ins

__all__ = ["check_exporter"]

N = 7


def check_exporter(
    part: PartConfig | type[Exporter], *, model: PartConfig | None = None, data: PartConfig | None = None
) -> None:
    """Check that an exporter keeps its contract; see `genprior.Exporter`.

    `write` writes one file, at the path that it is given, whole or not at all: nothing is left beside it, an older file
    is replaced, and where the model fails there is no file, or the older one. The same seed gives the same images,
    whatever torch drew before, and another seed gives others. A label is either written or refused with a
    `genprior.GenpriorError`, as are sentences of a `TextExporter`. The model and torch's random state are left as they
    are. `suffixes` is a tuple of endings such as ".png"; `for_classes` returns settings of this exporter.

    Where it refuses the model for all images, nothing more is checked: pass a model that it takes.

    Args:
        part: the settings or the class.
        model: the settings of the model whose images are written; by default a small autoencoder that takes labels.
        data: the settings of the data set; by default small images of three shapes.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Exporter)
    contract = Contract(config.part, f"{config!r}, and writes {N} images")
    check_config(contract, config)
    check_capabilities(contract, config.part)
    _check_statements(contract, config.part)
    with tempfile.TemporaryDirectory() as root:
        trainer = trial(Path(root, "run"), *stand_ins(model, data))
        with seeded("testing", "model"):
            trainer.prepare()
        folder = Path(root, "images")
        folder.mkdir()
        writer = _Writer(contract, config, trainer.model.eval(), folder)
        first = writer.write("first", seed=0)
        if first is not None and not contract.failures:
            _check_seeds(writer, first)
            _check_refusals(writer, trainer.model)
    contract.finish()


def _check_statements(contract: Contract, cls: Any) -> None:
    """`suffixes`, `by_label`, `writes` and `for_classes`."""
    suffixes = cls.suffixes
    contract.require(
        isinstance(suffixes, tuple)
        and all(isinstance(each, str) and each[:1] == "." and each == each.lower() for each in suffixes),
        "suffixes",
        repr(suffixes),
        'a tuple of endings in lower case, with their dots, such as (".png",)',
        'write suffixes = (".png",), with the comma of a tuple of one',
    )
    contract.require(
        isinstance(cls.by_label, bool) and isinstance(cls.writes, str) and bool(cls.writes),
        "by_label and writes",
        f"{cls.by_label!r} and {cls.writes!r}",
        "True or False, and a description of the files in words",
        'write by_label = True for a picture by label alone, and writes = "an array" for example',
    )
    for classes in (0, 3):
        settings = contract.call(f"for_classes({classes})", lambda n=classes: cls.for_classes(n))  # type: ignore[misc]
        contract.require(
            settings is None or isinstance(settings, cls.Config),
            f"for_classes({classes})",
            describe(settings),
            "settings of this exporter",
            "return cls.Config(...)",
        )


class _Writer:
    """Writes files of one exporter and model into a folder."""

    def __init__(self, contract: Contract, config: PartConfig, model: Model, folder: Path) -> None:
        self.contract, self.config, self.model, self.folder = contract, config, model, folder
        self.made: list[Tensor] = []
        """What the model generated for the last file."""
        generate = model.generate

        def record(condition: Condition) -> Tensor:
            self.made.append(generate(condition))
            return self.made[-1]

        model.generate = record  # type: ignore[method-assign]

    def write(self, name: str, *, seed: int, label: int | None = None, what: str = "", **text: Any) -> bytes | None:
        """The bytes that the exporter writes; None where it refuses, or fails."""
        path = self.folder / f"{name}{(self.config.part.suffixes or ('.file',))[0]}"  # type: ignore[attr-defined]
        before, older = set(self.folder.iterdir()), path.read_bytes() if path.exists() else None
        called = f"write(model, path, n={N}, seed={seed}, label={label}{', text=[...]' if text else ''}){what}"
        exporter = self.contract.call(f"{self.config.part.__qualname__}(config)", self.config.make, "it can be made")
        if exporter is None:
            return None
        weights = {key: value.clone() for key, value in self.model.state_dict().items()}
        refused, self.made = False, []
        with seeded("testing", "write", derive(name)):
            state = torch.get_rng_state()
            try:
                exporter.write(self.model, path, n=N, seed=seed, label=label, **text)
            except GenpriorError:
                refused = True
            except _Failed:
                self._check_nothing_written(called, path, before, older)
                return None
            except Exception as error:
                self.contract.raised(called, error, "it writes a file, or refuses with a genprior.GenpriorError")
                return None
            same = torch.equal(state, torch.get_rng_state())
        if refused:
            self._check_nothing_written(called, path, before, older)
            return None
        self.contract.require(
            same,
            called,
            "torch's random state has changed",
            "an exporter draws by its seed alone, and leaves the random state as it is",
            "draw with genprior.generate(model, n, seed=seed), or inside `with genprior.seeded(seed, ...)`",
        )
        after = self.model.state_dict()
        self.contract.require(
            not self.model.training and all(torch.equal(value, after[key]) for key, value in weights.items()),
            called,
            "the model has changed",
            "an exporter changes nothing of the model: neither weights nor mode",
            "look at it inside `with genprior.evaluating(model):`",
        )
        beside = sorted(each.name for each in set(self.folder.iterdir()) - before - {path})
        self.contract.require(
            not beside,
            called,
            f"{', '.join(beside)} beside the file",
            "one file at the path that is given, and no other",
            "write inside `with genprior.whole_file(path) as partial:`; some libraries append an ending to a path, but "
            "not to an open file",
        )
        if not self.contract.require(
            path.is_file() and path.stat().st_size > 0,
            called,
            "no file, or an empty one",
            "the images are in the file at the path",
            "write to the path itself, with its ending",
        ):
            return None
        return path.read_bytes()

    def _check_nothing_written(self, called: str, path: Path, before: set[Path], older: bytes | None) -> None:
        """A refusal or a failure of the model leaves the folder as it was."""
        now = path.read_bytes() if path.exists() else None
        left = sorted(each.name for each in set(self.folder.iterdir()) - before)
        self.contract.require(
            not left and now == older,
            f"{called}, which fails",
            f"{', '.join(left)} is left" if left else "the older file has changed",
            "a file is written whole or not at all",
            "make the images first, then write inside `with genprior.whole_file(path) as partial:`",
        )


def _check_seeds(writer: _Writer, first: bytes) -> None:
    """Images are a function of the seed, and replace an older file."""
    called, images = f"write(model, path, n={N}, seed=0, label=None)", writer.made
    again = writer.write("second", seed=0)
    writer.contract.require(
        again is None or _same(writer.made, images),
        f"{called}, twice",
        "the model generated other images the second time",
        "the same seed writes the same images",
        "draw with genprior.generate(model, n, seed=seed)",
    )
    other = writer.write("second", seed=1)
    writer.contract.require(
        other is None or (other != first and not (images and _same(writer.made, images))),
        f"{called}, and with seed=1, over the older file",
        "the same images",
        "another seed writes other images, and an older file is replaced",
        "use the seed that is given: genprior.generate(model, n, seed=seed)",
    )


def _same(images: list[Tensor], others: list[Tensor]) -> bool:
    return len(images) == len(others) and all(torch.equal(a, b) for a, b in zip(images, others, strict=True))


class _Failed(Exception):  # noqa: N818
    """What a model raises that fails while it makes images."""


def _check_refusals(writer: _Writer, model: Model) -> None:
    """A label is written or refused, and so are sentences; a model that fails leaves no file."""
    writer.write("label", seed=0, label=1)
    if issubclass(writer.config.part, TextExporter):
        writer.write("text", seed=0, text=["a red bird", "a blue boat"])

    def fail(condition: Condition) -> Tensor:
        raise _Failed

    generate, model.generate = model.generate, fail  # type: ignore[method-assign]
    for name in ("failed", "first"):
        writer.write(name, seed=2, what=" of a model that raises an exception")
    model.generate = generate  # type: ignore[method-assign]
