"""How plugins are found, isolated, refused and named: with packages installed in a temporary folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genprior
from genprior import NameTaken, PluginError, Prior, hookimpl
from genprior.registry import GROUP, Origin, Registry, installed, load

PRIOR = """
from genprior import Prior, hookimpl

class Ring(Prior):
    name = "{name}"
    def sample(self, asked):
        return asked

@hookimpl
def genprior_parts(register):
    register(Ring)
"""


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def install(self, plugin: str, source: str, requires: str = "genprior>=0.1,<0.2") -> str:
        """Install a package `genprior-<plugin>` of version 1.2 with one module; gives its module's name."""
        module = f"fake_genprior_{plugin}"
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"genprior_{plugin}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: genprior-{plugin}\nVersion: 1.2\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{plugin} = {module}\n")
        self.modules.append(module)
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


def test_a_plugin_is_found_by_its_entry_point(site: Site) -> None:
    site.install("ring", PRIOR.format(name="ring"))
    registry = load()
    assert "ring" in registry.names("prior")
    assert str(registry.origin(registry.find("prior", "ring"))) == "plugin 'ring' (genprior-ring 1.2)"
    assert registry.broken == []


def test_the_standard_parts_are_found_by_entry_point_too() -> None:
    registry = load()
    assert [origin.plugin for origin in registry.plugins][0] == "std"
    assert str(registry.origin(registry.find("prior", "gaussian"))).startswith("plugin 'std' (genprior ")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemError('no licence')", "SystemError: no licence"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_stops_nothing(site: Site, source: str, error: str) -> None:
    site.install("broken", source)
    site.install("ring", PRIOR.format(name="ring"))
    registry = load()
    assert {"ring", "gaussian"} <= set(registry.names("prior"))
    (broken,) = registry.broken
    assert str(broken.origin) == "plugin 'broken' (genprior-broken 1.2)"
    assert broken.reason.startswith(error)
    assert "Traceback" in broken.details


def test_a_part_that_is_not_there_names_the_plugins_that_are_not_loaded(site: Site) -> None:
    site.install("broken", "1 / 0")
    registry = load()
    with pytest.raises(PluginError) as caught:
        registry.find("prior", "gausian")
    text = str(caught.value)
    assert text.startswith("there is no prior named 'gausian'; did you mean 'gaussian'? Possible: ")
    assert text.endswith("Not loaded: plugin 'broken' (genprior-broken 1.2): ZeroDivisionError: division by zero")


def test_a_hook_that_fails_leaves_no_part_and_no_hook(site: Site) -> None:
    source = PRIOR.format(name="ring") + "    raise RuntimeError('half way')\n"
    site.install("ring", source)
    registry = load()
    assert "ring" not in registry.names("prior")
    assert registry.broken[0].reason == "RuntimeError: half way"
    assert not registry.manager.has_plugin("plugin 'ring' (genprior-ring 1.2)")


def test_a_name_that_is_taken_names_both_origins(site: Site) -> None:
    site.install("first", PRIOR.format(name="ring"))
    site.install("second", PRIOR.format(name="ring"))
    with pytest.raises(NameTaken) as caught:
        load()
    assert str(caught.value) == (
        "prior 'ring' is registered twice: by plugin 'first' (genprior-first 1.2) and by "
        "plugin 'second' (genprior-second 1.2). Uninstall one of the two, or rename the part in one of them."
    )


def test_a_standard_name_is_taken(site: Site) -> None:
    site.install("mine", PRIOR.format(name="gaussian"))
    with pytest.raises(NameTaken, match=r"by plugin 'std' \(genprior .*\) and by plugin 'mine' \(genprior-mine 1.2\)"):
        load()


def test_one_name_may_be_used_by_two_kinds() -> None:
    registry = load()
    assert registry.find("encoder", "mlp") is not registry.find("decoder", "mlp")


@pytest.mark.parametrize("requires", ["genprior>=0.7", "genprior==99.*", "genprior<0.1 ; python_version > '3'"])
def test_a_plugin_for_another_version_is_refused_before_it_is_imported(site: Site, requires: str) -> None:
    module = site.install("old", PRIOR.format(name="old"), requires)
    registry = load()
    (broken,) = registry.broken
    wanted = requires.split(";")[0].strip().removeprefix("genprior")
    assert broken.reason == f"it requires genprior{wanted}, and this is genprior {genprior.__version__}"
    assert module not in sys.modules


@pytest.mark.parametrize("requires", ["genprior", "numpy", "genprior>=99 ; extra == 'future'", "genprior>=0.1,<0.2"])
def test_a_plugin_for_this_version_is_loaded(site: Site, requires: str) -> None:
    site.install("ring", PRIOR.format(name="ring"), requires)
    registry = load()
    assert registry.broken == []
    assert "ring" in registry.names("prior")


