"""Faults of time: what repeats, what waits, what takes too long."""

from __future__ import annotations

from functools import partial

from analysis.evaluation.fault import ABSENT, BELOW, Fault, case
from analysis.evaluation.scene import CLIENT, INTERNAL, Scene, Told

_SQL = "SELECT street, town FROM addresses WHERE user_id = "

# n-plus-one


def _literal(s: Scene) -> str:
    return _SQL + (str(s.rng.randrange(1, 99999)) if s.stack.old else "?")


@case("n-plus-one")
def a_query_in_a_loop(s: Scene) -> Fault:
    count = s.rng.randrange(5, 40)
    return Fault(
        expected={"n-plus-one": [s.query(max(3, 60 / count), _literal(s), table="addresses") for _ in range(count)]}
    )


@case("n-plus-one")
def exactly_at_the_threshold(s: Scene) -> Fault:
    return Fault(expected={"n-plus-one": [s.query(10.5, _literal(s), table="addresses") for _ in range(5)]})


@case("n-plus-one")
def a_query_under_wrappers_of_ones_own(s: Scene) -> Fault:
    found = []
    for _ in range(s.rng.randrange(7, 12)):
        with s.inside("load_line") as wrapper:
            found += [wrapper, s.query(9, _literal(s), table="addresses")]
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_query_of_an_orm(s: Scene) -> Fault:
    found = []
    with s.inside("OrderRepository.findAll", INTERNAL, {"code.function": "findAll"}) as above:
        for _ in range(s.rng.randrange(8, 20)):
            with s.inside("Session.find com.shop.Address", INTERNAL) as one:
                found += [one, s.query(8, _SQL + "?", table="addresses")]
    return Fault(expected={"n-plus-one": [above, *found]})


@case("n-plus-one")
def graphql_resolvers_that_ask_one_by_one(s: Scene) -> Fault:
    found = []
    with s.inside("graphql.execute") as above:
        for _ in range(s.rng.randrange(6, 30)):
            with s.inside(
                "graphql.resolve order.customer", INTERNAL, {"graphql.field.path": "orders.*.customer"}
            ) as one:
                found += [one, s.query(9, _literal(s), table="addresses")]
    return Fault(expected={"n-plus-one": [above, *found]})


@case("n-plus-one")
def a_call_for_each_item(s: Scene) -> Fault:
    calls = [s.call(s.rng.uniform(15, 40), "stock", f"/items/{n}") for n in s.rng.sample(range(1, 9999), 9)]
    return Fault(expected={"n-plus-one": calls})


@case("n-plus-one")
def a_call_for_each_uuid(s: Scene) -> Fault:
    ids = [f"{s.rng.getrandbits(32):08x}-4b1c-4d2e-8f3a-{s.rng.getrandbits(48):012x}" for _ in range(7)]
    calls = [s.call(s.rng.uniform(15, 40), "stock", f"/items/{each}?full=1", serve=False) for each in ids]
    return Fault(expected={"n-plus-one": calls})


@case("n-plus-one")
def an_rpc_for_each_item(s: Scene) -> Fault:
    found = []
    for _ in range(8):
        with s.calling_rpc("stock", "Get") as _served:
            s.query(7, table="stock")
        found.append(s.spans[-3])
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_key_at_a_time(s: Scene) -> Fault:
    return Fault(expected={"n-plus-one": [s.redis(4, f"GET user:{n}") for n in s.rng.sample(range(9999), 30)]})


