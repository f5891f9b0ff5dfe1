"""Where a result comes from: the versions, the commit, the command."""

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

__all__ = ["command_line", "commit", "versions"]

PACKAGES = ("audiomamba", "lightning", "numpy", "safetensors", "scikit-learn", "soxr", "torch")


def versions() -> dict[str, str]:
    """Find the versions of Python and of the packages that a result depends on.

    Returns:
        Versions by name, "python" and "platform" first; packages that are not installed are left
        out.

    Examples:
        >>> sorted(versions())[:2]
        ['audiomamba', 'lightning']
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Find the git commit that the package runs from.

    Returns:
        The commit, with "+" after it if files of the package were changed since; None if the
        package is not in a git checkout of its own, or git is not installed.
    """
    package = Path(__file__).resolve().parent
    tracked = _git(package, "ls-files", "--error-unmatch", "errors.py")
    head = _git(package, "rev-parse", "HEAD")
    if not tracked or not head:
        return None
    return head + ("+" if _git(package, "status", "--porcelain", "--", ".") else "")


def command_line() -> str:
    """Say how the program was called, without where it is installed.

    Returns:
        Program and arguments, quoted as a shell wants them.
    """
    program = Path(sys.argv[0])
    called = ["python", "-m", program.parent.name] if program.stem == "__main__" else [program.name]
    return shlex.join([*called, *sys.argv[1:]])


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None if it failed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
