"""Faults of failure: what breaks, what hides it, what is tried again, what is torn."""

from __future__ import annotations

from analysis.evaluation.fault import ABSENT, BELOW, Fault, case
from analysis.evaluation.scene import CONSUMER, INTERNAL, PRODUCER, Scene, Told


def status_error(status: int) -> tuple[str, str]:
    """What a client raises for a status."""
    return "httpx.HTTPStatusError", f"Server error '{status} Failed' for url 'http://pricing:8080/prices/9'"


_KEY_ERROR = ("KeyError", "'sku'")
_EITHER = ("swallowed-error", "error-source")
_FAILURE = ("retry-storm", "error-source")
_UNIQUE = ("psycopg.errors.UniqueViolation", "duplicate key value violates unique constraint")


def put_error(s: Scene, span: Told, error: tuple[str, str]) -> None:
    """Have an exception leave a span."""
    span.failed = True
    span.events.append(("exception", s.t, s.stack.failed(*error)))


# error-source


@case("error-source")
def a_bug_in_the_request_itself(s: Scene) -> Fault:
    s.query(9)
    return Fault(expected={"error-source": [s.root, s.innermost]}, fails=_KEY_ERROR)


@case("error-source")
def a_bug_in_a_step(s: Scene) -> Fault:
    with s.inside("price the cart") as span:
        s.query(9)
        put_error(s, span, _KEY_ERROR)
    return Fault(expected={"error-source": [span]}, fails=_KEY_ERROR)


@case("error-source")
def a_query_that_fails(s: Scene) -> Fault:
    with s.inside("save") as span:
        query = s.query(9, "INSERT INTO orders (a) VALUES (?)", table="orders", error=_UNIQUE)
        put_error(s, span, _UNIQUE)
    return Fault(expected={"error-source": [query]}, fails=_UNIQUE)


@case("error-source")
def a_callee_that_throws(s: Scene) -> Fault:
    with (
        s.calling("pricing", "/prices/9", status=500) as call,
        s.serving(
            "/prices/{id}", service="pricing", status=500, error=("ZeroDivisionError", "division by zero")
        ) as served,
    ):
        s.query(7)
    call.failed = True
    return Fault(expected={"error-source": [served]}, fails=status_error(500))


@case("error-source")
def a_query_of_the_callee(s: Scene) -> Fault:
    with s.calling("pricing", "/prices/9", status=500):
        with s.serving("/prices/{id}", service="pricing", status=500, error=_UNIQUE):
            s.query(7)
            query = s.query(30, "UPDATE prices SET a = ?", table="prices", error=_UNIQUE)
    return Fault(expected={"error-source": [query]}, fails=("shop.PricesUnavailable", "no prices"))


@case("error-source")
def a_chain_of_three_services(s: Scene) -> Fault:
    with (
        s.calling("cart", "/cart", status=502),
        s.serving("/cart", service="cart", status=502, error=status_error(500)),
        s.calling("fraud", "/check", status=500),
    ):
        with s.serving("/check", service="fraud", status=500, error=("ValueError", "no score")) as source:
            s.query(12)
    return Fault(expected={"error-source": [source]}, fails=status_error(502))


@case("error-source")
def a_host_that_is_not_there(s: Scene) -> Fault:
    error = ("httpx.ConnectError", "[Errno 111] Connection refused")
    call = s.call(4, "geo", "/zones/7", serve=False, status=0, error=error)
    return Fault(expected={"error-source": [call]}, allowed=frozenset({"killed"}), fails=error)


@case("error-source")
def a_call_that_times_out(s: Scene) -> Fault:
    """The callee ends later, and is content."""
    error = ("httpx.ReadTimeout", "timed out")
    with s.calling("geo", "/zones/7", status=0, error=error) as call, s.serving("/zones/{id}", service="geo") as served:
        s.query(200)
    served.end = call.end + 80
    return Fault(expected={"error-source": [call, served]}, fails=error)


@case("error-source")
def a_4xx_that_the_caller_fails_of(s: Scene) -> Fault:
    call = s.call(20, "stock", "/items/9", status=404)
    served = s.spans[s.spans.index(call) + 1]
    error = ("httpx.HTTPStatusError", "Client error '404 Not Found'")
    return Fault(expected={"error-source": [call, served]}, fails=error)


@case("error-source")
def an_early_failure_that_was_handled(s: Scene) -> Fault:
    """The decoy comes first, and the request makes good for it."""
    s.call(20, "mail", "/send", status=503)
    s.work(5)
    s.call(20, "mail", "/send", status=200)
    s.ordinary(60)
    with s.inside("price the cart") as span:
        s.query(9)
        put_error(s, span, _KEY_ERROR)
    return Fault(expected={"error-source": [span]}, fails=_KEY_ERROR)


