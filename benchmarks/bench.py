#!/usr/bin/env python3
"""Times pmirror beside the tools people use today, and beside the floor. README.md here tells how to read it."""

import argparse
import datetime
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# A benchmark leaves nothing beside its record.
sys.dont_write_bytecode = True

from parts.disk import MKFS, Disk
from parts.machine import describe_machine, describe_versions
from parts.measure import count_calls, run_case
from parts.report import render, update_readme
from parts.shell import HERE, REPO, remove, say, shorten
from parts.slow import leftovers
from parts.tools import CASES, TOOLS, Tool, missing_tools

STAMP = ".pmirror-benchmark"
SETTINGS = ("rounds", "scale", "seed", "threads", "patience", "file_system")


def main() -> None:
    options = arguments()
    # So that an end by SIGTERM unmounts the image too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    if options.render:
        results = json.loads((options.render / "results.json").read_text())
        save(results, options.render)
        update_readme(render(results), options.render)
        return
    if lines := missing_tools(options):
        sys.exit("\n".join([*lines, "(--tools chooses those to run)"]))
    results = measure(options)
    print(render(results))
    if options.publish:
        update_readme(render(results), options.out)
    say(f"kept in {options.out}")


def measure(options: argparse.Namespace) -> dict:
    claim(options.work)
    results = {
        "date": datetime.date.today().isoformat(),
        "command": shorten(shlex.join(["python3", *sys.argv])),
        "settings": {
            key: getattr(options, key) for key in ("rounds", "scale", "seed", "threads", "patience", "file_system")
        },
        "machine": describe_machine(options),
        "versions": describe_versions(options),
        "cases": {},
        "calls": {},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    disk = Disk(options.file_system, options.work, options.scale)
    try:
        for case in options.cases:
            results["cases"][case] = run_case(options, disk, case)
            save(results, options.out)
        results["calls"] = count_calls(options, disk)
        save(results, options.out)
    finally:
        disk.close()
        if not options.keep:
            remove(options.work)
    return results


def claim(work: Path) -> None:
    """Takes the work directory. It will be emptied, so it must be new or ours."""
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()) and not (work / STAMP).exists():
        sys.exit(f"{work} holds files of somebody else: choose an empty directory with --work")
    (work / STAMP).touch()
    # What an interrupted run left.
    leftovers(work)
    for name in ("disk.img", "state", "logs"):
        remove(work / name)
    for name in ("state", "logs", "trees"):
        (work / name).mkdir(exist_ok=True)


def save(results: dict, out: Path) -> None:
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "table.md").write_text(render(results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    tools = {tool.name: tool for tool in TOOLS}
    parser.add_argument("--only", type=listed(CASES), default=list(CASES), metavar="CASE,...", help=", ".join(CASES))
    parser.add_argument("--tools", type=listed(tools), default=list(tools), metavar="TOOL,...", help=", ".join(tools))
    parser.add_argument("--rounds", type=int, default=5, help="times that each tool runs each case (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the trees: 0.01 for a smoke test (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the trees (1)")
    parser.add_argument("--patience", type=float, default=10, metavar="SEC", help="wait for a quiet machine (10)")
    parser.add_argument("--threads", type=int, default=2, help="of one process; ranks share them (2)")
    parser.add_argument("--pmirror", type=Path, default=REPO / "target/release/pmirror", metavar="PATH")
    parser.add_argument("--floor", type=Path, default=REPO / "target/release/examples/floor", metavar="PATH")
    parser.add_argument("--faultfs", type=Path, default=REPO / "target/release/examples/faultfs", metavar="PATH")
    parser.add_argument("--work", type=Path, default=HERE / "scratch", metavar="DIR", help="where the trees are made")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the record goes (benchmarks/runs/DATE)")
    parser.add_argument(
        "--file-system",
        choices=[*MKFS, "plain"],
        default="ext4" if os.geteuid() == 0 else "plain",
        help="of the targets: an image of their own (root only), or a directory of --work (plain)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the work directory for the next run")
    parser.add_argument("--render", type=Path, metavar="DIR", help="only write the tables of a kept run again")
    return settled(parser.parse_args(), tools)


def listed(known: dict) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return words

    return parse


def settled(options: argparse.Namespace, tools: dict[str, Tool]) -> argparse.Namespace:
    # Only root mounts the file systems that are slow.
    able = os.geteuid() == 0
    options.cases = [case for case in CASES if case in options.only and (able or case != "slow")]
    # README shows whole runs only: a part of one would stand there as if it were all.
    options.publish = options.out is None and options.scale == 1 and len(options.tools) == len(tools)
    options.publish = options.publish and len(options.cases) == len(CASES)
    options.tools = [tool for tool in TOOLS if tool.name in options.tools]
    options.out = options.out or free_folder(HERE / "runs" / datetime.date.today().isoformat())
    for name in ("work", "out", "pmirror", "floor", "faultfs", "render"):
        if getattr(options, name):
            setattr(options, name, getattr(options, name).absolute())
    return options


def free_folder(wanted: Path) -> Path:
    """A second run of a day gets its own folder: no run overwrites another's evidence."""
    folder, number_of_day = wanted, 1
    while folder.exists():
        number_of_day += 1
        folder = wanted.with_name(f"{wanted.name}.{number_of_day}")
    return folder


if __name__ == "__main__":
    main()
