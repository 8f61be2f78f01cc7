"""Checkpoints with every byte flipped and of every length, and a few injected faults; `make faults` injects many."""

from __future__ import annotations

import json
from random import Random

import pytest
import torch

from genprior.errors import CheckpointError
from genprior.storage import checkpoint

from .campaign import Campaign
from .contents import broken, differences, temporary
from .process import Ended
from .scenarios import SCENARIOS

pytestmark = pytest.mark.skipif("not hasattr(__import__('os'), 'fork')", reason="faults are injected into forks")


@pytest.fixture
def small(tmp_path):
    """A checkpoint of about 400 bytes, and its content."""
    tensors = {"model/a": torch.arange(6.0), "optimiser/a/step": torch.tensor(3)}
    path = checkpoint.write(tmp_path, 3, tensors, {"seconds": 1.5, "data": {"image": [1, 8, 8], "classes": []}})
    return path, tensors


def loaded(path):
    """What a checkpoint reads as; None if it is refused."""
    try:
        saved = checkpoint.read(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return None
    return saved


def test_tensors_with_any_flipped_bit_or_of_any_other_length_are_refused(small):
    path, _ = small
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 7):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            assert loaded(path) is None, (place, bit)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert loaded(path) is None, length
    path.write_bytes(whole + b"\0")
    assert loaded(path) is None


def test_facts_of_any_length_are_refused_or_whole(small):
    path, tensors = small
    facts = path.with_suffix(".json")
    whole = facts.read_bytes()
    for length in range(len(whole)):
        facts.write_bytes(whole[:length])
        saved = loaded(path)
        assert saved is None or saved.facts == json.loads(whole), length
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        facts.write_bytes(changed)
        saved = loaded(path)
        assert saved is None or all(torch.equal(saved.tensors[name], each) for name, each in tensors.items()), place
        for key in ("step", "data"):  # the other facts, format and seconds, have no checksum
            assert saved is None or saved.facts[key] == json.loads(whole)[key], place


def test_a_few_faults(tmp_path):
    """Ten injections into the training of a model of sentences; the report counts each."""
    campaign = Campaign(tmp_path, Random(1))
    campaign.run(minutes=0.5, injections=10, scenarios=(SCENARIOS[1],))
    assert not [text for tally in campaign.tallies.values() for text in tally.problems]
    assert sum(tally.injections for tally in campaign.tallies.values()) >= 1


def test_what_is_half_written_is_noticed(tmp_path):
    """The checks of the campaign see what they are there for."""
    (tmp_path / "scores.json").write_text('{"fid": 1')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "run.json").write_text('{"seconds": 2}')
    (tmp_path / ".a.1234.png").write_bytes(b"")
    assert [text.partition(":")[0] for text in broken(tmp_path)] == ["a.png", "metrics.jsonl", "scores.json"]
    assert temporary(tmp_path) == [".a.1234.png"]
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == ["b", "c"]
    assert Ended(1, "x\nTraceback (most recent call last):\n", 0.1).traceback
