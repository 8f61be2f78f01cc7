"""Whatever a method of any kind of part raises, in any command, is a line that names part, plugin and place."""

from __future__ import annotations

import re
import sys

import pytest

import genprior
from genprior.registry import GROUP, KINDS, installed

SOURCE = '''
import torch
from genprior import (
    Dataset, DensityPosterior, Embedder, EmbedderState, Figure, Hook, ImageSet, Score, hookimpl
)
from pydantic import field_validator
from genprior_std.conditioners.none import NoCondition
from genprior_std.datasets.digits import Digits
from genprior_std.exporters.grid import Grid
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.optimisers.sgd import Sgd
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.pixel import Pixel
from genprior_std.schedules.step import Step

BROKEN = []

def fail(owner, method):
    if (owner.kind, method) in BROKEN:
        raise LookupError("it is broken")

def broken(base, *methods):
    """A part that does what a standard one does, until one of its methods is broken."""
    def body(name):
        found = next(vars(each)[name] for each in base.__mro__ if name in vars(each))
        if isinstance(found, classmethod):
            def method(cls, *args, **kwargs):
                fail(cls, name)
                return getattr(super(part, cls), name)(*args, **kwargs)
            return classmethod(method)
        if not callable(found):
            def read(self):
                fail(self, name)
                return getattr(super(part, self), name)
            return property(read)
        def method(self, *args, **kwargs):
            fail(self, name)
            return getattr(super(part, self), name)(*args, **kwargs)
        return method
    part = type("Bad", (base,), {"name": "bad", "__module__": __name__, **{name: body(name) for name in methods}})
    return part

class Checked(Gaussian.Config):
    """Settings that are looked at."""
    number: int = 0
    @field_validator("number")
    @classmethod
    def _look(cls, value):
        fail(cls.part, "Config")
        return value

class Picture(Figure):
    def draw(self, runs, seed):
        fail(self, "draw")

class Grey(Score):
    higher_is_better = True
    def measure(self, context):
        return {self.name: float(context.generated(4).double().mean())}

class Lengths(Embedder):
    def fit(self, captions):
        pass
    def embed(self, sentences):
        return torch.tensor([[float(len(text))] * self.config.size for text in sentences])
    def state(self):
        return EmbedderState({"nothing": torch.zeros(1)}, {})
    def restore(self, state):
        pass

class Captioned(Dataset):
    name = "captioned"
    def load(self, split):
        images = torch.randint(256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
        return ImageSet(images, torch.arange(40) % 2, ("dark", "bright"), (("dark",), ("bright",)) * 20)

class Listener(Hook):
    rehearsed = True
    def started(self, run):
        fail(self, "started")
    def step_done(self, run, step, metrics):
        fail(self, "step_done")
    def finished(self, run, scores):
        fail(self, "finished")

class Point(DensityPosterior):
    """What an encoder returns is no part."""
    def __init__(self, inner):
        self.inner = inner
    @property
    def mean(self):
        return self.inner.mean
    def rsample(self):
        fail(BadEncoder, "rsample")
        return self.inner.rsample()
    def log_prob(self, z):
        return self.inner.log_prob(z)

BadEncoder = broken(MlpEncoder, "__init__", "begin")
def forward(self, x, known):
    fail(self, "forward")
    return Point(super(BadEncoder, self).forward(x, known))
BadEncoder.forward = forward

PARTS = [
    broken(type("Settings", (Gaussian,), {"Config": Checked}), "__init__", "begin", "sample"),
    BadEncoder,
    broken(MlpDecoder, "__init__", "forward"),
    broken(CodeCritic, "__init__", "forward"),
    broken(Pixel, "__init__", "forward"),
    broken(NoCondition, "widths", "forward", "draw"),
    broken(NonSaturating, "critic_loss", "generator_loss"),
    broken(AdversarialAutoencoder, "__init__", "phases", "regularise", "generate", "encode"),
    broken(Digits, "__init__", "load", "files_hash"),
    broken(Grey, "__init__", "measure", "check_row", "columns", "needs", "protocol"),
    broken(Grid, "__init__", "write", "for_classes"),
    broken(Sgd, "__init__", "build"),
    broken(Step, "__init__", "factor"),
    broken(Lengths, "__init__", "fit", "embed", "state", "restore"),
    broken(Picture, "draw", "__init__"),
    broken(Listener, "__init__", "started", "step_done", "finished"),
]
PARTS = {part.kind: part for part in reversed(PARTS)}

@hookimpl
def genprior_parts(register):
    for part in (*PARTS.values(), Captioned):
        register(part)
'''
PLACE = [line.strip() for line in SOURCE.splitlines()].index('raise LookupError("it is broken")') + 1

