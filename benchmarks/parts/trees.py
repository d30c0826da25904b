"""The trees: made by seed, so that a run can be repeated."""

import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from parts.shell import flush, remove, say

# pmirror looks at extended attributes again when the source changed less than 2 s before its copy was born. A tree
# that was written just now would be timed on that path, which no real tree takes.
SETTLE_SECONDS = 3


class Tree:
    """Writes one tree. Content is noise, sizes, times, modes and owners are spread as in a user's directory."""

    noise_bytes = 8 << 20

    def __init__(self, root: Path, seed: int):
        self.root = root
        self.rng = random.Random(seed)
        self.noise = self.rng.randbytes(self.noise_bytes)
        self.directories: list[str] = []
        self.entries = 0
        self.bytes = 0
        root.mkdir(parents=True)

    def directory(self, path: str) -> None:
        os.mkdir(self.root / path)
        self.directories.append(path)
        self.entries += 1

    def file(self, path: str, size: int) -> None:
        handle = os.open(self.root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        rest = size
        while rest > 0:
            start = self.rng.randrange(self.noise_bytes // 2)
            rest -= os.write(handle, memoryview(self.noise)[start : start + rest])
        if os.geteuid() == 0:
            os.fchown(handle, self.rng.choice((0, 1000, 1001)), self.rng.choice((0, 100, 1000)))
        os.fchmod(handle, self.rng.choice((0o644, 0o644, 0o600, 0o640, 0o755)))
        os.utime(handle, ns=self.times())
        os.close(handle)
        self.entries += 1
        self.bytes += size

    def link(self, path: str, points_to: str) -> None:
        os.symlink(points_to, self.root / path)
        os.utime(self.root / path, ns=self.times(), follow_symlinks=False)
        self.entries += 1

    def times(self) -> tuple[int, int]:
        stamp = self.rng.randrange(1_500_000_000 * 10**9, 1_700_000_000 * 10**9)
        return (stamp, stamp)

    def close(self) -> None:
        """Directory times come last: every entry made below would change them."""
        for path in reversed(self.directories):
            os.chmod(self.root / path, self.rng.choice((0o755, 0o755, 0o750, 0o2755)))
            os.utime(self.root / path, ns=self.times())


def make_small(tree: Tree, scale: float) -> None:
    """100,000 entries in 1 GB: long-tailed sizes (median 2.5 KB, mean 11 KB), directories of very unequal width."""
    rng = tree.rng
    directories, depths = [""], {"": 0}
    while len(directories) <= 10_000 * scale:
        parent = rng.choice(directories)
        if depths[parent] < 12:
            path = os.path.join(parent, f"part-{len(directories):05}")
            tree.directory(path)
            directories.append(path)
            depths[path] = depths[parent] + 1
    widths = [min(rng.paretovariate(1.2), 200) for _ in directories]
    sizes = long_tail(rng, count=int(89_500 * scale), total=int(1e9 * scale))
    for index, (place, size) in enumerate(zip(rng.choices(directories, widths, k=len(sizes)), sizes, strict=True)):
        tree.file(os.path.join(place, f"sample_{index:06}.dat"), size)
    for index, place in enumerate(rng.choices(directories, k=int(500 * scale))):
        tree.link(os.path.join(place, f"latest-{index}"), f"../sample_{index:06}.dat")


def long_tail(rng: random.Random, count: int, total: int) -> list[int]:
    raw = [min(rng.lognormvariate(math.log(2500), 1.7), 4 << 20) for _ in range(count)]
    factor = total / max(sum(raw), 1)
    return [int(size * factor) for size in raw]


def make_large(tree: Tree, scale: float) -> None:
    """Four files of 384 MiB in one directory."""
    for index in range(4):
        tree.file(f"field-{index}.bin", int((384 << 20) * scale))


def make_wide(tree: Tree, scale: float) -> None:
    """One directory of 50,000 files of up to 4 KiB."""
    for index in range(int(50_000 * scale)):
        tree.file(f"frame.{tree.rng.getrandbits(32):08x}.{index}", tree.rng.randrange(4096))


def make_deep(tree: Tree, scale: float) -> None:
    """A chain of 200 directories with fifty files each.

    Shorter than PATH_MAX, where rsync, cp and rclone end; and no deeper, because rsync 3.5 opens every component of
    every path: a chain of 1,000 took it 103 s.
    """
    place = ""
    for _ in range(max(int(200 * scale), 1)):
        place = os.path.join(place, "d")
        tree.directory(place)
        for index in range(50):
            tree.file(os.path.join(place, f"{index}"), tree.rng.randrange(4096))


def make_slow(tree: Tree, scale: float) -> None:
    """20,000 files of up to 4 KiB in 200 directories."""
    for directory in range(200):
        tree.directory(f"run-{directory:03}")
        for index in range(max(int(100 * scale), 1)):
            tree.file(f"run-{directory:03}/{index}", tree.rng.randrange(4096))


def make_empty(_tree: Tree, _scale: float) -> None:
    """Nothing: what is left is starting, agreeing and stopping."""


MAKERS: dict[str, Callable[[Tree, float], None]] = {
    "small": make_small,
    "large": make_large,
    "wide": make_wide,
    "deep": make_deep,
    "slow": make_slow,
    "empty": make_empty,
}


def make_tree(work: Path, name: str, seed: int, scale: float) -> tuple[Path, dict]:
    """The tree and what is in it. One that --keep left is taken again when seed, scale and recipe are the same."""
    root = work / "trees" / f"{name}-{scale:g}"
    record = root.with_name(f"{root.name}.json")
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    wanted = {"tree": name, "seed": seed, "scale": scale, "recipe": recipe}
    if record.exists():
        found = json.loads(record.read_text())
        if {key: found[key] for key in wanted} == wanted:
            return root, found
    remove(root)
    record.unlink(missing_ok=True)
    say(f"making {name}")
    tree = Tree(root, seed)
    MAKERS[name](tree, scale)
    tree.close()
    made = wanted | {"entries": tree.entries, "bytes": tree.bytes}
    record.write_text(json.dumps(made))
    flush(root)
    time.sleep(SETTLE_SECONDS)
    return root, made
