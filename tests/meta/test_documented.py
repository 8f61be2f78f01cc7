"""The documentation is complete and correct, and the project's rules hold for every standard part."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import itertools
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import genprior
from genprior import errors, hookspecs, parts, testing
from genprior.registry import KINDS
from genprior_std.parts import PARTS

from .documented import signature_of, table_row

ROOT = Path(genprior.__file__).parents[1]
PLUGIN_GUIDE = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "plugins").glob("test_*.py"))
NAMED_TUPLES = ["Sizes", "Widths", "Condition", "Batch", "DataInfo", "ImageSet", "Attribute", "EmbedderState"]
HOOKS = [name for name in hookspecs.__all__ if name != "hookimpl"]


# ---------------------------------------------------------------------------------------------------------------------
# The guide
# ---------------------------------------------------------------------------------------------------------------------


def test_every_hook_is_exported() -> None:
    marked = {name for name, each in vars(hookspecs).items() if hasattr(each, "genprior_spec")}
    assert marked == set(HOOKS)
    assert len(HOOKS) == 11


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    assert f"### `{signature_of(hookspecs, hook)}`" in PLUGIN_GUIDE


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_test(hook: str) -> None:
    assert re.search(rf"@hookimpl\s+def {hook}\(", TESTS)


@pytest.mark.parametrize("name", testing.__all__)
def test_the_contract_tests_are_documented(name: str) -> None:
    if name != "ContractError":
        assert f"`{name}(" in REFERENCE


# ---------------------------------------------------------------------------------------------------------------------
# The reference
# ---------------------------------------------------------------------------------------------------------------------


def public_tuples() -> list[Any]:
    named = [getattr(genprior, name) for name in genprior.__all__]
    return [each for each in named if inspect.isclass(each) and issubclass(each, tuple) and hasattr(each, "_fields")]


@pytest.mark.parametrize("named_tuple", public_tuples(), ids=lambda each: each.__name__)
def test_every_field_of_a_public_named_tuple_has_a_docstring(named_tuple: Any) -> None:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(named_tuple))).body
    assert isinstance(node, ast.ClassDef)
    described = {
        field.target.id
        for field, text in itertools.pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
    assert described == set(named_tuple._fields)


def test_the_public_named_tuples_are_found() -> None:
    assert {*NAMED_TUPLES, "Asks", "Draws", "Phase"} <= {each.__name__ for each in public_tuples()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_section_with_its_signatures(kind: str) -> None:
    section = REFERENCE.split(f"\n## {kind}\n")[1].split("\n## ")[0]
    base = KINDS[kind]
    assert f"`genprior.{base.__name__}`" in section
    for method in sorted(getattr(base, "__abstractmethods__", ())):
        assert signature_of(base, method) in section
    assert "**Shapes.**" in section
    assert "**Checked.**" in section


@pytest.mark.parametrize("name", parts.__all__)
def test_every_public_name_of_parts_is_in_the_reference(name: str) -> None:
    assert re.search(rf"\b{name}\b", REFERENCE)


@pytest.mark.parametrize("name", NAMED_TUPLES)
def test_the_fields_of_a_named_tuple_are_in_the_reference(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", REFERENCE, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == set(getattr(genprior, name)._fields)


@pytest.mark.parametrize(("name", "number"), [("ScoreContext", 3), ("TrainingRun", 3), ("TrainedRun", 2)])
def test_all_of_what_a_part_is_given_is_in_the_reference(name: str, number: int) -> None:
    after = REFERENCE.split(f"`genprior.{name}`: ")[1].split("\n## ")[0]
    given = getattr(genprior, name)
    methods = [method for method, each in vars(given).items() if inspect.isfunction(each) and method[0] != "_"]
    assert len(methods) == number
    for method in methods:
        assert signature_of(given, method) in after
    properties = [attribute for attribute, each in vars(given).items() if isinstance(each, property)]
    for attribute in (*given.__annotations__, *properties):
        assert f"`{attribute}`" in after


def test_every_public_class_of_parts_is_exported() -> None:
    public = {
        name
        for name, each in vars(parts).items()
        if inspect.isclass(each) and each.__module__ == parts.__name__ and not name.startswith("_")
    }
    assert public <= set(parts.__all__)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.name}")
def test_every_standard_part_is_in_the_table(part: Any) -> None:
    assert table_row(part) in REFERENCE.splitlines(), f"add this line to docs/parts.md: {table_row(part)}"


def test_the_table_lists_nothing_else() -> None:
    rows = [line for line in REFERENCE.splitlines() if re.match(r"\| \w+ \| `", line)]
    assert sorted(rows) == sorted(table_row(part) for part in PARTS)


# ---------------------------------------------------------------------------------------------------------------------
# The standard parts
# ---------------------------------------------------------------------------------------------------------------------


def test_one_part_a_file() -> None:
    files = [part.__module__ for part in PARTS]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.name}")
def test_every_standard_part_is_documented(part: Any) -> None:
    inherited = {inspect.getdoc(base) for base in part.__mro__[1:]}
    assert part.__doc__
    assert inspect.getdoc(part) not in inherited
    assert inspect.getmodule(part).__doc__  # type: ignore[union-attr]
    assert part.__name__ in inspect.getmodule(part).__all__  # type: ignore[union-attr]


def undescribed(config: Any, path: str) -> list[str]:
    found = []
    for name, field in config.model_fields.items():
        if not field.description:
            found.append(f"{path}.{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += undescribed(field.annotation, f"{path}.{name}")
    return found


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.name}")
def test_every_setting_has_a_description(part: Any) -> None:
    missing = undescribed(part.Config, f"{part.kind} {part.name}")
    assert [each for each in missing if not each.endswith(".name")] == []


# ---------------------------------------------------------------------------------------------------------------------
# The public names
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", genprior.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(genprior, name) is not None


def test_every_part_and_error_is_public() -> None:
    assert set(parts.__all__) <= set(genprior.__all__)
    assert {name for name in errors.__all__ if inspect.isclass(getattr(errors, name))} <= set(genprior.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'genprior' has no attribute 'Priors'"):
        _ = genprior.Priors


def test_importing_genprior_imports_no_torch() -> None:
    code = "import genprior, sys; print([name for name in ('torch', 'pydantic', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
    assert importlib.util.find_spec("torch") is not None


def test_loading_the_parts_imports_no_slow_library() -> None:
    code = (
        "import sys; from genprior.registry import installed; installed()\n"
        "print([name for name in ('torchvision', 'torch._dynamo', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_settings_derived_from_those_of_a_part_have_descriptions() -> None:
    """The class of settings that a part makes has no docstrings itself; what derives from it has its own."""

    class Base(genprior.Prior):
        name = "documented_base"

        class Config(genprior.PartConfig):
            inner: int = 1
            """The one of the base."""

    class Derived(Base):
        name = "documented_derived"

        class Config(Base.Config):
            outer: int = 2
            """The one added."""

    described = {name: field.description for name, field in Derived.Config.model_fields.items()}
    assert described["inner"] == "The one of the base." and described["outer"] == "The one added."
