"""The numbers of a campaign, and the table of docs/reliability.md: `python tests/faults/injection/report.py FILE`."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
BEGIN, END = "<!-- written by tests/faults/injection/report.py -->\n", "<!-- end of what is written -->\n"
COLUMNS = ("injections", "noticed", "lost_steps", "wrong_loads", "tracebacks", "hangs", "temporary")


def report(campaign: Any, seed: int, minutes: float) -> dict[str, Any]:
    """The numbers of a campaign with date, machine and commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip() or "unknown",
        "seed": seed,
        "minutes": round(minutes, 1),
        "faults": {
            name: {column: getattr(tally, column) for column in COLUMNS} | {"problems": tally.problems}
            for name, tally in sorted(campaign.tallies.items())
        },
    }


def as_markdown(found: dict[str, Any]) -> str:
    """The table of the docs."""
    total = {column: sum(each[column] for each in found["faults"].values()) for column in COLUMNS}
    head = ("fault", "injections", "command failed", "lost steps", "wrong loads", "tracebacks", "hangs", "left files")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in [*found["faults"].items(), ("all", total)]:
        lines.append("| " + " | ".join([name, *(f"{row[column]:,}" for column in COLUMNS)]) + " |")
    return (
        f"{found['date']}, {found['machine']}, commit {found['commit']}, seed {found['seed']}, "
        f"{found['minutes']:g} minutes:\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    """Write the table of the numbers in a file into docs/reliability.md."""
    page = ROOT / "docs" / "reliability.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    page.write_text(before + BEGIN + as_markdown(found) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
