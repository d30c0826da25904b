#!/usr/bin/env python3
"""Times what bench.py has no room for: a very large file, reflinks, a million names in one directory, removals.

As root, with 30 GB of disk, and memory for a million files of tmpfs. Prints a table; `--out FILE` keeps it.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True

from parts.disk import Disk
from parts.shell import HERE, REPO, remove, run, say

MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
PMIRROR = REPO / "target/release/pmirror"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "scratch-shapes")
    parser.add_argument("--gigabytes", type=int, default=8, help="size of the large file (8)")
    parser.add_argument("--names", type=int, default=1_000_000, help="names in one directory (1,000,000)")
    parser.add_argument("--entries", type=int, default=100_000, help="entries that are removed (100,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="large,reflink,names,removals", help="which, with commas between")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        chosen = options.only.split(",")
        rows += large_file(options) if "large" in chosen else []
        rows += [reflink(options, kind) for kind in ("btrfs", "xfs") if "reflink" in chosen]
        rows += many_names(options) if "names" in chosen else []
        rows += removals(options) if "removals" in chosen else []
    finally:
        remove(options.work)
    lines = ["| work | seconds, each round | reached | goal |", "| --- | --- | --- | --- |"]
    text = "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sync(options: argparse.Namespace, source: Path, target: Path, *words: str) -> None:
    command = [PMIRROR, "sync", "--threads", "2", "-q", "--state-dir", options.work / "state", *words, source, target]
    run(command)


def fill(path: Path, gigabytes: int) -> None:
    """Noise, which no file system can make smaller."""
    block = os.urandom(1 << 24)
    with path.open("wb", buffering=0) as file:
        for _ in range(gigabytes * 64):
            file.write(block)
        os.fsync(file.fileno())


def large_file(options: argparse.Namespace) -> list[list[str]]:
    """One file on its own ext4, from the page cache if it fits, against `cp` and `sync FILE`."""
    source = options.work / "source"
    source.mkdir()
    say(f"a file of {options.gigabytes} GiB")
    fill(source / "large", options.gigabytes)
    disk = Disk("ext4", options.work, 1)
    disk.bytes = (options.gigabytes + 2) << 30
    ours, theirs = [], []

    def copy() -> None:
        run(["cp", "-p", source / "large", disk.target / "large"])
        run(["sync", disk.target / "large"])

    tools = [(ours, lambda: sync(options, source, disk.target)), (theirs, copy)]
    try:
        for number in range(options.rounds):
            for times, work in tools if number % 2 == 0 else reversed(tools):
                disk.fresh()
                run(["sync"])
                times.append(seconds(work))
                say(f"{'pmirror' if times is ours else 'cp'} {times[-1]:.1f} s")
        disk.fresh()
        sync(options, source, disk.target)
        run(["cmp", source / "large", disk.target / "large"])
    finally:
        disk.close()
        remove(disk.image)
        remove(source)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    name = f"one file of {options.gigabytes} GiB, one process of 2 threads"
    figures = f"{listed(ours)}; `cp` and `sync FILE` {listed(theirs)}"
    return [[name, figures, f"{ratio:.2f} x", "1.05 x"]]


@contextmanager
def image(options: argparse.Namespace, kind: str, gigabytes: int) -> Iterator[Path]:
    file, place = options.work / f"{kind}.img", options.work / kind
    place.mkdir()
    run(["truncate", "-s", f"{gigabytes}G", file])
    run([f"mkfs.{kind}", "-q", file])
    run(["mount", "-o", "loop", file, place])
    try:
        yield place
    finally:
        run(["umount", place])
        remove(file)


def reflink(options: argparse.Namespace, kind: str) -> list[str]:
    gigabytes = max(options.gigabytes // 2, 1)
    with image(options, kind, gigabytes + 2) as place:
        (place / "source").mkdir()
        (place / "target").mkdir()
        say(f"a file of {gigabytes} GiB on {kind}")
        fill(place / "source/large", gigabytes)
        taken = seconds(lambda: sync(options, place / "source", place / "target"))
        run(["cmp", place / "source/large", place / "target/large"])
    return [f"a file of {gigabytes} GiB within {kind}: reflink", f"{taken:.2f}", f"{taken:.2f} s", "at once"]


def many_names(options: argparse.Namespace) -> list[list[str]]:
    """An unchanged pass over one directory in memory, 2 ranks, against rsync."""
    place = options.work / "tmpfs"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=60%,nr_inodes=0", "tmpfs", place])
    try:
        directory = place / "source/d"
        directory.mkdir(parents=True)
        say(f"{options.names:,} names")
        for number in range(options.names):
            os.close(os.open(directory / f"file-{number:08d}.dat", os.O_CREAT | os.O_WRONLY, 0o644))
        run(["rsync", "-aHAX", f"{place}/source/", f"{place}/target/"])
        ours, theirs, peaks = [], [], []
        for _ in range(options.rounds):
            theirs.append(seconds(lambda: run(["rsync", "-aHAX", f"{place}/source/", f"{place}/target/"])))
            taken, peak = ranks(options, place)
            ours.append(taken)
            peaks.append(peak)
            say(f"pmirror {taken:.1f} s, {peak} MiB; rsync {theirs[-1]:.1f} s")
    finally:
        run(["umount", place])
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    name = f"{options.names:,} names in one directory of tmpfs, unchanged, 2 ranks"
    return [
        [name, f"{listed(ours)}; rsync {listed(theirs)}", f"{ratio:.2f} x rsync", "0.6 x"],
        ["the same: largest peak of a rank", ", ".join(map(str, peaks)) + " MiB", f"{max(peaks)} MiB", "128 MiB"],
    ]


def ranks(options: argparse.Namespace, place: Path) -> tuple[float, int]:
    """Seconds, `mpirun` included, and the largest peak of a rank in MiB, as `time -v` tells it."""
    timer = shutil.which("time") or sys.exit("install the package time")
    command = ["mpirun", "--oversubscribe", "-n", "2", timer, "-f", "peak %M", PMIRROR, "sync", "--threads", "1", "-q"]
    command += ["--state-dir", options.work / "state", place / "source", place / "target"]
    start = time.perf_counter()
    ended = subprocess.run(list(map(str, command)), env=os.environ | MPI, capture_output=True, text=True, check=True)
    taken = time.perf_counter() - start
    peaks = [int(kib) for kib in re.findall(r"peak (\d+)", ended.stderr)]
    return taken, max(peaks) // 1024


def removals(options: argparse.Namespace) -> list[list[str]]:
    """`rm --tree` and `rm --target-only` of a whole tree on ext4, one process of 2 threads, against `rm -rf`."""
    base, tree, only = [], [], []
    with image(options, "ext4", 8) as place:
        for path in (place / "source", place / "target"):
            path.mkdir()
            (path / "both").touch()
        words = ["--threads", "2", "-q", "--state-dir", options.work / "state"]
        everything = ["--max-delete", "100%", "--hold-threshold", "100%"]
        target_only = ["rm", "--target-only", *words, *everything, place / "source", place / "target"]
        tools = [
            (base, place / "plain", ["rm", "-rf", place / "plain"]),
            (tree, place / "tree", [PMIRROR, "rm", "--tree", place / "tree", *words]),
            (only, place / "target/extra", [PMIRROR, *target_only]),
        ]
        for number in range(options.rounds):
            for times, path, command in tools[number % 3 :] + tools[: number % 3]:
                small_files(path, options.entries)
                run(["sync"])
                times.append(seconds(lambda command=command: run(command)))
                assert not path.exists()
            say(f"rm -rf {base[-1]:.2f} s, --tree {tree[-1]:.2f} s, --target-only {only[-1]:.2f} s")
    name = f"{options.entries:,} entries on ext4, one process of 2 threads"

    def row(what: str, ours: list[float], goal: str) -> list[str]:
        ratio = statistics.median(a / b for a, b in zip(ours, base, strict=True))
        return [f"{what} of {name}", f"{fine(ours)}; `rm -rf` {fine(base)}", f"{ratio:.2f} x rm -rf", goal]

    return [row("rm --tree", tree, "0.7 x"), row("rm --target-only", only, "0.9 x")]


def small_files(root: Path, entries: int) -> None:
    """Directories of some hundred files of a few bytes, three deep."""
    names = 99
    for number in range(entries // (names + 1)):
        directory = root / str(number % 10) / str(number)
        directory.mkdir(parents=True)
        for name in range(names):
            (directory / f"file-{name:04d}.dat").write_bytes(b"a few bytes")


def fine(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def listed(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


if __name__ == "__main__":
    main()
