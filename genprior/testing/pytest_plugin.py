"""`pytest --genprior MODULE`: a test for each part that a module registers, and each check of its kind.

pytest loads this module wherever genprior is installed, so it imports nothing of genprior, and no torch, unless the
option is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from genprior.runs.plugin_parts import RegisteredPart

__all__ = ["PartTest", "PluginModule"]

_PARTS: pytest.StashKey[dict[str, list[RegisteredPart]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("genprior", "contracts of parts for generative models")
    group.addoption(
        "--genprior",
        action="append",
        default=[],
        metavar="MODULE",
        help="check the contract of every part that this module or package registers; may be repeated",
    )
    group.addoption(
        "--genprior-recipe",
        action="append",
        default=[],
        metavar="RECIPE",
        help="check parts with the settings that this recipe gives them, in place of their defaults; may be repeated",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Import the modules, so that one that cannot be is told before any test runs.

    Raises:
        pytest.UsageError: a module cannot be imported or registers no part, or a recipe is invalid.
    """
    modules = config.getoption("--genprior", default=[])
    recipes = [Path(path) for path in config.getoption("--genprior-recipe", default=[])]
    if recipes and not modules:
        raise pytest.UsageError("--genprior-recipe gives settings for the parts of --genprior MODULE, which is missing")
    if not modules:
        return
    from genprior.errors import GenpriorError
    from genprior.runs.plugin_parts import plugin_parts

    try:
        config.stash[_PARTS] = {module: plugin_parts(module, recipes) for module in modules}
    except GenpriorError as error:
        raise pytest.UsageError(f"--genprior: {error}") from error


@pytest.hookimpl(tryfirst=True)  # so that -k and --lf select among these tests too
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests of the modules after the collected ones."""
    for module, parts in config.stash.get(_PARTS, {}).items():
        collector = PluginModule.from_parent(session, name=module, nodeid=module, path=session.path, parts=parts)
        items.extend(collector.collect())


class PluginModule(pytest.Collector):
    """A module of a plugin; its tests are named `module::kind-name::check`."""

    def __init__(self, *, parts: Iterable[RegisteredPart], **node: Any) -> None:
        """Hold the parts."""
        super().__init__(**node)
        self._parts = list(parts)

    def collect(self) -> list[PartTest]:
        """A test for each part and check."""
        return [
            PartTest.from_parent(self, name=f"{each.part.kind}-{each.part.name}::{name}", of=each, check=check)
            for each in self._parts
            for name, check in _checks(each.part.kind)
        ]


class PartTest(pytest.Item):
    """One check of one part."""

    def __init__(self, *, of: RegisteredPart, check: Callable[[Any], None], **node: Any) -> None:
        """Hold the part and the check."""
        super().__init__(**node)
        self._of, self._check = of, check

    def runtest(self) -> None:
        """Check the part, with the settings of the recipe or the defaults."""
        part, config = self._of
        needed = [name for name, field in part.Config.model_fields.items() if field.is_required()]
        if config is None and needed:
            pytest.skip(
                f"{part.kind} '{part.name}' has settings without a default: {', '.join(needed)}. Give a recipe that "
                f"names the part with --genprior-recipe, or write a test that calls check_{part.kind}"
            )
        self._check(part.Config() if config is None else config)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report of a broken contract, which has the lines of the part; else the traceback."""
        from genprior.testing.report import ContractError

        return str(excinfo.value) if isinstance(excinfo.value, ContractError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the class of the part is."""
        try:
            file, line = inspect.getsourcefile(self._of.part), inspect.getsourcelines(self._of.part)[1] - 1
        except (OSError, TypeError):  # not from a file
            file, line = None, 0
        return file or self.path, line, self.name


def _checks(kind: str) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """The checks of a kind: its function in `genprior.testing`, also with a condition where it takes one."""
    from genprior import testing

    check = getattr(testing, f"check_{kind}")
    name = f"check_{kind}"
    if kind == "critic":
        yield name, _check_critic
        yield f"{name}[known=3]", lambda config: _unless_refused(_check_critic, config, known=3)
        return
    yield name, check
    given = {"prior": "asked", "encoder": "known", "decoder": "known", "reconstruction": "known"}.get(kind)
    if given is not None:
        yield f"{name}[{given}=3]", lambda config: _unless_refused(check, config, **{given: 3})


def _check_critic(config: Any, **sizes: int) -> None:
    """A critic scores images or codes; the check of that which it takes with fewer failures counts."""
    from genprior.testing import ContractError, check_critic

    reports = []
    for of in ("images", "codes"):
        try:
            return check_critic(config, of=of, **sizes)  # type: ignore[arg-type]
        except ContractError as error:
            reports.append(error)
    raise min(reports, key=lambda report: len(report.failures))


def _unless_refused(check: Callable[..., None], config: Any, **sizes: int) -> None:
    """Check a part with a condition, or skip the check if the part refuses one with a `PlanError`."""
    from genprior.testing import ContractError

    try:
        check(config, **sizes)
    except ContractError as error:
        refused = [failure.came for failure in error.failures if not failure.came.startswith("PlanError: ")]
        if error.failures and not refused:
            pytest.skip(f"it refuses a condition: {error.failures[0].came.removeprefix('PlanError: ')}")
        raise
