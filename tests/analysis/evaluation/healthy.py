"""Traces of healthy services: fast ones, slow ones, streams, batches, and the habits of many stacks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from analysis.evaluation.labelled import Labelled
from analysis.evaluation.scene import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Scene, document
from analysis.evaluation.stacks import STACKS, Stack

Happening = Callable[[Scene], None]


def fast(s: Scene) -> None:
    with s.serving():
        s.ordinary(s.rng.uniform(8, 70))


def medium(s: Scene) -> None:
    with s.serving():
        s.ordinary(s.rng.uniform(110, 450))


def slow(s: Scene) -> None:
    with s.serving("/reports/{id}"):
        s.ordinary(s.rng.uniform(1500, 4500))


def one_call_through(s: Scene) -> None:
    """A gateway hands the request on: all of its time is the other's, as in every proxy."""
    with s.serving("/checkout", service="gateway"), s.calling("shop", "/checkout"), s.serving("/checkout"):
        s.ordinary(s.rng.uniform(60, 300))


def answers_404(s: Scene) -> None:
    with s.serving("/users/{id}", status=404):
        s.query(s.rng.uniform(3, 20))
        s.work(2)


def callee_answers_404(s: Scene) -> None:
    with s.serving():
        s.ordinary(30)
        s.call(20, "stock", "/items/9", status=s.rng.choice((404, 409, 410)))
        s.ordinary(40)


def refreshes_its_token(s: Scene) -> None:
    with s.serving():
        s.call(15, "billing", "/invoices/7", status=401, serve=False)
        s.call(25, "auth", "/token", method="POST")
        s.call(30, "billing", "/invoices/7", serve=False)
        s.ordinary(60)


def a_retry_makes_good(s: Scene) -> None:
    with s.serving():
        s.ordinary(40)
        s.call(20, "pricing", "/prices/9", status=503)
        s.work(10)
        s.call(25, "pricing", "/prices/9")
        s.ordinary(40)


def a_retried_timeout(s: Scene) -> None:
    """The first attempt breaks off, and its server goes on for a while."""
    with s.serving():
        s.ordinary(40)
        with s.calling("pricing", "/prices/9", status=0, error=("ReadTimeout", "timed out")) as call:
            with s.serving("/prices/{id}", service="pricing") as late:
                s.work(50)
        late.end = call.end + 25
        s.call(25, "pricing", "/prices/9")
        s.ordinary(60)


def polls(s: Scene) -> None:
    with s.serving("/exports", method="POST"):
        s.call(20, "media", "/exports", method="POST", serve=False)
        for _ in range(s.rng.randrange(4, 9)):
            s.work(s.rng.uniform(60, 100))
            s.call(s.rng.uniform(8, 15), "media", "/exports/7/status", serve=False)
        s.ordinary(250)


def polls_until_it_is_there(s: Scene) -> None:
    """A 404 means: not yet."""
    with s.serving("/exports", method="POST"):
        s.ordinary(200)
        for number in range(4):
            s.call(s.rng.uniform(4, 9), "media", "/exports/7", serve=False, status=200 if number == 3 else 404)
            s.work(60)


def side_by_side(s: Scene) -> None:
    with s.serving("/home"):
        s.ordinary(30)
        durations = [s.rng.uniform(60, 120) for _ in range(s.rng.randrange(5, 25))]
        s.together([partial(s.call, ms, "stock", f"/items/{n}") for n, ms in enumerate(durations)])
        s.ordinary(80)


def shards(s: Scene) -> None:
    with s.serving("/search"):
        s.ordinary(30)
        for letter in "abcdefg":
            s.call(s.rng.uniform(14, 22), f"shard-{letter}", "/health", serve=False)


def a_race(s: Scene) -> None:
    """Two replicas are asked, the slower one is cancelled."""
    with s.serving():
        s.ordinary(40)
        s.together(
            [
                lambda: s.call(50, "stock-a", "/items/7", serve=False),
                lambda: s.call(51, "stock-b", "/items/7", serve=False, status=0, error=("CancelledError", "")),
            ]
        )
        s.ordinary(60)


def late_server(s: Scene) -> None:
    with s.serving():
        s.ordinary(50)
        call = s.call(60, "stock")
        served = s.spans[s.spans.index(call) + 1]
        served.end = call.end + s.rng.uniform(2, 15)
        s.ordinary(90)


