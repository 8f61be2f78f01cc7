"""The parts of the plugin guide: each keeps its contract, as the page checks it, and computes what the page says."""

from __future__ import annotations

import functools
import inspect
import math
import re
import types
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch

import genprior
from genprior import testing
from genprior.registry import KINDS

from .guide import FILES, GUIDE, guide_module, run_script

MODULE = guide_module()
CHECKS = list(dict.fromkeys(re.findall(r"`(check_\w+\([A-Z].*?\))`", GUIDE)))
"""The checks that the text of the page states, such as `check_game(Pairs)`."""
OFFERED: list[Any] = []
MODULE.genprior_parts(OFFERED.append)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's script has written its files."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        run_script("make_digits.py", folder)
    return folder


def test_every_class_of_the_page_is_registered() -> None:
    parts = {
        name for name, each in vars(MODULE).items() if isinstance(each, type) and each.__module__ == MODULE.__name__
    }
    assert {each.__name__ for each in OFFERED} == {
        name for name in parts if issubclass(vars(MODULE)[name], genprior.Part)
    }


@pytest.mark.parametrize("part", OFFERED, ids=lambda part: f"{part.kind}-{part.name}")
def test_the_page_checks_every_part_with_the_check_of_its_kind(part: Any) -> None:
    tried = [*CHECKS, *FILES["test_cross.py"].splitlines()]
    assert any(f"check_{part.kind}(" in line and re.search(rf"\b{part.__name__}\b", line) for line in tried)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_of_the_page_passes(check: str, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(digits)
    eval(check, {**{name: getattr(testing, name) for name in testing.__all__}, **vars(MODULE)})


BROKEN = {
    "test_cross": ("Cross", "sample", lambda self, asked: torch.zeros(len(asked), self.sizes.code)),
    "test_vector_quantised": ("VectorQuantised", "generate", lambda self, condition: torch.zeros(1)),
}
"""For each test of the page, the part that it checks, and a method that breaks the contract."""


@pytest.mark.parametrize("test", re.findall(r"^def (test_\w+)", FILES["test_cross.py"], re.M))
def test_a_test_of_the_page_passes_and_fails_for_a_broken_part(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(compile(FILES["test_cross.py"], "docs/writing-a-plugin.md", "exec"), names)
    names[test]()
    part, method, wrong = BROKEN[test]
    monkeypatch.setattr(vars(MODULE)[part], method, wrong)
    with pytest.raises(testing.ContractError):
        names[test]()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_a_part_of_each_kind(kind: str) -> None:
    assert [part.name for part in OFFERED if part.kind == kind]


def test_the_first_example_is_about_30_lines() -> None:
    (code,) = re.findall(r"<!-- file: genprior_cross.py -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    assert sum(1 for line in code.splitlines() if line.strip()) <= 30
    (registered,) = re.findall(r"def genprior_parts\(register\):\n    register\((\w+)\)", code)
    assert registered == "Cross"


def test_the_prior_keeps_its_contract_at_other_widths() -> None:
    for code in (2, 8):
        testing.check_prior(MODULE.Cross, code=code)
    testing.check_prior(MODULE.Cross.Config(length=1.0), code=8, asked=3)
    testing.check_prior(MODULE.NearCodes, code=3, asked=2)
    testing.check_conditioner(MODULE.ClassVectors.Config(width=3), labels=True)


# ---------------------------------------------------------------------------------------------------------------------
# What they compute
# ---------------------------------------------------------------------------------------------------------------------


def laplace_codes(n: int) -> genprior.Codes:
    """Codes of 3 numbers that are Laplace, of other centres and scales."""
    u = torch.rand(2, n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = -torch.log1p(-u)
    z = torch.tensor([4.0, -1.0, 0.0]) + torch.tensor([0.1, 1.0, 5.0]) * (first - second)
    return genprior.Codes(z, z[:, :0])


def test_the_prior_in_closed_form_has_the_largest_likelihood() -> None:
    codes = laplace_codes(501)
    prior: Any = genprior.fit_prior(MODULE.Laplace.Config(), codes)
    for j, own in enumerate(codes.z.numpy().T):
        centre, scale = scipy.stats.laplace.fit(own)
        assert (float(prior.m[j]), float(prior.b[j])) == pytest.approx((centre, scale))
    expected = scipy.stats.laplace.logpdf(codes.z, prior.m, prior.b).sum(1)
    assert prior.log_prob(codes.z, codes.asked).tolist() == pytest.approx(expected.tolist())
    with pytest.raises(genprior.PlanError, match="needs at least 2 codes, and there are 1; train with more images"):
        genprior.fit_prior(MODULE.Laplace.Config(), genprior.Codes(codes.z[:1], codes.asked[:1]))


def test_the_prior_that_learns_by_steps_finds_correlated_codes_of_each_condition() -> None:
    fixed = torch.Generator().manual_seed(0)
    asked = torch.nn.functional.one_hot(torch.randint(2, (2000,), generator=fixed), 2).float()
    e = torch.randn(2000, 2, generator=fixed)
    z = torch.stack([e[:, 0], 0.9 * e[:, 0] + math.sqrt(0.19) * e[:, 1]], 1)
    z[:, 1] *= 1 - 2 * asked[:, 1]  # the sign of the correlation is the condition's
    codes = genprior.Codes(100 + 10 * z, asked)
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    prior: Any = genprior.fit_prior(MODULE.Chain.Config(), codes, steps=600, batch=2000, optimiser=adam)
    torch.manual_seed(0)
    for label, correlation in ((0, 0.9), (1, -0.9)):
        drawn = prior.sample(torch.eye(2)[label].expand(4000, 2)).detach()
        assert float(torch.corrcoef(drawn.T)[0, 1]) == pytest.approx(correlation, abs=0.03)
        own = codes.z[asked[:, label] == 1].mean(0)
        assert drawn.mean(0).tolist() == pytest.approx(own.tolist(), abs=0.7)  # 0.16 is the error of 4000 draws
    entropy = 1 + math.log(2 * math.pi) + 2 * math.log(10) + 0.5 * math.log(0.19)
    assert float(-prior.log_prob(codes.z, codes.asked).detach().mean()) == pytest.approx(entropy, abs=0.1)


def test_the_signatures_of_the_page_are_those_of_the_code() -> None:
    (block,) = re.findall(r"^```text\n(genprior\.Codes.*?)```", GUIDE, re.M | re.S)
    shown = [re.match(r"(\w+)(.*)", " ".join(each.split())).groups() for each in block.split("genprior.")[1:]]  # type: ignore[union-attr]
    assert [name for name, _ in shown] == ["Codes", "Phase", "Objectives", "fit_prior"]
    for name, text in shown:
        named = re.findall(r"(\*|\w+): ", text.replace("*, ", "*: "))
        parameters = inspect.signature(getattr(genprior, name)).parameters
        assert [each for each in named if each != "*"] == list(parameters)
        defaults = [each.default for each in parameters.values() if each.default is not inspect.Parameter.empty]
        assert text.count(" = ") == len(defaults)
        for each in parameters.values():
            if isinstance(each.default, int):
                assert f"{each.name}: int = {each.default}" in text


def test_the_networks_take_odd_sizes_or_refuse_them() -> None:
    testing.check_encoder(MODULE.SmallEncoder, image=(3, 7, 10))
    testing.check_critic(MODULE.Patches, of="images", image=(3, 7, 10))
    testing.check_decoder(MODULE.SmallDecoder, image=(3, 8, 12))
    sizes = genprior.Sizes((1, 28, 30), 4, 0, 0)
    with pytest.raises(genprior.PlanError, match=r"multiples of 4, and these images are 28 x 30; choose another size"):
        MODULE.SmallDecoder(MODULE.SmallDecoder.Config(), sizes)


def test_a_patch_of_the_critic_has_7_pixels() -> None:
    critic = MODULE.Patches(MODULE.Patches.Config(width=2), genprior.Sizes((1, 32, 32), 4, 0, 0))
    x = torch.zeros(1, 1, 32, 32, requires_grad=True)
    maps = critic.layers(x)
    maps[0, 0, 8, 8].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 7
    assert torch.allclose(critic(x, x.new_zeros(1, 0)), maps.mean())


def test_the_reconstruction_is_the_root_of_the_squares() -> None:
    x, x_rec = torch.zeros(1, 1, 1, 2), torch.tensor([[[[3.0, 0.0]]]])
    for average, value in ((False, 5 + 4.0), (True, 4.5)):
        config = MODULE.Charbonnier.Config(epsilon=4.0, average=average)
        error = MODULE.Charbonnier(config, genprior.Sizes((1, 1, 2), 1, 0, 0))(x, x_rec, x.new_zeros(1, 0))
        assert error.tolist() == [value]


def test_the_data_set_reads_what_the_script_wrote(digits: Path) -> None:
    data = MODULE.TorchFiles.Config(folder=digits / "digits").make()
    assert [len(data.load(split).labels) for split in ("train", "test")] == [1497, 300]
    held = data.load("test")
    assert held.images.shape[1:] == (1, 8, 8)
    assert int(held.images.max()) == 255
    assert held.captions[0] == (f"the digit {held.classes[held.labels[0]]}",)


def test_the_data_set_says_what_is_missing(tmp_path: Path) -> None:
    data = MODULE.TorchFiles.Config(folder=tmp_path).make()
    with pytest.raises(
        genprior.DataError, match=r"'torch_files': .*train\.pt does not exist; write it with torch\.save"
    ):
        data.load("train")
    with pytest.raises(genprior.DataError, match="has no split 'validation'; it has 'train' and 'test'"):
        data.load("validation")


def test_the_schedule_falls_with_the_root() -> None:
    assert MODULE.InverseRoot.Config(scale=10.0).make().factor(30, 100) == 0.5


def test_the_hook_writes_what_is_recorded(tmp_path: Path) -> None:
    run = types.SimpleNamespace(folder=tmp_path, plan=types.SimpleNamespace(label="A"))
    for step, metrics in ((1, None), (2, {"loss": 0.5})):
        MODULE.Diary(MODULE.Diary.Config(file="notes.txt")).step_done(run, step, metrics)
    assert (tmp_path / "diary" / "notes.txt").read_text() == "A, step 2: {'loss': 0.5}\n"


def test_the_score_measures_a_known_value() -> None:
    generated = torch.full((5, 1, 2, 2), 100, dtype=torch.uint8)
    real = genprior.ImageSet(torch.full((3, 1, 2, 2), 90, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ())
    splits = {"test": real}
    context = types.SimpleNamespace(generated=lambda n: generated[:n], real=splits.__getitem__)
    measured = MODULE.Brightness(MODULE.Brightness.Config(samples=5))
    assert measured.measure(context) == {"brightness": 10.0}
    assert [column.key for column in measured.columns] == ["brightness"]


def test_the_exporter_writes_the_images_of_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(256, (4, 1, 3, 3), dtype=torch.uint8)
    called = {}

    def generate(model: Any, n: int, *, seed: int, label: int | None) -> torch.Tensor:
        called.update(model=model, seed=seed, label=label)
        return images[:n]

    monkeypatch.setattr(MODULE, "generate", generate)
    MODULE.TorchFile(MODULE.TorchFile.Config()).write("model", tmp_path / "a.pt", n=2, seed=7, label=1)
    assert torch.equal(torch.load(tmp_path / "a.pt"), images[:2])
    assert called == {"model": "model", "seed": 7, "label": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_figure_draws_what_its_runs_give() -> None:
    figure = MODULE.TwoPriors
    images = torch.randint(256, (2, 3, 1, 4, 4), dtype=torch.uint8)
    runs = [
        types.SimpleNamespace(label=label, sample=lambda n, seed, own=own: own[:n])
        for label, own in zip(figure.recipes[0].rows, images, strict=True)
    ]
    drawing = figure(figure.Config(columns=3)).draw(runs, 0)
    assert drawing.arrays["images"].tolist() == images.tolist()
    assert [text.get_text() for text in drawing.picture.texts] == ["fixed prior", "learned prior"]