@case("n-plus-one")
def a_pattern_of_two_queries(s: Scene) -> Fault:
    found: list[Told] = []
    for _ in range(s.rng.randrange(3, 5)):
        found.append(s.query(12, "SELECT * FROM lines WHERE order_id = ?", table="lines"))
        found.append(s.query(9, "SELECT price FROM prices WHERE sku = ?", table="prices"))
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_pattern_of_a_query_and_a_call(s: Scene) -> Fault:
    found: list[Told] = []
    for number in range(4):
        found.append(s.query(9, "SELECT * FROM lines WHERE order_id = ?", table="lines"))
        found.append(s.call(20, "pricing", f"/prices/{number + 3}", serve=False))
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_query_in_a_loop_with_other_things_between(s: Scene) -> Fault:
    found = []
    for number in range(9):
        found.append(s.query(9, _literal(s), table="addresses"))
        if number in (2, 6):
            s.redis(1.5, "GET settings")
        if number % 2:
            with s.inside(f"format {'abcdefghi'[number]}"):
                s.work(2)
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one")
def a_fold_of_like_queries(s: Scene) -> Fault:
    found = [s.query(4, _SQL + "?", table="addresses") for _ in range(4)]
    fold = s.query(150, _SQL + "?", table="addresses")
    fold.attributes |= {
        "tracemw.folded.count": 37,
        "tracemw.folded.sum": 0.141,
        "tracemw.folded.max": 0.006,
        "tracemw.folded.min": 0.003,
    }
    return Fault(expected={"n-plus-one": [*found, fold]})


@case("n-plus-one")
def one_callee_deeper_in_the_trace(s: Scene) -> Fault:
    with s.calling("profile", "/profiles/7"), s.serving("/profiles/{id}", service="profile"):
        s.work(3)
        found = [s.query(6, _literal(s), table="addresses") for _ in range(20)]
    return Fault(expected={"n-plus-one": found})


@case("n-plus-one", BELOW)
def four_queries(s: Scene) -> Fault:
    for _ in range(4):
        s.query(s.rng.uniform(15, 40), _literal(s), table="addresses")
    return Fault()


@case("n-plus-one", BELOW)
def many_queries_that_take_nothing(s: Scene) -> Fault:
    count = s.rng.randrange(5, 20)
    for _ in range(count):
        s.query(44 / count, _literal(s), table="addresses")
    return Fault()


@case("n-plus-one", BELOW)
def a_pattern_that_comes_twice(s: Scene) -> Fault:
    for _ in range(2):
        s.query(20, "SELECT * FROM lines WHERE order_id = ?", table="lines")
        s.query(20, "SELECT price FROM prices WHERE sku = ?", table="prices")
    return Fault()


@case("n-plus-one", ABSENT)
def seven_hosts(s: Scene) -> Fault:
    for letter in "abcdefg":
        s.call(20, f"node-{letter}", "/stats", serve=False)
    return Fault()


@case("n-plus-one", ABSENT)
def a_fan_out_at_once(s: Scene) -> Fault:
    s.together([partial(s.call, s.rng.uniform(40, 80), "stock", f"/items/{n}") for n in range(12)])
    return Fault()


@case("n-plus-one", ABSENT)
def queries_of_an_async_gather(s: Scene) -> Fault:
    s.together([lambda: s.query(s.rng.uniform(30, 60), _SQL + "?", table="addresses") for _ in range(8)])
    return Fault()


@case("n-plus-one", ABSENT)
def six_different_queries(s: Scene) -> Fault:
    for table in ("a_users", "b_orders", "c_taxes", "d_carts", "e_stock", "f_geo"):
        s.query(14, f"SELECT * FROM {table} WHERE id = ?", table=table)
    return Fault()


# sequential-calls


@case("sequential-calls")
def three_services_one_after_the_other(s: Scene) -> Fault:
    found = [s.call(s.rng.uniform(270, 420), host, f"/{host}/7") for host in ("stock", "billing", "geo")]
    return Fault(expected={"sequential-calls": found}, allowed=frozenset({"idle-gap"}))


@case("sequential-calls")
def calls_within_wrappers(s: Scene) -> Fault:
    found = []
    for host in ("stock", "billing", "geo", "media"):
        with s.inside(f"fetch {host}") as wrapper:
            found += [wrapper, s.call(s.rng.uniform(200, 320), host, f"/{host}/7", serve=False)]
    return Fault(expected={"sequential-calls": found})