RECIPE = """
title = "all bad"
scores = [{ name = "bad" }]
data = { name = "bad", size = 8 }
optimiser.default = { name = "bad", lr = 0.01, schedule = { name = "bad" } }
[run]
steps = 1
batch = 8
hooks.pictures.enabled = false
hooks.bad.enabled = true
[model]
name = "bad"
code_size = 2
prior = { name = "bad", number = 1 }
encoder = { name = "bad", hidden = [4] }
decoder = { name = "bad", hidden = [4] }
code_critic = { name = "bad", hidden = [4] }
image_critic = { name = "image_mlp", hidden = [4] }
reconstruction = { name = "bad" }
conditioner = { name = "bad" }
code_game = { name = "bad" }
image_game = { name = "nonsaturating" }
"""

TEXT = (
    RECIPE.replace('data = { name = "bad", size = 8 }', 'data = { name = "captioned" }')
    .replace(
        'conditioner = { name = "bad" }', 'conditioner = { name = "sentence", embedder = { name = "bad", size = 3 } }'
    )
    .replace('prior = { name = "bad", number = 1 }', 'prior = { name = "code_generator", noise = 3 }')
    .replace('{ name = "image_mlp", hidden = [4] }', '{ name = "image_mlp", hidden = [4], conditional = true }')
    .replace("code_size = 2", "code_size = 2\nmismatched_as_fake = true\nimproves.prior = true")
)
UNSCORED = RECIPE.replace('scores = [{ name = "bad" }]', "")
RECIPES = {"plain": RECIPE, "text": TEXT, "unscored": UNSCORED}

