"""Which tests `make check` runs: those of the modules that have changed since the branch left main.

    python tests/touched.py [--fast]

prints them. A test file stands for itself. A module of `src` stands for the tests that are named like it, in whichever
folder; without any, for those of its room. A file of `deploy` stands for tests/deploy. When nothing has changed, when
there is no clone to compare with, or with --fast, it prints a fast set: one file for each station of a request.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePath

ROOT = Path(__file__).parent.parent
FAST = [
    "tests/test_architecture.py",
    "tests/test_asgi.py",
    "tests/test_wsgi.py",
    "tests/test_semconv.py",
    "tests/settings/test_configuration.py",
    "tests/export/test_queue.py",
]


def changed() -> list[str]:
    """The files that differ from main's, as paths within the repository; none without git."""
    for base in ("origin/main", "main"):
        merge_base = _git("merge-base", "HEAD", base)
        if merge_base:
            listed = [*_git("diff", "--name-only", *merge_base), *_git("ls-files", "--others", "--exclude-standard")]
            return sorted(set(listed))
    return []


def tests_of(path: str, tests: list[str]) -> list[str]:
    """The tests of one file of the repository, of those that there are."""
    if path in tests:
        return [path]
    parts = PurePath(path).with_suffix("").parts
    if parts[:1] == ("deploy",):
        return [test for test in tests if test.startswith("tests/deploy/")]
    if parts[:2] != ("src", "tracemw"):
        return []
    names = [part.removeprefix("_") for part in parts[2:] if part != "__init__"]
    for name in reversed(names):
        found = [test for test in tests if PurePath(test).name == f"test_{name}.py" or PurePath(test).parts[1] == name]
        if found:
            return found
    return []


def _git(*arguments: str) -> list[str]:
    try:
        ran = subprocess.run(["git", "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return ran.stdout.splitlines() if ran.returncode == 0 else []


def main() -> None:
    """Print the tests to run, on one line."""
    tests = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    touched = {test for path in changed() for test in tests_of(path, tests)}
    sys.stdout.write(" ".join(FAST if "--fast" in sys.argv else sorted(touched or FAST)) + "\n")


if __name__ == "__main__":
    main()
