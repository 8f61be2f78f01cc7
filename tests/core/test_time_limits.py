"""Time limits in environment variables: what is a number of seconds, and what is refused."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from genprior.errors import RunError
from genprior.runs.time_limits import time_limit
from genprior.runs.torchrun import TIME_LIMIT, ranks_time_limit


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("0.5", 0.5), (" 1e3 ", 1000.0), ("", 30.0), (None, 30.0)])
def test_a_number_of_seconds_is_taken(text: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMIT", raising=False)
    if text is not None:
        monkeypatch.setenv("LIMIT", text)
    assert time_limit("LIMIT", 30.0, least=0.5) == seconds


@pytest.mark.parametrize("text", ["30s", "-5", "0.4", "nan", "inf", "1e300", "ten"])
def test_another_text_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIT", text)
    told = f"LIMIT = {text} is no number of seconds of at least 0.5; give one such as 30, or unset it"
    with pytest.raises(RunError, match=re.escape(told)):
        time_limit("LIMIT", 30.0, least=0.5)


def test_processes_of_torchrun_wait_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIME_LIMIT, "7")
    assert ranks_time_limit() == timedelta(seconds=7)
    monkeypatch.setenv(TIME_LIMIT, "7s")
    with pytest.raises(RunError, match="GENPRIOR_RANKS_TIMEOUT = 7s is no number of seconds of at least 1; give one"):
        ranks_time_limit()
