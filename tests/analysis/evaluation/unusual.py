"""The same faults as less usual stacks, libraries and habits show them."""

from __future__ import annotations

from analysis.evaluation.failing import put_error, status_error
from analysis.evaluation.fault import ABSENT, BELOW, Fault, case
from analysis.evaluation.scene import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Scene, Told


@case("n-plus-one")
def a_query_with_a_comment_of_its_own_each_time(s: Scene) -> Fault:
    found = []
    for _ in range(9):
        comment = f"/*traceparent='00-{s.rng.getrandbits(64):x}'*/"
        text = f"SELECT *\n  FROM addresses\n WHERE user_id = 'u{s.rng.randrange(9999)}' {comment}"
        found.append(s.query(9, text, table="addresses"))
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def queries_whose_times_are_not_exact(s: Scene) -> Fault:
    """Each begins a little before the one before has ended, as clocks and rounding have it."""
    found = []
    for _ in range(9):
        found.append(s.query(9, table="addresses", text="SELECT * FROM addresses WHERE id = ?"))
        s.t -= 0.03
    s.t += 0.1
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def queries_with_lists_of_different_lengths(s: Scene) -> Fault:
    found = []
    for length in (2, 5, 9, 3, 4, 7):
        marks = ", ".join("?" * length)
        found.append(s.query(12, f"SELECT * FROM addresses WHERE id IN ({marks})", table="addresses"))
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def units_of_work_that_repeat_three_times(s: Scene) -> Fault:
    """A pattern within a wrapper of one's own."""
    found = []
    for _ in range(3):
        with s.inside("price_line") as wrapper:
            found += [wrapper, s.query(12, "SELECT * FROM lines WHERE id = ?", table="lines")]
            found.append(s.query(9, "SELECT price FROM prices WHERE sku = ?", table="prices"))
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_document_at_a_time(s: Scene) -> Fault:
    found = []
    told = {"db.system.name": "mongodb", "db.collection.name": "orders", "db.operation.name": "findOne"}
    if s.stack.old:
        told = {"db.system": "mongodb", "db.mongodb.collection": "orders", "db.operation": "findOne"}
    for _ in range(12):
        with s.inside("mongodb.findOne", CLIENT, told) as query:
            s.work(6)
        found.append(query)
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_key_of_a_cache_at_a_time(s: Scene) -> Fault:
    key, system = ("db.statement", "db.system") if s.stack.old else ("db.query.text", "db.system.name")
    found = []
    for number in s.rng.sample(range(9999), 9):
        with s.inside("memcached.get", CLIENT, {system: "memcached", key: f"get user_{number}"}) as query:
            s.work(9)
        found.append(query)
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def an_item_of_dynamo_at_a_time(s: Scene) -> Fault:
    found = []
    told = {"rpc.system": "aws-api", "rpc.service": "DynamoDB", "rpc.method": "GetItem", "aws.region": "eu-west-1"}
    for _ in range(9):
        with s.inside("DynamoDB.GetItem", CLIENT, told) as call:
            s.work(9)
        found.append(call)
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def an_engine_beneath_each_operation_of_the_orm(s: Scene) -> Fault:
    """As Prisma records it."""
    found = []
    key, system = ("db.statement", "db.system") if s.stack.old else ("db.query.text", "db.system.name")
    for _ in range(8):
        with s.inside("prisma:client:operation", INTERNAL, {"method": "findUnique", "model": "Address"}) as operation:
            with (
                s.inside("prisma:engine:query"),
                s.inside(
                    "prisma:engine:db_query",
                    CLIENT,
                    {system: "postgresql", key: "SELECT a FROM addresses WHERE id = $1"},
                ) as query,
            ):
                s.work(8)
        found += [operation, query]
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one", ABSENT)
def a_page_that_is_asked_for_until_it_is_ready(s: Scene) -> Fault:
    for _ in range(6):
        s.call(9, "media", "/jobs/7", serve=False)
        s.work(90)
    return Fault()