@case("error-source")
def an_early_exception_that_was_handled(s: Scene) -> Fault:
    with s.inside("look into the cache") as handled:
        s.work(3)
        put_error(s, handled, ("redis.ConnectionError", "refused"))
    s.ordinary(60)
    query = s.query(9, "INSERT INTO orders (a) VALUES (?)", table="orders", error=_UNIQUE)
    return Fault(expected={"error-source": [query]}, allowed=frozenset({"swallowed-error"}), fails=_UNIQUE)


@case("error-source")
def an_rpc_that_is_unavailable(s: Scene) -> Fault:
    began = len(s.spans)
    with s.calling_rpc("stock", "Reserve", status=14):
        s.query(9)
    call, served = s.spans[began], s.spans[began + 1]
    error = ("grpc.RpcError", "StatusCode.UNAVAILABLE")
    return Fault(expected={"error-source": [call, served]}, fails=error)


@case("error-source", ABSENT, whole=True)
def a_404(s: Scene) -> Fault:
    with s.serving("/users/{id}", status=404):
        s.ordinary(90)
    return Fault()


@case("error-source", ABSENT, whole=True)
def a_403_of_the_callee_that_is_handed_on(s: Scene) -> Fault:
    with s.serving("/users/{id}", status=403):
        s.ordinary(40)
        s.call(20, "auth", "/me", status=403)
        s.ordinary(40)
    return Fault()


# swallowed-error


@case("swallowed-error")
def an_exception_in_a_step(s: Scene) -> Fault:
    with s.inside("apply the coupon") as span:
        s.query(9)
        put_error(s, span, _KEY_ERROR)
    return Fault(expected={"swallowed-error": [span]})


@case("swallowed-error")
def a_500_of_a_callee(s: Scene) -> Fault:
    with s.calling("fraud", "/check", status=500) as call:
        with s.serving("/check", service="fraud", status=500, error=("ValueError", "no score")) as served:
            s.query(9)
    return Fault(expected={"swallowed-error": [call, served]})


@case("swallowed-error")
def a_query_whose_failure_nobody_sees(s: Scene) -> Fault:
    query = s.query(
        9, "INSERT INTO audit (a) VALUES (?)", table="audit", error=("psycopg.OperationalError", "disk full")
    )
    return Fault(expected={"swallowed-error": [query]})


@case("swallowed-error")
def a_fallback(s: Scene) -> Fault:
    """On purpose, perhaps: a hint."""
    call = s.call(20, "pricing", "/prices/9", status=503)
    served = s.spans[s.spans.index(call) + 1]
    s.call(15, "pricing-backup", "/prices/9")
    return Fault(expected={"swallowed-error": [call, served]})


@case("swallowed-error")
def a_broken_connection_of_a_side_call(s: Scene) -> Fault:
    call = s.call(8, "recommend", "/for/7", serve=False, status=0, error=("httpx.ConnectError", "Connection refused"))
    return Fault(expected={"swallowed-error": [call]}, allowed=frozenset({"killed"}))


@case("swallowed-error")
def in_the_callee(s: Scene) -> Fault:
    with s.calling("cart", "/cart"), s.serving("/cart", service="cart"):
        with s.inside("check fraud") as span:
            s.query(9)
            put_error(s, span, ("ValueError", "no score"))
        s.query(5)
    return Fault(expected={"swallowed-error": [span]})


@case("swallowed-error")
def a_500_without_an_exception(s: Scene) -> Fault:
    """The request fails, nothing beneath it did, and no exception is on record."""
    s.query(9)
    expected = {"swallowed-error": [s.root], "error-source": [s.root, s.innermost]}
    return Fault(expected=expected, fails=("", ""), causes=_EITHER)


@case("swallowed-error", ABSENT)
def a_retry_that_succeeds(s: Scene) -> Fault:
    s.call(20, "pricing", "/prices/9", status=503)
    s.work(15)
    s.call(20, "pricing", "/prices/9")
    return Fault()


@case("swallowed-error", ABSENT)
def a_conflict_of_the_callee(s: Scene) -> Fault:
    s.call(20, "stock", "/items/9", status=409)
    return Fault()


@case("swallowed-error", ABSENT)
def a_query_that_is_tried_again(s: Scene) -> Fault:
    s.query(20, "UPDATE stock SET n = ?", table="stock", error=("psycopg.errors.DeadlockDetected", "deadlock"))
    s.work(15)
    s.query(20, "UPDATE stock SET n = ?", table="stock")
    return Fault()


