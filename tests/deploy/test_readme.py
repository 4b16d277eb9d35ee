"""What the README of the stack says of versions, files, retention and commands is so."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from deploy.queries import alerts
from deploy.stack import DEPLOY, ROOT, compose, loaded, teams
from tracemw.cli.forget import FORGET
from tracemw.config import pseudonym_keys

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


def erasing() -> list[list[str]]:
    """The words of each command that erases."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*tracemw forget (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in found]


def test_the_commands_that_erase_are_ones_that_tracemw_takes_and_keep_their_record() -> None:
    assert len(erasing()) == 2
    for words in erasing():
        parser = argparse.ArgumentParser()
        FORGET.add_options(parser)
        options = parser.parse_args(words[words.index("forget") + 1 : words.index("<")])
        assert options.identifiers == ["-"]
        assert options.tenant in teams()
        assert options.audit.name == "shop.jsonl"


def test_what_erases_in_a_container_has_its_input_key_trust_and_record_from_outside() -> None:
    (words,) = (words for words in erasing() if words[0] == "docker")
    assert "-i" in words
    assert "-t" not in words
    assert "-it" not in words, "a terminal would stand before users.txt"
    mounted = [words[at + 1].split(":") for at, word in enumerate(words) if word == "-v"]
    inside = {PurePosixPath(target): rest for _, target, *rest in mounted}
    assert all(source.startswith("$PWD/") for source, *_ in mounted)
    assert inside[PurePosixPath(words[words.index("--audit") + 1]).parent] == [], "the record is written outside"
    (trust,) = (word.partition("=")[2] for word in words if word.startswith("OTEL_EXPORTER_OTLP_CERTIFICATE="))
    assert inside[PurePosixPath(trust).parent] == ["ro"]
    assert words[words.index("--env-file") + 1] == "$PWD/deploy/compose/secrets/pseudonyms.env"


def test_no_command_puts_a_key_or_a_password_into_the_history_of_a_shell() -> None:
    commands = re.findall(r"^\$ .*$", PAGE, re.MULTILINE)
    assert not [command for command in commands if re.search(r"TRACEMW_PSEUDONYM_KEY=|--from-literal", command)]


def test_the_command_that_changes_the_key_puts_a_new_one_before_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = "2026a:" + "s+/=" * 11
    (tmp_path / "pseudonyms.env").write_text(f"TRACEMW_PSEUDONYM_KEY={former}\n")
    (command,) = re.findall(r"^\$ (sed .*)$", PAGE, re.MULTILINE)
    command = command.replace("deploy/compose/secrets/pseudonyms.env", "pseudonyms.env")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    name, _, value = (tmp_path / "pseudonyms.env").read_text().strip().partition("=")
    assert value.endswith(f",{former}")
    monkeypatch.setenv(name, value)
    assert len(pseudonym_keys()) == 2


def test_it_names_no_alert_that_there_is_not() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", PAGE))
    assert named - {"LoggingHandler"} <= {rule["alert"] for rule in alerts()}