@case("sequential-calls")
def wrappers_that_do_a_little_more(s: Scene) -> Fault:
    found = []
    for host in ("stock", "billing", "geo", "media"):
        with s.inside(f"fetch {host}") as wrapper:
            s.work(12)
            found += [wrapper, s.call(s.rng.uniform(210, 300), host, f"/{host}/7", serve=False)]
            with s.inside(f"parse {host}"):
                s.work(9)
    return Fault(expected={"sequential-calls": found})


@case("sequential-calls", ABSENT)
def an_agent_that_thinks_in_between(s: Scene) -> Fault:
    for tool in ("search", "calculate", "weather"):
        s.chat(s.rng.uniform(300, 480))
        with s.inside(f"execute_tool {tool}"):
            s.query(30, table=tool)
    return Fault()


@case("retry-storm")
def attempts_that_hold_their_pause(s: Scene) -> Fault:
    """The span of an attempt lasts until the next one may begin."""
    found = []
    for number in range(4):
        with s.inside("attempt", INTERNAL, {"attempt": number + 1}) as attempt:
            call = s.call(18, "fraud", "/check", status=200 if number == 3 else 503)
            if number < 3:
                put_error(s, attempt, status_error(503))
                s.work(40 * (number + 1))
        found += [attempt, call]
    return Fault(expected={"retry-storm": found})


@case("retry-storm")
def resends_beneath_one_call(s: Scene) -> Fault:
    """As clients record it that have a span for the call and one for each time that it is sent."""
    found = []
    with s.inside("POST fraud", CLIENT, {"server.address": "fraud"}) as above:
        for number in range(4):
            call = s.call(20, "fraud", "/check", method="POST", status=200 if number == 3 else 503, serve=False)
            call.attributes["http.request.resend_count"] = number
            found.append(call)
            s.work(15)
    return Fault(expected={"retry-storm": [above, *found]})


@case("retry-storm")
def a_client_that_is_throttled(s: Scene) -> Fault:
    found = []
    for number in range(5):
        found.append(s.call(12, "partner", "/quotes", status=200 if number == 4 else 429, serve=False))
        s.work(20 * 2**number)
    return Fault(expected={"retry-storm": found})


@case("retry-storm")
def attempts_of_something_without_a_call(s: Scene) -> Fault:
    found = []
    for number in range(3):
        with s.inside(f"charge the card, attempt {number + 1}") as attempt:
            s.work(30)
            if number < 2:
                put_error(s, attempt, ("PaymentError", "declined by the gateway"))
        found.append(attempt)
        s.work(20)
    return Fault(expected={"retry-storm": found}, allowed=frozenset({"swallowed-error"}))


@case("retry-storm", ABSENT)
def items_that_fail_one_after_the_other(s: Scene) -> Fault:
    """Each of a batch is another thing."""
    found = []
    for number in range(6):
        with s.inside("process item") as item:
            s.work(9)
            if number in (2, 3):
                put_error(s, item, ("ValueError", f"item {number}"))
                found.append(item)
    return Fault(allowed=frozenset({"swallowed-error"}))


@case("error-source")
def the_first_of_several_at_once(s: Scene) -> Fault:
    """The others are cancelled because of it."""
    found: list[Told] = []

    def fails() -> None:
        found.append(s.call(20, "pricing", "/prices/9", status=500))

    def is_cancelled(host: str) -> None:
        s.call(22, host, "/items/7", serve=False, status=0, error=("asyncio.exceptions.CancelledError", ""))

    s.together([lambda: is_cancelled("stock"), fails, lambda: is_cancelled("geo")])
    served = s.spans[s.spans.index(found[0]) + 1]
    return Fault(
        expected={"error-source": [found[0], served]},
        fails=("ExceptionGroup", "unhandled errors in a TaskGroup (1 sub-exception)"),
    )


@case("error-source")
def a_failure_without_any_record_but_statuses(s: Scene) -> Fault:
    """As tracers of Go and of proxies have it: no exception anywhere."""
    with s.calling("cart", "/cart", status=500), s.serving("/cart", service="cart", status=500):
        s.query(9)
        with s.calling("fraud", "/check", status=500), s.serving("/check", service="fraud", status=500) as source:
            s.work(9)
    return Fault(expected={"error-source": [source]}, fails=("", ""))


