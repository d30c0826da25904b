"""Commands that are not measured, and how records name paths."""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPO = HERE.parent


def run(command: list, stdout: int = subprocess.PIPE) -> bytes:
    """A step that is not measured and must not fail."""
    return subprocess.run(strings(command), check=True, stdout=stdout).stdout


def remove(path: Path) -> None:
    """rm, not shutil: it goes as deep as our deep tree, and stops at a mount that should not be there."""
    run(["rm", "-rf", "--one-file-system", "--", path])


def flush(path: Path) -> float:
    start = time.perf_counter()
    run(["sync", "-f", path])
    return time.perf_counter() - start


def find(root: Path, *words: str) -> bytes:
    return run(["find", root, "-mindepth", "1", *words])


def output(command: list[str]) -> str:
    """What a command prints, on either stream; nothing if it cannot run."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    except OSError:
        return ""


def version(command: list[str]) -> str:
    """The first line that names a version; fpsync has it in its help only."""
    words = ["-h"] if command == ["fpsync"] else ["version"] if command == ["rclone"] else ["--version"]
    lines = output(command + words).splitlines()
    return lines[0].strip() if lines else "unknown"


def strings(words: list) -> list[str]:
    return [str(word) for word in words]


def shorten(text: object) -> str:
    """Paths as seen from the repository: records are published, the machine's directories are not."""
    return str(text).replace(f"{REPO}/", "")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
