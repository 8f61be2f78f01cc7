"""How plugins are found, isolated, refused and named: with packages installed in a temporary folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genprior
from genprior import GenpriorWarning, NameTaken, PluginError, Prior, hookimpl
from genprior.launch.preflight import preflight
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

    def install(self, plugin: str, source: str, requires: str = "genprior>=0.2,<0.3") -> str:
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
        ("import sys; sys.exit(0)", "it called sys.exit(0)"),
        ("import sys; sys.exit()", "it called sys.exit()"),
        ("import sys; sys.exit('no licence')", "it called sys.exit('no licence')"),
        ("class Stop(BaseException): pass\nraise Stop('odd')", "Stop: odd"),
        ("import pytest; pytest.skip('no GPU', allow_module_level=True)", "Skipped: no GPU"),
        ("import warnings; warnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
        ("raise ValueError('two\\n  lines')", "ValueError: two lines"),
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


def test_ctrl_c_while_plugins_are_loaded_is_the_users(site: Site) -> None:
    site.install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


PRINTS = """
import os, subprocess, sys
print("python")
sys.__stdout__.write("kept\\n")
os.write(1, b"descriptor\\n")
subprocess.run([sys.executable, "-c", "print('process')"])
"""


def test_what_a_plugin_prints_while_it_is_loaded_goes_to_stderr(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.install("loud", PRINTS + PRIOR.format(name="loud") + "    print('registering')\n")
    print("before")
    assert "loud" in load().names("prior")
    print("after")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    assert set(captured.err.splitlines()) == {"python", "kept", "descriptor", "process", "registering"}


@pytest.mark.parametrize("where", ["", "    "])
def test_a_plugin_that_changes_the_working_directory_moves_no_files(site: Site, where: str) -> None:
    away = site.folder / "away"
    away.mkdir()
    change = f"{where}import os; os.chdir({str(away)!r})\n"
    source = PRIOR.format(name="away")
    site.install("away", source + change if where else change + source)
    before = Path.cwd()
    assert "away" in load().names("prior")
    assert Path.cwd() == before


def test_training_warns_of_a_plugin_that_is_not_loaded(site: Site, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("absent", "1 / 0")
    registry = load()
    monkeypatch.setattr("genprior.launch.preflight.installed", lambda: registry)
    with pytest.warns(GenpriorWarning) as warned:
        preflight(genprior.load_recipe(tiny), device="cpu")
    assert [str(each.message) for each in warned] == [
        "plugin 'absent' (genprior-absent 1.2) is not loaded, and its hook functions are not called: "
        "ZeroDivisionError: division by zero. Update or uninstall that package"
    ]


def test_an_entry_point_without_its_module_or_object(site: Site) -> None:
    module = site.install("gone", "")
    (site.folder / f"{module}.py").unlink()
    other = site.install("half", "")
    (site.folder / "genprior_half-1.2.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nhalf = {other}:plugin\n")
    assert [(str(each.origin), each.reason) for each in load().broken] == [
        ("plugin 'gone' (genprior-gone 1.2)", f"ModuleNotFoundError: No module named '{module}'"),
        ("plugin 'half' (genprior-half 1.2)", f"AttributeError: module '{other}' has no attribute 'plugin'"),
    ]


def test_metadata_without_a_version_or_without_anything(site: Site) -> None:
    site.install("ring", PRIOR.format(name="ring"))
    (site.folder / "genprior_ring-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: genprior-ring\n"
    )
    site.install("bare", PRIOR.format(name="bare"))
    (site.folder / "genprior_bare-1.2.dist-info" / "METADATA").unlink()
    registry = load()
    origins = [str(registry.origin(registry.find("prior", name))) for name in ("ring", "bare")]
    assert origins == [
        "plugin 'ring' (genprior-ring, version unknown)",
        "plugin 'bare' (a package without a name, version unknown)",
    ]


def test_a_requirement_that_cannot_be_read(site: Site) -> None:
    site.install("ours", PRIOR.format(name="ours"), "genprior >> 1")
    site.install("marked", PRIOR.format(name="marked"), "genprior ; python_versoin > '3'")
    site.install("others", PRIOR.format(name="others"), "numpy >> 1")
    site.install("cased", PRIOR.format(name="cased"), "GenPrior>=99")
    registry = load()
    reasons = {each.origin.plugin: each.reason for each in registry.broken}
    assert reasons.keys() == {"ours", "marked", "cased"} and "others" in registry.names("prior")
    assert reasons["ours"].startswith("its metadata has a requirement that cannot be read, 'genprior >> 1': ")
    assert reasons["cased"] == f"it requires genprior>=99, and this is genprior {genprior.__version__}"


def test_a_plugin_without_marked_functions_is_told_what_to_mark(site: Site) -> None:
    site.install("unmarked", PRIOR.format(name="unmarked").replace("@hookimpl", ""))
    site.install(
        "misnamed", PRIOR.format(name="misnamed").replace("@hookimpl\ndef genprior_parts", "def genprior_prats")
    )
    site.install("empty", "")
    mixed = PRIOR.format(name="mixed") + "\ndef genprior_step_done(step):\n    pass\n"
    site.install("mixed", mixed)
    part = site.install("direct", PRIOR.format(name="direct"))
    (site.folder / "genprior_direct-1.2.dist-info" / "entry_points.txt").write_text(
        f"[{GROUP}]\ndirect = {part}:Ring\n"
    )
    assert {each.origin.plugin: each.reason for each in load().broken} == {
        "unmarked": "its function genprior_parts is not marked as a hook, so it would never be called; write "
        "@genprior.hookimpl above it",
        "misnamed": "its function genprior_prats is not marked as a hook, so it would never be called; nor is there a "
        "hook of this name; did you mean 'genprior_parts'? Possible: genprior_checkpoint_written, genprior_epoch_done, "
        "genprior_evaluated, genprior_parts, genprior_run_failed, genprior_run_finished, genprior_run_interrupted, "
        "genprior_run_started, genprior_sampled, genprior_step_done, genprior_table_written",
        "empty": "it has no hook function, so it offers nothing: write a function genprior_parts(register) that "
        "registers its parts, with @genprior.hookimpl above it",
        "mixed": "its function genprior_step_done is not marked as a hook, so it would never be called; write "
        "@genprior.hookimpl above it",
        "direct": "the entry point of plugin 'direct' (genprior-direct 1.2) names the part Ring itself: name its "
        "module, in which a function genprior_parts, marked with @genprior.hookimpl, registers it",
    }


def test_a_config_that_is_no_table_of_settings(site: Site) -> None:
    site.install(
        "plain", PRIOR.format(name="plain").replace("    def sample", "    class Config: pass\n    def sample")
    )
    (broken,) = load().broken
    assert broken.reason == (
        "prior 'plain' (fake_genprior_plain.Ring) has a Config that is no table of settings: derive it from "
        "genprior.PartConfig, `class Config(PartConfig):`"
    )


def test_a_part_that_is_not_there_names_the_plugins_that_are_not_loaded(site: Site) -> None:
    site.install("broken", "1 / 0")
    registry = load()
    with pytest.raises(PluginError) as caught:
        registry.find("prior", "gausian")
    text = str(caught.value)
    assert text.startswith("there is no prior named 'gausian'; did you mean 'gaussian'? Possible: ")
    assert "If a package offers 'gausian', install that package" in text
    assert text.endswith("Not loaded: plugin 'broken' (genprior-broken 1.2): ZeroDivisionError: division by zero")


def test_a_hook_that_fails_leaves_no_part_and_no_hook(site: Site) -> None:
    source = PRIOR.format(name="ring") + "    raise RuntimeError('half way')\n"
    site.install("ring", source)
    registry = load()
    assert "ring" not in registry.names("prior")
    assert registry.broken[0].reason == "RuntimeError: half way"
    assert not registry.manager.has_plugin("plugin 'ring' (genprior-ring 1.2)")


CLASH = (
    "prior '{}' is registered by several plugins, so none of them is used: by {} and by {}. Uninstall all but one, or "
    "rename the part."
)


def test_a_name_that_is_taken_names_both_origins_when_it_is_used(site: Site) -> None:
    site.install("first", PRIOR.format(name="ring"))
    site.install("second", PRIOR.format(name="ring") + "    register(type('Other', (Ring,), {'name': 'other'}))\n")
    registry = load()
    assert registry.broken == []
    assert "ring" not in registry.names("prior") and {"other", "gaussian"} <= set(registry.names("prior"))
    text = CLASH.format("ring", "plugin 'first' (genprior-first 1.2)", "plugin 'second' (genprior-second 1.2)")
    with pytest.raises(NameTaken) as caught:
        registry.find("prior", "ring")
    assert str(caught.value) == text
    with pytest.raises(ValueError) as refused:
        registry.configure("prior", {"name": "ring"})
    assert str(refused.value) == text


def test_three_plugins_with_one_name(site: Site) -> None:
    for plugin in ("first", "second", "third"):
        site.install(plugin, PRIOR.format(name="ring"))
    registry = load()
    assert "ring" not in registry.names("prior")
    with pytest.raises(NameTaken, match=r"by plugin 'first' .* and by plugin 'second' .* and by plugin 'third'"):
        registry.find("prior", "ring")


def test_a_standard_name_is_taken(site: Site) -> None:
    site.install("mine", PRIOR.format(name="gaussian"))
    registry = load()
    with pytest.raises(NameTaken, match=r"by plugin 'std' \(genprior .*\) and by plugin 'mine' \(genprior-mine 1.2\)"):
        registry.find("prior", "gaussian")
    assert "uniform" in registry.names("prior")


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


@pytest.mark.parametrize("requires", ["genprior", "numpy", "genprior>=99 ; extra == 'future'", "genprior>=0.2,<0.3"])
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


class Inheriting(Good):
    pass


class Numbered(Good):
    name = 3  # type: ignore[assignment]


class Swapped(Good):
    name = "swapped"


Swapped.Config = int  # type: ignore[assignment]


class Letters(Good):
    name = "letters"
    borrows = "encoder"  # type: ignore[assignment]


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
        (Numbered, 'registered Numbered without a name: add `name = "..."` to the class'),
        (Inheriting, "registered Inheriting, which has the name 'good' of its base class: add `name = \"...\"` to the"),
        (Swapped, "prior 'swapped', whose Config is no table of settings: derive it from genprior.PartConfig"),
        (Letters, "prior 'letters', whose `borrows` is 'encoder': write a tuple of roles, such as (\"encoder\",)"),
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
    registry = Registry()
    with pytest.raises(NameTaken) as caught:
        registry.add(offering(Good, Good), MINE)
    assert str(caught.value) == (
        f"plugin 'mine' (genprior-mine 1.2) registers prior 'good' twice: {__name__}.Good and {__name__}.Good. "
        "Register one of the two, or rename it."
    )
    assert registry.all() == []


def test_a_plugin_is_asked_once_for_its_parts() -> None:
    registry = Registry()
    registry.add(offering(Good), MINE)
    other = type("Other", (Good,), {"name": "other"})
    registry.add(offering(other), Origin("other", "genprior-other 1"))
    assert registry.all() == [Good, other]


def test_a_plugin_that_registers_nothing_says_so() -> None:
    with pytest.raises(PluginError) as caught:
        Registry().add(offering(), MINE)
    assert str(caught.value) == (
        "plugin 'mine' (genprior-mine 1.2) offers nothing: its function genprior_parts registers no part; call "
        "register(MyPart) in it, for each class"
    )


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