@case("error-source")
def a_link_of_the_chain_that_is_lost(s: Scene) -> Fault:
    error = ("ValueError", "no score for this customer")
    with s.calling("cart", "/cart", status=500):
        with s.serving("/cart", service="cart", status=500, error=error) as lost:
            s.query(9)
            with s.inside("score") as source:
                s.query(9)
                put_error(s, source, error)
    s.spans.remove(lost)
    orphans = [span for span in s.spans if span.parent_id == lost.span_id]
    return Fault(expected={"error-source": [source], "broken-trace": orphans}, fails=status_error(500))


@case("error-source", whole=True)
def a_message_that_cannot_be_processed(s: Scene) -> Fault:
    error = ("KeyError", "'sku'")
    told = {"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation": "process"}
    with s.inside("orders process", CONSUMER, told, service="mailer") as root:
        s.ordinary(90)
        with s.inside("parse") as source:
            s.work(5)
            put_error(s, source, error)
        put_error(s, root, error)
    return Fault(expected={"error-source": [source]})


@case("error-source", whole=True)
def a_browser_that_sees_a_500(s: Scene) -> Fault:
    told = {"http.request.method": "GET", "url.full": "http://shop.example/cart", "http.response.status_code": 500}
    with s.inside("GET", CLIENT, told, service="browser") as root:
        with s.serving("/cart", status=500, error=("KeyError", "'sku'")) as source:
            s.ordinary(60)
        root.failed = True
    return Fault(expected={"error-source": [source, *_controllers(s, source)]})


def _controllers(s: Scene, span: Told) -> list[Told]:
    return [each for each in s.spans if each.parent_id == span.span_id and each.failed]


@case("swallowed-error")
def an_rpc_that_fails_unseen(s: Scene) -> Fault:
    began = len(s.spans)
    with s.calling_rpc("recommend", "For", status=13):
        s.query(9)
    return Fault(expected={"swallowed-error": s.spans[began : began + 2]})


@case("swallowed-error")
def one_of_a_gather_that_returns_exceptions(s: Scene) -> Fault:
    found: list[Told] = []

    def fails() -> None:
        found.append(s.call(30, "recommend", "/for/7", status=500))

    s.together([lambda: s.call(40, "stock", "/items/7"), fails, lambda: s.call(35, "geo", "/zones/7")])
    served = s.spans[s.spans.index(found[0]) + 1]
    return Fault(expected={"swallowed-error": [found[0], served]})


@case("killed")
def a_worker_of_another_language_that_is_gone(s: Scene) -> Fault:
    error = {
        "go": ("*net.OpError", "read tcp 10.0.0.7:41234->10.0.0.9:8080: read: connection reset by peer"),
        "java": ("java.net.SocketException", "Connection reset"),
        "node": ("Error", "socket hang up"),
    }.get(s.stack.language, ("aiohttp.ServerDisconnectedError", "Server disconnected"))
    with s.calling("media", "/render", status=0, error=error) as call:
        with s.serving("/render", service="media") as lost:
            s.query(20)
            s.query(35, table="fonts")
    s.spans.remove(lost)
    orphans = [span for span in s.spans if span.parent_id == lost.span_id]
    expected = {"killed": [call, *orphans], "error-source": [call]}
    return Fault(expected=expected, allowed=frozenset({"broken-trace"}), fails=error)


@case("killed", ABSENT)
def a_timeout_whose_callee_is_content(s: Scene) -> Fault:
    error = ("httpx.ReadTimeout", "timed out")
    with s.calling("media", "/render", status=0, error=error) as call:
        with s.serving("/render", service="media") as lost:
            s.query(60)
        s.work(40)
    s.spans.remove(lost)
    orphans = [span for span in s.spans if span.parent_id == lost.span_id]
    return Fault(expected={"error-source": [call], "broken-trace": orphans}, fails=error)


@case("long-trace", ABSENT, whole=True)
def a_job_that_nobody_waits_for(s: Scene) -> Fault:
    told = {"messaging.system": "celery", "messaging.operation": "process", "celery.task_name": "shop.report"}
    with s.inside("run/shop.report", CONSUMER, told, service="worker"):
        s.ordinary(s.rng.uniform(6000, 20000))
    return Fault()