@case("sequential-calls")
def rpcs_one_after_the_other(s: Scene) -> Fault:
    found = []
    for service in ("cart", "stock", "tax", "geo"):
        began = len(s.spans)
        with s.calling_rpc(service, "Get"):
            s.query(s.rng.uniform(190, 260), table=service)
        found.append(s.spans[began])
    return Fault(expected={"sequential-calls": found})


@case("sequential-calls", BELOW)
def two_long_calls(s: Scene) -> Fault:
    for host in ("stock", "billing"):
        s.call(s.rng.uniform(350, 480), host, f"/{host}/7")
    return Fault()


@case("sequential-calls", BELOW)
def calls_that_save_little(s: Scene) -> Fault:
    for host in ("stock", "billing", "geo"):
        s.call(s.rng.uniform(190, 225), host, f"/{host}/7")
    return Fault()


@case("sequential-calls", BELOW)
def many_short_calls(s: Scene) -> Fault:
    for host in ("stock", "billing", "geo", "media", "mail", "tax", "cart", "rates"):
        s.call(s.rng.uniform(80, 96), host, f"/{host}/status")
    return Fault()


@case("sequential-calls", ABSENT)
def queries_on_one_connection(s: Scene) -> Fault:
    for table in ("users", "orders", "taxes"):
        s.query(s.rng.uniform(280, 420), f"SELECT * FROM {table} WHERE a = ?", table=table)
    return Fault()


@case("sequential-calls", ABSENT)
def calls_that_run_together(s: Scene) -> Fault:
    s.together([partial(s.call, s.rng.uniform(300, 400), h, f"/{h}/7") for h in ("stock", "billing", "geo")])
    return Fault()


# slow-query


@case("slow-query")
def one_statement(s: Scene) -> Fault:
    query = s.query(s.rng.uniform(510, 3000), "SELECT sum(a) FROM facts GROUP BY b", table="facts")
    return Fault(expected={"slow-query": [query]})


@case("slow-query")
def one_update_that_waits_for_a_lock(s: Scene) -> Fault:
    with s.inside("checkout"):
        query = s.query(s.rng.uniform(700, 1500), "UPDATE stock SET n = n - 1 WHERE id = ?", table="stock")
    return Fault(expected={"slow-query": [query]})


@case("slow-query")
def one_search_in_an_index(s: Scene) -> Fault:
    key = "db.system" if s.stack.old else "db.system.name"
    told = {
        key: "elasticsearch",
        "db.operation" if s.stack.old else "db.operation.name": "search",
        "server.address": "es",
    }
    with s.inside("Elasticsearch/_search", CLIENT, told) as query:
        s.work(s.rng.uniform(560, 1200))
    return Fault(expected={"slow-query": [query]})


@case("slow-query")
def one_document_of_mongo(s: Scene) -> Fault:
    key = "db.system" if s.stack.old else "db.system.name"
    name = "mongodb.find" if s.stack.language == "node" else "find shop.orders"
    told = {
        key: "mongodb",
        "db.operation" if s.stack.old else "db.operation.name": "find",
        "db.mongodb.collection": "orders",
    }
    with s.inside(name, CLIENT, told) as query:
        s.work(s.rng.uniform(560, 1200))
    return Fault(expected={"slow-query": [query]})


@case("slow-query", BELOW)
def nearly_slow(s: Scene) -> Fault:
    s.query(s.rng.uniform(450, 496), "SELECT sum(a) FROM facts GROUP BY b", table="facts")
    return Fault()


@case("slow-query", ABSENT)
def a_slow_call_is_no_query(s: Scene) -> Fault:
    s.call(900, "search", "/query")
    return Fault(allowed=frozenset({"idle-gap", "bottleneck"}))


# pool-wait and leaked-connection

_LINE = {"code.file.path": "/srv/shop/orders.py", "code.line.number": 57, "code.function.name": "orders_of"}


