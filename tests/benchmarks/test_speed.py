"""The speed benchmark compares like with like: same networks, same losses; and its arithmetic is right."""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import candidates
    import handwritten
    import speed

    yield candidates, handwritten, speed


SMALL = {"width": 4, "channels": 1, "side": 16, "code": 8}


def losses_of_ours(trainer: Any, batch: Any, seed: int) -> dict[str, float]:
    """Each module's loss in each phase, at the present parameters, without a step."""
    torch.manual_seed(seed)
    found = {}
    for phase in trainer.phases:
        objectives = phase.objectives(batch)
        found |= {f"{phase.name}/{name}": loss.item() for name, loss in objectives.items()}
        found |= {f"{phase.name}/{name}": note.item() for name, note in objectives.note.items()}
    return found


def test_the_handwritten_loop_descends_the_same_losses(modules: Any, tmp_path: Path) -> None:
    candidates, handwritten, _ = modules
    trainer = candidates.our_trainer(candidates.Setting(**SMALL), "A+B+C", "fp32", tmp_path)
    batch = trainer.data.batch(0)
    copied = copy.deepcopy(dict(trainer.modules))
    ours = losses_of_ours(trainer, batch, seed=3)
    # At learning rate 0 nothing moves, so every loss is taken at the same parameters as ours.
    loop = handwritten.HandwrittenLoop(copied, batch.x.contiguous(), learning_rate=0.0)
    torch.manual_seed(3)
    theirs = {name: loss.item() for name, loss in loop.step_on(batch.x.contiguous()).items()}
    assert theirs["code_critic"] == pytest.approx(ours["regularise/code_critic"], rel=1e-4)
    assert theirs["encoder"] == pytest.approx(ours["regularise/encoder"], rel=1e-4)
    # The engine's decoder shares the encoder's loss; what depends on the decoder in it is the reconstruction.
    assert theirs["decoder"] == pytest.approx(10 * ours["regularise/reconstruction"], rel=1e-4)
    assert theirs["image_critic"] == pytest.approx(ours["improve_prior/image_critic"], rel=1e-4)
    assert theirs["prior"] == pytest.approx(ours["improve_prior/prior"], rel=1e-4)


def test_the_handwritten_loop_moves_every_network(modules: Any, tmp_path: Path) -> None:
    candidates, handwritten, _ = modules
    trainer = candidates.our_trainer(candidates.Setting(**SMALL), "A+B+C", "fp32", tmp_path)
    networks = dict(trainer.modules)
    x = trainer.data.batch(0).x.contiguous()
    loop = handwritten.HandwrittenLoop(networks, torch.cat([x, -x]), batch=64)
    before = {name: [p.detach().clone() for p in networks[name].parameters()] for name in loop.optimisers}
    first = loop.next_batch()
    second = loop.next_batch()
    assert torch.equal(first, x)
    assert torch.equal(second, -x)
    assert torch.equal(loop.next_batch(), x)
    loop.step()
    for name, parameters in before.items():
        assert any(not torch.equal(old, new) for old, new in zip(parameters, networks[name].parameters(), strict=True))


def test_the_candidates_have_the_same_parameters(modules: Any, tmp_path: Path) -> None:
    candidates, _, _ = modules
    setting = candidates.Setting(**SMALL)
    ours = candidates.our_trainer(setting, "A+B+C", "bf16", tmp_path / "a")
    source = candidates.our_trainer(setting, "A+B+C", "fp32", tmp_path / "b")
    networks = candidates._contiguous(source)
    mine, theirs = ours.model.state_dict(), source.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert all(p.is_contiguous() for module in networks.values() for p in module.parameters())


def test_pythae_has_the_same_losses(modules: Any, tmp_path: Path) -> None:
    pytest.importorskip("pythae")
    candidates, _, _ = modules
    from pythae_aae import make_trainer

    trainer = candidates.our_trainer(candidates.Setting(**SMALL), "AAE", "fp32", tmp_path / "ours")
    batch = trainer.data.batch(0)
    ours = losses_of_ours(trainer, batch, seed=5)
    networks = candidates._contiguous(trainer)
    theirs = make_trainer(networks, batch.x.contiguous(), tmp_path / "theirs", code=8)
    theirs.model.train()
    output = theirs.model({"data": batch.x.contiguous()})
    assert output.autoencoder_loss.item() == pytest.approx(ours["regularise/encoder"], rel=1e-4)
    # The prior's codes are other draws, so the critic's loss is compared at the same codes.
    z = networks["encoder"](batch.x, batch.x.new_zeros(64, 0)).mean
    z_prior = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    rec = networks["decoder"](z, z.new_zeros(64, 0))
    _, _, critic = theirs.model.loss_function(rec, batch.x, z, z_prior)
    known = z.new_zeros(64, 0)
    mine = trainer.model.code_game.critic_loss(networks["code_critic"], (z_prior, known), (z, known))
    assert critic.item() == pytest.approx(mine.item(), rel=1e-4)


