"""`make test-package`: build, install, import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TWINE = "twine==7.0.0"

# The rooms that need no extra, and a start of tracing: all of it without what the extras bring.
BARE = """
import tracemw, tracemw.asgi, tracemw.wsgi, tracemw.cli, tracemw.sampling, tracemw.redaction, tracemw.spikes
assert tracemw.init("bare").shutdown(1)
"""
ROOM = """
import importlib, pkgutil
room = importlib.import_module("tracemw.{extra}")
for module in pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + "."):
    importlib.import_module(module.name)
"""


def run(*command: str | Path, **environment: str) -> None:
    """Run a command, away from the sources, and show what it says when it fails."""
    told = [str(part) for part in command]
    whole = {**os.environ, **environment}
    ran = subprocess.run(told, cwd=tempfile.gettempdir(), env=whole, check=False, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"{' '.join(told)}\n{ran.stdout}{ran.stderr}")


@contextmanager
def environment(folder: Path, *requirements: str) -> Iterator[Path]:
    """Make an empty environment with these packages, give its `bin`, and remove it."""
    where = Path(tempfile.mkdtemp(dir=folder))
    python = where / "bin" / "python"
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, where)
        run("uv", "pip", "install", "--quiet", "--python", python, *requirements)
        run("uv", "pip", "check", "--quiet", "--python", python)
    else:
        run(sys.executable, "-m", "venv", where)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
        run(python, "-m", "pip", "check", "--disable-pip-version-check")
    yield where / "bin"
    shutil.rmtree(where)


def main() -> None:
    """Build both, and try both."""
    with tempfile.TemporaryDirectory(prefix="tracemw-") as made:
        folder = Path(made)
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
        (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        for path in (wheel, sdist):
            print(f"{path.stat().st_size / 1000:6.0f} kB  {path.name}")
        with environment(folder, TWINE) as bin_:
            run(bin_ / "twine", "check", "--strict", wheel, sdist)
        with environment(folder, str(wheel)) as bin_:
            run(bin_ / "python", "-W", "error", "-c", BARE, OTEL_TRACES_EXPORTER="none")
            run(bin_ / "tracemw", "--help")
        for extra in sorted(EXTRAS.keys() - {"all", "dev", "docs", "test"}):
            with environment(folder, f"{wheel}[{extra}]") as bin_:
                run(bin_ / "python", "-W", "error", "-c", ROOM.format(extra=extra))
            print(f"       ok  tracemw[{extra}]", flush=True)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        made_by = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        subprocess.run(["make", "test-fast", f"PYTHON={sys.executable}"], cwd=unpacked, env=made_by, check=True)


if __name__ == "__main__":
    main()
