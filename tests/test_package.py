"""The wheel and the sdist: what is in them, and what they say of themselves. `make test-package` installs both."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import tracemw

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built as `make package` does."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    """The wheel's files, by name."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built: Path) -> dict[str, bytes]:
    """The sdist's files, by name within its one folder."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive if each.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Metadata:
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return Metadata.from_email(wheel[name], validate=True)


def source(folder: str) -> set[str]:
    """The files of a folder of the repository, without what running it or building its pages leaves behind."""
    left = {"__pycache__", "_build", "secrets"}
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and not left & set(path.parts))
    return {str(path.relative_to(ROOT)) for path in paths}


def test_the_wheel_has_the_package_and_nothing_else(wheel: dict[str, bytes]) -> None:
    told = {name for name in wheel if ".dist-info/" not in name}
    assert told == {name.removeprefix("src/") for name in source("src")}


def test_the_wheel_has_every_license(wheel: dict[str, bytes]) -> None:
    names = {name.partition("/licenses/")[2] for name in wheel if "/licenses/" in name}
    vendored = {name for name in source("src") if "/LICENSE" in name}
    assert names == {"LICENSE", *vendored}


def test_the_sdist_has_what_its_own_tests_need(sdist: dict[str, bytes]) -> None:
    for folder in ("src", "tests", "examples", "docs", "deploy"):
        assert source(folder) - set(sdist) == set()
    assert {"Makefile", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"} <= set(sdist)


def test_the_sdist_has_nothing_that_is_of_one_machine_or_of_a_clone(sdist: dict[str, bytes]) -> None:
    cruft = re.compile(r"__pycache__|/secrets/|\.pyc$|\.db$|(^|/)\.venv|\.egg-info|htmlcov|^\.github|^uv\.lock$")
    assert [name for name in sdist if cruft.search(name)] == []


def test_the_version_is_that_of_the_module(metadata: Metadata, sdist: dict[str, bytes]) -> None:
    assert str(metadata.version) == tracemw.__version__
    assert f"\nVersion: {tracemw.__version__}\n" in sdist["PKG-INFO"].decode()
    stated = [
        name for name in source("src") if re.search(r"^__version__ =", (ROOT / name).read_text("latin-1"), re.MULTILINE)
    ]
    assert stated == ["src/tracemw/_version.py"]


def test_the_metadata_say_who_may_use_the_package_and_with_what(metadata: Metadata) -> None:
    assert (metadata.name, metadata.summary) == ("tracemw", PROJECT["description"])
    assert (metadata.license_expression, str(metadata.requires_python)) == ("Apache-2.0", ">=3.11")
    assert metadata.provides_extra is not None
    assert set(metadata.provides_extra) == set(PROJECT["optional-dependencies"])
    assert not metadata.project_urls  # there is no page of the project's own yet
    assert set(metadata.keywords or ()) == set(PROJECT["keywords"])
    assert "Typing :: Typed" in (metadata.classifiers or ())


def test_every_door_has_the_extra_that_is_named_like_it(metadata: Metadata) -> None:
    doors = set(tracemw._DOORS) - {"asgi", "wsgi"}
    assert doors - set(metadata.provides_extra or ()) == set()
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert doors - set(re.findall(r"\w+", everything)) == set()


def test_an_index_shows_the_readme_without_pictures_and_relative_links(metadata: Metadata) -> None:
    assert metadata.description_content_type == "text/markdown"
    shown = metadata.description or ""
    prose = CODE.sub("", shown)
    assert re.findall(r"!\[|<img|<picture|<source", prose) == []
    assert [link for link in re.findall(r"\]\(([^)]*)\)|href=", prose) if not link.startswith("https://")] == []
    assert CODE.findall(shown) == CODE.findall(README)
    assert re.findall(r"^#+ .*$", CODE.sub("", README), re.MULTILINE) == re.findall(r"^#+ .*$", prose, re.MULTILINE)


def declared(project: dict[str, Any], extra: str = "") -> Iterator[tuple[str, str, SpecifierSet]]:
    """Yield what an extra asks for, or the project itself, with the extras that the extra stands for."""
    extras: dict[str, list[str]] = project["optional-dependencies"]
    for wanted in map(Requirement, extras[extra] if extra else project["dependencies"]):
        if wanted.name == project["name"]:
            for other in wanted.extras:
                yield from ((extra, name, specifier) for _, name, specifier in declared(project, other))
        else:
            yield extra, canonicalize_name(wanted.name), wanted.specifier


def test_the_lock_file_knows_each_dependency_that_is_declared() -> None:
    lock = ROOT / "uv.lock"
    if not lock.exists():
        pytest.skip("uv.lock is in a clone only")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (locked,) = (each for each in tomllib.loads(lock.read_text())["package"] if each["name"] == project["name"])
    known = {
        (
            "".join(re.findall(r"extra == '(.+?)'", each.get("marker", ""))),
            each["name"],
            SpecifierSet(each.get("specifier", "")),
        )
        for each in locked["metadata"]["requires-dist"]
    }
    wanted = {each for extra in ("", *project["optional-dependencies"]) for each in declared(project, extra)}
    assert known == wanted, "run: uv lock"


def test_nothing_that_is_published_names_a_host_but_those_of_public_indexes() -> None:
    lock = ROOT / "uv.lock"
    if not lock.exists():
        pytest.skip("uv.lock is in a clone only")
    hosts = set(re.findall(r"\w+://([^/\"]+)", lock.read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
