"""Where the copies go."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from parts.shell import remove, run

# mkfs, mount options, Debian package.
MKFS = {
    # Without discards and background zeroing: both would still run while a tool is timed.
    "ext4": (["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1"], "noinit_itable", "e2fsprogs"),
    "xfs": (["mkfs.xfs", "-q", "-f", "-K"], "defaults", "xfsprogs"),
}


class Disk:
    """The file system of the targets: an image made for each case, or a plain directory.

    A plain directory does on a file system with a journal. On an ext4 without one every new file first steps over all
    inodes that were deleted in the last minutes: the floor over 1,000 files took 0.87 s there instead of 0.01 s, and
    the tool that came last in a round seemed to be the slowest.
    """

    def __init__(self, kind: str, work: Path, scale: float):
        self.kind = kind
        self.image = work / "disk.img"
        self.mounted = work / "disk"
        # The largest tree takes 1.6 GB; the rest is for the inodes, and for allocators that like room.
        self.bytes = math.ceil(6144 * max(scale, 0.1)) << 20

    @property
    def target(self) -> Path:
        return self.mounted / "target"

    @contextlib.contextmanager
    def timed(self) -> Iterator[dict]:
        """While a tool is timed nothing is different here; see `SlowDisk`."""
        yield {}

    def fresh(self) -> None:
        self.close()
        self.mounted.mkdir(exist_ok=True)
        if self.kind != "plain":
            self.mount()
        self.target.mkdir()

    def mount(self) -> None:
        command, options, _ = MKFS[self.kind]
        if not self.image.exists():
            run(["fallocate", "-l", self.bytes, self.image])
        # Direct: else each block would be cached twice, and the closing sync would pay for both.
        device = run(["losetup", "--direct-io=on", "--show", "-f", self.image]).decode().strip()
        try:
            run([*command, device])
            run(["mount", "-o", options, device, self.mounted])
        finally:
            # From now on the mount alone holds the device: it goes with it.
            run(["losetup", "-d", device])

    def close(self) -> None:
        if os.path.ismount(self.mounted):
            run(["umount", self.mounted])
        remove(self.mounted)