def background_task(s: Scene) -> None:
    """The response is out, and a task goes on; it may even fail."""
    with s.serving("/orders", method="POST") as root:
        s.ordinary(120)
    with s.after(root, 0), s.inside("send mail") as task:
        s.call(200, "mail", "/send", method="POST")
        s.work(s.rng.uniform(100, 3000))
    if s.rng.random() < 0.5:
        task.failed = True
        task.events.append(("exception", task.end, s.stack.failed("SMTPException", "no route")))


def streams(s: Scene) -> None:
    """An ASGI response whose body comes for seconds."""
    with s.serving("/events") as root:
        s.query(s.rng.uniform(5, 30))
        for number in range(s.rng.randrange(12, 60)):
            what = "body" if number else "start"
            s.begin(f"{root.name} http send", INTERNAL, {"asgi.event.type": f"http.response.{what}"})
            s.work(0.2)
            s.finish()
            s.work(s.rng.uniform(80, 240))


def event_stream(s: Scene) -> None:
    """Server-sent events: one message in a while."""
    with s.serving("/events") as root:
        root.attributes["http.response.header.content-type"] = ["text/event-stream"]
        s.query(9)
        start = s.begin(f"{root.name} http send", INTERNAL, {"asgi.event.type": "http.response.start"})
        start.attributes["http.status_code" if s.stack.old else "http.response.status_code"] = 200
        s.work(0.2)
        s.finish()
        for _ in range(s.rng.randrange(3, 8)):
            s.work(s.rng.uniform(1200, 4000))
            s.begin(f"{root.name} http send", INTERNAL, {"asgi.event.type": "http.response.body"})
            s.work(0.2)
            s.finish()


def websocket(s: Scene) -> None:
    told = {"http.scheme": "ws", "http.target": "/ws", "http.route": "/ws", "http.status_code": 101}
    if not s.stack.old:
        told = {"url.scheme": "ws", "url.path": "/ws", "http.route": "/ws", "http.response.status_code": 101}
    with s.inside("/ws", SERVER, told, service="chat"):
        for _ in range(s.rng.randrange(3, 12)):
            s.work(s.rng.uniform(400, 9000))
            for what in ("receive", "send"):
                s.begin(f"/ws websocket {what}", INTERNAL, {"asgi.event.type": f"websocket.{what}"})
                s.work(0.3)
                s.finish()


def batch(s: Scene) -> None:
    with s.inside("nightly", service="batch"):
        for number in range(s.rng.randrange(100, 300)):
            with s.inside(f"item {number}" if s.rng.random() < 0.3 else "work on an item"):
                s.work(s.rng.uniform(4, 12))


def batch_of_mixed_work(s: Scene) -> None:
    with s.inside("import", service="batch"):
        for _ in range(10):
            with s.inside("chunk"):
                s.ordinary(s.rng.uniform(90, 260))


def message(s: Scene) -> None:
    """A request publishes, a consumer takes its time, long after."""
    with s.serving("/orders", method="POST"):
        s.ordinary(80)
        told = {"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation": "publish"}
        sent = s.begin("orders publish", PRODUCER, told)
        s.work(4)
        s.finish()
        s.ordinary(40)
    processed = {**told, "messaging.operation": "process"}
    with s.after(sent, s.rng.uniform(5, 4000)), s.inside("orders process", CONSUMER, processed, service="mailer"):
        s.ordinary(s.rng.uniform(60, 900))


def celery(s: Scene) -> None:
    with s.serving("/reports", method="POST", status=202):
        s.ordinary(60)
        told = {"celery.action": "apply_async", "celery.task_name": "shop.render", "messaging.destination": "celery"}
        sent = s.begin("apply_async/shop.render", PRODUCER, told)
        s.work(3)
        s.finish()
        s.work(5)
    run = {"celery.action": "run", "celery.state": "SUCCESS", "celery.task_name": "shop.render"}
    with s.after(sent, s.rng.uniform(100, 9000)), s.inside("run/shop.render", CONSUMER, run, service="worker"):
        s.ordinary(s.rng.uniform(300, 4000))


def rpc(s: Scene) -> None:
    with s.serving("/cart"):
        for service, method in (("cart", "Get"), ("pricing", "Quote"), ("stock", "Reserve")):
            with s.calling_rpc(service, method):
                s.query(s.rng.uniform(4, 20), table=service)
        s.ordinary(50)


