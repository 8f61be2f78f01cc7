"""Exported models on the Hugging Face hub, or a server with its interface: `hf://user/name`.

The package huggingface_hub finds the token of the user (`hf auth login`, or HF_TOKEN) and keeps what it has downloaded;
HF_ENDPOINT names another server.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from genprior.errors import GenpriorError, PlanError, RunError, in_a_sentence
from genprior.runs.exported_files import FILES, is_exported
from genprior.runs.time_limits import time_limit

__all__ = ["is_address", "local_folder", "repository_of", "upload"]

T = TypeVar("T")
_ADDRESS = re.compile(r"(?i:hf):/*(?P<name>[^@]*?)/?(?:@(?P<revision>.*))?")
_PAGE = re.compile(r"https?:/+[^/]+/(?P<name>[\w.-]+/[\w.-]+)(/.*)?", re.ASCII | re.IGNORECASE)
"""The web page of a repository."""
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_TIMEOUT = "GENPRIOR_HUB_TIMEOUT"
"""The environment variable with the seconds in which the hub must answer; 30 if it is not set."""
_SLOWEST = 100_000.0
"""Bytes a second, below which a transfer is given up."""
_LONGEST = 7 * 24 * 3600.0
"""The most seconds that a transfer may take, whatever sizes a server tells."""


def is_address(path: str | Path) -> bool:
    """Whether a path is an address `hf://user/name`; the hub is not asked."""
    return _parsed(path) is not None


def _parsed(path: str | Path) -> re.Match[str] | None:
    return _ADDRESS.fullmatch(path if isinstance(path, str) else path.as_posix())


def local_folder(path: str | Path) -> Path:
    """The folder of a path: a downloaded copy of an address `hf://user/name`, another path as it is.

    `hf://user/name@v1` names a revision: a branch, a tag or a commit.

    Raises:
        PlanError: the package huggingface_hub is missing.
        RunError: the address is no name of a repository, there is none, it cannot be read, holds no model of genprior,
            or the hub does not answer.
    """
    if path == "":
        raise RunError("the path is empty; give a run's folder, such as runs/<recipe>/<row>/seed-0")
    found = _parsed(path)
    if found is None:
        page = _PAGE.fullmatch(path if isinstance(path, str) else path.as_posix())
        if page is not None:
            raise RunError(
                f"{path} is the address of a web page; give that of a repository, such as hf://{page['name']}"
            )
        return Path(path)
    name, revision = repository_of(found["name"]), found["revision"]
    if revision == "":
        raise RunError(f"hf://{name}@ names no revision; give a branch, tag or commit after the @, or leave it out")
    hub = _package()
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    asked = f"hf://{name}" + (f"@{revision}" if revision else "")
    seconds = _seconds()
    info = _within(
        seconds,
        lambda: api.repo_info(name, revision=revision, files_metadata=True, timeout=seconds),
        asked,
        "read",
    )
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or () if each.rfilename in FILES}
    if not {"model.safetensors", "model.json", "recipe.toml", "run.json"} <= sizes.keys():
        raise RunError(
            f"{asked} holds no model of genprior (it lacks model.safetensors, model.json, recipe.toml or run.json). "
            "Give a repository that `genprior export RUN --push` wrote"
        )
    folder = Path(
        _within(
            _seconds_for(sum(max(0, size) for size in sizes.values())),
            lambda: api.snapshot_download(name, revision=info.sha or revision, allow_patterns=list(FILES)),
            asked,
            "download",
        )
    )
    if not is_exported(folder):
        raise RunError(f"{asked} holds no model of genprior: its model.json was not written by it")
    return folder


def repository_of(name: str) -> str:
    """The name of a repository, `user/name`.

    Raises:
        RunError: it is no such name.
    """
    name = name.removeprefix("hf://")
    if not _NAME.fullmatch(name):
        raise RunError(f"'{name}' is no name of a repository on the hub; give user/name, such as hf://me/digits")
    return name


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload an exported folder, and return the address of its page.

    The repository is made if there is none. Files in it that genprior does not write are kept.

    Raises:
        PlanError: the package huggingface_hub is missing.
        RunError: there is no token, it may not write there, or the hub does not answer.
    """
    name = repository_of(name)
    hub = _package()
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    asked, seconds = f"hf://{name}", _seconds()
    if hub.get_token() is None:
        raise RunError(f"{asked} cannot be written without a token. {_ADVICE}")
    made = _within(seconds, lambda: api.create_repo(name, private=private or None, exist_ok=True), asked, "write")
    size = sum(path.stat().st_size for path in folder.iterdir())
    _within(
        _seconds_for(size),
        lambda: api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(FILES), commit_message="Model exported by genprior"
        ),
        asked,
        "write",
    )
    return str(made)


_ADVICE = (
    "Give one with `hf auth login`, or in the variable HF_TOKEN; https://huggingface.co/settings/tokens makes them"
)


def _seconds() -> float:
    return time_limit(_TIMEOUT, 30.0, least=0.1)


def _seconds_for(size: int) -> float:
    """The seconds that a transfer of so many bytes may take."""
    return _seconds() + min(size / _SLOWEST, _LONGEST)


def _package() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise PlanError(
            "addresses hf://user/name need the package huggingface_hub, which is not installed. Install it with "
            '`pip install "genprior[hub]"`'
        ) from None
    return huggingface_hub


def _within(seconds: float, call: Callable[[], T], asked: str, action: str) -> T:
    """What a call of the hub returns within some seconds; its errors in words.

    Raises:
        RunError: it failed, or took longer.
    """
    found: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:
            failed.append(error)

    # Not all requests of the package have a time limit of their own.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    where = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if not failed:
        raise RunError(
            f"{asked} cannot be {_PAST[action]}: {where} did not answer within {seconds:.3g} s. Try again later, or "
            "allow more seconds in the variable GENPRIOR_HUB_TIMEOUT"
        )
    raise _in_words(failed[0], asked, action, where) from failed[0]


_PAST = {"read": "read", "download": "downloaded", "write": "written"}


def _in_words(error: Exception, asked: str, action: str, where: str) -> GenpriorError:
    """The error that a call failed with, in words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    errors = importlib.import_module("huggingface_hub.errors")
    if isinstance(error, errors.GatedRepoError):
        return RunError(f"{asked} is for people whom its owner lets in. Ask on its page at {where}. {_ADVICE}")
    if isinstance(error, errors.RevisionNotFoundError):
        return RunError(f"{asked} has no such revision; give a branch, tag or commit of it, or leave @... out")
    if status == 401 and action == "write":
        return RunError(f"{asked} cannot be written: {where} does not accept the token. {_ADVICE}")
    if status == 403:
        return RunError(
            f"{asked} cannot be {_PAST[action]}: the token may not do that at {where}. Give a name of your own, or a "
            "token that may write"
        )
    if status == 404 and isinstance(error, errors.EntryNotFoundError):
        return RunError(
            f"{asked} cannot be {_PAST[action]}: {where} lists a file that it does not have. Try again later, or "
            "push the run again"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        return RunError(
            f"there is no {asked} at {where}, or it is private. Check the name. If it is private: {_ADVICE}"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return RunError(f"{asked} cannot be {_PAST[action]}: HF_HUB_OFFLINE is set. Unset it")
    return RunError(
        f"{asked} cannot be {_PAST[action]} at {where}: {type(error).__name__}: {in_a_sentence(str(error)[:300])}. "
        "Check the network, and HF_ENDPOINT if it is set"
    )
