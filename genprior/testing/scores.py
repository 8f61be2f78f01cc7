"""The contract of a score."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.parts import Column, PartConfig, SampleScore, Score, ScoreContext
from genprior.randomness import derive, seeded
from genprior.runs.trial import trial
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of
from genprior.testing.stand_in import stand_ins

__all__ = ["check_score"]

SAMPLES = 24


class _Capture(Score):
    """Keeps the context in which it is measured."""

    name = "test_capture"
    higher_is_better = True
    context: Any = None

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """Keep the context."""
        _Capture.context = context
        return {self.name: 0.0}


def check_score(
    part: PartConfig | type[Score], *, model: PartConfig | None = None, data: PartConfig | None = None
) -> None:
    """Check that a score keeps its contract; see `genprior.Score` and `genprior.ScoreContext`.

    It is measured in a real run of a few steps, as at the end of training. `measure` returns finite numbers by name,
    among them one of a column, the same ones whenever it is measured, whatever torch drew before; it leaves the model
    and the images as they are. Instead, `check`, `check_row` or `measure` may refuse with a
    `genprior.GenpriorError` such as a `ScoreError`, and every other exception is a failure. `higher_is_better` is
    stated; `columns`, `needs`, `samples`, `caveat`, `protocol`, `with_samples` and `on_undivided` return what their
    annotations say; a `SampleScore` has a setting `samples`.

    Whether the number is right, it cannot say: compare it with known values. Where the score refuses the model or the
    data, nothing more is checked: pass those that it takes.

    Args:
        part: the settings or the class. Few samples, such as 24, keep the check quick.
        model: the settings of the model that is scored; by default a small conditional autoencoder.
        data: the settings of the data set; by default small images of three shapes.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Score)
    contract = Contract(config.part, f"{config!r}, and measured after six steps")
    check_config(contract, config)
    if not _check_direction(contract, config):
        return contract.finish()
    score = contract.call(f"{config.part.__qualname__}(config)", config.make, "it can be made")
    if score is None or not _check_statements(contract, score):
        return contract.finish()
    with tempfile.TemporaryDirectory() as root:
        with seeded("testing", "score"):
            run = trial(Path(root, "run"), *stand_ins(model, data), scores=(_Capture.Config(),))
            run.run()
        context, _Capture.context = _Capture.context, None
        if _takes(contract, score, run):
            first = _measured(contract, score, context, "first")
            if first is not None and _check_values(contract, score, first):
                _check_again(contract, config, context, first)
    contract.finish()


def _check_direction(contract: Contract, config: PartConfig) -> bool:
    """The class states whether higher is better, and a `SampleScore` has its setting."""
    cls = config.part
    stated = [vars(base)["higher_is_better"] for base in cls.__mro__ if "higher_is_better" in vars(base)]
    direction = contract.require(
        bool(stated) and isinstance(stated[0], bool | property | None),
        "higher_is_better",
        describe(stated[0]) if stated else "nothing",
        "True or False, which decides which number of a table is the best, or None",
        "write higher_is_better = False in the class, for an error or a distance",
    )
    setting = contract.require(
        not issubclass(cls, SampleScore) or "samples" in type(config).model_fields,
        "Config",
        f"the settings {', '.join(type(config).model_fields)}",
        "a SampleScore has a setting `samples`, the number of generated images",
        "add samples: int = Field(1000, gt=0), or derive from genprior.Score",
    )
    return direction and setting


