"""Each finding is there when it should be, and not just below its threshold."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.building import EPOCH, Builder, exception, found
from tracemw._setup.endings import PROCESS_EXIT
from tracemw.analysis.findings.finders import CODES, find
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.model import Event, Trace
from tracemw.analysis.report.as_text import lines_of_many
from tracemw.analysis.verdict import judge


def codes(built: Builder) -> set[str]:
    return set(found(built))


@pytest.mark.parametrize(("milliseconds", "is_found"), [(5000, False), (5001, True)])
def test_a_trace_is_long_beyond_five_seconds(milliseconds: int, is_found: bool) -> None:
    built = Builder()
    built.request(0, milliseconds)
    assert ("long-trace" in codes(built)) is is_found


@pytest.mark.parametrize(("count", "each", "is_found"), [(4, 20, False), (5, 10, True), (5, 9, False), (41, 4, True)])
def test_a_query_repeats_from_five_times_and_fifty_milliseconds_on(count: int, each: float, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 1000)
    for number in range(count):
        text = f"SELECT * FROM addresses WHERE id = {number} -- of order {number}"
        built.query(front, number * (each + 1), number * (each + 1) + each, text, code__file__path="/srv/app.py")
    findings = found(built)
    assert ("n-plus-one" in findings) is is_found
    if is_found:
        finding = findings["n-plus-one"]
        assert finding.numbers["count"] == count
        assert finding.span_ids[0] == front.span_id
        assert finding.saving_ms == pytest.approx((count - 1) * each)
        assert finding.line == "app.py"


@pytest.mark.parametrize(
    ("system", "text", "label", "remedy"),
    [
        ("postgresql", "SELECT * FROM orders WHERE id = {}", "SELECT orders", "selectinload"),
        ("postgresql", "INSERT INTO orders VALUES ({})", "INSERT orders", "executemany"),
        ("redis", "GET user:{}", "redis GET", "MGET"),
        ("elasticsearch", "", "elasticsearch search", "_msearch"),
    ],
)
def test_the_remedy_of_a_repetition_fits_what_is_repeated(system: str, text: str, label: str, remedy: str) -> None:
    built = Builder()
    front = built.request(0, 1000)
    for number in range(10):
        told: dict[str, Any] = {"db__statement": text.format(number)} if text else {}
        name = text.split()[0] if text else "search"
        built.add(front, name, number * 11, number * 11 + 10, kind="CLIENT", db__system=system, **told)
    finding = found(built)["n-plus-one"]
    assert f"runs {label} 10 times" in finding.title
    assert remedy in finding.remedy


def test_queries_that_are_a_part_of_what_is_around_each_of_them_are_named() -> None:
    built = Builder()
    page = built.add(built.request(0, 300), "render template", 10, 290)
    for number in range(20):
        part = built.add(page, "render partial", 12 + number * 13, 24 + number * 13)
        built.query(part, 13 + number * 13, 20 + number * 13, f"SELECT * FROM users WHERE id = {number}")
    finding = found(built)["n-plus-one"]
    assert "runs SELECT users 20 times in one render template" in finding.title
    assert "selectinload" in finding.remedy


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("connect", {"db__system": "postgresql"}),
        ("pg-pool.connect", {"db__system": "postgresql"}),
        ("sql.connector.connect", {"db__system": "mysql"}),
        ("HikariDataSource.getConnection", {}),
    ],
)
def test_the_wait_for_a_connection_is_known_by_what_other_languages_call_it(name: str, told: dict[str, Any]) -> None:
    built = Builder()
    front = built.request(0, 900)
    built.add(front, name, 5, 605, kind="CLIENT" if told else "INTERNAL", **told)
    built.query(front, 610, 890)
    assert "pool-wait" in codes(built)
    assert "slow-query" not in codes(built)


def test_calls_repeat_although_some_of_them_failed_and_were_tried_again() -> None:
    built = Builder()
    front = built.request(0, 1000)
    at = 0
    for number in range(13):
        failed = number in (3, 8, 11)
        took = 33 if failed else 9
        built.add(front, "GetDriver", at, at + took, service="redis", kind="CLIENT", failed=failed)
        at += took
    assert found(built)["n-plus-one"].numbers["count"] == 10


def test_what_several_spans_have_in_common_is_one_finding() -> None:
    built = Builder()
    front = built.request(0, 4000)
    slow = [built.query(front, number * 800, number * 800 + took) for number, took in enumerate((600, 700, 650))]
    (finding,) = (each for each in find(built.trace()) if each.code == "slow-query")
    assert finding.title == "shop runs SELECT orders for 700 ms (and 2 more like it)"
    assert finding.span_ids[0] == slow[1].span_id
    assert set(finding.span_ids) == {span.span_id for span in slow}


@pytest.mark.parametrize("is_message", [True, False])
def test_what_runs_after_the_response_explains_nothing_of_the_request(is_message: bool) -> None:
    built = Builder()
    front = built.request(0, 200)
    for number in range(10):
        built.query(front, 5 + number * 12, 15 + number * 12, f"SELECT * FROM orders WHERE id = {number}")
    parent = built.add(front, "audit publish", 150, 152, kind="PRODUCER") if is_message else front
    audit = built.add(parent, "audit", 210, 5000, kind="CONSUMER" if is_message else "INTERNAL")
    built.query(audit, 220, 4900, "SELECT * FROM audits")
    assert [finding.code for finding in find(built.trace())] == ["n-plus-one", "slow-query"]


def test_retries_that_cost_little_come_after_what_costs_much() -> None:
    built = Builder()
    front = built.request(0, 5000)
    for number in range(3):
        failed = number < 2
        status = 503 if failed else 200
        built.call(front, number * 12, number * 12 + 10, failed=failed, http__response__status_code=status)
    built.query(front, 60, 4900)
    assert [finding.code for finding in find(built.trace())] == ["slow-query", "retry-storm"]


def test_a_timeout_is_explained_by_what_took_so_long_beneath_the_call() -> None:
    built = Builder()
    timeout = exception("httpx.ReadTimeout")
    front = built.request(0, 1010, failed=True, http__response__status_code=504)
    call = built.call(front, 5, 1005, failed=True, events=(timeout,))
    served = built.request(8, 3000, call, service="stock")
    built.query(served, 10, 2990, "SELECT * FROM stock")
    verdict, _ = look_at(built.trace())
    assert verdict.sentence.endswith("; SELECT stock of stock took 2980 ms: look at that first, then at the timeout")


@pytest.mark.parametrize(
    ("events", "remedy"),
    [((), "no exception is on record: look into the log of shop"), ((exception("KeyError"),), "in its own code")],
)
def test_a_request_that_failed_by_itself_passed_no_error_on(events: tuple[Event, ...], remedy: str) -> None:
    built = Builder()
    built.request(0, 30, failed=True, http__response__status_code=500, events=events)
    assert remedy in found(built)["error-source"].remedy


@pytest.mark.parametrize("is_message", [True, False])
def test_a_verdict_tells_of_work_that_failed_after_the_response(is_message: bool) -> None:
    built = Builder()
    front = built.request(0, 80)
    parent = built.add(front, "mail publish", 10, 12, kind="PRODUCER") if is_message else front
    kind = "CONSUMER" if is_message else "INTERNAL"
    built.add(parent, "send mail", 90, 95, kind=kind, failed=True, events=(exception("OSError", "no route"),))
    verdict, findings = look_at(built.trace())
    assert not findings
    assert verdict.sentence.endswith("; but send mail of shop failed afterwards with OSError: no route")


def test_the_old_conventions_tell_the_same() -> None:
    built = Builder()
    front = built.request(0, 1000)
    for number in range(10):
        built.add(
            front,
            "SELECT",
            number * 11,
            number * 11 + 10,
            kind="CLIENT",
            db__system="mysql",
            db__statement=f"SELECT {number}",
        )
    assert found(built)["n-plus-one"].numbers["count"] == 10


def test_queries_in_wrappers_of_ones_own_repeat_too() -> None:
    built = Builder()
    front = built.request(0, 200)
    for number in range(7):
        line = built.add(front, f"load_line {number}", number * 20, number * 20 + 15)
        built.query(line, number * 20 + 1, number * 20 + 14, f"SELECT * FROM lines WHERE id = {number}")
        built.add(front, "render", number * 20 + 15, number * 20 + 16)
    assert found(built)["n-plus-one"].numbers["count"] == 7


def test_a_pattern_of_two_queries_repeats_from_three_times_on() -> None:
    built = Builder()
    front = built.request(0, 200)
    for number in range(3):
        built.query(front, number * 30, number * 30 + 10, f"SELECT * FROM orders WHERE id = {number}")
        built.query(front, number * 30 + 11, number * 30 + 20, f"SELECT * FROM lines WHERE id = {number}")
    finding = found(built)["n-plus-one"]
    assert finding.numbers["repeats"] == 3
    assert finding.numbers["count"] == 6


def test_a_folded_span_counts_as_many_as_it_says() -> None:
    built = Builder()
    front = built.request(0, 500)
    built.query(front, 0, 400, tracemw__folded__count=40, tracemw__folded__sum=0.3, tracemw__folded__max=0.02)
    finding = found(built)["n-plus-one"]
    assert finding.numbers["count"] == 40
    assert finding.numbers["together_ms"] == 300


def test_calls_of_one_route_of_the_callee_repeat() -> None:
    built = Builder()
    front = built.request(0, 200)
    for number, name in enumerate(("apple", "pear", "plum", "fig", "kiwi")):
        call = built.call(front, number * 20, number * 20 + 15, path=f"/products/{name}")
        built.request(number * 20 + 1, number * 20 + 14, call, service="stock", http__route="/products/{name}")
    assert found(built)["n-plus-one"].title.startswith("shop calls GET stock/products/{name} 5 times")


def test_spans_that_were_delivered_twice_are_one() -> None:
    built = Builder()
    front = built.request(0, 100)
    for number in range(3):
        built.query(front, number * 30, number * 30 + 25)
    trace = Trace([*built.spans, *built.spans])
    assert len(trace.spans) == 4
    assert not find(trace)


@pytest.mark.parametrize(("children", "is_found"), [(50, False), (51, True)])
def test_a_parent_is_wide_beyond_fifty_calls(children: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 90)
    for number in range(children):
        built.call(front, 1, 50, path=f"/items/{number}")
    assert ("wide-trace" in codes(built)) is is_found


@pytest.mark.parametrize(
    ("count", "folded", "is_found"), [(99, 1, False), (100, 1, True), (1, 100, True), (1, 99, False)]
)
def test_a_fast_query_that_repeats_a_hundred_times_is_a_hint(count: int, folded: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 90)
    more = {"tracemw__folded__count": folded, "tracemw__folded__sum": 0.002} if folded > 1 else {}
    for number in range(count):
        built.query(front, number, number + 0.1, "SELECT * FROM a", code__file__path="/srv/app.py", **more)
    findings = found(built)
    assert set(findings) == ({"n-plus-one", "wide-trace"} if is_found else {"wide-trace"})
    if is_found:
        finding = findings["n-plus-one"]
        assert (finding.severity, finding.numbers["count"], finding.line) == ("hint", 100, "app.py")
        assert next(iter(findings)) == "n-plus-one"


@pytest.mark.parametrize(("others", "remedy"), [(50, "one after another"), (51, "side by side")])
def test_a_wide_trace_of_repeats_one_after_another_is_told_so(others: int, remedy: str) -> None:
    built = Builder()
    front = built.request(0, 90)
    for number in range(60):
        built.query(front, number, number + 0.9, f"SELECT * FROM a WHERE id = {number}")
    for number in range(others):
        built.call(front, 61, 89, path=f"/items/{number}")
    assert remedy in found(built)["wide-trace"].remedy


@pytest.mark.parametrize("cause", ["slow-query", "pool-wait", "blocked-loop"])
def test_a_bottleneck_is_not_told_beside_its_cause(cause: str) -> None:
    built = Builder()
    front = built.request(0, 1000)
    if cause == "slow-query":
        built.query(front, 10, 990)
    elif cause == "pool-wait":
        built.add(front, "pool wait", 10, 990)
    else:
        blocked = Event("tracemw.loop.blocked", EPOCH, {"tracemw.seconds": 0.98})
        built.add(front, "render", 10, 990, events=(blocked,))
    assert codes(built) == {cause}


def test_a_bottleneck_is_told_beside_what_explains_little_of_it() -> None:
    built = Builder()
    blocked = Event("tracemw.loop.blocked", EPOCH, {"tracemw.seconds": 0.12})
    built.add(built.request(0, 1000), "render", 10, 990, events=(blocked,))
    assert {"bottleneck", "blocked-loop"} <= codes(built)


@pytest.mark.parametrize(("hops", "is_found"), [(5, False), (6, True)])
def test_a_trace_is_deep_beyond_five_crossings(hops: int, is_found: bool) -> None:
    built = Builder()
    span = built.request(0, 90)
    for number in range(1, hops + 1):
        call = built.call(span, number, 90 - number)
        span = built.request(number, 90 - number, call, service=f"service-{number}")
    findings = found(built)
    assert ("deep-trace" in findings) is is_found


def test_the_source_of_an_error_is_the_innermost_span_that_brought_the_root_down() -> None:
    built = Builder()
    boom = exception("app.FraudError", "score is missing", '  File "/srv/fraud.py", line 12, in score\n    raise')
    front = built.request(0, 90, failed=True, http__response__status_code=502)
    built.call(front, 2, 10, host="stock", failed=True, http__response__status_code=503, events=())
    built.call(front, 12, 20, host="stock")
    call = built.call(front, 30, 80, host="fraud", failed=True, http__response__status_code=500)
    fraud = built.request(31, 79, call, service="fraud", failed=True, http__response__status_code=500, events=(boom,))
    score = built.add(fraud, "score", 40, 70, failed=True, events=(boom,))
    finding = found(built)["error-source"]
    assert finding.span_ids == tuple(span.span_id for span in (score, fraud, call, front))
    assert finding.service == "fraud"
    assert finding.line == "fraud.py:12, score"


def test_an_error_that_was_handled_is_not_the_source() -> None:
    built = Builder()
    front = built.request(
        0, 90, failed=True, http__response__status_code=500, events=(exception("KeyError", "'name'"),)
    )
    built.query(front, 5, 10, failed=True, events=(exception("IntegrityError", "duplicate"),))
    built.query(front, 20, 60, "SELECT 2")
    finding = found(built)["error-source"]
    assert finding.span_ids == (front.span_id,)


def test_a_404_counts_when_the_caller_fails_of_it() -> None:
    built = Builder()
    front = built.request(
        0, 90, failed=True, http__response__status_code=500, events=(exception("HTTPStatusError", "404 Not Found"),)
    )
    call = built.call(front, 5, 80, failed=True, http__response__status_code=404)
    assert found(built)["error-source"].span_ids == (call.span_id, front.span_id)


def test_spans_of_asgi_messages_are_never_a_source() -> None:
    built = Builder()
    front = built.request(0, 90, failed=True, http__response__status_code=500, events=(exception("OSError"),))
    built.add(front, "GET /orders/{id} http send", 80, 81, failed=True, asgi__event__type="http.response.start")
    assert found(built)["error-source"].span_ids == (front.span_id,)


def test_an_error_that_nobody_shows_is_swallowed() -> None:
    built = Builder()
    front = built.request(0, 90)
    step = built.add(front, "check", 10, 60, failed=True, events=(exception("ValueError", "no score"),))
    findings = found(built)
    assert findings.keys() == {"swallowed-error"}
    assert findings["swallowed-error"].severity == "warning"
    assert findings["swallowed-error"].span_ids == (step.span_id, front.span_id)


def test_a_fallback_that_served_makes_a_swallowed_error_a_hint() -> None:
    built = Builder()
    front = built.request(0, 90)
    built.call(front, 10, 40, host="cache", failed=True, error__type="ConnectionRefusedError")
    built.query(front, 45, 80)
    assert found(built)["swallowed-error"].severity == "hint"


def test_a_5xx_without_any_exception_is_swallowed() -> None:
    built = Builder()
    front = built.request(0, 90, failed=True, http__response__status_code=500)
    built.query(front, 5, 80)
    assert found(built)["swallowed-error"].span_ids == (front.span_id,)


def test_a_failure_that_was_swallowed_on_its_way_is_the_source_and_the_place_is_named() -> None:
    built = Builder()
    boom = exception("app.TooManyError", "3 at once", '  File "/srv/fraud.py", line 12, in score\n    raise')
    front = built.request(0, 90, failed=True, http__response__status_code=502)
    process = built.add(front, "payment.process", 10, 80)
    call = built.call(process, 20, 70, host="fraud", failed=True, http__response__status_code=500)
    served = built.request(21, 69, call, service="fraud", failed=True, http__response__status_code=500)
    check = built.add(served, "check", 30, 60, failed=True, events=(boom,), code__function__name="score")
    findings = found(built)
    source, swallowed = findings["error-source"], findings["swallowed-error"]
    assert source.span_ids == tuple(span.span_id for span in (check, served, call, front))
    assert "(fraud.py:12, score)" in source.title
    assert "it is swallowed in payment.process of shop" in source.title
    assert swallowed.span_ids == (check.span_id, served.span_id, call.span_id, process.span_id)


def test_a_failure_without_an_exception_on_record_is_the_source_and_is_not_said_to_be_swallowed() -> None:
    built = Builder()
    front = built.request(0, 90, failed=True, http__response__status_code=500)
    show = built.add(front, "OrderController.show", 1, 85)
    call = built.call(show, 20, 84, host="fraud", failed=True, http__response__status_code=500)
    findings = found(built)
    assert findings["error-source"].span_ids == (call.span_id, front.span_id)
    assert "swallowed-error" not in findings


def test_a_failure_that_something_made_up_for_is_not_the_hidden_source() -> None:
    built = Builder()
    front = built.request(0, 90, failed=True, http__response__status_code=500)
    step = built.add(front, "load", 10, 80)
    built.query(step, 20, 30, failed=True, events=(exception("OperationalError", "gone away"),))
    built.query(step, 40, 60)
    findings = found(built)
    assert findings["error-source"].span_ids == (front.span_id,)


def retries_upon_retries() -> Builder:
    """Three attempts at b, each of which makes three attempts at c."""
    built = Builder()
    front = built.request(0, 95, failed=True, http__response__status_code=500)
    for number in range(3):
        start = number * 30
        call = built.call(front, start, start + 28, host="b", failed=True, http__response__status_code=500)
        served = built.request(start, start + 28, call, service="b", failed=True, http__response__status_code=500)
        for attempt in range(3):
            at = start + attempt * 9
            built.call(served, at, at + 8, host="c", failed=True, http__response__status_code=500)
    return built


def test_the_verdict_tells_how_much_the_worst_retries_multiplied() -> None:
    built = retries_upon_retries()
    verdict, _ = look_at(built.trace())
    assert "retries made 9 calls of one" in verdict.sentence


def test_a_finding_that_another_one_explains_in_each_trace_does_not_come_first() -> None:
    survey = Survey()
    for number in range(3):
        built = Builder(f"{number + 1:032x}")
        timeout = exception("TimeoutError", "QueuePool limit")
        front = built.request(0, 2100, failed=True, http__response__status_code=500, events=(timeout,))
        built.add(front, "pool wait", 10, 2010, failed=True, events=(timeout,))
        survey.add(built.trace())
    codes_in_order = [group.exemplar.code for group in survey.groups()]
    assert codes_in_order[:2] == ["pool-wait", "error-source"]


@pytest.mark.parametrize(("own", "is_found"), [(80, True), (79, False)])
def test_a_bottleneck_has_eighty_percent_of_the_trace(own: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 100)
    built.call(front, 10, 10 + own)
    assert ("bottleneck" in codes(built)) is is_found


@pytest.mark.parametrize(("milliseconds", "is_found"), [(100, True), (99, False)])
@pytest.mark.parametrize("name", ["pool wait", "connect"])
def test_a_wait_for_a_connection_counts_from_a_hundred_milliseconds_on(
    name: str, milliseconds: int, is_found: bool
) -> None:
    built = Builder()
    front = built.request(0, 300)
    system: dict[str, Any] = {"db__system__name": "postgresql"} if name == "connect" else {}
    built.add(front, name, 5, 5 + milliseconds, kind="CLIENT", **system)
    built.query(front, 150, 299)
    assert ("pool-wait" in codes(built)) is is_found


def test_a_wait_for_a_connection_names_the_line_that_holds_one() -> None:
    built = Builder()
    front = built.request(0, 2000, failed=True, http__response__status_code=500, events=(exception("TimeoutError"),))
    built.add(
        front,
        "pool wait",
        5,
        1990,
        failed=True,
        events=(exception("TimeoutError"),),
        tracemw__pool__holders__line=["/srv/orders.py:57 in refund"],
        tracemw__pool__holders__age=[31.5],
        tracemw__pool__holders__trace_id=["ab" * 16],
    )
    trace = built.trace()
    verdict = judge(trace, find(trace))
    assert verdict.finding is not None
    assert verdict.finding.code == "pool-wait"
    assert verdict.finding.line == "orders.py:57, refund"
    assert "orders.py:57, refund holds one for 31.5 s" in verdict.sentence


def test_a_connection_that_was_forgotten_has_leaked() -> None:
    built = Builder()
    told = {"code.file.path": "/srv/orders.py", "code.line.number": 57, "tracemw.pool.held_for": 2.5}
    built.request(0, 90, events=(Event("connection leaked", EPOCH, told),))
    assert found(built)["leaked-connection"].line == "orders.py:57"


@pytest.mark.parametrize("held", [1.7e308, 10**400, -1.0, float("nan"), "2.5"])
def test_a_length_of_time_that_cannot_be_is_none(held: object) -> None:
    built = Builder()
    built.request(0, 90, events=(Event("connection leaked", EPOCH, {"tracemw.pool.held_for": held}),))
    assert found(built)["leaked-connection"].numbers["held_ms"] == 0


@pytest.mark.parametrize(("traces", "is_found"), [(2, False), (3, True)])
def test_a_line_that_holds_connections_in_trace_after_trace_leaks(traces: int, is_found: bool) -> None:
    survey = Survey()
    for number in range(traces):
        built = Builder(f"{number + 1:032x}")
        front = built.request(0, 400)
        built.add(
            front,
            "pool wait",
            0,
            300,
            tracemw__pool__holders__line=["orders.py:57 in refund"],
            tracemw__pool__holders__age=[9.0],
            tracemw__pool__holders__trace_id=["cd" * 16],
        )
        survey.add(built.trace())
    assert ("leaked-connection" in {group.exemplar.code for group in survey.groups()}) is is_found


@pytest.mark.parametrize(("gap", "is_found"), [(500, True), (499, False)])
def test_an_idle_gap_counts_from_half_a_second_on(gap: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 400 + gap)
    built.query(front, 0, 200)
    built.query(front, 200 + gap, 400 + gap, "SELECT 2")
    assert ("idle-gap" in codes(built)) is is_found


def test_a_slow_call_is_no_idle_gap() -> None:
    built = Builder()
    front = built.request(0, 900)
    built.call(front, 5, 890)
    assert "idle-gap" not in codes(built)


@pytest.mark.parametrize(("seconds", "is_found"), [(0.1, True), (0.09, False)])
def test_a_blocked_loop_is_told_by_its_event(seconds: float, is_found: bool) -> None:
    built = Builder()
    told = {"tracemw.seconds": seconds, "code.file.path": "/srv/app.py", "code.line.number": 9}
    built.request(0, 90, events=(Event("tracemw.loop.blocked", EPOCH, told),))
    assert ("blocked-loop" in codes(built)) is is_found


@pytest.mark.parametrize(
    ("statuses", "is_found"), [((503, 503, 200), True), ((503, 200), False), ((503, 200, 200), False)]
)
def test_a_retry_storm_has_three_attempts_of_which_two_failed(statuses: tuple[int, ...], is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 95)
    for number, status in enumerate(statuses):
        attempt = built.add(front, f"attempt {number}", number * 20, number * 20 + 15)
        built.call(attempt, number * 20, number * 20 + 15, failed=status >= 500, http__response__status_code=status)
    assert ("retry-storm" in codes(built)) is is_found


def test_retries_of_callers_above_multiply() -> None:
    built = retries_upon_retries()
    storms = [finding for finding in find(built.trace()) if finding.code == "retry-storm"]
    assert sorted(storm.numbers["attempts_in_all"] for storm in storms) == [3, 9]


@pytest.mark.parametrize(("each", "is_found"), [(250, True), (249, False)])
def test_calls_in_a_row_count_when_half_a_second_can_be_saved(each: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 3 * each)
    for number, host in enumerate(("stock", "price", "mail")):
        wrapper = built.add(front, f"ask {host}", number * each, (number + 1) * each)
        built.call(wrapper, number * each, (number + 1) * each, host=host)
    findings = found(built)
    assert ("sequential-calls" in findings) is is_found
    if is_found:
        assert findings["sequential-calls"].saving_ms == 500


def test_queries_in_a_row_are_not_meant() -> None:
    built = Builder()
    front = built.request(0, 1200)
    for number in range(4):
        built.query(front, number * 300, number * 300 + 299, f"SELECT * FROM {'abcd'[number]}")
    assert "sequential-calls" not in codes(built)


@pytest.mark.parametrize(("milliseconds", "is_found"), [(500, True), (499, False)])
def test_a_query_is_slow_from_half_a_second_on(milliseconds: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 900)
    built.query(front, 0, milliseconds)
    built.query(front, 510, 900, "SELECT 2")
    assert ("slow-query" in codes(built)) is is_found


@pytest.mark.parametrize("reason", ["SIGABRT", "SIGTERM", PROCESS_EXIT])
def test_a_process_that_tracemw_saw_end_was_killed(reason: str) -> None:
    built = Builder()
    front = built.request(0, 900, failed=True, error__type=reason)
    step = built.add(front, "report", 100, 900, failed=True, error__type=reason)
    finding = found(built)["killed"]
    assert finding.span_ids[0] == step.span_id


def test_a_call_that_broke_and_left_orphans_was_of_a_killed_process() -> None:
    built = Builder()
    front = built.request(0, 900, failed=True, http__response__status_code=502)
    built.call(front, 5, 890, failed=True, events=(exception("httpx.RemoteProtocolError", "Server disconnected"),))
    orphan = built.query("00000000000000ff", 50, 200, service="stock")
    finding = found(built)["killed"]
    assert finding.service == "stock"
    assert orphan.span_id in finding.span_ids


@pytest.mark.parametrize(("early", "is_found"), [(10, False), (11, True)])
def test_a_child_that_begins_before_its_parent_has_another_clock(early: int, is_found: bool) -> None:
    built = Builder()
    front = built.request(0, 95)
    call = built.call(front, 20, 90)
    stock = built.request(20 - early, 70 - early, call, service="stock")
    query = built.query(stock, 30 - early, 60 - early)
    findings = found(built)
    assert ("broken-trace" in findings) is is_found
    if is_found:
        assert call.start <= stock.start <= query.start <= query.end <= stock.end <= call.end


def test_a_parent_that_is_not_there_breaks_the_trace() -> None:
    built = Builder()
    built.request(0, 90)
    built.query("00000000000000ff", 50, 80)
    assert found(built)["broken-trace"].numbers["missing_parents"] == 1


@pytest.mark.parametrize(("failing", "is_found"), [(0, False), (1, True)])
def test_a_dependency_that_fails_one_call_in_twenty_is_found(failing: int, is_found: bool) -> None:
    survey = Survey()
    for number in range(20):
        built = Builder(f"{number + 1:032x}")
        front = built.request(0, 90)
        built.call(front, 5, 80, failed=number < failing, http__response__status_code=503 if number < failing else 200)
        survey.add(built.trace())
    groups = [group for group in survey.groups() if group.exemplar.code == "failing-dependency"]
    assert [(group.traces, group.cost_ms, group.share) for group in groups] == [(1, 75.0, 0.05)] * is_found
    assert all('span.server.address = "stock"' in group.exemplar.query for group in groups)


def test_a_failed_call_is_told_by_what_it_called_and_the_nearest_line() -> None:
    built = Builder()
    front = built.request(0, 90, failed=True, code__file__path="/srv/app.py", code__line__number=7)
    stack = '  File "/srv/prices.py", line 31, in load\n  File "/usr/lib/python3/site-packages/h.py", line 1, in get\n'
    step = built.add(front, "price", 5, 85, failed=True, events=(exception("http.Refused", "no", stack),))
    built.call(step, 10, 80, host="price", path="/items/7?a=b", failed=True, error__type="http.Refused")
    finding = found(built)["error-source"]
    assert "from GET price/items/{} of shop (prices.py:31, load)" in finding.title
    assert finding.line == "prices.py:31, load"


def test_circles_and_spans_that_are_their_own_parent_are_cut() -> None:
    built = Builder()
    first = built.add("0000000000000002", "a", 0, 90)
    built.add(first, "b", 10, 80)
    built.add("0000000000000003", "c", 10, 80)
    trace = built.trace()
    assert {span.name for span in trace.spans} == {"a", "b", "c"}
    assert {finding.code for finding in find(trace)} == {"broken-trace"}


def test_spans_that_end_before_they_start_take_no_time() -> None:
    built = Builder()
    front = built.request(0, 90)
    span = built.query(front, 50, 40)
    assert not found(built)
    assert span.duration == 0


def test_every_code_that_is_found_is_listed() -> None:
    assert len(set(CODES)) == 17


def test_findings_of_kept_traces_alone_have_no_share_of_the_requests() -> None:
    survey = Survey()
    for number in range(4):
        built = Builder(f"{number + 1:032x}")
        built.request(0, 30, failed=True, http__response__status_code=500, tracemw__kept="error")
        survey.add(built.trace())
    groups = survey.groups()
    text = "\n".join(line.text for line in lines_of_many(survey, judge_all(survey, groups), groups))
    assert "in 4 of 4 traces, 120 ms in all" in text