@case("swallowed-error", ABSENT)
def a_consumer_that_fails_later(s: Scene) -> Fault:
    told = {"messaging.system": "rabbitmq", "messaging.destination.name": "mails"}
    sent = s.begin("mails publish", PRODUCER, told)
    s.work(3)
    s.finish()
    with s.after(sent, 400), s.inside("mails process", CONSUMER, told, service="mailer") as span:
        s.ordinary(90)
        put_error(s, span, ("SMTPException", "no route"))
    return Fault(allowed=frozenset({"error-source"}))


# retry-storm


@case("retry-storm")
def three_attempts_that_fail(s: Scene) -> Fault:
    found = []
    for pause in (20, 50, 0):
        found.append(s.call(s.rng.uniform(15, 40), "fraud", "/check", method="POST", status=503))
        s.work(pause)
    sources = [span for span in s.spans if span.service == "fraud"]
    expected = {"retry-storm": found, "error-source": [*found, *sources]}
    return Fault(expected=expected, fails=status_error(503), causes=_FAILURE)


@case("retry-storm")
def a_fourth_attempt_that_succeeds(s: Scene) -> Fault:
    found = []
    for status in (503, 503, 500, 200):
        found.append(s.call(s.rng.uniform(15, 40), "fraud", "/check", status=status))
        s.work(20)
    return Fault(expected={"retry-storm": found})


@case("retry-storm")
def attempts_in_spans_of_their_own(s: Scene) -> Fault:
    found = []
    with s.inside("check fraud") as above:
        for number, status in enumerate((503, 503, 503, 200)):
            with s.inside(f"attempt {number + 1}") as attempt:
                found += [attempt, s.call(s.rng.uniform(15, 40), "fraud", "/check", status=status)]
                if status == 503:
                    put_error(s, attempt, status_error(503))
            s.work(25)
    return Fault(expected={"retry-storm": [above, *found]})


@case("retry-storm")
def connections_that_break(s: Scene) -> Fault:
    error = ("httpx.ConnectError", "Connection refused")
    found = []
    for number in range(4):
        call = s.call(5, "geo", "/zones/7", serve=False, status=0, error=error)
        if number:
            call.attributes["http.request.resend_count"] = number
        found.append(call)
        s.work(30)
    expected = {"retry-storm": found, "error-source": found}
    return Fault(expected=expected, allowed=frozenset({"killed"}), fails=error, causes=_FAILURE)


@case("retry-storm")
def rpcs_that_are_unavailable(s: Scene) -> Fault:
    found = []
    for status in (14, 14, 14, 0):
        began = len(s.spans)
        with s.calling_rpc("stock", "Reserve", status=status):
            s.work(8)
        found.append(s.spans[began])
        s.work(20)
    return Fault(expected={"retry-storm": found})


@case("retry-storm")
def retries_that_multiply(s: Scene) -> Fault:
    found: list[Told] = []
    for _ in range(3):
        with s.calling("cart", "/cart", status=502) as call:
            found.append(call)
            with s.serving("/cart", service="cart", status=502, error=status_error(500)):
                for _ in range(3):
                    found.append(s.call(15, "fraud", "/check", status=500))
                    s.work(10)
        s.work(20)
    sources = [span for span in s.spans if span.service in ("fraud", "cart")]
    expected = {"retry-storm": found, "error-source": [*found, *sources]}
    return Fault(expected=expected, fails=status_error(502), causes=_FAILURE)


@case("retry-storm")
def a_statement_that_deadlocks_again_and_again(s: Scene) -> Fault:
    found = []
    for number in range(4):
        error = None if number == 3 else ("psycopg.errors.DeadlockDetected", "deadlock detected")
        found.append(s.query(20, "UPDATE stock SET n = n - 1 WHERE id = ?", table="stock", error=error))
        s.work(15)
    return Fault(expected={"retry-storm": found})


@case("retry-storm", BELOW)
def two_attempts(s: Scene) -> Fault:
    s.call(20, "fraud", "/check", status=503)
    s.work(20)
    s.call(20, "fraud", "/check", status=200)
    return Fault()


@case("retry-storm", BELOW)
def one_failure_of_four_calls(s: Scene) -> Fault:
    for status in (200, 503, 200, 200):
        s.call(11, "fraud", "/check", status=status)
        s.work(5)
    return Fault()


@case("retry-storm", ABSENT)
def a_poll(s: Scene) -> Fault:
    for status in (202, 202, 202, 202, 200):
        s.call(9, "media", "/jobs/7", status=status, serve=False)
        s.work(60)
    return Fault(allowed=frozenset({"n-plus-one"}))


@case("retry-storm", ABSENT)
def items_that_are_not_there(s: Scene) -> Fault:
    for number, status in enumerate((404, 200, 404, 404)):
        s.call(10, "stock", f"/items/{number + 4}", status=status)
    return Fault()


# killed


