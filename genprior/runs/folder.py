"""The run folder: which run it holds, whether a row may be trained into it, and whether it is finished."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from genprior.errors import DataError, NewerFormat, RunError
from genprior.parts import Dataset, Score
from genprior.recipe.mistakes import explained
from genprior.recipe.plan import Plan
from genprior.runs.files import CONTENT, RunFiles
from genprior.scoring.measure import lacks_columns

__all__ = ["STEPS", "RunFolder", "hint_of_steps"]

STEPS = "run.steps: "
"""How a line of `RunFolder.differences` begins that names another number of steps."""


class RunFolder(RunFiles):
    """The folder of one run: its files, and whether a row may be trained into it."""

    def plan(self) -> Plan:
        """The resolved recipe of the run, validated with the installed parts.

        Newer settings have their defaults, retired settings are left out, and parts upgrade old settings.

        Raises:
            RunError: there is no recipe, it is damaged, or it does not fit the installed parts.
        """
        kept = self.recipe()
        if kept is None:
            raise RunError(f"{self.path} is not a run folder: it holds no recipe.toml")
        try:
            return Plan.model_validate(kept, context={"registry": self._registry})
        except ValidationError as error:
            mistakes = explained(error, kept, self._registry)
            wrong = "; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text in mistakes)
            raise RunError(
                f"{self.path / 'recipe.toml'} does not fit the installed parts: {wrong}. "
                "run.json lists the versions that it was trained with"
            ) from error

    def differences(self, plan: Plan) -> list[str]:
        """The settings in which `plan` differs from the run in the folder, one line each; empty if there is no run.

        Raises:
            RunError: `recipe.toml` is damaged.
        """
        kept = self.recipe()
        changed = [] if kept is None else plan.differences(kept, self._registry)
        moved = tuple(f"data.{name}: " for name in _locations(plan))
        if any(line.startswith(moved) for line in changed) and self._has_files_of(plan):
            changed = [line for line in changed if not line.startswith(moved)]
        return changed

    def _has_files_of(self, plan: Plan) -> bool:
        """Whether the run was trained on the files that the data set of `plan` has now, wherever they were."""
        kept = self.fact("data_hash")
        try:
            return kept is not None and bool(kept == plan.data.make().files_hash())
        except DataError:
            return False

    def check_data(self, files_hash: str | None) -> None:
        """Check that the run was trained on the same files of the user, if it recorded any.

        Raises:
            RunError: the files have changed.
        """
        kept = self.fact("data_hash")
        if kept is not None and kept != files_hash:
            raise RunError(
                f"the images or captions of the run {self.path} have changed: their hash was {kept}, and is "
                f"{files_hash}. Nothing was changed. Restore the files to resume, or give another --out to train on "
                "these."
            )

    def claim(self, plan: Plan) -> None:
        """Check that the folder is empty or holds a run of the same recipe.

        Raises:
            RunError: the recipe differs (the message lists the changes), `recipe.toml` is damaged, or there are files
                that a run would overwrite but no `recipe.toml`.
        """
        content = [name for name in CONTENT if (self.path / name).exists()]
        if content and not (self.path / "recipe.toml").exists():
            raise RunError(
                f"{self.path} holds {', '.join(content)} but no recipe.toml, so it is not a run that can be resumed. "
                "Nothing was changed. Give another --out, or move these files."
            )
        if changed := self.differences(plan):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{self.path} holds a run of another recipe:\n{listed}\n"
                f"Nothing was changed. Give another --out, or remove that folder to train anew."
                f"{hint_of_steps(changed) if plan.fitted_prior is None else ''}"
            )

    def lengthen(self, plan: Plan, steps: int) -> None:
        """Give the run another number of steps, with which it is unfinished; see `genprior.runs.lengthen`.

        Its `scores.json` is replaced when the new scores are measured.

        Args:
            plan: the resolved recipe of the run.
            steps: the new number of steps.
        """
        facts = self.facts() if self.fact("finished") is not None else None  # training writes a damaged one anew
        if facts is not None:
            scored = {"scored_step": facts["step"]} if facts["finished"] else {}
            # Before the recipe: a run that is called finished always has the steps of its recipe.
            self.write_facts({**facts, "finished": False, **scored})
        self.write_recipe(plan.lasting(steps))

    def finished(self, plan: Plan) -> bool:
        """Whether the folder holds a finished run of `plan` with all its scores."""
        try:
            facts = self.facts()
            if facts is None or not facts["finished"]:
                return False
            return not self.differences(plan) and self.plan().scores == plan.scores and self._all_measured(plan)
        except NewerFormat:
            raise
        except RunError:
            return False

    def _all_measured(self, plan: Plan) -> bool:
        """Whether `scores.json` has a number of each score of the plan that must have one; another file was altered."""
        values = self.scores()
        scores: list[Score] = [config.make() for config in plan.scores]
        return self.scored(plan) and not any(lacks_columns(score, values) for score in scores)

    def scored(self, plan: Plan) -> bool:
        """Whether `scores.json` is there, if the plan has scores.

        Raises:
            RunError: it is damaged.
        """
        return not plan.scores or self.has_scores


def hint_of_steps(changed: Iterable[str]) -> str:
    """A sentence on `--steps`, if runs differ from a recipe in their number of steps alone; empty if not."""
    alone = all(line.startswith(STEPS) for line in changed)
    return " To train the runs of that folder to another number of steps, give --steps." if alone else ""


def _locations(plan: Plan) -> tuple[str, ...]:
    dataset = plan.data.part
    return dataset.locations if issubclass(dataset, Dataset) else ()
