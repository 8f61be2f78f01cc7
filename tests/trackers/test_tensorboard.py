"""Event files for TensorBoard, read by TensorBoard."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.testing import check_hook
from genprior_std.hooks.tensorboard import TensorBoard

pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def test_an_interrupted_run_is_one_run_with_each_step_once(interrupted) -> None:
    run = interrupted("tensorboard")
    held = read(run.trainer.folder / "tensorboard")
    scalars = {tag: [(e.step, e.value) for e in held.Scalars(tag)] for tag in held.Tags()["scalars"]}
    assert [step for step, _ in scalars.pop("seconds")] == [2, 4, 6]
    assert {tag: [step for step, _ in values] for tag, values in scalars.items()} == {
        tag: [step for step, _ in values] for tag, values in run.numbers.items()
    }
    for tag, values in run.numbers.items():
        assert [value for _, value in scalars[tag]] == pytest.approx([value for _, value in values], rel=1e-6)
    assert [event.step for event in held.Images("samples")] == [3, 6]
    shown = np.array(Image.open(io.BytesIO(held.Images("samples")[-1].encoded_image_string)))
    assert shown.shape == (12, 42, 3)  # four images of 8 x 8 with two pixels between them
    assert torch.equal(torch.tensor(shown[2:10, 2:10, 0]), run.trainer.sample(4)[0, 0])
    texts = {tag: held.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode() for tag in (
        "recipe", "tag/row", "tag/seed", "tag/recipe")}  # fmt: skip
    assert texts == {
        "recipe": f"```toml\n{run.trainer.plan.as_toml()}\n```", "tag/row": "AAE", "tag/seed": "0", "tag/recipe": "tiny"
    }  # fmt: skip
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = held.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["model.code_size"].number_value == 4
    assert values["model.prior.name"].string_value == "gaussian"


def test_several_runs_share_a_folder_of_logs(tracked, tmp_path) -> None:
    for name in ("one", "two"):
        tracked("tensorboard", f'folder="{tmp_path / "logs"}"', folder=name)
    folders = sorted((tmp_path / "logs").iterdir())
    ids = sorted(json.loads((tmp_path / n / "tensorboard/tracked.json").read_text())["id"] for n in ("one", "two"))
    assert [folder.name for folder in folders] == [f"AAE seed 0 {each}" for each in ids]
    assert [len(read(folder).Scalars("seconds")) for folder in folders] == [3, 3]


def test_the_contract_of_hooks(tmp_path) -> None:
    check_hook(TensorBoard.Config(folder=tmp_path / "logs", samples=4))
