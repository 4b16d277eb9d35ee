"""`tracemw forget` has Tempo erase the traces of a user: the very bytes that it sends, and what it makes of answers."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from analysis.commands import Ended, run
from servers import process, wait_until

from .tempo import LONGEST, Refusal, Stored, Tempo, tempo_serving
from .users import ALICE, BOB, pseudonym, query, shows

HERS, OLDER, HIS = "00000000000000000000000000000abc", "1" * 32, "2" * 32
DAY = 24 * 3600


def stock(tempo: Tempo) -> None:
    """Two traces of hers, the older one under the former key, and one of his."""
    now = int(time.time())
    tempo.traces = {
        HERS: Stored(pseudonym(ALICE), now - 60),
        OLDER: Stored(pseudonym(ALICE, "2026a"), now - 10 * DAY),
        HIS: Stored(pseudonym(BOB), now - 60),
    }


def forget(tempo: Tempo, *arguments: str, stdin: str = ALICE) -> Ended:
    where = ("--url", tempo.url, "--scheduler", tempo.scheduler)
    ended = run("forget", "-", *where, *arguments, stdin=stdin.encode())
    assert not shows(ended.stdout + ended.stderr)
    return ended


def audit(ended: Ended) -> dict[str, Any]:
    """The audit line, which is the first line on stderr."""
    told: dict[str, Any] = json.loads(ended.stderr.splitlines()[0])
    return told


def varint(number: int) -> bytes:
    octets = []
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def of_ids(*ids: str) -> bytes:
    return b"".join(b"\x12\x10" + bytes.fromhex(each) for each in sorted(ids))


def of_query(*users: str) -> bytes:
    text = query(*users).encode()
    selector = b"\x0a" + varint(len(text)) + text
    return b"\x1a" + varint(len(selector)) + selector


def test_with_wait_it_asks_by_ids_then_by_query_and_goes_on_until_nothing_is_found(tempo: Tempo) -> None:
    stock(tempo)
    tempo.busy_for, tempo.looks = 2, 40
    ended = forget(tempo, "--wait", "60s", "--every", "0.01s", "--tenant", "shop")
    assert ended.returncode == 0, ended
    assert list(tempo.traces) == [HIS]
    assert tempo.requests == [of_ids(HERS, OLDER), of_query(ALICE), of_query(ALICE), of_query(ALICE)]
    assert tempo.metadata == [{"x-scope-orgid": "shop"}] * 4
    assert set(tempo.tenants) == {"shop"}
    assert {OLDER, HERS} <= set(tempo.by_id)
    told = audit(ended)
    assert (told["tracesFound"], told["tracesErased"], told["tracesLeft"]) == (2, 2, 0)
    assert told["batches"] == [
        {"id": "batch-1", "by": "ids", "traces": 2, "jobs": 3},
        {"id": "batch-2", "by": "query", "traces": 0, "jobs": 3},
    ]
    assert (told["gone"], told["status"]) == (True, 0)


def test_without_wait_the_status_is_1_until_a_later_run_finds_nothing(tempo: Tempo) -> None:
    stock(tempo)
    tempo.busy_for, tempo.looks = 1, 13
    first = forget(tempo)
    assert first.returncode == 1
    assert tempo.requests == [of_ids(HERS, OLDER), of_query(ALICE)]
    assert "0 traces erased, 2 still there" in first.stdout
    assert "out of reach: the redaction by query: Tempo takes one at a time, and another one runs" in first.stdout
    assert "out of reach: spans that are not in a block yet" in first.stdout
    assert "run this again until the exit status is 0" in first.stdout
    second = forget(tempo)
    assert (second.returncode, list(tempo.traces)) == (0, [HIS])
    assert tempo.requests[-1] == of_query(ALICE)
    assert "0 traces of 1 user in Tempo 3.1.0-dev" in second.stdout
    assert "nothing was found under the keys 2026b, 2026a: is TRACEMW_PSEUDONYM_KEY that of the" in second.stdout


def test_a_late_span_that_no_search_finds_counts_as_left_until_it_is_gone_by_its_id(tempo: Tempo) -> None:
    stock(tempo)
    tempo.late, tempo.only_by_query = {HERS}, True
    ended = forget(tempo, "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["left"] == [HERS]
    assert sorted(tempo.by_id) == [HERS, OLDER]


def test_every_search_covers_at_most_a_week_and_all_of_them_the_window(tempo: Tempo) -> None:
    stock(tempo)
    forget(tempo, "--dry-run")
    windows = sorted({(int(each["start"]), int(each["end"])) for each in tempo.searches})
    assert all(0 < end - start <= LONGEST for start, end in windows)
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert windows[-1][1] - windows[0][0] == (90 + 1) * DAY  # clocks may be ahead
    assert {each["q"] for each in tempo.searches} == {query(ALICE)}


def test_a_search_that_gives_as_many_as_it_may_is_made_again_in_halves(
    tempo: Tempo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracemw.erasure.seeking._LIMIT", 10)
    now = int(time.time())
    for number in range(1, 41):
        tempo.traces[f"{number:032x}"] = Stored(pseudonym(ALICE), now - 1000 - number % 20)
    ended = forget(tempo, "--dry-run", "--json", "--since", "1h")
    assert json.loads(ended.stdout)["tracesFound"] == 40
    assert "too many began in one second" not in ended.stdout
    for trace_id, stored in tempo.traces.items():
        tempo.traces[trace_id] = stored._replace(start=now - 1000)
    ended = forget(tempo, "--dry-run", "--since", "1h")
    assert "out of reach: traces beyond those that one search gives: too many began in one second" in ended.stdout


def test_a_dry_run_sends_its_mode_and_erases_nothing(tempo: Tempo) -> None:
    stock(tempo)
    ended = forget(tempo, "--dry-run")
    assert ended.returncode == 1
    assert tempo.requests == [of_ids(HERS, OLDER) + b"\x20\x01", of_query(ALICE) + b"\x20\x01"]
    assert len(tempo.traces) == 3
    assert "Tempo would redact 2 traces by id: batch batch-1, 3 jobs" in ended.stdout
    assert "nothing was erased: this was a dry run" in ended.stdout
    assert audit(ended)["tracesErased"] == 0


def test_a_window_goes_with_the_query_only_and_has_both_bounds(tempo: Tempo) -> None:
    stock(tempo)
    ended = forget(tempo, "--from", "2026-11-01T00:00:00+00:00", "--to", "2026-12-01T00:00:00+00:00", "--dry-run")
    begin, end = 1_793_491_200 * 10**9, 1_796_083_200 * 10**9
    assert tempo.requests[0][:2] == b"\x12\x10"
    assert tempo.requests[0].endswith(b"\x20\x01")
    bounds = b"\x28" + varint(begin) + b"\x30" + varint(end)
    assert tempo.requests[1] == of_query(ALICE) + b"\x20\x01" + bounds
    assert audit(ended)["window"] == {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}


def test_no_request_ever_has_the_field_that_is_the_tenant_in_tempo_3_0(tempo: Tempo) -> None:
    stock(tempo)
    forget(tempo, "--tenant", "shop")
    assert tempo.requests
    assert all(body[:1] in (b"\x12", b"\x1a") for body in tempo.requests)
    assert b"shop" not in b"".join(tempo.requests)


def test_several_users_are_erased_in_one_run(tempo: Tempo) -> None:
    stock(tempo)
    ended = forget(tempo, "--wait", "60s", "--every", "0.01s", stdin=f"{ALICE}\n\n  {BOB}  \r\n")
    assert tempo.traces == {}
    assert ended.returncode == 0
    assert tempo.requests == [of_ids(HERS, OLDER, HIS), of_query(ALICE, BOB)]


def test_a_server_that_fails_while_the_command_waits_is_asked_again(tempo: Tempo) -> None:
    stock(tempo)
    tempo.fails_at, tempo.looks, tempo.busy_for = {30, 50}, 60, 1
    ended = forget(tempo, "--wait", "60s", "--every", "0.01s")
    assert (ended.returncode, list(tempo.traces)) == (0, [HIS])
    stock(tempo)
    tempo.searches.clear()
    tempo.fails_at, tempo._busy = {20}, 0
    ended = forget(tempo)
    assert ended.returncode == 2
    assert "answers 503: the frontend is overloaded" in ended.stderr
    assert audit(ended)["batches"] != []


def test_nothing_found_while_others_are_under_keys_that_are_not_named_is_no_success(
    tempo: Tempo, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(tempo)
    del tempo.traces[HIS]
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2026.:{'z' * 32}")
    ended = forget(tempo, "--json", "--wait", "60s", "--every", "0.01s")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert (told["tracesFound"], told["gone"]) == (0, False)
    assert told["notice"].startswith(
        "nothing was found under the key 2026., and the traces there are under the key 2026"
    )
    assert audit(ended)["notice"] == told["notice"]
    assert all(each["limit"] == "1" for each in tempo.searches if "=~" in each["q"])


def test_a_tempo_that_does_not_say_which_keys_there_are_has_still_erased(tempo: Tempo) -> None:
    tempo.traces = {HIS: Stored(pseudonym(BOB), int(time.time()) - 60)}
    tempo.fails_at = {2 * 13 + 1}  # each look at 91 days has 13 searches
    ended = forget(tempo)
    assert ended.returncode == 0
    assert "=~" in tempo.searches[-1]["q"]
    assert "is TRACEMW_PSEUDONYM_KEY that of the services" in ended.stdout


def test_no_blocks_is_no_success(tempo: Tempo) -> None:
    ended = forget(tempo)
    assert ended.returncode == 1
    assert "Tempo knows no block for it (no blocks found for tenant), and looks for new ones" in ended.stdout
    assert audit(ended)["gone"] is False


def test_nothing_to_be_found_is_fine_while_another_redaction_runs(tempo: Tempo) -> None:
    tempo.refusals = [Refusal(grpc.StatusCode.ALREADY_EXISTS, "a redaction is already in progress for this tenant")]
    ended = forget(tempo)
    assert ended.returncode == 0
    assert "out of reach: the redaction by query: Tempo takes one at a time, and another one runs" in ended.stdout


def test_a_redaction_of_somebody_else_is_waited_for(tempo: Tempo) -> None:
    stock(tempo)
    busy = Refusal(grpc.StatusCode.ALREADY_EXISTS, "a redaction is already in progress for this tenant")
    tempo.refusals = [busy]
    ended = forget(tempo)
    assert ended.returncode == 1
    assert "out of reach: the redaction by id: Tempo takes one at a time, and another one runs" in ended.stdout
    assert tempo.requests == [of_ids(HERS, OLDER)]
    compacted = Refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "all 3 in-window blocks are being compacted; retry shortly"
    )
    tempo.refusals = [busy, compacted, busy]
    assert forget(tempo, "--wait", "60s", "--every", "0.01s").returncode == 0
    assert list(tempo.traces) == [HIS]


@pytest.mark.parametrize(
    ("code", "details", "remedy"),
    [
        ("FAILED_PRECONDITION", "compaction is disabled for this tenant", "have the tenant's compaction enabled"),
        ("INVALID_ARGUMENT", "tenant_id is required", "upgrade to Tempo 3.1 or later"),
        ("INVALID_ARGUMENT", "query must be a single spanset filter", "check the tenant, and that this is Tempo 3.1"),
        ("UNIMPLEMENTED", "unknown service tempopb.BackendScheduler", "9095 by default"),
        ("UNAVAILABLE", "no org id", "use --tenant or TRACEMW_TENANT"),
        ("UNAUTHENTICATED", "no org id", "use --tenant or TRACEMW_TENANT"),
        ("UNAUTHENTICATED", "bad token", "put an authorization into OTEL_EXPORTER_OTLP_HEADERS"),
        ("PERMISSION_DENIED", "no", "put an authorization into OTEL_EXPORTER_OTLP_HEADERS"),
        ("UNAVAILABLE", "connection refused", "name the gRPC port of Tempo's backend scheduler with --scheduler"),
        ("INTERNAL", "disk\nfull", "look into its log, and try again"),
    ],
)
def test_a_refusal_for_good_ends_with_status_2_and_the_remedy(
    tempo: Tempo, code: str, details: str, remedy: str
) -> None:
    stock(tempo)
    tempo.refusals = [Refusal(grpc.StatusCode[code], details)]
    ended = forget(tempo)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert " ".join(details.split()) in ended.stderr
    assert remedy in ended.stderr.splitlines()[-1]
    assert (audit(ended)["status"], remedy in audit(ended)["error"]) == (2, True)


@pytest.mark.parametrize("version", ["3.0.2", "2.10.1", "v3.0.0-rc.1"])
def test_an_older_tempo_is_refused_before_anything_is_sent(tempo: Tempo, version: str) -> None:
    stock(tempo)
    tempo.version = version
    ended = forget(tempo)
    assert (ended.returncode, tempo.requests, tempo.searches) == (2, [], [])
    assert f"Tempo {version} at {tempo.url} erases nothing safely; upgrade to Tempo 3.1 or later" in ended.stderr


@pytest.mark.parametrize("version", [None, "main-ad33aa8", "3.1.0", "4.0.0"])
def test_a_newer_tempo_and_one_that_does_not_tell_are_asked(tempo: Tempo, version: str | None) -> None:
    stock(tempo)
    tempo.version = version
    assert forget(tempo, "--dry-run").returncode == 1
    assert len(tempo.requests) == 2


def test_the_wrong_port_is_told_as_what_it_is(tempo: Tempo) -> None:
    stock(tempo)
    http = run("forget", ALICE, "--url", tempo.url, "--scheduler", tempo.url)
    assert http.returncode == 2
    assert "--scheduler" in http.stderr
    nobody = run("forget", ALICE, "--url", tempo.url, "--scheduler", "http://127.0.0.1:1")
    assert nobody.returncode == 2
    assert "http://127.0.0.1:1 cannot be reached" in nobody.stderr
    assert not shows(http.stderr + nobody.stderr)


def test_without_a_scheduler_the_default_port_beside_the_url_is_asked(tempo: Tempo) -> None:
    stock(tempo)
    ended = run("forget", ALICE, "--url", tempo.url)
    assert ended.returncode == 2
    assert "http://127.0.0.1:9095 cannot be reached" in ended.stderr


def test_tls_and_headers_are_those_of_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "both.pem").write_bytes(authority.issue_cert("forget").private_key_and_cert_chain_pem.bytes())
    server = authority.issue_cert("127.0.0.1")
    pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), require_client_auth=True)
    with tempo_serving(credentials=credentials) as tempo:
        stock(tempo)
        untrusted = forget(tempo)
        assert untrusted.returncode == 2
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in untrusted.stderr
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path / "both.pem"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret")
        monkeypatch.setenv("TRACEMW_TENANT", "shop")
        ended = forget(tempo, "--dry-run")
        assert ended.returncode == 1, ended
        assert tempo.metadata[-1] == {"authorization": "Bearer s3cret", "x-scope-orgid": "shop"}
        assert "s3cret" not in ended.stdout + ended.stderr


def test_a_server_that_is_no_tempo_is_told(tempo: Tempo) -> None:
    nobody = run("forget", ALICE, "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 2
    assert "http://127.0.0.1:1 cannot be reached" in nobody.stderr
    elsewhere = run("forget", ALICE, "--url", f"{tempo.url}/elsewhere", "--scheduler", tempo.scheduler)
    assert elsewhere.returncode == 2
    assert "has no /api/search" in elsewhere.stderr


def test_a_run_that_is_ended_while_it_waits_has_its_audit_line(tempo: Tempo, tmp_path: Path) -> None:
    stock(tempo)
    tempo.looks = 10**6
    log = tmp_path / "audit.jsonl"
    where = ("--url", tempo.url, "--scheduler", tempo.scheduler, "--audit", str(log))
    with process("-m", "tracemw", "forget", ALICE, *where, "--wait", "1h", "--every", "0.05s") as waiting:
        wait_until(lambda: len(tempo.searches) > 30)
        waiting.terminate()
        assert waiting.wait(60) == 2
    (line,) = log.read_text().splitlines()
    assert not shows(line)
    told = json.loads(line)
    assert (told["tracesFound"], told["gone"], told["error"], told["status"]) == (2, False, "SystemExit", 2)
    assert len(told["batches"]) == 2


def test_a_scheduler_without_a_scheme_is_refused_before_anything_is_asked_for(tempo: Tempo) -> None:
    stock(tempo)
    ended = run("forget", ALICE, "--url", tempo.url, "--scheduler", "tempo:9095")
    assert ended.returncode == 2
    assert "--scheduler=tempo:9095 is not accepted; use an http:// or https:// URL" in ended.stderr
    assert tempo.requests == []