@case("long-trace", whole=True)
def a_long_request_that_answers_late(s: Scene) -> Fault:
    """Its first byte comes after five seconds and more."""
    with s.serving("/reports/{id}") as root:
        s.ordinary(s.rng.uniform(5200, 7000))
        for what in ("start", "body"):
            s.begin(f"{root.name} http send", INTERNAL, {"asgi.event.type": f"http.response.{what}"})
            s.work(0.2)
            s.finish()
    return Fault(expected={"long-trace": [root]})


@case("idle-gap")
def waits_before_it_begins(s: Scene) -> Fault:
    """A queue in front of the work: threads, a semaphore."""
    with s.inside("render") as span:
        s.work(s.rng.uniform(550, 1500))
        s.query(60, table="orders")
        s.query(70, table="lines")
    return Fault(expected={"idle-gap": [span]})


@case("idle-gap", ABSENT)
def a_gap_that_a_lost_span_explains(s: Scene) -> Fault:
    """What ran then is there, but its parent is not."""
    with s.inside("prepare") as _span:
        s.query(40, table="orders")
        with s.inside("lost") as lost:
            s.ordinary(700)
        s.query(60, table="lines")
    s.spans.remove(lost)
    orphans = [span for span in s.spans if span.parent_id == lost.span_id]
    return Fault(expected={"broken-trace": orphans})


@case("idle-gap", ABSENT)
def a_pause_between_attempts(s: Scene) -> Fault:
    found = []
    for number in range(3):
        found.append(s.call(20, "fraud", "/check", status=200 if number == 2 else 503))
        s.work(650 * (number + 1) if number < 2 else 5)
    return Fault(expected={"retry-storm": found})


@case("bottleneck", whole=True)
def a_partner_that_is_slow(s: Scene) -> Fault:
    with s.serving("/quote"):
        s.ordinary(25)
        call = s.call(s.rng.uniform(600, 1800), "api.partner.example", "/quotes", serve=False)
        s.ordinary(20)
    return Fault(expected={"bottleneck": [call]})


@case("bottleneck", ABSENT, whole=True)
def a_model_that_thinks(s: Scene) -> Fault:
    with s.serving("/ask", method="POST"):
        s.query(9, table="history")
        s.chat(s.rng.uniform(900, 4000))
        s.query(9, table="history_of")
    return Fault()


@case("slow-query", BELOW)
def many_that_are_not_slow_each(s: Scene) -> Fault:
    for table in ("a_facts", "b_facts", "c_facts"):
        s.query(s.rng.uniform(300, 480), f"SELECT sum(a) FROM {table}", table=table)
    return Fault()


@case("slow-query", ABSENT)
def a_pop_that_waits_for_work(s: Scene) -> Fault:
    s.redis(s.rng.uniform(600, 1500), "BLPOP jobs 5")
    return Fault()


@case("wide-trace")
def sixty_messages(s: Scene) -> Fault:
    with s.inside("notify everybody") as span:
        for _ in range(60):
            s.begin("mails publish", PRODUCER, {"messaging.system": "rabbitmq", "messaging.destination.name": "mails"})
            s.work(0.7)
            s.finish()
    return Fault(expected={"wide-trace": [span]}, allowed=frozenset({"n-plus-one"}))


@case("broken-trace", whole=True)
def a_trace_without_its_root(s: Scene) -> Fault:
    with s.serving("/a", service="edge") as lost:
        s.query(9, table="users")
        with s.calling("shop", "/b"), s.serving("/b", service="shop"):
            s.ordinary(80)
        s.query(9, table="orders")
    s.spans.remove(lost)
    return Fault(expected={"broken-trace": [span for span in s.spans if span.parent_id == lost.span_id]})


@case("broken-trace", ABSENT, whole=True)
def servers_without_clients(s: Scene) -> Fault:
    """Calls that only the callee records."""
    with s.serving("/home"):
        for service in ("stock", "geo", "media"):
            name, told = s.stack.served("GET", f"/{service}", f"/{service}", 200, service)
            with s.inside(name, SERVER, told, service=service):
                s.query(12, table=service)
            s.work(4)
    return Fault()
