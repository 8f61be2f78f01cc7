"""Injected faults: a few in every test run, all of them with `make faults`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from random import Random

import pytest

from .campaign import Campaign
from .report import report
from .scenarios import SCENARIOS


@pytest.mark.faults
@pytest.mark.timeout(0)
def test_all_faults(tmp_path):
    """The campaign of `make faults`; its numbers are written to the file FAULTS_OUT."""
    minutes, injections = float(os.environ.get("MINUTES") or 14), int(os.environ.get("INJECTIONS") or 100_000)
    seed = int(os.environ.get("SEED") or 0)
    campaign = Campaign(tmp_path, Random(seed))
    began = time.monotonic()
    names = os.environ.get("SCENARIOS", "").split()
    scenarios = tuple(each for each in SCENARIOS if not names or each.name in names)
    campaign.run(minutes, injections, scenarios, os.environ.get("FAULTS", "").split())
    found = report(campaign, seed, (time.monotonic() - began) / 60)
    out = Path(os.environ.get("FAULTS_OUT") or "faults.json")
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    problems = [text for tally in campaign.tallies.values() for text in tally.problems]
    print(f"\n{sum(each.injections for each in campaign.tallies.values())} injections, {len(problems)} problems; {out}")
    assert not problems, "\n".join(problems[:50])
