"""The run folder: which run it holds, whether a row may be trained into it, and whether it is finished."""

from __future__ import annotations

from pydantic import ValidationError

from genprior.errors import DataError, NewerFormat, RunError
from genprior.parts import Dataset
from genprior.recipe.mistakes import explained
from genprior.recipe.plan import Plan
from genprior.runs.files import CONTENT, RunFiles

__all__ = ["RunFolder"]


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
                "Nothing was changed. Give another --out, or remove that folder to train anew."
            )

    def finished(self, plan: Plan) -> bool:
        """Whether the folder holds a finished run of `plan` with all its scores."""
        try:
            facts = self.facts()
            if facts is None or not facts["finished"]:
                return False
            return not self.differences(plan) and self.plan().scores == plan.scores and self.scored(plan)
        except NewerFormat:
            raise
        except RunError:
            return False

    def scored(self, plan: Plan) -> bool:
        """Whether `scores.json` is there, if the plan has scores.

        Raises:
            RunError: it is damaged.
        """
        return not plan.scores or bool(self.scores())


def _locations(plan: Plan) -> tuple[str, ...]:
    dataset = plan.data.part
    return dataset.locations if issubclass(dataset, Dataset) else ()
