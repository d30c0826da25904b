"""What a record says about the machine and the versions."""

import argparse
import hashlib
import os
import sys
from pathlib import Path

from parts.shell import REPO, output, version


def describe_machine(options: argparse.Namespace) -> dict:
    def field(path: str, name: str) -> str:
        lines = (line.partition(":") for line in Path(path).read_text().splitlines())
        return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")

    mount = output(["findmnt", "-no", "FSTYPE,OPTIONS", "-T", str(options.work)])
    image = f"an own {options.file_system} on a loop device, over the source's file system"
    return {
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "kernel": os.uname().release,
        "source": " ".join(mount.split()) or "unknown",
        "target": "a directory of the source's file system" if options.file_system == "plain" else image,
        "user": "root" if os.geteuid() == 0 else "ordinary user",
    }


def describe_versions(options: argparse.Namespace) -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "strace": version(["strace"])}
    for program in sorted({program for tool in options.tools for program in tool.needs} | {"rsync"}):
        versions[program] = version([program])
    for program in (options.pmirror, options.floor):
        if program.exists():
            versions[f"{program.name} sha256"] = hashlib.sha256(program.read_bytes()).hexdigest()
    if options.pmirror.exists():
        versions["pmirror"] = version([str(options.pmirror)])
    versions["commit"] = output(["git", "-C", str(REPO), "describe", "--always", "--dirty"]).strip() or "unknown"
    return versions