@case("killed")
def a_worker_that_is_gone(s: Scene) -> Fault:
    """The callee's request span never came: its process died. What it had done before is there."""
    error = ("httpx.RemoteProtocolError", "Server disconnected without sending a response.")
    with s.calling("media", "/render", status=0, error=error) as call:
        with s.serving("/render", service="media") as lost:
            s.query(20)
            s.query(35, table="fonts")
    orphans = _lose(s, lost)
    return Fault(
        expected={"killed": [call, *orphans], "error-source": [call]},
        allowed=frozenset({"broken-trace"}),
        fails=error,
    )


@case("killed")
def a_worker_whose_caller_shrugs(s: Scene) -> Fault:
    error = ("requests.exceptions.ConnectionError", "('Connection aborted.', RemoteDisconnected(...))")
    with s.calling("media", "/render", status=0, error=error) as call:
        with s.serving("/render", service="media") as lost:
            s.query(20)
            s.query(35, table="fonts")
    orphans = _lose(s, lost)
    return Fault(expected={"killed": [call, *orphans], "swallowed-error": [call]}, allowed=frozenset({"broken-trace"}))


@case("killed", whole=True)
def our_mark_of_a_hanging_worker(s: Scene) -> Fault:
    with s.serving("/render", status=0) as root:
        s.ordinary(80)
        with s.inside("render") as span:
            s.work(350)
    for each in (root, span):
        each.failed = True
        each.attributes["error.type"] = "SIGABRT"
    told = {"code.file.path": "/srv/shop/pdf.py", "code.line.number": 12, "tracemw.stack.after": 1.0}
    root.events.append(("tracemw.stack", span.end, told))
    inner = [each for each in s.spans if each.parent_id == root.span_id and each.kind == INTERNAL]
    spans = [root, span, *inner]
    return Fault(expected={"killed": spans}, allowed=frozenset({"error-source", "bottleneck", "swallowed-error"}))


@case("killed", ABSENT)
def a_span_that_was_lost_on_its_way(s: Scene) -> Fault:
    with s.calling("media", "/render") as _call, s.serving("/render", service="media") as lost:
        s.query(20)
        s.query(35, table="fonts")
    return Fault(expected={"broken-trace": _lose(s, lost)})


# broken-trace


def _lose(s: Scene, span: Told) -> list[Told]:
    """Take a span away. Return the spans beneath it."""
    s.spans.remove(span)
    return [each for each in s.spans if each.parent_id == span.span_id]


@case("broken-trace")
def a_parent_that_is_not_there(s: Scene) -> Fault:
    with s.inside("load") as lost:
        s.query(15)
        s.query(15, table="fonts")
    return Fault(expected={"broken-trace": _lose(s, lost)})


@case("broken-trace", whole=True)
def two_roots(s: Scene) -> Fault:
    with s.serving() as first:
        s.ordinary(90)
    with s.serving("/again") as second:
        s.ordinary(90)
    return Fault(expected={"broken-trace": [first, second]})


@case("broken-trace")
def a_clock_that_is_behind(s: Scene) -> Fault:
    call = s.call(60, "stock", "/status")
    index = s.spans.index(call) + 1
    behind = s.rng.uniform(14, 40)
    for each in s.spans[index:]:
        _move(each, -behind)
    return Fault(expected={"broken-trace": [call, s.spans[index]]})


@case("broken-trace")
def a_clock_that_is_hours_apart(s: Scene) -> Fault:
    call = s.call(60, "stock", "/status")
    index = s.spans.index(call) + 1
    for each in s.spans[index:]:
        _move(each, -7_200_000)
    return Fault(expected={"broken-trace": [call, s.spans[index]]})


@case("broken-trace", BELOW)
def a_clock_that_is_nearly_right(s: Scene) -> Fault:
    call = s.call(60, "stock", "/status")
    behind = s.rng.uniform(6, 9)
    for each in s.spans[s.spans.index(call) + 1 :]:
        _move(each, -behind)
    return Fault()


@case("broken-trace", ABSENT)
def a_server_that_ends_late(s: Scene) -> Fault:
    call = s.call(60, "stock", "/status")
    s.spans[s.spans.index(call) + 1].end += s.rng.uniform(4, 40)
    return Fault()


@case("broken-trace", ABSENT)
def a_consumer_that_comes_much_later(s: Scene) -> Fault:
    sent = s.begin("orders publish", PRODUCER, {"messaging.system": "kafka"})
    s.work(3)
    s.finish()
    with s.after(sent, 60_000), s.inside("orders process", CONSUMER, {"messaging.system": "kafka"}, service="mailer"):
        s.ordinary(90)
    return Fault()


def _move(span: Told, ms: float) -> None:
    span.start += ms
    span.end += ms