def test_loops_take_turns_and_each_begins_a_round(modules: Any) -> None:
    *_, speed = modules
    order: list[str] = []

    def loop(name: str, cost: float) -> Any:
        def train(steps: int) -> float:
            order.append(name)
            return cost * steps

        return train

    seconds = speed.alternate({"a": loop("a", 0.5), "b": loop("b", 2.0)}, rounds=3, steps=4)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [0.5] * 3, "b": [2.0] * 3}


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [5.0, 1.0, 4.0], [float(v) for v in (9, 2, 7, 7, 1, 8, 3)]])
def test_quartiles_are_those_of_torch(values: list[float], modules: Any) -> None:
    *_, speed = modules
    expected = torch.quantile(torch.tensor(values, dtype=torch.float64), torch.tensor([0.25, 0.5, 0.75]).double())
    assert list(speed.quartiles(values)) == pytest.approx(expected.tolist())


@pytest.mark.slow
def test_the_command_line_writes_a_table_and_json(tmp_path: Path) -> None:
    names = ["ours-fp32", "handwritten", "engine-mlp", "bare-mlp"]
    command = [
        sys.executable,
        str(BENCHMARKS / "speed.py"),
        "--quick",
        "--no-startup",
        "--out",
        str(tmp_path / "s.json"),
    ]
    done = subprocess.run([*command, "--only", *names], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "s.json").read_text())
    assert list(result["images_per_second"]) == names
    assert all(peak > 100 for peak in result["peak_memory_mb"].values())
    ratio, overhead = result["ratios"]
    assert (overhead["ours"], overhead["other"]) == ("engine-mlp", "bare-mlp")
    assert all(0 < share < 1 for share in result["share_of_peak"].values())
    # The hand-written loop backpropagates to networks that it does not update, and has more forward passes.
    work = result["gflop_per_image"]
    assert work["handwritten"] > work["ours-fp32"] > 0
    assert work["engine-mlp"] == work["bare-mlp"]
    each = result["seconds_per_step"]
    assert ratio["median"] == pytest.approx(statistics.median([each["handwritten"][0] / each["ours-fp32"][0]]))
    assert "| ours-fp32 |" in done.stdout


def test_an_unknown_candidate_is_refused_with_what_is_possible() -> None:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--only", "theirs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "there is no candidate 'theirs'; possible: ours-fp32," in done.stderr


@pytest.mark.parametrize("name", ["conv", "mlp"])
def test_steps_without_the_engine_do_the_same(name: str, modules: Any, tmp_path: Path) -> None:
    """Under the same seed of a step, bare torch and the engine reach the same weights."""
    import likelihood_speed
    import model_candidates

    from genprior.engine.ranks import rank
    from genprior.randomness import reseed

    def trainer(place: str) -> Any:
        if name == "mlp":
            setting = likelihood_speed.Setting(hidden=(16,), code=4)
            return likelihood_speed.our_trainer(setting, "gaussian", "fp32", tmp_path / place)
        (tmp_path / place).mkdir()
        return model_candidates._trainer("table1_priors.toml", "VAE", tmp_path / place, "cpu")

    engine, bare = trainer("engine"), trainer("bare")
    train = model_candidates.bare_steps(bare)
    for step in range(2):
        engine.one_step()
        reseed(bare.seed, "step", step, rank())
        train(1)
    mine, theirs = engine.model.state_dict(), bare.model.state_dict()
    assert all(torch.allclose(mine[key].float(), theirs[key].float(), atol=1e-5) for key in mine)


def test_counted_work_of_a_matrix_product_is_2_n_cubed(modules: Any) -> None:
    *_, speed = modules
    a = torch.randn(30, 30, requires_grad=True)
    assert speed._flop(lambda steps: [a @ a.detach() for _ in range(steps)]) == 2 * 30**3
    assert speed._peak_flops("cpu", half=False, repeats=1) > 1e6


def test_the_table_says_what_share_of_the_peak_a_loop_reaches(modules: Any) -> None:
    *_, speed = modules
    result = {
        "setting": {"width": 16, "channels": 3, "device": "cpu"},
        "rounds": 3,
        "steps": 2,
        "machine": {"torch": "2.11.0", "processor": "AMD EPYC"},
        "load": 0.5,
        "left_out": ["pythae"],
        "images_per_second": {"ours-fp32": 1234.5},
        "gflop_per_image": {"ours-fp32": 0.05},
        "matrix_gflops": {"ours-fp32": 100.0},
        "share_of_peak": {"ours-fp32": 0.617},
        "peak_memory_mb": {"ours-fp32": 900.0},
        "first_step_seconds": {"ours-fp32": 3.21},
        "ratios": [],
    }
    text = speed._tables(result)
    assert "AMD EPYC, load 0.5" in text
    assert "| ours-fp32 | 1,234.5 | 0.0500 | 61.7% of 100 GFLOP/s | 900 | 3.2 |" in text
    assert "Left out, because pythae is not installed: pythae." in text


def test_a_candidate_that_needs_pythae_is_refused_where_it_is_missing(
    modules: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, speed = modules
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        speed.main(["--only", "pythae-vae"])
    assert ended.value.code == 2
    assert "'pythae-vae' needs pythae: pip install -e" in capsys.readouterr().err
