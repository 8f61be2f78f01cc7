"""`genprior new`: what it writes and says, and what it refuses."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from genprior.cli.scaffold import names_of, write_package
from genprior.errors import PluginError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(call, *arguments: str) -> str:
    result = call("new", *arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_it_writes_the_package_and_says_what_is_next(call, here: Path) -> None:
    result = call("new", "prior", "heavy-tails")
    assert result.exit_code == 0, result.output
    files = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    parts = ("src/genprior_heavy_tails.py", "tests/test_heavy_tails.py", "heavy_tails.toml", "README.md")
    assert files == {f"genprior-heavy-tails/{file}" for file in (*parts, "pyproject.toml")}
    assert "written: genprior-heavy-tails/ with README.md" in result.output
    assert "next: cd genprior-heavy-tails && pip install -e . && pytest && genprior train heavy_tails.toml" in (
        result.output
    )


def test_it_writes_into_another_folder(call, here: Path) -> None:
    assert call("new", "score", "sharpness", "--out", "mine/sharp").exit_code == 0
    assert (here / "mine" / "sharp" / "src" / "genprior_sharpness.py").exists()


def test_the_next_command_is_one_for_a_shell(call, here: Path) -> None:
    assert (
        "next: cd 'my folder/it'\"'\"'s' && pip install -e ."
        in call("new", "prior", "mine", "--out", "my folder/it's").output
    )


def test_a_folder_that_exists_is_left_as_it_is(call, here: Path) -> None:
    (here / "genprior-thick").mkdir()
    said = refused(call, "prior", "thick")
    assert "genprior-thick exists already, and nothing is overwritten: choose another folder with --out" in said
    assert os.listdir(here) == ["genprior-thick"] and not os.listdir(here / "genprior-thick")


def test_a_link_to_nowhere_is_left_as_it_is(call, here: Path) -> None:
    (here / "genprior-thick").symlink_to("nowhere")
    assert "exists already" in refused(call, "prior", "thick")


def test_nothing_is_left_of_a_package_that_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_package(names_of("prior", "thick"), here / "thick")
    assert not os.listdir(here)


def test_an_unknown_kind(call) -> None:
    said = refused(call, "priors", "thick")
    assert "there is no kind of parts named 'priors'; did you mean 'prior'? Possible: conditioner, critic" in said


@pytest.mark.parametrize(("word", "kind"), [("tracker", "hook"), ("fitted-prior", "fitted_prior")])
def test_other_words_for_kinds(word: str, kind: str) -> None:
    assert names_of(word, "thick").kind == kind


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("HeavyTails", "heavy_tails"),
        ("heavy tails", "heavy_tails"),
        ("2d", "d"),
        ("_thick", "thick"),
        ("thick-", "thick"),
        ("../thick", "thick"),
        ("class", "my_class"),
        ("\x1b[31mred", "31mred".lstrip("31")),
        ("a" * 41, "a" * 40),
    ],
)
def test_a_name_that_is_none(name: str, better: str, call) -> None:
    said = refused(call, "--", "prior", name)
    assert "cannot be the name of a part" in said and "\x1b" not in said
    assert f"such as `genprior new prior {better}`" in said
    assert names_of("prior", better).name == better


@pytest.mark.parametrize("name", ["_", "é", "..."])
def test_a_name_without_letters(name: str, call) -> None:
    said = refused(call, "prior", name)
    assert "cannot be the name of a part" in said and "such as" not in said


def test_a_name_of_an_installed_part(call) -> None:
    said = refused(call, "prior", "gaussian")
    assert "there is a prior 'gaussian' already, of plugin 'std' (genprior" in said
    assert "choose another name, or uninstall that package" in said


def test_a_fitted_prior_is_a_prior(call) -> None:
    assert "there is a prior 'gaussian_mixture' already" in refused(call, "fitted_prior", "gaussian-mixture")


def test_a_name_of_another_kind_is_free() -> None:
    assert names_of("score", "gaussian").part == "Gaussian"


def test_a_name_of_an_installed_plugin(call) -> None:
    assert "there is a plugin 'std' already, the module genprior_std" in refused(call, "prior", "std")


def test_a_name_of_a_module(call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "genprior_thick.py").write_text("")
    monkeypatch.syspath_prepend(str(here))
    assert "there is a module genprior_thick already" in refused(call, "prior", "thick")


def test_the_name_of_a_package_in_place_of_that_of_the_part(call) -> None:
    said = refused(call, "prior", "genprior-thick")
    assert "leave 'genprior' out, as in `genprior new prior thick`" in said


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        ("prior", "tensor", "TensorPrior"),
        ("prior", "density_prior", "DensityPriorPrior"),
        ("score", "exception", "ExceptionScore"),
        ("fitted_prior", "codes", "CodesFittedPrior"),
        ("prior", "student_t2", "StudentT2"),
    ],
)
def test_the_class_hides_nothing_that_its_module_uses(kind: str, name: str, part: str, here: Path) -> None:
    names = names_of(kind, name)
    assert names.part == part
    write_package(names, here / "package")
    (file,) = (here / "package" / "src").iterdir()
    tree = ast.parse(file.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert part in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert part not in imported


def test_names_that_are_refused_are_errors_of_plugins() -> None:
    with pytest.raises(PluginError, match="no kind of parts named 'nothing'"):
        names_of("nothing", "thick")
