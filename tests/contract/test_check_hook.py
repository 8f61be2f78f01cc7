"""`check_hook` accepts a right hook, and says of each wrong one what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genprior import Hook, HookConfig, PartConfig
from genprior.testing import ContractError, check_hook


class Diary(Hook):
    """Writes a line for each record."""

    name = "test_diary"

    class Config(HookConfig):
        """Settings of the diary."""

        file: str = "diary.txt"
        """Its name."""

    def step_done(self, run: Any, step: int, metrics: Any) -> None:
        if metrics is not None:
            folder = run.folder / self.name
            folder.mkdir(exist_ok=True)
            with (folder / self.config.file).open("a") as file:
                file.write(f"{run.plan.label}, step {step}: {metrics}\n")


class Draws(Hook):
    """Draws, and looks at images, which changes nothing of the run."""

    name = "test_draws"

    def started(self, run: Any) -> None:
        torch.rand(3)

    def finished(self, run: Any, scores: Any) -> None:
        run.sample(5), run.images("test")
        with run.trained() as model:
            model.generate(model.condition(torch.zeros(2)))


def without_none(self: Any, run: Any, step: int, metrics: Any) -> None:
    sum(metrics.values())


def trains(self: Any, run: Any, step: int, metrics: Any) -> None:
    with torch.no_grad():
        next(run.model.parameters()).mul_(0.9)


def evaluates(self: Any, run: Any, scores: Any) -> None:
    run.model.eval()


def freezes(self: Any, run: Any, scores: Any) -> None:
    run.model.requires_grad_(False)


def adds_to_records(self: Any, run: Any, step: int, metrics: Any) -> None:
    if metrics is not None:
        metrics["temperature"] = 20.0


def removes(self: Any, run: Any, scores: Any) -> None:
    (run.folder / "metrics.jsonl").unlink(missing_ok=True)


def beside_the_files(self: Any, run: Any, scores: Any) -> None:
    (run.folder / "diary.txt").write_text("done")


def beside_the_folder(self: Any, run: Any, scores: Any) -> None:
    (run.folder.parent / "diary.txt").write_text("done")


def only_empty_folder(self: Any, run: Any) -> None:
    (run.folder / "mine").mkdir()


def once() -> Any:
    """A hook that writes in the first run of the process alone."""
    done: list[int] = []

    def write(self: Any, run: Any, scores: Any) -> None:
        if not done:
            done.append(1)
            (run.folder / "mine").mkdir()
            (run.folder / "mine" / "diary.txt").write_text("done")

    return write


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("records in every step", {"step_done": without_none}, ["NoneType", "after step 1", "no method raises"]),
    ("trains", {"step_done": trains}, ["other weights: encoder.weight", "run.trained()"]),
    ("evaluation mode", {"finished": evaluates}, ["left in evaluation mode", "restores the modes"]),
    ("freezes", {"finished": freezes}, ["encoder.weight", "frozen", "requires_grad"]),
    ("adds to records", {"step_done": adds_to_records}, ["other lines of metrics.jsonl", "dict(metrics)"]),
    ("removes a file", {"finished": removes}, ["metrics.jsonl is gone"]),
    ("a file beside the run's", {"finished": beside_the_files}, ["diary.txt beside", "run.folder / self.name"]),
    ("a file beside the folder", {"finished": beside_the_folder}, ["diary.txt beside the run's folder"]),
    ("cannot resume", {"started": only_empty_folder}, ["FileExistsError", "a run to its end"]),
    ("remembers another run", {"finished": once()}, ["two runs, one after the other", "mine/diary.txt"]),
    ("too few arguments", {"step_done": lambda self, run: None}, ["TypeError", "positional argument"]),
]


@pytest.mark.parametrize("part", [Diary, Diary.Config(file="log.txt", on_error="warn"), Draws])
def test_a_right_hook(part: Any) -> None:
    assert check_hook(part) is None


@pytest.mark.parametrize(("what", "changes", "words"), BROKEN, ids=[each[0].replace(" ", "-") for each in BROKEN])
def test_what_is_broken_is_found(what: str, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (Hook,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_hook(broken)
    for word in ["hook 'broken'", *words, "came back:", "contract:", "what to do:"]:
        assert word in str(caught.value)


def test_a_hook_whose_failures_are_warnings_fails_here() -> None:
    broken = type("Broken", (Hook,), {"step_done": without_none, "name": "broken"})
    with pytest.raises(ContractError, match="NoneType"):
        check_hook(broken.Config(on_error="warn"))


def test_a_hook_that_hears_nothing() -> None:
    broken = type("Broken", (Hook,), {"step_finished": without_none, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_hook(broken)
    (failure,) = caught.value.failures
    assert "step_finished" in failure.came and "step_done" in failure.says


def test_settings_without_enabled() -> None:
    broken = type("Broken", (Hook,), {"Config": PartConfig, "finished": evaluates, "name": "broken"})
    with pytest.raises(ContractError, match=r"derive from genprior\.HookConfig"):
        check_hook(broken)
