"""The likelihood benchmark compares like with like: pythae's models compute what genprior's compute."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("pythae")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PRIORS = ("gaussian", "vampprior")


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import likelihood_speed

    yield likelihood_speed


@pytest.fixture
def small(speed: Any) -> Any:
    return speed.Setting(hidden=(12, 10), code=4, components=6, batch=20, importance_samples=100)


def pair(speed: Any, small: Any, prior: str, folder: Path) -> tuple[Any, Any, Any]:
    """Our trainer, pythae's model of the same weights, and a batch."""
    trainer = speed.our_trainer(small, prior, "fp32", folder, test_images=5)
    model = trainer.model
    with torch.no_grad():  # away from the start, so that nothing is near zero
        for i, p in enumerate(model.parameters()):
            noise = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
            p.add_(noise, alpha=0.05 if p is getattr(model.prior, "pseudo_inputs", None) else 0.2)
    return trainer, speed.their_model(small, prior, model), trainer.data.batch(0)


@pytest.mark.parametrize("prior", PRIORS)
def test_both_encode_and_decode_alike(prior: str, speed: Any, small: Any, tmp_path: Path) -> None:
    trainer, theirs, batch = pair(speed, small, prior, tmp_path)
    t = (batch.x + 1) / 2
    none = batch.x.new_zeros(len(batch.x), 0)
    q, their_q = trainer.model.encoder(batch.x, none), theirs.encoder(t)
    torch.testing.assert_close(q.mean, their_q.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(q.log_variance, their_q.log_covariance, rtol=1e-4, atol=1e-5)
    white = (trainer.model.decoder(q.mean, none) + 1) / 2
    torch.testing.assert_close(white, theirs.decoder(q.mean).reconstruction, rtol=1e-4, atol=1e-5)
    assert white.std() > 0.05
    assert sum(p.numel() for p in trainer.model.parameters()) == sum(
        p.numel() for name, p in theirs.named_parameters() if name != "pseudo_inputs.0.bias"
    )


@pytest.mark.parametrize("prior", PRIORS)
def test_both_have_the_same_losses(prior: str, speed: Any, small: Any, tmp_path: Path) -> None:
    """At the same codes, which both draw first and in the same way."""
    trainer, theirs, batch = pair(speed, small, prior, tmp_path)
    t = (batch.x + 1) / 2
    torch.manual_seed(4)
    note = trainer.model.elbo(batch).note
    torch.manual_seed(4)
    output = theirs({"data": t})
    assert output.recon_loss.item() == pytest.approx(note["reconstruction"].item(), rel=1e-4)
    kl = note["kl"].item()
    if prior == "gaussian":  # theirs is in closed form; ours is its mean over codes
        draws = trainer.model.infer(batch).draw(1_000)
        each = (draws.log_posterior - draws.log_prior).mean(1).detach()
        kl, error = each.mean().item(), each.std().item() / math.sqrt(len(each))
        assert abs(output.reg_loss.item() - kl) < 5 * error  # wrong once in 2 million
    else:
        assert output.reg_loss.item() == pytest.approx(kl, rel=1e-4)


@pytest.mark.parametrize("prior", PRIORS)
def test_both_estimate_the_same_likelihood_from_the_same_codes(
    prior: str, speed: Any, small: Any, tmp_path: Path
) -> None:
    trainer, theirs, batch = pair(speed, small, prior, tmp_path)
    one = batch._replace(x=batch.x[:1], y=batch.y[:1])
    with torch.no_grad():
        torch.manual_seed(6)
        draws = trainer.model.infer(one).draw(100)
        torch.manual_seed(6)
        log_p = theirs.get_nll((one.x + 1) / 2, n_samples=100, batch_size=100)
    assert (draws.log_weight.logsumexp(0) - math.log(100)).item() == pytest.approx(log_p, rel=1e-5)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_candidates_estimate_the_likelihood_of_the_same_images(
    prior: str, speed: Any, small: Any, tmp_path: Path
) -> None:
    prefix = {"gaussian": "vae", "vampprior": "vampprior"}[prior]
    ours = speed.make(f"{prefix}-nll", small, tmp_path / "ours")
    theirs = speed.make(f"{prefix}-nll-pythae", small, tmp_path / "theirs")
    torch.manual_seed(0)
    # The sampling error, of independent estimates of either side.
    repeats = torch.tensor([theirs(5) for _ in range(8)], dtype=torch.float64)
    # One difference over its standard error has Student's t with 7 degrees of freedom: beyond 12, 3 times in a million.
    error = repeats.std().item() * math.sqrt(1 + 1 / 8)
    assert abs(ours(5) - repeats.mean().item()) < 12 * error + 1e-4
    assert error < 0.5
    # Of other images it is another number.
    assert abs(ours(2) - ours(5)) > 12 * error + 1e-4


def test_a_training_candidate_of_either_library_takes_the_steps_that_it_is_told(
    speed: Any, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a, **k: steps.append(1) or step(self, *a, **k))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    speed.make("vae-fp32", small, tmp_path / "ours")(3)
    assert len(steps) == 3 * 2  # an optimiser of the encoder and one of the decoder
    steps.clear()
    speed.make("vampprior-pythae", small, tmp_path / "theirs")(4)
    assert len(steps) == 4


@pytest.mark.slow
def test_the_command_line_writes_a_table_and_json(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "likelihood_speed.py"), "--quick", "--hidden", "8"]
    command += ["--out", str(tmp_path / "s.json"), "--only", "vae-nll-pythae", "vae-nll"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "s.json").read_text())
    each = result["seconds"]
    assert list(each) == ["vae-nll", "vae-nll-pythae"]
    (ratio,) = result["ratios"]
    assert ratio["median"] == pytest.approx(each["vae-nll-pythae"][0] / each["vae-nll"][0])
    assert f"| vae-nll | {1e3 * each['vae-nll'][0]:.2f} ms an image |" in done.stdout


def test_an_unknown_candidate_is_refused_with_what_is_possible() -> None:
    command = [sys.executable, str(BENCHMARKS / "likelihood_speed.py"), "--only", "theirs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "invalid choice: 'theirs' (choose from 'vae-fp32'," in done.stderr