CHECKED = {
    "prior": ["Config", "__init__", "begin", "sample"],
    "encoder": ["__init__", "begin", "forward"],
    "decoder": ["__init__", "forward"],
    "critic": ["__init__", "forward"],
    "reconstruction": ["__init__", "forward"],
    "conditioner": ["widths", "forward", "draw"],
    "game": ["critic_loss", "generator_loss"],
    "model": ["__init__", "phases", "regularise", "generate"],
    "optimiser": ["__init__", "build"],
    "schedule": ["__init__", "factor"],
    "dataset": ["__init__", "load"],
    "score": ["__init__", "check_row", "measure", "columns", "needs", "protocol"],
    "hook": ["__init__", "started", "step_done", "finished"],
}
"""Methods of the plain recipe that a check calls, by kind."""


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A plugin with a part of every kind, that may be broken, installed; and a run of all of them."""
    site = tmp_path_factory.mktemp("site")
    info = site / "genprior_all_bad-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "fake_genprior_all_bad.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genprior-all-bad\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nall_bad = fake_genprior_all_bad\n")
    sys.path.insert(0, str(site))
    installed.cache_clear()
    assert installed().broken == []
    yield sys.modules["fake_genprior_all_bad"]
    sys.path.remove(str(site))
    sys.modules.pop("fake_genprior_all_bad")
    installed.cache_clear()


@pytest.fixture(scope="module")
def runs(bad, tmp_path_factory):
    """Finished runs of both recipes; tests only read them."""
    folder = tmp_path_factory.mktemp("runs")
    for name, text in RECIPES.items():
        (folder / f"{name}.toml").write_text(text)
        genprior.train(genprior.load_recipe(folder / f"{name}.toml"), out=folder / name, device="cpu")
    return folder


@pytest.fixture
def broken(bad):
    bad.BROKEN.clear()
    yield bad.BROKEN
    bad.BROKEN.clear()


def test_every_kind_is_tried(bad):
    assert bad.PARTS.keys() == KINDS.keys()


def named(bad, text, kind):
    """Whether a text has one line that names the part, its role, its plugin, what was raised, and where."""
    part = rf"{kind} 'bad'( \(\w+\))?"
    what = rf"(raised|failed .*:) LookupError: it is broken, at {re.escape(bad.__file__)}:{PLACE}"
    return re.search(rf"{part} of plugin 'all_bad' \(genprior-all-bad 1.2\) {what}", text) is not None


@pytest.mark.parametrize(("kind", "method"), [(kind, each) for kind, methods in CHECKED.items() for each in methods])
def test_check(bad, runs, broken, call, kind, method):
    broken.append((kind, method))
    result = call("check", runs / "plain.toml")
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit), result.exception
    assert named(bad, result.stderr, kind), result.stderr
    assert "Traceback" not in result.output and result.stderr.endswith("--traceback shows the traceback\n")
    assert "[row base]" in result.stderr or method == "Config"
    shown = call("--traceback", "check", runs / "plain.toml").stderr
    assert f'File "{bad.__file__}", line {PLACE}, in fail' in shown


def test_what_a_part_hands_over_is_the_plugins(bad, runs, broken, call):
    """A posterior is no part; the standard model that calls it is not to blame."""
    broken.append(("encoder", "rsample"))
    recipe = runs / "standard.toml"
    recipe.write_text(RECIPE.replace('[model]\nname = "bad"', '[model]\nname = "aae"'))
    result = call("check", recipe)
    assert f"fail of plugin 'all_bad' (genprior-all-bad 1.2) raised LookupError: it is broken, at {bad.__file__}:" in (
        result.stderr
    )


@pytest.mark.parametrize("method", ["__init__", "fit", "embed"])
def test_check_of_an_embedder(bad, runs, broken, call, method):
    broken.append(("embedder", method))
    result = call("check", runs / "text.toml")
    assert result.exit_code == 2 and named(bad, result.stderr, "embedder"), result.stderr


@pytest.mark.parametrize(
    ("kind", "method", "recipe"),
    [
        ("dataset", "files_hash", "plain"),
        ("score", "measure", "plain"),
        ("embedder", "state", "text"),
        ("embedder", "restore", "text"),
    ],
)
def test_train(bad, runs, broken, call, tmp_path, monkeypatch, kind, method, recipe):
    """Training meets what no check meets."""
    monkeypatch.setattr("genprior.launch.train.preflight", lambda *_, **__: None)
    broken.append((kind, method))
    result = call("train", runs / f"{recipe}.toml", "--out", tmp_path, "--jobs", 1)
    assert result.exit_code == 1 and named(bad, result.stderr, kind), result.stderr
    assert "row 'base': " in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("kind", "method", "recipe", "options"),
    [
        ("exporter", "__init__", "plain", []),
        ("exporter", "write", "plain", []),
        ("exporter", "for_classes", "plain", []),
        ("prior", "sample", "plain", []),
        ("decoder", "forward", "plain", []),
        ("conditioner", "draw", "plain", []),
        ("model", "generate", "plain", []),
        ("model", "__init__", "plain", []),
        ("embedder", "restore", "text", []),
        ("embedder", "embed", "text", ["--text", "dark"]),
    ],
)
def test_sample(bad, runs, broken, call, tmp_path, kind, method, recipe, options):
    broken.append((kind, method))
    run = runs / recipe / "base" / "seed-0"
    result = call("sample", run, "--exporter", "bad", *options, "--to", tmp_path / "images.png")
    assert result.exit_code == 1 and named(bad, result.stderr, kind), result.stderr
    assert result.stderr.startswith("error: row 'base': ") and result.stderr.count("\n") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "method"), [("score", "measure"), ("dataset", "load"), ("model", "generate"), ("score", "columns")]
)
def test_bench(bad, runs, broken, call, tmp_path, monkeypatch, kind, method):
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path))  # where no score is known yet
    broken.append((kind, method))
    result = call("bench", runs / "unscored", "--score", "bad")
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit), result.exception
    assert named(bad, result.output, kind), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("method", ["__init__", "draw"])
def test_figure(bad, runs, broken, call, tmp_path, method):
    broken.append(("figure", method))
    result = call("figure", "bad", runs / "plain", "--out", tmp_path / "figure")
    assert result.exit_code == 1 and named(bad, result.stderr, "figure"), result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["plain", "plain/base/seed-0"])
def test_show(bad, runs, broken, call, path):
    broken.append(("score", "columns"))
    result = call("show", runs / path)
    assert result.exit_code == 1 and named(bad, result.stderr, "score"), result.stderr