def rpc_not_found(s: Scene) -> None:
    with s.serving("/cart"):
        with s.calling_rpc("cart", "Get", status=5):
            s.query(5)
        with s.calling_rpc("cart", "Create"):
            s.query(9)
        s.ordinary(60)


def graphql(s: Scene) -> None:
    with s.serving("/graphql", method="POST"):
        for phase in ("graphql.parse", "graphql.validate"):
            with s.inside(phase):
                s.work(1)
        with s.inside("graphql.execute"):
            for name in ("user", "user.name", "user.mail", "user.orders"):
                with s.inside(f"graphql.resolve {name}"):
                    s.work(0.3)
            s.query(s.rng.uniform(10, 40), table="users")
            s.query(s.rng.uniform(10, 40), table="orders")
            for number in range(30):
                with s.inside("graphql.resolve user.orders.total"):
                    s.work(0.2)
                del number


def orm(s: Scene) -> None:
    """A unit of work: some like statements, all of them fast."""
    with s.serving("/orders", method="POST"):
        s.query(2, "BEGIN", table="orders")
        for _ in range(s.rng.randrange(2, 5)):
            with s.inside("Session.persist shop.Order"):
                s.query(s.rng.uniform(1, 3), "INSERT INTO orders (a, b) VALUES (?, ?)", table="orders")
        s.query(3, "COMMIT", table="orders")
        s.ordinary(60)


def transactions(s: Scene) -> None:
    """What a pool and a session say to the database again and again."""
    with s.serving():
        for table in ("users", "orders", "prices", "stock", "carts", "taxes"):
            s.query(0.8, "SELECT 1", table="ping")
            s.query(1.0, "BEGIN", table="ping")
            s.query(s.rng.uniform(6, 12), table=table)
            s.query(1.5, "COMMIT", table="ping")
            s.work(2)


def cache(s: Scene) -> None:
    with s.serving():
        for number in range(s.rng.randrange(6, 20)):
            s.redis(0.6, f"GET user:{number}")
        s.ordinary(50)


def blocking_pop(s: Scene) -> None:
    """A worker waits for work at a queue that Redis keeps."""
    with s.inside("poll", service="worker"):
        s.redis(s.rng.uniform(900, 4000), "BLPOP jobs 5")
        s.ordinary(300)


def chat(s: Scene) -> None:
    with s.serving("/ask", method="POST"):
        s.query(9, table="history")
        with s.inside("invoke_agent helper", INTERNAL, {"gen_ai.operation.name": "invoke_agent"}):
            for tool in ("search", "calculate", "weather")[: s.rng.randrange(1, 4)]:
                s.chat(s.rng.uniform(500, 1000))
                with s.inside(f"execute_tool {tool}", INTERNAL, {"gen_ai.operation.name": "execute_tool"}):
                    s.query(s.rng.uniform(20, 90), table=tool)
            s.chat(s.rng.uniform(300, 900))


def serverless(s: Scene) -> None:
    told = {"faas.trigger": "http", "faas.coldstart": True, "faas.invocation_id": "c0ffee", "cloud.provider": "aws"}
    with s.inside("orders-handler", SERVER, told, service="orders-fn"):
        with s.inside("init"):
            s.work(s.rng.uniform(60, 200))
        dynamo = {"rpc.system": "aws-api", "rpc.service": "DynamoDB", "rpc.method": "GetItem"}
        for table in ("orders", "users"):
            with s.inside("DynamoDB.GetItem", CLIENT, {**dynamo, "aws.dynamodb.table_names": [table]}):
                s.work(s.rng.uniform(20, 60))
        s.ordinary(60)


def without_names(s: Scene) -> None:
    """Spans with next to no attributes, as own tracers make them."""
    with s.inside("handle", SERVER, service="legacy"):
        for name in ("load", "price", "render"):
            with s.inside(name):
                s.work(s.rng.uniform(20, 60))


def network_of_node(s: Scene) -> None:
    with s.serving():
        for name in ("dns.lookup", "tcp.connect", "tls.connect"):
            with s.inside(name):
                s.work(s.rng.uniform(2, 9))
        s.call(s.rng.uniform(20, 60), "geo", "/zones/7")
        with s.inside("pg-pool.connect", CLIENT, {"db.system": "postgresql"}):
            s.work(s.rng.uniform(1, 8))
        s.ordinary(60)


