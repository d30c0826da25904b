"""Two mounts on which every operation takes its time: what a file system far away is like."""

import argparse
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from parts.disk import Disk
from parts.shell import remove, strings

LATENCY_MICROSECONDS = 1000


class Mount:
    """A folder shown by faultfs (tests/programs/faultfs), which is told by its standard input what to do."""

    def __init__(self, program: Path, folder: Path, mountpoint: Path):
        self.mountpoint = mountpoint
        mountpoint.mkdir()
        command = strings([program, folder, mountpoint])
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline() == "":
            raise OSError(f"faultfs did not mount {mountpoint}: it needs root and /dev/fuse")

    def ask(self, request: dict | str) -> object:
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def close(self) -> None:
        self.child.stdin.close()
        self.child.wait()
        if os.path.ismount(self.mountpoint):
            subprocess.run(["umount", "-l", self.mountpoint], check=False)
        self.mountpoint.rmdir()


class SlowDisk:
    """Source and target behind mounts; slow only while a tool is timed. Stands in for `Disk`."""

    def __init__(self, options: argparse.Namespace, source: Path, disk: Disk):
        self.disk = disk
        self.mounts: list[Mount] = []
        try:
            for name, folder in (("slow-source", source), ("slow-target", disk.mounted)):
                self.mounts.append(Mount(options.faultfs, folder, options.work / name))
        except BaseException:
            self.close()
            raise

    @property
    def source(self) -> Path:
        return self.mounts[0].mountpoint

    @property
    def target(self) -> Path:
        return self.mounts[1].mountpoint / "target"

    @contextlib.contextmanager
    def timed(self) -> Iterator[dict]:
        """Gives the calls of both sides when it is over: those for which a program waits."""
        calls: dict[str, int] = {}
        for mount in self.mounts:
            mount.ask("take_calls")
            mount.ask({"rule": {"operations": ["all"], "latency_us": LATENCY_MICROSECONDS}})
        try:
            yield calls
        finally:
            for side, mount in zip(("source", "target"), self.mounts, strict=True):
                mount.ask("clear")
                counted = mount.ask("take_calls")
                calls[side] = sum(n for name, n in counted.items() if not name.startswith("release"))

    def close(self) -> None:
        for mount in self.mounts:
            mount.close()
        self.mounts = []


def leftovers(work: Path) -> None:
    """What an interrupted run left mounted: faultfs ended with it, its mount points may have stayed."""
    for name in ("slow-source", "slow-target"):
        if os.path.ismount(work / name):
            subprocess.run(["umount", "-l", work / name], check=True)
        remove(work / name)