def _wait(s: Scene, ms: float) -> Told:
    told = {
        "db.client.connection.pool.name": "db:5432/shop",
        "tracemw.pool.waited_for": "a free connection",
        "tracemw.pool.size": 5,
        "tracemw.pool.overflow": 0,
        "tracemw.pool.held": 5,
        "tracemw.pool.holders.line": ["/srv/shop/reports.py:31 in export", "/srv/shop/reports.py:31 in export"],
        "tracemw.pool.holders.trace_id": ["ab" * 16, "cd" * 16],
        "tracemw.pool.holders.age": [12.5, 8.25],
    }
    wait = s.begin("pool wait", INTERNAL, told)
    s.work(ms)
    s.finish()
    return wait


@case("pool-wait")
def for_a_free_connection(s: Scene) -> Fault:
    wait = _wait(s, s.rng.uniform(105, 2000))
    s.query(9)
    return Fault(expected={"pool-wait": [wait]})


@case("pool-wait")
def until_it_times_out(s: Scene) -> Fault:
    wait = _wait(s, s.rng.uniform(1500, 4000))
    wait.failed = True
    error = ("sqlalchemy.exc.TimeoutError", "QueuePool limit of size 5 overflow 0 reached, connection timed out")
    wait.events.append(("exception", s.t, s.stack.failed(*error)))
    return Fault(expected={"pool-wait": [wait], "error-source": [wait]}, fails=error)


@case("pool-wait")
def as_a_long_connect(s: Scene) -> Fault:
    system = "db.system" if s.stack.old else "db.system.name"
    with s.inside("connect", CLIENT, {system: "postgresql", "db.name": "shop", "net.peer.name": "db"}) as wait:
        s.work(s.rng.uniform(150, 900))
    s.query(9)
    return Fault(expected={"pool-wait": [wait]})


@case("pool-wait", BELOW)
def a_short_wait(s: Scene) -> Fault:
    _wait(s, s.rng.uniform(40, 96))
    s.query(9)
    return Fault()


@case("pool-wait", BELOW)
def a_short_connect(s: Scene) -> Fault:
    system = "db.system" if s.stack.old else "db.system.name"
    with s.inside("connect", CLIENT, {system: "postgresql", "db.name": "shop"}):
        s.work(s.rng.uniform(10, 95))
    s.query(9)
    return Fault()


@case("leaked-connection")
def by_the_garbage_collector(s: Scene) -> Fault:
    with s.inside("export") as span:
        s.query(15)
        told = {"db.client.connection.pool.name": "db:5432/shop", "tracemw.pool.held_for": 3.2, **_LINE}
        span.events.append(("connection leaked", s.t, told))
    return Fault(expected={"leaked-connection": [span]})


# idle-gap and blocked-loop


@case("idle-gap")
def waits_for_a_lock(s: Scene) -> Fault:
    with s.inside("reserve stock") as span:
        s.query(20, table="stock")
        s.work(s.rng.uniform(530, 1500))
        s.query(90, table="orders")
    return Fault(expected={"idle-gap": [span]})


@case("idle-gap")
def waits_in_the_request_itself(s: Scene) -> Fault:
    s.work(s.rng.uniform(700, 1400))
    return Fault(expected={"idle-gap": [s.innermost]})


@case("idle-gap")
def waits_in_the_callee(s: Scene) -> Fault:
    with s.calling("billing", "/invoices/7"), s.serving("/invoices/{id}", service="billing") as span:
        s.query(10, table="invoices")
        s.work(s.rng.uniform(600, 1500))
        s.query(30, table="taxes")
    inner = [each for each in s.spans if each.parent_id == span.span_id and each.kind == INTERNAL]
    return Fault(expected={"idle-gap": [span, *inner]}, allowed=frozenset({"bottleneck"}))