def rows_of_go(s: Scene) -> None:
    """A driver that records each step of a query."""
    with s.serving("/orders"):
        system = "db.system" if s.stack.old else "db.system.name"
        for number in range(6):
            for name in ("sql.conn.reset_session", "sql.conn.query", "sql.rows"):
                told = {system: "postgresql"}
                if name == "sql.conn.query":
                    told["db.statement" if s.stack.old else "db.query.text"] = f"SELECT a FROM t_{'abcdef'[number]}"
                s.begin(name, CLIENT if name != "sql.rows" else INTERNAL, told)
                s.work(1.0 if name == "sql.conn.reset_session" else 4.0)
                s.finish()
        s.ordinary(60)


def cut_off_by_the_client(s: Scene) -> None:
    """The browser went away: 499, or a cancelled request."""
    with s.serving("/search", status=499) as root:
        s.ordinary(90)
        root.attributes.pop("http.response.status_code", None)


def redirect(s: Scene) -> None:
    with s.serving("/old", status=302):
        s.query(s.rng.uniform(4, 9))
        s.work(3)


def health(s: Scene) -> None:
    with s.serving("/healthz"):
        s.work(s.rng.uniform(0.2, 2))


def slow_front_of_a_chain(s: Scene) -> None:
    """Five hops, which is as deep as it may be."""
    services = ("edge", "gateway", "shop", "cart", "pricing", "rates")

    def hop(number: int) -> None:
        with s.serving("/a", service=services[number]):
            s.query(s.rng.uniform(4, 14), table=services[number])
            if number + 1 < len(services):
                with s.calling(services[number + 1], "/a"):
                    hop(number + 1)
            s.work(3)

    hop(0)


def late_and_retried_by_the_mesh(s: Scene) -> None:
    s.mesh = True
    with s.serving("/cart"):
        for host in ("stock", "pricing"):
            with s.calling(host, "/items/7"), s.serving("/items/{id}", service=host):
                s.query(s.rng.uniform(5, 25), table=host)
        s.ordinary(60)


def deep_in_the_mesh(s: Scene) -> None:
    """Four services, each behind its sidecar: three hops for whoever counts services."""
    s.mesh = True
    services = ("edge", "shop", "cart", "pricing")

    def hop(number: int) -> None:
        with s.serving("/a", service=services[number]):
            s.query(s.rng.uniform(4, 14), table=services[number])
            if number + 1 < len(services):
                with s.calling(services[number + 1], "/a"):
                    hop(number + 1)
            s.work(3)

    hop(0)


HEALTHY: tuple[Happening, ...] = (
    fast,
    medium,
    slow,
    one_call_through,
    answers_404,
    callee_answers_404,
    refreshes_its_token,
    a_retry_makes_good,
    a_retried_timeout,
    polls,
    polls_until_it_is_there,
    side_by_side,
    shards,
    a_race,
    late_server,
    background_task,
    streams,
    event_stream,
    websocket,
    batch,
    batch_of_mixed_work,
    message,
    celery,
    rpc,
    rpc_not_found,
    graphql,
    orm,
    transactions,
    cache,
    blocking_pop,
    chat,
    serverless,
    without_names,
    network_of_node,
    rows_of_go,
    cut_off_by_the_client,
    redirect,
    health,
    slow_front_of_a_chain,
    late_and_retried_by_the_mesh,
    deep_in_the_mesh,
)

_ONLY: dict[Happening, tuple[str, ...]] = {
    streams: ("python",),
    event_stream: ("python",),
    websocket: ("python", "ours"),
}


def make_healthy(rng: random.Random, times: int) -> Iterator[Labelled]:
    """Give each kind of healthy trace so many times, each time in another stack."""
    for happening in HEALTHY:
        stacks = [stack for stack in STACKS if stack.language in _ONLY.get(happening, (stack.language,))]
        for stack in rng.sample(stacks, min(times, len(stacks))):
            yield _healthy(happening, stack, rng)


def _healthy(happening: Happening, stack: Stack, rng: random.Random) -> Labelled:
    scene = Scene(rng, stack)
    happening(scene)
    return Labelled(name=f"healthy: {happening.__name__.replace('_', ' ')} ({stack.name})", document=document([scene]))
