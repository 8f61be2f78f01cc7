"""Errors of the operating system end in one line, and the run resumes."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys

import pytest

from genprior.errors import ScoreError, system_error
from genprior.recipe.load import load_recipe
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import jobs_of
from genprior.runs.trainer import Trainer
from genprior.storage import files
from genprior.storage.cache import made_once
from genprior.tables.gather import write_table_of_jobs

pytestmark = pytest.mark.usefixtures("no_curves")


def refuse(code):
    def refused(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return refused


def broken(monkeypatch, operation, code, name):
    """Let an operation on files of this name fail as the system does."""
    if operation == "fsync":
        known: dict[int, str] = {}
        whole = os.open

        def opened(path, *args, **kwargs):
            handle = whole(path, *args, **kwargs)
            known[handle] = str(path)
            return handle

        monkeypatch.setattr(files.os, "open", opened)
        real = os.fsync
        monkeypatch.setattr(files.os, "fsync", lambda h: refuse(code)() if name in known.get(h, "") else real(h))
        return
    owner = type(files.Path())
    method = {"rename": "replace", "open": "touch", "read": "read_text"}[operation]
    real_method = getattr(owner, method)

    def failing(self, *args, **kwargs):
        if name in self.name:
            raise OSError(code, os.strerror(code), str(self))
        return real_method(self, *args, **kwargs)

    monkeypatch.setattr(files.Path, method, failing)


@pytest.mark.parametrize(
    ("operation", "code", "name", "file", "remedy"),
    [
        ("fsync", errno.EIO, "scores", "write {}/scores.json", "Check the disk, or use another folder"),
        ("rename", errno.EACCES, "scores", "write {}/scores.json", "Give yourself permission there, or use another"),
        ("open", errno.ENOSPC, "scores", "write {}/scores.json", "Free some space, and give the same command again"),
        ("read", errno.EIO, "recipe.toml", "read {}/recipe.toml", "Check the disk, or use another folder"),
    ],
)
def test_an_error_of_the_system_is_one_line_and_the_run_resumes(
    tiny, tmp_path, call, monkeypatch, operation, code, name, file, remedy
):
    folder = tmp_path / "out" / "AAE" / "seed-0"
    command = ("train", tiny, "--out", tmp_path / "out", "--rows", "AAE", "--jobs", 1)
    if operation == "read":
        assert call(*command, "--set", "run.seeds=[0]").exit_code == 0
        (folder / "run.json").unlink()
    with monkeypatch.context() as patch:
        broken(patch, operation, code, name)
        result = call(*command)
    assert result.exit_code == 1, result.output
    last = result.stderr.splitlines()[-1]
    assert (
        last.strip()
        .removeprefix("AAE: ")
        .removeprefix("error: ")
        .startswith(f"cannot {file.format(folder)}: {os.strerror(code)}. {remedy}")
    )
    assert last.endswith("give the same command again; training resumes from the last checkpoint.")
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    assert call(*command).exit_code == 0
    assert json.loads((folder / "run.json").read_text())["finished"]


def test_the_message_names_the_file_of_an_error_without_a_note():
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere/file")
    assert str(system_error(error)) == (
        "a file could not be read or written (/somewhere/file): Permission denied. Give yourself permission there, "
        "or use another folder, and give the same command again."
    )
    assert str(system_error(error, training=True)).endswith(
        "give the same command again; training resumes from the last checkpoint."
    )
    assert system_error(error).exit_code == 1


def test_only_a_training_is_said_to_resume(tiny, tmp_path, call, monkeypatch):
    command = ("train", tiny, "--out", tmp_path / "out", "--rows", "AAE", "--jobs", 1, "--set", "run.seeds=[0]")
    with monkeypatch.context() as patch:
        broken(patch, "open", errno.ENOSPC, "table")
        result = call(*command)
    assert result.exit_code == 1, result.output
    assert result.stderr.endswith(
        f"cannot write {tmp_path}/out/table.json: No space left on device. Free some space, and give the same command "
        "again; training resumes from the last checkpoint.\n"
    )
    assert call(*command).exit_code == 0
    for name, command in {
        "x": ("sample", tmp_path / "out", "--n", 1, "--to", tmp_path / "x.png"),
        "table": ("bench", tmp_path / "out", "--out", tmp_path / "bench"),
    }.items():
        with monkeypatch.context() as patch:
            broken(patch, "open", errno.ENOSPC, name)
            result = call(*command)
        assert result.exit_code == 1, result.output
        file = tmp_path / ("x.png" if name == "x" else "bench/table.json")
        assert result.stderr.endswith(
            f"error: cannot write {file}: No space left on device. Free some space, and give the same command again.\n"
        )
        assert not file.exists()


def test_the_umask_decides_who_may_read_a_file(tmp_path):
    for mask in (0o077, 0o002, 0o022):
        before = os.umask(mask)
        try:
            files.write_text(tmp_path / "a.txt", "a")
            files.append_line(tmp_path / f"b{mask}", {"a": 1})
        finally:
            os.umask(before)
        for name in ("a.txt", f"b{mask}"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


def test_the_folder_is_flushed_after_the_renaming(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files, "sync", lambda path: done.append((path, (tmp_path / "a.txt").exists())))
    files.write_text(tmp_path / "a.txt", "a")
    (first, renamed), (second, after) = done
    assert first.parent == tmp_path and not renamed
    assert (second, after) == (tmp_path, True)


def test_an_error_of_making_is_not_blamed_on_the_cache(tmp_path):
    def make():
        raise FileNotFoundError(errno.ENOENT, "gone", "images")

    with pytest.raises(FileNotFoundError, match="images"):
        made_once(tmp_path / "x.json", lambda path: None, make, files.write_json)
    with pytest.raises(
        ScoreError, match="cannot write '.*x.json' .No space left on device.; free some space"
    ) as caught:
        made_once(tmp_path / "x.json", lambda path: None, lambda: {}, refuse(errno.ENOSPC))
    assert caught.value.exit_code == 1


def test_what_killed_processes_left_is_removed_by_the_next(tmp_path):
    folder = RunFolder(tmp_path / "run")
    (folder.path / "checkpoints").mkdir(parents=True)
    left = [
        folder.path / ".run.1a2b3c4d-0123456789ab-7.json",
        folder.path / "checkpoints" / ".step-00000003.00000000-0123456789ab-7.safetensors",
    ]
    kept = [
        folder.path / ".mine.json",
        folder.path / ".run.1a2b3c4d.json",
        folder.path / ".a.1a2b3c4.json",
        folder.path / "run.1a2b3c4d.json",
    ]
    for path in (*left, *kept):
        path.write_text("half")
    with folder.locked():
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in kept)


def test_scoring_removes_what_was_left_of_its_cache_file_alone(tmp_path):
    left, other = tmp_path / ".x.1a2b3c4d-0123456789ab-7.json", tmp_path / ".y.1a2b3c4d-0123456789ab-7.json"
    for path in (left, other):
        path.write_text("half")
    made_once(tmp_path / "x.json", lambda path: None, lambda: {}, files.write_json)
    assert not left.exists() and other.exists()


def test_a_table_without_pictures_does_not_leave_the_one_of_an_older_table(tiny, tmp_path, call):
    """The page of the new table would not show it, so that the next training took it for a stranger's and refused."""
    command = ("train", tiny, "--out", tmp_path / "out", "--rows", "AAE", "--jobs", 1)
    assert call(*command).exit_code == 0
    facts = tmp_path / "out" / "AAE" / "seed-0" / "run.json"
    facts.write_text(facts.read_text().replace('"finished": true', '"finished": false'))
    recipe = load_recipe(tiny, rows=["AAE"])
    write_table_of_jobs(recipe, jobs_of(recipe, tmp_path / "out"), tmp_path / "out")
    assert not (tmp_path / "out" / "rows.png").exists()
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "rows.png").exists()


