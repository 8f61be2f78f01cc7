"""What a page sends that no page should: other sites, files, and numbers that are none."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import torch

import genprior
from genprior_explore.explorer import noise_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra `explore`")
BOUNDARY = "----formdata"


def answer(address, path, content, **headers):
    """The status and the text of an answer to a form."""
    request = urllib.request.Request(address + path, content, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_files_are_not_taken(address) -> None:
    form = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--{BOUNDARY}--\r\n'
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for path in ("/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/%75pload"):
        assert answer(address, path, form.encode(), **kind) == (403, "this page takes no files")


@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://127.0.0.1:1", "https://localhost"])
def test_pages_of_other_sites_are_refused(address, origin) -> None:
    ask = json.dumps({"data": [0], "fn_index": 0, "session_hash": "a"}).encode()
    sent = {"Content-Type": "application/json"}
    assert answer(address, "/gradio_api/queue/join", ask, **sent, Origin=origin)[0] == 403
    assert answer(address, "/config", None, Origin=origin)[0] == 403
    assert answer(address, "/config", None, Origin=address)[0] == 200


START = """
from genprior_explore.command import explore
explore()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_pictures_are_no_files_and_nothing_is_left_at_the_end(trained, tmp_path, number) -> None:
    """Also where the process is ended, or its terminal closed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", START, str(trained / "plain" / "seed-0"), "--no-open"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            address = server.stdout.readline().partition(" ")[0]
            (event,) = [
                each for each in json.loads(answer(address, "/config", None)[1])["dependencies"] if each["id"] == 0
            ]
            numbers = [0, None, None] + [0.5] * (len(event["inputs"]) - 3)
            ask = json.dumps({"data": numbers, "fn_index": 0, "session_hash": "a"}).encode()
            assert answer(address, "/gradio_api/queue/join", ask, **{"Content-Type": "application/json"})[0] == 200
            with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=a", timeout=60) as lines:
                told = next(line for line in lines if b"process_completed" in line)
            assert b"data:image/png;base64," in told
            assert not [path for path in tmp_path.rglob("genprior-explore-*/**/*") if path.is_file()]
        finally:
            server.send_signal(number)
        errors = server.communicate(timeout=60)[1]
    assert (server.returncode, errors) == (128 + signal.SIGTERM, "")
    assert not list(tmp_path.glob("genprior-explore-*"))


@pytest.fixture
def page(explorer):
    from genprior_explore.app import Page

    return Page([explorer("plain"), explorer("labelled")])


def test_numbers_of_sliders_that_are_missing_or_too_large(page) -> None:
    moved = page.noise(3, None, "", "x", math.nan, 1e400, -7, [1], "1.5")
    assert moved[:8].tolist() == [0, 0, 0, 0, 4, -4, 0, 1.5]
    assert torch.equal(moved[8:], noise_of(3)[8:])
    assert torch.equal(page.noise(None), noise_of(0))


@pytest.mark.parametrize("seed", [-1, 0.5, 2**53, 2**64, 1e300, math.nan, math.inf, "x", [1], {}])
def test_a_seed_that_is_none_is_told(page, seed) -> None:
    for ask in (page.shown, page.mapped, lambda *all: page.walked(0, all[0], 0.5, None, None)):
        with pytest.raises(genprior.PlanError, match="is no seed; give a whole number from 0 to 9,007,199,254,740,991"):
            ask(seed, None, None)


def test_the_largest_seed_has_a_picture(page) -> None:
    plain, labelled = page.shown(2**53 - 1, "no such label", ["no text"])
    assert plain.ndim == labelled.ndim == 3


def test_a_message_is_no_html(page) -> None:
    import gradio

    from genprior_explore.app import _told

    def fail():
        raise genprior.PlanError("such as: <img src=x onerror=alert(1)>")

    with pytest.raises(gradio.Error) as caught:
        _told(fail)()
    assert caught.value.message == "such as: &lt;img src=x onerror=alert(1)&gt;"
    assert not caught.value.print_exception