@case("idle-gap", BELOW)
def nearly_a_gap(s: Scene) -> Fault:
    with s.inside("reserve stock"):
        s.query(20, table="stock")
        s.work(s.rng.uniform(420, 480))
        s.query(90, table="orders")
    return Fault()


@case("idle-gap", BELOW)
def a_gap_that_is_little_of_its_span(s: Scene) -> Fault:
    with s.inside("prepare the export"):
        s.ordinary(1000)
        s.work(s.rng.uniform(520, 560))
        s.ordinary(1000)
    return Fault()


@case("idle-gap", ABSENT)
def a_long_call_of_somebody_untraced(s: Scene) -> Fault:
    s.call(s.rng.uniform(600, 1500), "api.partner.example", "/quotes", serve=False)
    return Fault()


@case("blocked-loop")
def by_synchronous_work(s: Scene) -> Fault:
    ms = s.rng.uniform(120, 450)
    root = s.root
    told = {"tracemw.seconds": round(ms / 1000, 3), "code.file.path": "/srv/shop/pdf.py", "code.line.number": 12}
    root.events.append(("tracemw.loop.blocked", s.t, {**told, "code.function.name": "render"}))
    s.work(ms)
    return Fault(expected={"blocked-loop": [root]}, allowed=frozenset({"idle-gap"}))


@case("blocked-loop", BELOW)
def a_short_block(s: Scene) -> Fault:
    told = {"tracemw.seconds": 0.06, "code.file.path": "/srv/shop/pdf.py", "code.line.number": 12}
    s.root.events.append(("tracemw.loop.blocked", s.t, told))
    s.work(60)
    return Fault()


# long-trace and bottleneck


@case("long-trace", whole=True)
def a_long_request(s: Scene) -> Fault:
    with s.serving("/reports/{id}") as root:
        s.ordinary(s.rng.uniform(5100, 8000))
    return Fault(expected={"long-trace": [root]})


@case("long-trace", whole=True)
def a_long_request_through_a_gateway(s: Scene) -> Fault:
    with s.serving("/reports", service="gateway") as root, s.calling("shop", "/reports"), s.serving("/reports"):
        s.ordinary(s.rng.uniform(5100, 8000))
    return Fault(expected={"long-trace": [root]})


@case("long-trace", BELOW, whole=True)
def nearly_long(s: Scene) -> Fault:
    with s.serving("/reports/{id}"):
        s.ordinary(s.rng.uniform(4700, 4970))
    return Fault()


@case("long-trace", ABSENT, whole=True)
def a_short_request_whose_task_goes_on(s: Scene) -> Fault:
    with s.serving("/orders", method="POST") as root:
        s.ordinary(150)
    with s.after(root, 0), s.inside("build the report"):
        s.ordinary(6500)
    return Fault()


@case("bottleneck", whole=True)
def one_computation(s: Scene) -> Fault:
    with s.serving("/render"):
        s.ordinary(15)
        with s.inside("render template") as span:
            s.work(s.rng.uniform(200, 480))
        s.ordinary(12)
    return Fault(expected={"bottleneck": [span]})


@case("bottleneck", whole=True)
def one_long_computation(s: Scene) -> Fault:
    with s.serving("/render"):
        s.ordinary(40)
        with s.inside("resize") as span:
            s.work(s.rng.uniform(900, 3000))
        s.ordinary(40)
    return Fault(expected={"bottleneck": [span]}, allowed=frozenset({"idle-gap"}))


@case("bottleneck", whole=True)
def computing_in_the_callee(s: Scene) -> Fault:
    with s.serving("/render"):
        s.ordinary(12)
        with s.calling("media", "/render"), s.serving("/render", service="media") as span:
            s.work(s.rng.uniform(240, 480))
        s.ordinary(12)
    inner = [each for each in s.spans if each.parent_id == span.span_id]
    return Fault(expected={"bottleneck": [span, *inner]})


