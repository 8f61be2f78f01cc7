"""Injects faults into commands, gives each command again, and compares with the undisturbed result."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from . import process, traced
from .contents import broken, contents, differences, temporary
from .scenarios import SCENARIOS, Scenario
from .shim import ERRORS, KILL, Shim


@dataclass
class Tally:
    """What the injections of one kind of fault led to."""

    injections: int = 0
    noticed: int = 0
    """How many made the command fail or ended it."""
    lost_steps: int = 0
    """Steps of checkpoints that were complete before the fault, and trained again after it."""
    wrong_loads: int = 0
    """Files that were cut off or broken after the fault, and results that differ after the command was given again."""
    tracebacks: int = 0
    hangs: int = 0
    temporary: int = 0
    """Temporary files that are left after the command was given again."""
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A command without faults."""

    start: Path
    """The folder before it."""
    result: dict[str, Any]
    operations: list[str]
    seconds: float
    size: int
    """Kilobytes of all files afterwards."""


class Campaign:
    """Injections of faults below a folder; every command runs in the same place, so that results can be compared."""

    def __init__(self, folder: Path, random: Random) -> None:
        """Keep the starts of commands in a folder; choices are drawn from `random`."""
        self.folder = folder.resolve()
        self.home = self.folder / "home"
        self.random = random
        self.tallies: dict[str, Tally] = collections.defaultdict(Tally)
        process.warm_up()

    @functools.cache  # noqa: B019 - the campaign lives as long as the process
    def undisturbed(self, scenario: Scenario) -> Undisturbed:
        """Run a command without faults, and count its operations."""
        start = self.folder / scenario.name
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        scenario.prepare(self.home)
        shutil.move(self.home, start)
        self._restart(start)
        operations: list[str] = []
        ended = self._run(scenario, shim=None if scenario.separate else Shim((str(self.home) + os.sep,)))
        assert ended.code == 0, ended.output
        if not scenario.separate:
            operations = (self.folder / "log.operations").read_text(encoding="utf-8").splitlines()
            process.import_modules((self.folder / "log.modules").read_text(encoding="utf-8").splitlines())
        result = contents(self.home)
        # The result must not depend on chance, and the shim must not change it.
        self._restart(start)
        ended = self._run(scenario)
        assert ended.code == 0, ended.output
        assert not differences(result, contents(self.home)), differences(result, contents(self.home))
        size = sum(path.stat().st_blocks for path in self.home.rglob("*") if path.is_file()) // 2
        return Undisturbed(start, result, operations, ended.seconds, size)

    def _restart(self, start: Path) -> None:
        if os.path.ismount(self.home):
            subprocess.run(["umount", str(self.home)], check=True)
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(start, self.home)

    def _run(self, scenario: Scenario, shim: Shim | None = None, *before: Callable[[], None]) -> process.Ended:
        """Run the command of a scenario in its home."""
        enter = process.at_home(self.home, *before)
        return process.run(scenario.arguments(self.home), self.folder / "log", shim, enter, scenario.separate)

    # ----------------------------------------------------------------------------------------------------------------
    # Faults
    # ----------------------------------------------------------------------------------------------------------------

    def operation(self, scenario: Scenario, at: int, fault: str) -> None:
        """Let one operation of a command fail."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        ended = self._run(scenario, Shim((str(self.home) + os.sep,), at, fault))
        done = known.operations[: at - 1]
        steps = [int(each[len("rename .step-") :][:8]) for each in done if _completes(each)]
        kind = known.operations[at - 1].partition(" ")[0]
        name = f"{fault} at a system call" if fault == KILL else f"{kind}: {fault}"
        self._judge(
            scenario, name, f"{scenario.name}, operation {at} ({known.operations[at - 1]}), {fault}", ended, steps
        )

    def killed(self, scenario: Scenario) -> None:
        """Kill a command at a random time, in half of the cases its second try as well."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        times = []
        for _ in range(self.random.choice((1, 2))):
            began = time.monotonic()
            number = process.start(
                scenario.arguments(self.home), self.folder / "log", before=process.at_home(self.home),
                separate=scenario.separate,
            )  # fmt: skip
            times.append(self.random.uniform(0, known.seconds))
            time.sleep(times[-1])
            os.kill(number, signal.SIGKILL)
            ended = process.wait(number, self.folder / "log", began)
            if not process.workers_end(self.home):
                self.tallies["SIGKILL at a random time"].problems.append(f"{scenario.name}: workers go on")
        what = f"{scenario.name}, killed after {', '.join(f'{each:.3f}' for each in times)} s"
        self._judge(scenario, "SIGKILL at a random time", what, ended, [])

    def small_disk(self, scenario: Scenario) -> None:
        """Let no file grow beyond a size."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        limit = self.random.choice((0, 1, 100, 1_000, 4_096, 10_000, 20_000, 40_000, 80_000))
        ended = self._run(scenario, None, process.small_files(limit))
        self._judge(scenario, "full disk (RLIMIT_FSIZE)", f"{scenario.name}, files of {limit} bytes", ended, [])

    def full_disk(self, scenario: Scenario) -> None:
        """Run a command in a small file system, which is enlarged before the command is given again."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        used = sum(path.stat().st_blocks for path in self.home.rglob("*") if path.is_file()) // 2
        shutil.rmtree(self.home)
        self.home.mkdir()
        spare = 64 + len(known.result)  # folders, and what a file system needs
        size = used + self.random.randrange(8, max(known.size - used, 16)) + spare
        resize = traced.full_folder(self.home, size)
        if resize is None:
            return
        try:
            shutil.copytree(known.start, self.home, dirs_exist_ok=True)
            ended = self._run(scenario)
            resize(10 * size + 100_000)
            self._judge(scenario, "full disk (tmpfs)", f"{scenario.name}, {size} kB for {known.size}", ended, [])
        finally:
            subprocess.run(["umount", str(self.home)], check=False)

    def system_call(self, scenario: Scenario) -> None:
        """Let a system call fail, as strace can."""
        known = self.undisturbed(scenario)
        call, error = self.random.choice(self._calls(scenario)), self.random.choice(traced.ERRORS)
        self._restart(known.start)
        ended, lines = traced.run(scenario.arguments(self.home), self.folder / "log", self.home, (call, error))
        if not traced.struck(lines, self.home):
            return
        what = f"{scenario.name}, {call.name} {call.count} ({call.path}): {error}"
        self._judge(scenario, f"strace, {call.name}: {error}", what, ended, traced.completed(lines, self.home))

    @functools.cache  # noqa: B019 - the campaign lives as long as the process
    def _calls(self, scenario: Scenario) -> list[traced.Call]:
        self._restart(self.undisturbed(scenario).start)
        _, lines = traced.run(scenario.arguments(self.home), self.folder / "log", self.home)
        return traced.calls_below(lines, self.home)

    def read_only(self, scenario: Scenario) -> None:
        """Run a command whose folder cannot be written by its user."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        paths = [self.home, *self.home.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for above in (self.folder, *self.folder.parents):
            if above.stat().st_uid == os.getuid() and above.name.startswith("pytest-"):
                above.chmod(0o755)
        (self.folder / "log").unlink(missing_ok=True)
        ended = self._run(scenario, None, process.as_nobody)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._judge(scenario, "read-only folder", f"{scenario.name}, read-only", ended, [])

    def two_processes(self, scenario: Scenario) -> None:
        """Give a command twice at once, the second a little later."""
        known = self.undisturbed(scenario)
        self._restart(known.start)
        logs = [self.folder / "log", self.folder / "log2"]
        started = []
        later = self.random.choice((0, 0, self.random.uniform(0, known.seconds)))
        for log in logs:
            began = time.monotonic()
            started.append(
                (
                    process.start(
                        scenario.arguments(self.home), log, None, process.at_home(self.home), scenario.separate
                    ),
                    began,
                )
            )
            time.sleep(later)
        ends = [process.wait(number, log, began) for (number, began), log in zip(started, logs, strict=True)]
        worst = max(ends, key=lambda ended: (ended.traceback, ended.code))
        if all(ended.code for ended in ends):
            self.tallies["two processes"].problems.append(f"{scenario.name}: both failed: {ends[0].message}")
        self._judge(scenario, "two processes", f"{scenario.name}, the second {later:.3f} s later", worst, [])

    # ----------------------------------------------------------------------------------------------------------------
    # What follows
    # ----------------------------------------------------------------------------------------------------------------

    def _changed(self, scenario: Scenario) -> list[str]:
        """The files that differ from those of the undisturbed command.

        Workers whose parent is killed write a checkpoint at the step that they have reached, and `run.keep` keeps it.
        """
        known, now = self.undisturbed(scenario).result, contents(self.home)
        changed = differences(known, now)
        return [
            each for each in changed if not (scenario.separate and each not in known and "/checkpoints/step-" in each)
        ]

    def _judge(self, scenario: Scenario, fault: str, what: str, ended: process.Ended, steps: list[int]) -> None:
        """Look at what a fault left, give the command again, and count what is wrong."""
        tally = self.tallies[fault]
        tally.injections += 1
        tally.noticed += ended.code != 0

        def wrong(text: str) -> None:
            tally.problems.append(f"{what}: {text}")

        if ended.traceback or ended.code not in (0, 1, 2, -signal.SIGKILL, -signal.SIGALRM):
            tally.tracebacks += 1
            wrong(f"exit code {ended.code}: " + " | ".join(ended.output.strip().splitlines()[-3:])[-400:])
        if ended.code == -signal.SIGALRM:
            tally.hangs += 1
            wrong("it hangs")
        for text in broken(self.home):
            tally.wrong_loads += 1
            wrong(f"half written: {text}")
        if steps and (here := self._checkpoint()) < steps[-1]:
            tally.lost_steps += steps[-1] - here
            wrong(f"the checkpoint of step {steps[-1]} is lost")
        again = self._run(scenario)
        if again.code or again.traceback:
            tally.tracebacks += again.traceback
            tally.wrong_loads += 1
            wrong(f"the command given again ends with {again.code}: {again.output.strip()[-300:]}")
        elif changed := self._changed(scenario):
            tally.wrong_loads += 1
            wrong(f"another result: {', '.join(changed)}")
        left = temporary(self.home)
        tally.temporary += len(left)
        if left:
            wrong(f"left: {', '.join(left)}")

    def _checkpoint(self) -> int:
        complete = [path for path in self.home.glob("out/*/*/checkpoints/step-*.json")]
        return max((int(path.stem.removeprefix("step-")) for path in complete), default=0)

    def operations_of(self, scenario: Scenario) -> Iterator[tuple[int, str]]:
        """Every operation of a scenario with every fault, in random order."""
        count = len(self.undisturbed(scenario).operations)
        every = [(at, fault) for at in range(1, count + 1) for fault in (*ERRORS, KILL)]
        self.random.shuffle(every)
        return iter(every)

    def run(
        self, minutes: float, injections: int, scenarios: tuple[Scenario, ...] = SCENARIOS, kinds: Sequence[str] = ()
    ) -> None:
        """Inject faults in the scenarios in turn, until the minutes are over or there are enough.

        Args:
            minutes: the time.
            injections: the number of injections at which it ends.
            scenarios: the commands.
            kinds: the kinds of faults, `operation` or the name of a method; by default all that this system allows.
        """
        end = time.monotonic() + 60 * minutes
        operations: dict[Scenario, Iterator[tuple[int, str]]] = {}
        others: dict[str, Callable[[Scenario], None]] = {
            each.__name__: each for each in (self.killed, self.small_disk, self.two_processes, self.read_only)
        }
        if os.getuid() == 0:
            others["full_disk"] = self.full_disk
        if traced.available():
            others["system_call"] = self.system_call
        # Of every ten injections, so many are of a kind; some kinds need what not every system has.
        shares = {"operation": 10, "killed": 6, "system_call": 6}
        chosen = kinds or ("operation", *others)
        weights = [shares.get(kind, 2) for kind in chosen]
        for scenario in itertools.islice(_in_turn(scenarios), injections):
            if time.monotonic() > end:
                break
            kind = self.random.choices(chosen, weights)[0]
            if scenario.separate and kind in ("operation", "system_call"):
                kind = "killed"
            if kind != "operation":
                others[kind](scenario)
                continue
            if scenario not in operations:
                operations[scenario] = self.operations_of(scenario)
            if (drawn := next(operations[scenario], None)) is not None:
                self.operation(scenario, *drawn)


def _in_turn(scenarios: Sequence[Scenario]) -> Iterator[Scenario]:
    """The scenarios in turn, some not in every round."""
    for turn in itertools.count():
        yield from (each for each in scenarios if turn % each.every == 0)


def _completes(operation: str) -> bool:
    """Whether an operation is the renaming that completes a checkpoint."""
    return operation.startswith("rename .step-") and operation.endswith(".json")
