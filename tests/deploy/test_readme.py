"""What the README of the stack says of versions, files, retention and commands is so."""

from __future__ import annotations

import re

from deploy.stack import DEPLOY, ROOT, compose, loaded, teams

PAGE = (DEPLOY / "README.md").read_text()


def test_the_table_of_versions_has_every_image_and_its_version() -> None:
    table = dict(re.findall(r"^\| `([\w./-]+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    images = (service["image"].rpartition(":") for service in compose().values())
    assert table == {name: version.removeprefix("v") for name, _, version in images}


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:deploy/)?[\w-]+/[\w./-]*)`", PAGE)) - {"secrets/grafana-passwords/admin-password"}
    images = {service["image"].rpartition(":")[0] for service in compose().values()}
    for path in named - images:
        if "secrets" not in path and not path.startswith(("trust/", "datasources/")):
            assert (DEPLOY / path).exists() or (ROOT / path).exists(), path


def test_the_retention_that_is_told_is_the_one_that_is_set() -> None:
    days = int(loaded("tempo/tempo.yaml")["backend_worker"]["compaction"]["block_retention"].removesuffix("h")) // 24
    fewer = {
        team: int(limits["compaction"]["block_retention"].removesuffix("h")) // 24
        for team, limits in loaded("tempo/overrides.yaml")["overrides"].items()
    }
    told = "; ".join([f"{days} days", *(f"`{team}` {number}" for team, number in fewer.items())])
    assert f"| traces | {told} |" in PAGE
    assert f"| logs | {days} days |" in PAGE
    assert "--storage.tsdb.retention.time=30d" in compose()["prometheus"]["command"]
    assert "| metrics, with no person in them | 30 days, or 20 GB |" in PAGE


def test_it_names_teams_that_there_are_and_says_what_it_is_not() -> None:
    assert set(re.findall(r"teams/(\w+)\.env", PAGE)) <= teams()
    assert "This is no legal advice." in PAGE
    assert "was not started in those tests" in PAGE