@case("bottleneck", whole=True)
def the_request_itself(s: Scene) -> Fault:
    with s.serving("/render") as span:
        s.query(9)
        s.work(s.rng.uniform(300, 480))
        s.query(9)
    inner = [each for each in s.spans if each.parent_id == span.span_id and each.kind == INTERNAL]
    return Fault(expected={"bottleneck": [span, *inner]})


@case("bottleneck", BELOW, whole=True)
def three_quarters(s: Scene) -> Fault:
    with s.serving("/render"):
        s.ordinary(30)
        with s.inside("render template"):
            s.work(240)
        s.ordinary(55)
    return Fault()


@case("bottleneck", BELOW, whole=True)
def most_of_a_short_trace(s: Scene) -> Fault:
    with s.serving("/render"):
        s.query(3)
        with s.inside("render template"):
            s.work(s.rng.uniform(60, 84))
        s.query(2)
    return Fault()


# wide-trace and deep-trace


@case("wide-trace")
def sixty_calls_at_once(s: Scene) -> Fault:
    with s.inside("gather") as span:
        s.together(
            [partial(s.call, s.rng.uniform(20, 60), "stock", f"/items/{n}") for n in range(s.rng.randrange(52, 90))]
        )
    return Fault(expected={"wide-trace": [span]})


@case("wide-trace")
def sixty_queries_at_once(s: Scene) -> Fault:
    with s.inside("gather") as span:
        s.together([lambda: s.query(s.rng.uniform(20, 60), _SQL + "?", table="addresses") for _ in range(60)])
    return Fault(expected={"wide-trace": [span]})


@case("wide-trace")
def a_long_loop(s: Scene) -> Fault:
    with s.inside("load") as span:
        found = [s.query(3, _SQL + "?", table="addresses") for _ in range(80)]
    return Fault(expected={"n-plus-one": [span, *found], "wide-trace": [span]})


@case("wide-trace", BELOW)
def fifty_calls_at_once(s: Scene) -> Fault:
    with s.inside("gather"):
        s.together(
            [partial(s.call, s.rng.uniform(20, 60), "stock", f"/items/{n}") for n in range(s.rng.randrange(40, 51))]
        )
    return Fault()


@case("wide-trace", ABSENT)
def a_hundred_steps_of_ones_own(s: Scene) -> Fault:
    with s.inside("render"):
        for _ in range(100):
            with s.inside("cell"):
                s.work(0.5)
    return Fault()


def _chain(s: Scene, services: tuple[str, ...]) -> list[Told]:
    found = []

    def hop(number: int) -> None:
        with s.serving(f"/{services[number]}", service=services[number]) as span:
            found.append(span)
            s.query(s.rng.uniform(5, 20), table=services[number])
            if number + 1 < len(services):
                with s.calling(services[number + 1], f"/{services[number + 1]}") as call:
                    found.append(call)
                    hop(number + 1)
            s.query(s.rng.uniform(3, 9), table="audit_" + services[number])

    hop(0)
    return found


_CHAIN = ("edge", "gateway", "shop", "cart", "pricing", "rates", "currency", "bank")


@case("deep-trace", whole=True)
def six_or_seven_crossings(s: Scene) -> Fault:
    return Fault(expected={"deep-trace": _chain(s, _CHAIN[: s.rng.choice((7, 8))])})


@case("deep-trace", BELOW, whole=True)
def five_crossings(s: Scene) -> Fault:
    _chain(s, _CHAIN[:6])
    return Fault()


@case("deep-trace", ABSENT, whole=True)
def many_services_side_by_side(s: Scene) -> Fault:
    with s.serving("/home"):
        for service in _CHAIN[2:]:
            with s.calling(service, f"/{service}"), s.serving(f"/{service}", service=service):
                s.query(12, table=service)
        s.ordinary(60)
    return Fault()


@case("deep-trace", ABSENT, whole=True)
def sidecars_are_no_services(s: Scene) -> Fault:
    s.mesh = True
    _chain(s, _CHAIN[:4])
    return Fault()
