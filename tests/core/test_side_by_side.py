"""How many rows train side by side on a GPU, from injected figures, and how `--jobs` is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from genprior.cli.options import rows_in_parallel
from genprior.launch import reporter, side_by_side
from genprior.launch import train as launch_train
from genprior.launch.pace import Pace
from genprior.launch.side_by_side import PROCESS, Load, Operations, load_of, rows_at_once, rows_on
from genprior.runs.environment import cores

GB = 2**30


@pytest.mark.parametrize(
    ("rows", "memory", "share", "free", "processors", "expected"),
    [
        (9, 2 * GB, 0.07, 140 * GB, 16, 8),  # ceil(0.5 / 0.07) rows keep the GPU busy
        (3, 2 * GB, 0.07, 140 * GB, 16, 3),  # there are no more
        (8, 2 * GB, 0.02, 140 * GB, 4, 4),  # nor more cores
        (8, 30 * GB, 0.02, 140 * GB, 16, 4),  # 4 x 30.6 GB fit in 126, 5 do not
        (8, 200 * GB, 0.02, 140 * GB, 16, 1),  # one is tried, and its own error says that it does not fit
        (8, 2 * GB, 0.9, 140 * GB, 16, 1),  # one alone keeps it busy
        (8, 2 * GB, 0.0, 140 * GB, 16, 8),  # nothing was counted
        (0, 0, 0.0, 140 * GB, 16, 1),
    ],
)
def test_memory_the_share_and_the_cores_limit_the_rows(
    rows: int, memory: int, share: float, free: int, processors: int, expected: int
) -> None:
    assert rows_at_once([Load(memory, share)] * rows, free, processors) == expected


@given(
    st.lists(st.builds(Load, st.integers(0, 40 * GB), st.floats(0, 1)), max_size=9),
    st.integers(0, 150 * GB),
    st.integers(1, 64),
)
def test_any_rows_that_are_chosen_fit(loads: list[Load], free: int, processors: int) -> None:
    k = rows_at_once(loads, free, processors)
    assert 1 <= k <= max(1, min(len(loads), processors))
    largest = sorted((load.memory for load in loads), reverse=True)[:k]
    assert k == 1 or sum(each + PROCESS for each in largest) <= 0.9 * free
    assert rows_at_once(loads, free + GB, processors) >= k


def test_the_gpu_says_how_much_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7 * GB, 80 * GB))
    monkeypatch.setattr(side_by_side, "cores", lambda: 16)
    cuda, load = torch.device("cuda"), Load(2 * GB, 0.05)
    assert rows_on(cuda, [load] * 8) == 2
    assert rows_on(cuda, [load, None]) == 1  # one could not be measured
    assert rows_on(torch.device("cpu"), [load] * 8) == 1


def test_jobs_are_a_number_or_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [rows_in_parallel(text, "cpu") for text in ("3", "auto", None)]
    assert found == [3, "auto", cores()]
    found = [rows_in_parallel(text, "cpu", elsewhere=True) for text in ("3", "auto", None)]
    assert found == [3, "auto", None]
    for text in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(typer.BadParameter, match=f"'{text}' is neither a number of at least 1 nor auto"):
            rows_in_parallel(text, "cpu")
    monkeypatch.setattr(reporter.torch.cuda, "is_available", lambda: True)
    assert rows_in_parallel(None, "auto") == 1


@pytest.mark.parametrize(("loads", "workers"), [([Load(GB, 0.1)] * 2, 2), ([Load(GB, 0.9)] * 2, 1), ([None] * 2, 1)])
def test_auto_trains_as_many_rows_as_were_chosen(
    loads: list[Load | None], workers: int, monkeypatch: pytest.MonkeyPatch, tmp_path, tiny
) -> None:
    import genprior

    recipe = genprior.load_recipe(tiny)
    monkeypatch.setattr(launch_train, "default_jobs", lambda device: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * GB, 80 * GB))
    monkeypatch.setattr(side_by_side, "cores", lambda: 16)
    paces = [
        Pace(plan, 1.0, torch.device("cuda"), "float32", None, load)
        for plan, load in zip(recipe.plans, loads, strict=True)
    ]
    monkeypatch.setattr(launch_train, "preflight", lambda recipe, device, timed: paces)
    monkeypatch.setattr(launch_train, "estimate", lambda *figures, **more: None)  # it names the GPU
    used = []
    monkeypatch.setattr(launch_train, "in_processes", lambda stages, k, *rest, **more: used.append(k) or [])
    monkeypatch.setattr(launch_train, "_in_this_process", lambda *rest: used.append(1) or [])
    launch_train.train(recipe, out=tmp_path / "out", jobs="auto", device="cpu")
    assert used == [workers]


@pytest.mark.parametrize(
    ("recipe", "row", "changes", "hooks"),
    [
        ("table3_ablation", "A+B+C", ("quick",), True),
        # Its phase takes a gradient of its own, in which the hooks of FlopCounterMode fail.
        ("aae_semi_supervised", "100 labels + adversarial consistency", ("quick",), False),
    ],
)
def test_operations_are_counted_as_by_flop_counter_mode(recipe, row, changes, hooks, tmp_path) -> None:
    import genprior
    from genprior.runs.trainer import Trainer

    settings = ["run.batch=8", "scores=[]", 'data={name="digits",size=8}']
    path = Path(__file__).parents[2] / "recipes" / f"{recipe}.toml"
    trainers = [
        Trainer(genprior.load_recipe(path, changes=changes, rows=[row], settings=settings).plans[0], 0, tmp_path)
        for _ in range(2)
    ]
    for trainer in trainers:
        trainer.prepare()
        trainer._training_mode()
    with Operations() as operations:
        trainers[0].one_step()
    assert operations.total > 10**6
    if hooks:
        with FlopCounterMode(display=False) as counter:
            trainers[1].one_step()
        assert operations.total == counter.get_total_flops()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_load_of_a_training_is_measured(tmp_path, tiny) -> None:
    import genprior
    from genprior.runs.trainer import Trainer

    trainer = Trainer(genprior.load_recipe(tiny).plans[0], 0, tmp_path, device="cuda")
    trainer.prepare()
    for _ in range(6):  # the last ones replay a CUDA graph
        trainer.one_step()
    load = load_of(trainer, 0.01)
    assert load is not None and load.memory > 0 and 0 < load.share < 1
