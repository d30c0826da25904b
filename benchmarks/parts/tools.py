"""The tools, and the command line of each."""

import argparse
import dataclasses
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from parts.disk import MKFS, Disk
from parts.shell import shorten, strings, version


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one run happens; `unchanged` tells that the target is complete already."""

    options: argparse.Namespace
    disk: Disk
    source: Path
    unchanged: bool
    run_id: str

    @property
    def target(self) -> Path:
        return self.disk.target

    @property
    def state(self) -> Path:
        return self.options.work / "state"


Command = Callable[[Place], list[str] | None]


@dataclasses.dataclass(frozen=True)
class Tool:
    """A column of the comparison. `command` gives None where the tool has no such operation."""

    name: str
    needs: dict[str, str]
    command: Command
    cases: tuple[str, ...] = ("small", "large", "wide", "deep", "unchanged")
    ranks: int = 0

    @property
    def is_pmirror(self) -> bool:
        return self.ranks > 0


def pmirror(ranks: int, threads_of_each: int | None = None) -> Command:
    def command(place: Place) -> list[str]:
        options = place.options
        threads = threads_of_each or max(options.threads // ranks, 1)
        words = [options.pmirror, "sync", "--threads", threads, "--state-dir", place.state]
        words += ["--run-id", place.run_id, place.source, place.target]
        return strings(mpirun(ranks) + words if ranks > 1 else words)

    return command


def mpirun(ranks: int) -> list[str | int]:
    """Unbound: a rank has a main thread beside its workers, and Open MPI would tie them all to one core."""
    words = ["mpirun", "-n", ranks]
    return [*words, "--oversubscribe", "--bind-to", "none"] if "Open MPI" in version(["mpirun"]) else words


def floor(place: Place) -> list[str]:
    job = "compare" if place.unchanged else "copy"
    return strings([place.options.floor, job, place.source, place.target, "--threads", place.options.threads])


def rsync(place: Place) -> list[str]:
    return ["rsync", "-aHAX", f"{place.source}/", f"{place.target}/"]


def cp(place: Place) -> list[str]:
    # -u compares mtimes only: the nearest that cp has to an unchanged pass.
    return strings(["cp", "-auT" if place.unchanged else "-aT", place.source, place.target])


def tar(place: Place) -> list[str] | None:
    if place.unchanged:
        return None
    source, target = shlex.quote(str(place.source)), shlex.quote(str(place.target))
    ends = f"tar --acls --xattrs -C {source} -cf - . | tar --acls --xattrs -C {target} -xpf -"
    return ["bash", "-o", "pipefail", "-c", ends]


def fpsync(place: Place) -> list[str]:
    """rsync in slices. No -H: a slice sees only its own names."""
    words = ["fpsync", "-n", place.options.threads, "-t", place.options.work / "fpsync"]
    return strings([*words, "-o", "-lptgoDAX --numeric-ids", f"{place.source}/", f"{place.target}/"])


def rclone(place: Place) -> list[str]:
    words = ["rclone", "--config", "", "sync", "--links", "--metadata", "--create-empty-src-dirs"]
    return strings([*words, place.source, place.target])


MPI = {"mpirun": "openmpi-bin"}
TOOLS = [
    Tool("pmirror", {}, pmirror(1), cases=("small", "large", "wide", "deep", "unchanged", "empty"), ranks=1),
    Tool("pmirror-2", MPI, pmirror(2), ranks=2),
    Tool("pmirror-4", MPI, pmirror(4), ranks=4),
    Tool("pmirror-8", MPI, pmirror(8), cases=("empty",), ranks=8),
    Tool("pmirror-16x2", MPI, pmirror(16, 2), cases=("slow",), ranks=16),
    Tool("pmirror-1x1", {}, pmirror(1, 1), cases=("slow",), ranks=1),
    Tool("rsync", {"rsync": "rsync"}, rsync, cases=("small", "large", "wide", "deep", "unchanged", "slow", "empty")),
    Tool("cp", {"cp": "coreutils"}, cp),
    Tool("tar", {"tar": "tar", "bash": "bash"}, tar),
    Tool("fpsync", {"fpsync": "fpart"}, fpsync),
    Tool("rclone", {"rclone": "rclone"}, rclone),
    Tool("floor", {}, floor),
]
CASES = {
    "small": "small",
    "large": "large",
    "wide": "wide",
    "deep": "deep",
    "unchanged": "small",
    "slow": "slow",
    "empty": "empty",
}


def missing_tools(options: argparse.Namespace) -> list[str]:
    """One line for everything that must be installed or built first."""
    # rsync also judges the copies of the others.
    needs = {"rsync": "rsync", "strace": "strace"}
    if options.file_system != "plain":
        command, _, package = MKFS[options.file_system]
        needs |= {command[0]: package, "losetup": "mount", "mount": "mount"}
    for tool in options.tools:
        needs |= tool.needs
    lines = [
        f"{program} is missing: apt-get install {package}"
        for program, package in needs.items()
        if shutil.which(program) is None
    ]
    names = {tool.name for tool in options.tools}
    if "floor" in names and not options.floor.exists():
        lines.append(f"{shorten(options.floor)} is missing: cargo build --release --example floor")
    if "slow" in options.cases and not options.faultfs.exists():
        lines.append(f"{shorten(options.faultfs)} is missing: cargo build --release --example faultfs")
    if any(tool.is_pmirror for tool in options.tools) and not options.pmirror.exists():
        lines.append(f"{shorten(options.pmirror)} is missing: cargo build --release")
    return lines