def _check_statements(contract: Contract, score: Any) -> bool:
    failures = len(contract.failures)

    def check(name: str, right: Any, says: str, do: str) -> None:
        value = contract.call(name, lambda: getattr(score, name), says, optional=True)
        if len(contract.failures) == failures:
            contract.require(right(value), name, f"{value!r}"[:200], says, do)

    check(
        "columns",
        lambda value: isinstance(value, Sequence) and all(isinstance(each, Column) for each in value),
        "a sequence of genprior.Column, one for each number that tables show",
        "return (Column(key, title, higher_is_better),)",
    )
    check(
        "needs",
        lambda value: isinstance(value, Mapping) and all(isinstance(t, str) for pair in value.items() for t in pair),
        "a mapping from the name of a split to advice",
        'return {"validation": "set data.validation"} for example',
    )
    check("samples", lambda value: value is None or int(value) > 0, "a number of images, or None", "leave it out")
    check("caveat", lambda value: isinstance(value, str), "a text", 'return "" where there is no caveat')
    check(
        "at_most",
        lambda value: isinstance(value, tuple) and set(value) <= type(score.config).model_fields.keys(),
        "a tuple of the names of settings",
        'write at_most = ("images",) for a setting `images`',
    )
    own = type(score.config)
    for name, changed in (
        ("with_samples(24)", lambda: score.with_samples(SAMPLES)),
        ("on_undivided()", score.on_undivided),
    ):
        value = contract.call(name, changed, "settings of this score")
        contract.require(
            isinstance(value, own | None), name, describe(value), "settings of this score", "return a Config of it"
        )
    settings = score.config.model_dump(mode="json")
    words = contract.call("protocol(settings, '')", lambda: score.protocol(settings, ""), "words for below a table")
    contract.require(
        words is None or (isinstance(words, list) and all(isinstance(word, str) for word in words)),
        "protocol(settings, '')",
        describe(words),
        "a list of texts",
        'return ["50,000 samples"] for example',
    )
    for column in score.columns if len(contract.failures) == failures else ():
        called = f'facts("{column.key}", {{}})'
        facts = contract.call(called, functools.partial(score.facts, column.key, {}), "facts by name")
        contract.require(
            facts is None or isinstance(facts, Mapping) and all(isinstance(name, str) for name in facts),
            called,
            describe(facts),
            "a mapping of facts by name",
            "return {**super().facts(key, data), ...}",
        )
    return len(contract.failures) == failures


def _takes(contract: Contract, score: Any, run: Any) -> bool:
    """Whether the score takes its settings, the model and the data; what it raises otherwise is genprior's error."""
    for called, function in (
        ("check()", score.check),
        ("check_row(model, load)", lambda: score.check_row(run.model, run.images)),
    ):
        try:
            function()
        except GenpriorError:
            return False
        except Exception as error:
            contract.raised(called, error, "a score refuses with a genprior.ScoreError")
            return False
    return True


def _measured(contract: Contract, score: Any, context: Any, turn: str) -> Any:
    """The result of `measure`; None where it refuses or fails."""
    generated = context.generated(score.samples or SAMPLES).clone() if score.needs_generated else torch.zeros(0)
    with context.trained() as model:
        weights = {key: value.clone() for key, value in model.state_dict().items()}
    with seeded("testing", "measure", derive(turn)):
        try:
            values = score.measure(context)
        except GenpriorError:
            return None
        except Exception as error:
            contract.raised("measure(context)", error, "it measures, or refuses with a genprior.ScoreError")
            return None
    if not contract.require(
        isinstance(values, dict) and bool(values) and all(isinstance(key, str) for key in values),
        "measure(context)",
        describe(values),
        "a dictionary of numbers by name",
        "return {self.name: number}",
    ):
        return None
    with context.trained() as model:
        after = model.state_dict()
    contract.require(
        all(torch.equal(value, after[key]) for key, value in weights.items())
        and torch.equal(generated, context.generated(len(generated)) if len(generated) else generated),
        "measure(context)",
        "the model or the generated images have changed",
        "a score changes nothing: other scores are measured on the same images",
        "work on a copy: images.clone(), or a result such as images.float()",
    )
    return values


def _check_values(contract: Contract, score: Any, values: dict[str, Any]) -> bool:
    """Finite numbers by name, one of them a column's."""
    called = "measure(context)"
    for key, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        contract.require(
            number and math.isfinite(value),
            f"{called}['{key}']",
            describe(value),
            "a finite Python number",
            "convert it with float(...)" if not number else "raise genprior.ScoreError where it cannot be measured",
        )
    keys = [column.key for column in score.columns]
    return contract.require(
        not keys or any(key in values for key in keys),
        called,
        f"the names {', '.join(values)}",
        f"a number for a column of the table: {', '.join(keys)}",
        "return {self.name: number}, or name the numbers in `columns`",
    ) and all(not isinstance(value, Tensor) for value in values.values())


def _check_again(contract: Contract, config: PartConfig, context: Any, first: dict[str, float]) -> None:
    """The same numbers, from another object and after other draws."""
    again = _measured(contract, config.make(), context, "again")
    contract.require(
        again is None or again == first,
        "measure(context), twice",
        f"{first} and {again}"[:300],
        "the same model, images and seed give the same numbers",
        "draw inside `with genprior.seeded(context.seed, self.name):`, and hold no state",
    )