def test_temporary_files_of_processes_that_ended_are_removed_and_others_are_left(tmp_path):
    """A killed process leaves its temporary file beside a table or figure; the next one that writes it removes it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = tmp_path / "table.md"
    with files.whole_file(path) as mine:
        stem, number, origin, process = re.fullmatch(
            r"(\.table)\.([0-9a-f]{8})-([0-9a-f]{12})-([0-9]+)\.md", mine.name
        ).groups()
        assert int(process) == os.getpid()
        dead = f"{stem}.{number}-{origin}-{ended.pid}.md"
        rebooted = f"{stem}.{number}-{origin[:6]}{'0' * 6}-{os.getpid()}.md"
        other_host = f"{stem}.{number}-{'0' * 12}-{ended.pid}.md"
        other_file = f"{stem}.{number}-{origin}-{ended.pid}.tex"
        long_ago = rebooted.replace("000000-", "000001-")
        own, dated = ".table.md", ".table.20261127.md"
        for name in (dead, rebooted, long_ago, other_host, other_file, own, dated):
            (tmp_path / name).write_text("")
        os.utime(tmp_path / long_ago, (0, 0))
        with files.whole_file(path) as second:
            assert second != mine
        assert {each.name for each in tmp_path.iterdir()} == {
            mine.name, "table.md", rebooted, other_host, other_file, own, dated,
        }  # fmt: skip
    files.remove_partial(tmp_path, "table.md")
    assert {each.name for each in tmp_path.iterdir()} == {"table.md", other_file, own, dated}


def test_hidden_files_of_the_user_stay_in_a_run_folder(tiny_plan, tmp_path):
    Trainer(tiny_plan("AAE"), 0, tmp_path / "run").run(until=3)
    kept = [folder / name for folder in (tmp_path / "run", tmp_path / "run" / "checkpoints")
            for name in (".backup.20261127", ".notes.20261127.txt", ".my.photo.deadbeef.png")]  # fmt: skip
    for path in kept:
        path.write_text("mine")
    Trainer(tiny_plan("AAE"), 0, tmp_path / "run").run()
    assert all(path.read_text() == "mine" for path in kept)


def test_what_safetensors_leaves_when_it_is_killed_is_removed(tmp_path):
    """safetensors writes `.tmp` and six letters or digits, and renames it; seen after 1 of 980 kills."""
    left, users, young, old = (tmp_path / name for name in (".tmpWPzFkU", ".tmp-notes", "a/.tmpWPzFkU", "a/.tmp4PzFkU"))
    (tmp_path / "a").mkdir()
    for each in (left, users, young, old):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    files.remove_partial(tmp_path)  # of a folder that nobody else writes to
    files.remove_partial(tmp_path / "a", "features.safetensors")  # of one file; another process may write the next one
    assert not left.exists() and users.exists()
    assert young.exists() and not old.exists()


def test_safetensors_writes_to_a_file_of_such_a_name(tmp_path):
    code = (
        "import os, sys, torch, safetensors.torch as s\n"
        "t = torch.zeros(40_000_000)\n"
        "s.save_file({'t': t}, sys.argv[1])\n"
    )
    watched = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "big.safetensors")])
    names = set()
    while watched.poll() is None:
        names |= {each.name for each in tmp_path.iterdir()}
    names -= {"big.safetensors"}
    assert all(re.fullmatch(r"\.tmp[0-9A-Za-z]{6}", name) for name in names) and names


def test_a_line_that_cannot_be_written_whole_is_not_written(tmp_path):
    """A limit of the size of files lets the first half of a write through, as a full disk does."""
    path, line = tmp_path / "metrics.jsonl", {"step": 1, "text": "x" * 100}
    code = (
        "import json, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from genprior.storage.files import append_line\n"
        "line = json.loads(sys.argv[2])\n"
        "append_line(Path(sys.argv[1]), line)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    append_line(Path(sys.argv[1]), line)\n"
        "except OSError as error:\n"
        "    print(error.errno, *error.__notes__)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "append_line(Path(sys.argv[1]), line | {'step': 2})\n"
    )
    told = subprocess.run([sys.executable, "-c", code, path, json.dumps(line)], capture_output=True, text=True)
    assert told.stdout == f"{errno.EFBIG} cannot write {path}\n", told.stderr
    assert [json.loads(each) for each in path.read_text().splitlines()] == [line, line | {"step": 2}]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_an_error_that_cannot_be_printed_still_has_its_exit_code(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "genprior", "show", str(tmp_path / "nowhere")], stdout=full, stderr=full
        )
    assert done.returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_an_interruption_that_cannot_be_told_still_has_its_exit_code():
    program = "from genprior.cli.app import app\n@app.command()\ndef wait(): raise KeyboardInterrupt\napp(['wait'])"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=full)
    assert done.returncode == 130
