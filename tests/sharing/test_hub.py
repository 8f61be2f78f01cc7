"""Uploads and downloads, against a server with the hub's interface."""

from __future__ import annotations

import re
import time

import pytest
import torch

import genprior
from genprior.errors import PlanError, RunError
from genprior.runs import hub as module
from genprior.runs.exported_files import FILES

from .stand_in_hub import TOKEN, serving


@pytest.fixture
def hub(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub", reason='needs pip install "genprior[hub]"')
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "downloaded"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("GENPRIOR_HUB_TIMEOUT", "20")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    disable_progress_bars()
    try:
        with serving() as server:
            monkeypatch.setenv("HF_ENDPOINT", server.address)
            yield server
    finally:
        enable_progress_bars()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def words(text):
    return " ".join(text.split())


def test_a_run_goes_there_and_back(run, hub, token, call, tmp_path, monkeypatch):
    pushed = call("export", str(run.folder), "--push", "me/digits")
    assert pushed.exit_code == 0 and f"{hub.address}/me/digits" in pushed.stdout
    assert set(hub.files["me/digits"]) == set(FILES) - {"embedder.safetensors"}
    assert "genprior.load_run('hf://me/digits')" in hub.files["me/digits"]["README.md"].decode()
    monkeypatch.delenv("HF_TOKEN")
    again = genprior.load_run("hf://me/digits")
    assert torch.equal(again.sample(12, seed=4), run.sample(12, seed=4))
    assert genprior.load_run(f"hf://me/digits@{hub.commits['me/digits']}").label == run.label
    monkeypatch.chdir(tmp_path)
    asked = len(hub.log)
    genprior.load_run("hf://me/digits")
    once = len(hub.log) - asked
    assert call("sample", "hf://me/digits", "-n", "3").exit_code == 0
    assert len(hub.log) == asked + 2 * once, "asked the hub more than once"
    assert (tmp_path / "samples.png").exists()
    monkeypatch.setenv("COLUMNS", "1000")  # of one line, however long the path before the label is
    table = call("bench", "hf://me/digits", str(run.folder))
    assert table.exit_code == 0 and words(table.stdout).count("mine | yours") == 2, table.stdout


def test_files_of_others_are_kept_and_an_upload_is_repeated(run, hub, token):
    hub.commit("me/digits", {"notes.md": b"mine"})
    genprior.push_run(run, "hf://me/digits", private=True)
    genprior.push_run(run, "me/digits")
    assert hub.files["me/digits"]["notes.md"] == b"mine"


def test_a_name_that_does_not_exist(hub, call):
    refused = call("sample", "hf://me/nothing")
    assert refused.exit_code == 2
    assert f"there is no hf://me/nothing at {hub.address}, or it is private. Check the name." in words(refused.stderr)
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("address", ["hf://digits", "hf://me/digits/more", "hf://me/../x y", "hf:/"])
def test_what_is_no_name(address):
    with pytest.raises(
        RunError, match=r"is no name of a repository on the hub; give user/name, such as hf://me/digits"
    ):
        genprior.load_run(address)


def test_a_run_of_the_hub_is_shown_and_reported_here(run, hub, token, call, tmp_path, monkeypatch):
    genprior.push_run(run, "me/digits")
    monkeypatch.chdir(tmp_path)
    shown = call("show", "hf://me/digits")
    assert shown.exit_code == 0 and "mine | yours, seed 0" in shown.output
    before = {*tmp_path.iterdir()}
    assert call("report", "hf://me/digits", "--from-records").exit_code == 0
    assert {path.name for path in {*tmp_path.iterdir()} - before} == {"report.html"}


@pytest.mark.parametrize(("address", "text"), [
    ("hf://me/digits@", "hf://me/digits@ names no revision; give a branch, tag or commit after the @, or leave it out"),
    ("HF://me", "'me' is no name of a repository on the hub"),
    ("https://huggingface.co/me/digits", "is the address of a web page; give that of a repository, such as hf://me/digits"),
    ("http://127.0.0.1:1/me/digits/tree/main?x", "give that of a repository, such as hf://me/digits"),
    ("", "the path is empty; give a run's folder"),
])  # fmt: skip
def test_what_is_nearly_an_address(address, text):
    for path in (address, module.Path(address)) if address else ("",):
        with pytest.raises(RunError, match=re.escape(text)):
            genprior.load_run(path)


def test_files_that_are_listed_and_not_there(hub, run, token):
    genprior.push_run(run, "me/digits")
    hub.missing.set()
    with pytest.raises(RunError, match=f"hf://me/digits cannot be downloaded: {hub.address} lists a file that it does"):
        genprior.load_run("hf://me/digits")


@pytest.mark.parametrize("size", [10**18, -5, 0])
def test_sizes_that_no_file_has(hub, run, token, size):
    """They limit the time of the download, and no clock has so much."""
    genprior.push_run(run, "me/digits")
    hub.sizes = [size] * 8
    assert genprior.load_run("HF://me/digits/").label == run.label


@pytest.mark.parametrize("name", ["recipe.toml", "run.json", "scores.json"])
def test_damaged_files_of_a_model_that_is_not_trained_here(hub, run, token, name):
    genprior.push_run(run, "me/digits")
    hub.commit("me/digits", {name: b"{"})
    with pytest.raises(RunError, match=r"is damaged .*; export the run again, or download the folder again$"):
        _ = genprior.load_run("hf://me/digits").scores


def test_a_repository_of_something_else(hub):
    hub.commit("me/other", {"config.json": b"{}", "model.safetensors": b"0"})
    with pytest.raises(RunError, match="hf://me/other holds no model of genprior"):
        genprior.load_run("hf://me/other")


def test_a_revision_that_does_not_exist(hub, run, token):
    genprior.push_run(run, "me/digits")
    with pytest.raises(RunError, match="hf://me/digits@v2 has no such revision; give a branch, tag or commit"):
        genprior.load_run("hf://me/digits@v2")


def test_without_a_token(hub, run):
    with pytest.raises(
        RunError, match="hf://me/digits cannot be written without a token. Give one with `hf auth login`"
    ):
        genprior.push_run(run, "me/digits")
    assert not hub.log


def test_a_token_that_is_not_accepted(hub, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(RunError, match="hf://me/digits cannot be written: http.* does not accept the token"):
        genprior.push_run(run, "me/digits")


def test_a_place_of_somebody_else(hub, run, token):
    hub.forbidden.set()
    with pytest.raises(RunError, match="the token may not do that at http.*. Give a name of your own"):
        genprior.push_run(run, "you/digits")


@pytest.mark.parametrize("action", ["read", "write"])
def test_a_server_that_never_answers(hub, run, token, monkeypatch, action):
    hub.silent.set()
    monkeypatch.setenv("GENPRIOR_HUB_TIMEOUT", "0.5")
    begin = time.monotonic()
    with pytest.raises(RunError, match=r"did not answer within 0\.5 s. Try again later|timed out"):
        genprior.load_run("hf://me/digits") if action == "read" else genprior.push_run(run, "me/digits")
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("text", ["30s", "-5", "0", "nan", "inf"])
@pytest.mark.parametrize("action", ["read", "write"])
def test_a_time_limit_that_is_none(hub, run, token, monkeypatch, action, text):
    monkeypatch.setenv("GENPRIOR_HUB_TIMEOUT", text)
    message = f"GENPRIOR_HUB_TIMEOUT = {text} is no number of seconds of at least 0.1; give one such as 30, or unset it"
    with pytest.raises(RunError, match=re.escape(message)):
        genprior.load_run("hf://me/digits") if action == "read" else genprior.push_run(run, "me/digits")
    assert not hub.log


def test_a_server_that_is_not_there(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(RunError, match=r"hf://me/digits cannot be read at http://127\.0\.0\.1:1: .*Check the network"):
        genprior.load_run("hf://me/digits")


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(PlanError, match=r'huggingface_hub, which is not installed. .*`pip install "genprior\[hub\]"`'):
        genprior.load_run("hf://me/digits")


def test_other_paths_are_left_as_they_are(tmp_path):
    assert module.local_folder(tmp_path) == tmp_path
    assert module.local_folder("hf") == module.Path("hf")
