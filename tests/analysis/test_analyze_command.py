"""`tracemw analyze`, as a user runs it: on files, on standard input, on the viewer and on what Tempo answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from analysis.commands import Ended, answering, run
from servers import free_port
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.unreadable import ServerError
from viewer.running import JSON, viewer

CAPTURES = Path(__file__).parent / "captures"
WEB = "00000000000000000a1b2c3d4e5f6071"


def analyze(*arguments: str, stdin: bytes = b"") -> Ended:
    return run("analyze", *arguments, stdin=stdin)


def test_a_file_of_one_trace_gives_the_verdict_the_findings_and_the_tree() -> None:
    ended = analyze(str(CAPTURES / "byid-v2-json.json"))
    said = ended.stdout
    assert ended.returncode == 1, ended.stderr
    assert said.startswith("GET /orders/{number} of web failed with ValueError: entry 13, from GET /stock/<int:number>")
    assert "error error-source: " in said
    assert "\n>       SELECT stock  40.0 ms, 40.0 on the critical path\n" in said


def test_without_rich_the_text_is_the_same() -> None:
    file = str(CAPTURES / "byid-v2-json.json")
    code = "import sys; sys.modules['rich'] = None; import tracemw.cli; sys.exit(tracemw.cli.main(sys.argv[1:]))"
    plain = subprocess.run([sys.executable, "-c", code, "analyze", file], capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == analyze(file)[:2]


def test_json_has_the_fields_that_are_documented() -> None:
    told = json.loads(analyze(str(CAPTURES / "byid-v2-json.json"), "--json").stdout)
    assert told.keys() == {"verdict", "cause", "trace_id", "duration_ms", "spans", "findings"}
    (finding,) = told["findings"]
    assert finding["code"] == told["cause"] == "error-source"
    assert finding["trace_id"] == told["trace_id"] == WEB
    assert finding["span_ids"] == ["a000000000000003", "a000000000000002", "a000000000000001"]
    names = {"severity", "title", "service", "line", "cost_ms", "saving_ms", "remedy", "query", "numbers"}
    assert finding.keys() == {"code", "trace_id", "span_ids", *names}


def test_standard_input_with_many_traces_groups_their_findings() -> None:
    told = json.loads(analyze("-", "--json", stdin=(CAPTURES / "input.otlp.pb").read_bytes()).stdout)
    assert told["traces"] == 7
    assert [(finding["code"], finding["traces"], finding["share"]) for finding in told["findings"][:1]] == [
        ("error-source", 1, pytest.approx(0.625, abs=1e-4))
    ]


@pytest.mark.parametrize(("codes", "status"), [("error-source", 1), ("n-plus-one,slow-query", 0)])
def test_the_status_is_1_for_the_codes_that_are_named(codes: str, status: int) -> None:
    ended = analyze(str(CAPTURES / "byid-v2-json.json"), "--fail-on", codes)
    assert ended.returncode == status
    assert ended.stderr == ("tracemw analyze: --fail-on has found error-source\n" if status else "")


def test_files_hold_parts_of_one_trace(tmp_path: Path) -> None:
    whole = json.loads((CAPTURES / "byid-v2-json.json").read_text())["trace"]["resourceSpans"]
    parts = [tmp_path / f"{number}.json" for number in range(len(whole))]
    for part, spans in zip(parts, whole, strict=True):
        part.write_text(json.dumps({"resourceSpans": [spans]}))
    assert len(parts) > 1
    assert analyze(*map(str, parts)) == analyze(str(CAPTURES / "byid-v2-json.json"))


def test_a_page_that_cannot_be_written_costs_only_the_page(tmp_path: Path) -> None:
    ended = analyze(str(CAPTURES / "byid-v2-json.json"), "--json", "--html", str(tmp_path / "none" / "page.html"))
    assert ended.returncode == 2
    assert "page.html" in ended.stderr
    assert json.loads(ended.stdout)["cause"] == "error-source"


def test_fast_queries_that_repeat_are_a_hint_that_fails_when_it_is_named(tmp_path: Path) -> None:
    many = [
        {
            "traceId": "ab" * 16,
            "spanId": f"{number + 1:016x}",
            "parentSpanId": f"{1:016x}" if number else "",
            "name": "SELECT" if number else "GET /stars",
            "kind": 3 if number else 2,
            "startTimeUnixNano": str(10**18 + number * 10**6),
            "endTimeUnixNano": str(10**18 + (number * 10**6 + 10**5 if number else 9 * 10**7)),
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in (("db.system.name", "sqlite"), ("db.query.text", "SELECT a FROM stars"))
                if number
            ],
        }
        for number in range(121)
    ]
    file = tmp_path / "stars.json"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}))
    assert analyze(str(file)).returncode == 0
    named = analyze(str(file), "--fail-on", "n-plus-one")
    assert named.returncode == 1
    assert "120 times" in named.stdout


def test_a_healthy_trace_says_where_the_time_went() -> None:
    spans = [
        {
            "traceId": "ab" * 16,
            "spanId": f"{number:016x}",
            "parentSpanId": parent,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(end),
        }
        for number, parent, name, kind, start, end in (
            (1, "", "GET /orders", 2, 0, 50_000_000),
            (2, f"{1:016x}", "SELECT orders", 3, 5_000_000, 35_000_000),
        )
    ]
    ended = analyze("-", stdin=json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode())
    assert ended.returncode == 0
    assert "Nothing is wrong with GET /orders" in ended.stdout
    assert "30.0 ms (60%) in SELECT orders" in ended.stdout


def test_the_viewer_is_asked_by_id_and_by_search() -> None:
    with viewer() as running:
        assert running.http.post(
            "/v1/traces", content=(CAPTURES / "input.otlp.json").read_bytes(), headers=JSON
        ).is_success
        by_id = analyze(WEB.lstrip("0"), "--url", running.url, "--json")
        assert json.loads(by_id.stdout)["cause"] == "error-source", by_id.stderr
        api = QueryApi(running.url)
        found = api.search(
            '{ resource.service.name = "web" && (status = error || kind = server) }',
            start=1795630900,
            end=1795631100,
            limit=10,
        )
        assert WEB in {each.zfill(32) for each in found}
        missing = analyze("77" * 16, "--url", running.url)
        assert missing.returncode == 2
        assert "has no trace 7777" in missing.stderr


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("{ status = error }", '{ resource.service.name = "web" && (status = error) }'),
        ('{ name = "/a/{id}" }', '{ resource.service.name = "web" && (name = "/a/{id}") }'),
        ("{}", '{ resource.service.name = "web" }'),
        ("{ name = `a` } >> { }", '{ resource.service.name = "web" } && { name = `a` } >> { }'),
    ],
)
def test_a_service_narrows_a_query(query: str, asked: str) -> None:
    targets: list[str] = []

    def answers(path: str, _headers: Any) -> tuple[int, bytes]:
        targets.append(path)
        return 200, b"{}"

    with answering(answers) as url:
        analyze("--query", query, "--service", "web", "--url", url)
    assert parse_qs(urlsplit(targets[0]).query)["q"] == [asked]


def test_a_search_takes_every_trace_that_it_finds() -> None:
    asked: list[str] = []

    def answers(path: str, headers: Any) -> tuple[int, bytes]:
        asked.append(path)
        assert headers["x-scope-orgid"] == "team-a"
        is_search = path.startswith("/api/search?")
        return 200, (CAPTURES / ("search-all.json" if is_search else "byid-v2-json.json")).read_bytes()

    with answering(answers) as url:
        ended = analyze("--service", "web", "--since", "2h", "--url", url, "--tenant", "team-a", "--json")
    assert json.loads(ended.stdout)["traces"] == len(asked) - 1 > 1, ended.stderr
    assert "q=%7B+resource.service.name+%3D+%22web%22+%7D" in asked[0]


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, b"no org id\n", "use --tenant or TRACEMW_TENANT"),
        (403, b"", "OTEL_EXPORTER_OTLP_HEADERS"),
        (400, (CAPTURES / "search-syntax2.txt").read_bytes(), "parse error at line 1, col 12"),
        (500, b"boom", "answers 500: boom; look into its log"),
        (302, b"", "answers 302"),
        (404, b"", "use the URL of Tempo's query API"),
        (200, b"<html>", "use the URL of Tempo's query API"),
        (200, b'{"traces": []}', "look further back with --since"),
    ],
)
def test_a_server_that_does_not_answer_a_search_is_told_plainly(status: int, body: bytes, remedy: str) -> None:
    with answering(lambda _path, _headers: (status, body)) as url:
        ended = analyze("--query", "{ status = }", "--url", url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("tracemw analyze: ")
    assert remedy in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("body", [b'{"trace": {}}', b""])
def test_a_trace_that_tempo_does_not_have_is_told_plainly(body: bytes) -> None:
    with answering(lambda _path, _headers: (200 if body else 404, body)) as url:
        ended = analyze(WEB, "--url", url)
    assert ended.returncode == 2
    assert "check the id and the tenant" in ended.stderr


def test_a_server_that_is_not_there_is_told_plainly() -> None:
    ended = analyze(WEB, "--url", f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 2
    assert "cannot be reached (" in ended.stderr
    assert "another --url" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (WEB, "--query", "{}"),
        ("--query", "{}", "--since", "8d"),
        ("--query", "{}", "--limit", "0"),
        (WEB, "--fail-on", "n-plus-two"),
        ("no-such-file.json",),
        (WEB, "--url", "tempo:3200"),
        ("/",),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: tuple[str, ...]) -> None:
    ended = analyze(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr


CUT_OFF = (CAPTURES / "input.otlp.json").read_bytes()[:5000]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (CUT_OFF, "broken or cut off"),
        ((CAPTURES / "search-all.json").read_bytes(), "use --query to fetch its traces"),
        (b'{"users": [{"name": "ada"}]}', "use JSON or protobuf of OTLP"),
        (b"[1, 2, 3]", "use JSON or protobuf of OTLP"),
        (b'{"data": null}', "use JSON or protobuf of OTLP"),
        (b"name,age\nada,36\n", "neither JSON nor protobuf"),
        (b'{"resourceSpans": []}', "there are no spans"),
        (b'{"batches": []}', "there are no spans"),
        (b"", "there are no spans"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_what_is_no_trace_is_told_plainly(data: bytes, remedy: str, more: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(data)
    for ended in (analyze(str(tmp_path / "given"), *more), analyze("-", *more, stdin=data)):
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("tracemw analyze: ")
        assert remedy in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_files_of_a_directory_are_read_and_the_one_that_is_none_of_traces_is_named(tmp_path: Path) -> None:
    for name in ("zipkin.json", "jaeger.json"):
        (tmp_path / name).write_bytes((CAPTURES / name).read_bytes())
    ended = analyze(str(tmp_path), "--json")
    assert json.loads(ended.stdout)["traces"] == 2
    (tmp_path / "notes.txt").write_text("hello")
    ended = analyze(str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"tracemw analyze: {tmp_path}/notes.txt: neither JSON nor protobuf")


def _spans(*spans: tuple[str, str, int]) -> bytes:
    made = [
        {
            "traceId": "0a" * 16,
            "spanId": own,
            "parentSpanId": parent,
            "name": "work",
            "kind": kind,
            "startTimeUnixNano": 1,
        }
        for own, parent, kind in spans
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}).encode()


def test_half_a_trace_is_analysed_and_says_so() -> None:
    ended = analyze("-", stdin=_spans(("01" * 8, "09" * 8, 3), ("02" * 8, "08" * 8, 3)))
    assert ended.returncode == 2
    assert "broken-trace" in ended.stdout
    assert "the root is not there" in ended.stderr


def test_a_request_whose_caller_is_not_traced_is_no_half() -> None:
    ended = analyze("-", stdin=_spans(("01" * 8, "09" * 8, 2), ("02" * 8, "01" * 8, 3)))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_memory_does_not_grow_with_the_traces_of_a_search() -> None:
    """The command runs in a process of its own, which says how much memory it took at most."""
    few, many = (_peak_of_a_search(traces) for traces in (50, 1000))
    assert many - few < 10_000_000


def _peak_of_a_search(traces: int) -> int:
    span = json.loads(_spans(*((f"{number:016x}", "" if number == 1 else f"{1:016x}", 3) for number in range(1, 60))))
    found = {"traces": [{"traceID": f"{number:032x}"} for number in range(1, traces + 1)]}

    def answers(path: str, _headers: Any) -> tuple[int, bytes]:
        if path.startswith("/api/search?"):
            return 200, json.dumps(found).encode()
        trace_id = urlsplit(path).path.rpartition("/")[2]
        return 200, json.dumps({"trace": span}).replace("0a" * 16, trace_id).encode()

    code = (
        "import resource, sys; from tracemw.cli import main; status = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(status)"
    )
    with answering(answers) as url:
        command = [
            sys.executable,
            "-c",
            code,
            "analyze",
            "--query",
            "{ }",
            "--limit",
            str(traces),
            "--url",
            url,
            "--json",
        ]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert json.loads(ended.stdout)["traces"] == traces, ended.stderr
    return int(ended.stderr.splitlines()[-1]) * 1024


def test_an_id_that_is_no_hex_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(ServerError, match="use up to 32 hex digits"):
        QueryApi("http://127.0.0.1:9").trace("../../x")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name one of these: a trace id"),
        ((WEB, "--service", "books"), "name only one of these: a trace id"),
        ((WEB, "--since", "1h"), "--since goes with a search"),
        ((WEB, "--limit", "1000"), "--limit goes with a search"),
        ((str(CAPTURES / "zipkin.json"), "--tenant", "books"), "--tenant goes with a server"),
        (("-", "--tenant", "books"), "--tenant goes with a server"),
        ((str(CAPTURES / "zipkin.json"), WEB), "name one trace id, or several files, which exist"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(arguments: tuple[str, ...], told: str) -> None:
    ended = analyze(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
