"""One case: all tools in turn, round by round; each copy is judged before its time counts."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

from parts.disk import Disk
from parts.shell import find, flush, remove, run, say, shorten
from parts.slow import SlowDisk
from parts.tools import CASES, Place, Tool
from parts.trees import make_tree

# A hung tool must not hang the night's run; the slowest one needs forty minutes where operations are slow.
RUN_SECONDS_MAX = 5400
# strace slows a tool tenfold, and counts do not need a large tree.
STRACE_SCALE = 0.05
# /proc/stat counts hundredths of a second: a shorter look would not see a tenth of a core.
QUIET_LOOK_SECONDS = 0.3
QUIET_CORES_MAX = 0.15


def run_case(options: argparse.Namespace, disk: Disk, case: str) -> dict:
    source, tree = make_tree(options.work, CASES[case], options.seed, options.scale)
    disk.fresh()
    # Untimed: a new file system reads its bitmaps at the first writes, and that is no tool's cost.
    mirror(source, disk.target)
    if case != "slow":
        return run_rounds(options, disk, case, source, tree, options.rounds)
    slow = SlowDisk(options, source, disk)
    try:
        # Once: waiting differs little from round to round, and rsync waits for more than half an hour.
        return run_rounds(options, slow, case, slow.source, tree, 1)
    finally:
        slow.close()


def run_rounds(
    options: argparse.Namespace, disk: Disk | SlowDisk, case: str, source: Path, tree: dict, rounds: int
) -> dict:
    record = {"tree": tree, "commands": {}, "samples": {}, "checks": {}, "failed": {}}
    tools = [tool for tool in options.tools if case in tool.cases]
    for round_number in range(rounds):
        # Another tool begins each round: none always runs after the one that left the disk busy.
        shift = round_number % max(len(tools), 1)
        for tool in tools[shift:] + tools[:shift]:
            if tool.name not in record["failed"]:
                place = Place(options, disk, source, case == "unchanged", f"{case}-{tool.name}-{round_number}")
                run_tool(tool, place, round_number, record)
    return record


def run_tool(tool: Tool, place: Place, round_number: int, record: dict) -> None:
    command = tool.command(place)
    if command is None:
        return
    record["commands"][tool.name] = shorten(shlex.join(command))
    try:
        prepare(place)
        began = time.time()
        figures = sample(tool, place, command)
        if round_number == 0:
            record["checks"][tool.name] = check(tool, place, record["tree"], began)
        record["samples"].setdefault(tool.name, []).append({"round": round_number} | rounded(figures))
        say(f"{place.run_id:22} {figures['seconds']:8.3f} s, sync {figures['sync']:.3f} s")
    except (Failed, OSError, KeyError, ValueError) as reason:
        record["failed"][tool.name] = f"{type(reason).__name__}: {reason}"
        say(f"{place.run_id:22} failed: {reason}")


def prepare(place: Place) -> None:
    """The same start for all: an empty target, or one that is complete and was just walked; nothing left to write."""
    for leftover in (place.state / place.run_id, place.options.work / "fpsync"):
        remove(leftover)
    if place.unchanged:
        mirror(place.source, place.target)
    else:
        remove(place.target)
        place.target.mkdir()
        warm(place.source)
    flush(place.options.work)
    flush(place.target)
    wait_for_quiet(place.options.patience)


def wait_for_quiet(patience: float) -> None:
    """Others may use the machine: their short bursts are waited for, their long work is borne by all tools alike."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        busy = machine_seconds()
        time.sleep(QUIET_LOOK_SECONDS)
        if machine_seconds() - busy < QUIET_CORES_MAX * QUIET_LOOK_SECONDS:
            return


def mirror(source: Path, target: Path) -> None:
    """The untimed copy."""
    run(["rsync", "-aHAX", "--delete", f"{source}/", f"{target}/"])


def warm(source: Path) -> None:
    """Reads the source: the tools are compared, not the disk's reads. Before each timing, because some machines give
    up cached pages after a minute without use."""
    run(["find", source, "-type", "f", "-exec", "cat", "{}", "+"], subprocess.DEVNULL)