def test_an_unknown_hook_is_refused(site: Site) -> None:
    site.install("hooks", "from genprior import hookimpl\n@hookimpl\ndef genprior_prats(register):\n    pass\n")
    site.install("ring", PRIOR.format(name="ring"))
    registry = load()
    assert "ring" in registry.names("prior")
    (broken,) = registry.broken
    assert "plugin 'hooks' (genprior-hooks 1.2) does not fit the hooks of genprior" in broken.reason
    assert "genprior_prats" in broken.reason


def test_two_plugins_of_one_entry_point_name(site: Site) -> None:
    site.install("ring", PRIOR.format(name="ring"))
    site.install("other", PRIOR.format(name="other"))
    (site.folder / "genprior_other-1.2.dist-info" / "entry_points.txt").write_text(
        f"[{GROUP}]\nring = fake_genprior_other\n"
    )
    registry = load()
    assert registry.broken == []
    assert {"ring", "other"} <= set(registry.names("prior"))


def test_a_module_that_two_entry_points_name_keeps_its_first_hooks(site: Site) -> None:
    module = site.install("ring", PRIOR.format(name="ring"))
    (site.folder / "genprior_ring-1.2.dist-info" / "entry_points.txt").write_text(
        f"[{GROUP}]\nring = {module}\nring2 = {module}\n"
    )
    registry = load()
    assert [str(each.origin) for each in registry.broken] == ["plugin 'ring2' (genprior-ring 1.2)"]
    assert registry.manager.has_plugin("plugin 'ring' (genprior-ring 1.2)")
    assert "ring" in registry.names("prior")


def test_a_hook_with_an_unknown_argument_is_refused(site: Site) -> None:
    site.install("hooks", "from genprior import hookimpl\n@hookimpl\ndef genprior_parts(registry):\n    pass\n")
    (broken,) = load().broken
    assert "does not fit the hooks of genprior" in broken.reason
    assert "registry" in broken.reason


# ---------------------------------------------------------------------------------------------------------------------
# What a plugin registers
# ---------------------------------------------------------------------------------------------------------------------

MINE = Origin("mine", "genprior-mine 1.2")


def offering(*offered: object) -> object:
    class Plugin:
        @hookimpl
        def genprior_parts(self, register: object) -> None:
            for each in offered:
                register(each)  # type: ignore[operator]

    return Plugin()


class Good(Prior):
    name = "good"

    def sample(self, asked: object) -> object:  # type: ignore[override]
        return asked


class Nameless(Prior):
    def sample(self, asked: object) -> object:  # type: ignore[override]
        return asked


class Abstract(Prior):
    name = "abstract"


class Kindless(genprior.Part):
    name = "kindless"


class Pretender(genprior.Part):
    name = "pretender"
    kind = "prior"


@pytest.mark.parametrize(
    ("offered", "text"),
    [
        (int, "plugin 'mine' (genprior-mine 1.2) registered <class 'int'>, which is not a part"),
        ("gaussian", "registered 'gaussian', which is not a part: derive a class from genprior.Prior"),
        (Nameless, 'registered Nameless without a name: add `name = "..."` to the class'),
        (Abstract, "registered prior 'abstract', which lacks: sample"),
        (Kindless, "registered Kindless, which derives from none of: prior, encoder"),
        (Pretender, "registered Pretender, which derives from none of: prior, encoder"),
    ],
)
def test_what_is_no_part_is_refused_with_all_that_its_plugin_offers(offered: object, text: str) -> None:
    registry = Registry()
    with pytest.raises(PluginError) as caught:
        registry.add(offering(Good, offered), MINE)
    assert text in str(caught.value)
    assert registry.all() == []
    assert registry.plugins == []


def test_a_part_offered_twice_by_one_plugin() -> None:
    with pytest.raises(NameTaken, match="prior 'good' is registered twice"):
        Registry().add(offering(Good, Good), MINE)


def test_a_plugin_is_asked_once_for_its_parts() -> None:
    registry = Registry()
    registry.add(offering(Good), MINE)
    registry.add(offering(), Origin("other", "genprior-other 1"))
    assert registry.all() == [Good]


@pytest.mark.parametrize("table", [None, "gaussian", {}, {"name": 3}, {"sigma": 1.0}])
def test_a_table_that_names_no_part(table: object) -> None:
    registry = Registry()
    registry.add(offering(Good), MINE)
    with pytest.raises(ValueError, match=r"a table that names a prior is needed, such as .* Possible: good"):
        registry.configure("prior", table)


@pytest.mark.parametrize("result", [None, "raises", "not a class method"])
def test_an_upgrade_that_fails_stops_no_recipe_of_other_parts(result, monkeypatch):
    part = installed().find("prior", "gaussian")

    def upgrade(recipe=None):
        if result == "raises":
            raise ZeroDivisionError

    monkeypatch.setattr(part, "upgrade", upgrade if result == "not a class method" else staticmethod(upgrade))
    assert genprior.load_recipe("recipes/table3_ablation.toml", changes=["quick"]).plans