def sample(tool: Tool, place: Place, command: list[str]) -> dict:
    """One timed run and its closing sync, which is timed apart: a tool that ends before its data is on the disk has
    only lent the time. pmirror syncs itself, so its part of that moves to the other column."""
    with place.disk.timed() as calls:
        figures = timed(command, place.options.work / "logs" / f"{place.run_id}.log")
    figures |= {f"calls_{side}": count for side, count in calls.items()}
    figures |= {"inner_sync": 0.0, "sync": flush(place.target)}
    if tool.is_pmirror:
        seconds = json.loads((place.state / place.run_id / "summary.json").read_text())["seconds"]
        figures["inner_sync"] = seconds["flush"]
        figures["sync"] += seconds["flush"]
        figures["own_total"] = seconds["total"]
        figures["walk"] = seconds["mirror"]
        figures["without_start"] = seconds["total"] - seconds["flush"]
    figures["seconds"] = figures["wall"] - figures["inner_sync"]
    figures["total"] = figures["seconds"] + figures["sync"]
    return figures


def check(tool: Tool, place: Place, tree: dict, began: float) -> dict:
    """Judges a tool's first run. Others may do less than pmirror, and the table says so; pmirror may not."""
    found = entries(place.target)
    if found != tree["entries"]:
        raise Failed(f"wrong copy: {found} entries of {tree['entries']}")
    command = ["rsync", "-aHAXn", "--delete", "-i", f"{place.source}/", f"{place.target}/"]
    report = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = report.stdout.splitlines()
    verdict = {"entries": found, "differences": len(lines), "examples": lines[:5]}
    if place.unchanged:
        verdict["touched"] = len(find(place.target, "-newerct", f"@{began}", "-printf", "."))
    if report.returncode != 0 or (tool.is_pmirror and (lines or verdict.get("touched"))):
        raise Failed(f"wrong copy: {verdict} {report.stderr.strip()}")
    return verdict


def entries(root: Path) -> int:
    return len(find(root, "-printf", "."))


class Failed(Exception):
    """A run that must not be timed."""


def timed(command: list[str], log: Path) -> dict:
    """Runs a command and returns its figures; `others` is what the rest of the machine used meanwhile, in cores,
    and what its host gave to other machines."""
    busy, start = machine_seconds(), time.perf_counter()
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(), start_new_session=True
        )
        guard = threading.Timer(RUN_SECONDS_MAX, os.killpg, (child.pid, signal.SIGKILL))
        guard.start()
        try:
            # wait4 counts the time of grandchildren that were waited for: a pipe's tars, mpirun's ranks.
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            # We are told to stop: a tool that went on would hold the mount.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        finally:
            guard.cancel()
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Failed(f"exit code {child.returncode}: {last_lines(log)}")
    others = max(machine_seconds() - busy - used.ru_utime - used.ru_stime, 0) / wall
    return {"wall": wall, "user": used.ru_utime, "system": used.ru_stime, "rss_kib": used.ru_maxrss, "others": others}


def machine_seconds() -> float:
    """CPU time that all processes of the machine have used since it started, or that its host withheld."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    mpi = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # More ranks than cores: an idle rank that spins would take the time of one that works.
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    return os.environ | mpi | {"LC_ALL": "C"}


def last_lines(log: Path, count: int = 3) -> str:
    """What the tool said last, without the frame that mpirun draws below it."""
    text, _, _ = log.read_text(errors="replace").partition("\n-----")
    return shorten(" / ".join(line.strip() for line in text.strip().splitlines()[-count:]))


def count_calls(options: argparse.Namespace, disk: Disk) -> dict:
    """`strace -c` of a first copy and of an unchanged pass over a small `small`; calls per entry, by tool."""
    counted = {}
    source, tree = make_tree(options.work, "small", options.seed, STRACE_SCALE)
    tools = [tool for tool in options.tools if tool.name in ("pmirror", "rsync", "floor")]
    for case in ("small", "unchanged"):
        for tool in tools:
            place = Place(options, disk, source, case == "unchanged", f"strace-{case}-{tool.name}")
            report = options.out / f"{place.run_id}.txt"
            try:
                prepare(place)
                traced = ["strace", "-c", "-f", "-o", str(report), *tool.command(place)]
                timed(traced, options.work / "logs" / f"{place.run_id}.log")
                counted[f"{case} {tool.name}"] = calls_per_entry(report, tree["entries"])
            except (Failed, OSError) as reason:
                say(f"strace of {tool.name} failed: {reason}")
    return counted


def calls_per_entry(report: Path, entry_count: int) -> dict[str, float]:
    calls = {}
    for line in report.read_text().splitlines():
        words = line.split()
        # '% time  seconds  usecs/call  calls  [errors]  syscall'
        if len(words) in (5, 6) and words[3].isdigit():
            calls[words[-1]] = round(int(words[3]) / max(entry_count, 1), 2)
    return calls


def rounded(figures: dict) -> dict:
    return {key: round(value, 4) for key, value in figures.items()}
