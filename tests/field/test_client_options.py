"""Whatever a client has been told it goes on doing when it is traced: what reaches real servers is the same.

Each case makes a client with one setting and calls real servers, once bare and once traced. What the servers and the
proxies have seen, and what the caller gets, must be equal but for the headers of the trace.
"""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests
from cachecontrol import CacheControlAdapter
from opentelemetry.trace import SpanKind
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from urllib3.util import Retry

import tracemw.httpx
import tracemw.httpx2
import tracemw.requests
from conftest import Recorded
from field.origins import OF_THE_TRACE, World, world
from servers import wait_until


@pytest.fixture(scope="module")
def _origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("origins")) as made:
        yield made


@pytest.fixture
def origins(_origins: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("NETRC", str(_origins.folder / "none"))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    _origins.seen.take()
    _origins.proxy.asked.clear()
    return _origins


Outcome = list[Any]
Case = Callable[..., Outcome]


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives: the result, or the error by class and text."""
    try:
        return call(*arguments)
    except Exception as error:
        return type(error).__name__, str(error).partition(" object at 0x")[0]


def is_failure(outcome: Any) -> bool:
    """Whether a call has failed, when how it shows is chance: a refusal after the handshake races with the request."""
    return isinstance(outcome[0], str)


def observed(origins: World, case: Callable[[], Outcome]) -> tuple[Any, list[str | None]]:
    """What a case leads to, and the `traceparent` of each request that has reached an origin."""
    outcome = case()
    requests_seen, connections, traceparents = origins.seen.take()
    asked = [
        [line for line in head.split("\r\n") if line.partition(":")[0].lower() not in OF_THE_TRACE]
        for head in origins.proxy.asked
    ]
    origins.proxy.asked.clear()
    return (outcome, requests_seen, connections, asked), traceparents


def hold_equal(origins: World, recorded: Recorded, bare: Callable[[], Outcome], traced: Callable[[], Outcome]) -> None:
    """Assert that a case comes to the same with and without tracing, and that each request that arrives is traced."""
    expected, _ = observed(origins, bare)
    assert recorded.all == []
    found, traceparents = observed(origins, traced)

    assert found == expected
    spans = recorded.of_kind(SpanKind.CLIENT)
    ids = {f"{span.context.span_id:016x}" for span in spans if span.context is not None}
    assert ids
    assert all(traceparent and traceparent.split("-")[2] in ids for traceparent in traceparents)
    assert len(set(traceparents)) == len(traceparents)


# httpx and httpx2, sync and async.


class Library:
    """One of the four kinds of clients, behind the verbs that the cases use."""

    def __init__(self, module: Any, door: Any, *, is_async: bool) -> None:
        self.module = module
        self.door = door
        self.is_async = is_async
        self.traces = False

    def client(self, *, kind: Any = None, **options: Any) -> Any:
        made = (kind or (self.module.AsyncClient if self.is_async else self.module.Client))(**options)
        if not self.traces:
            return made
        assert self.door.trace_client(made) is made
        assert self.door.trace_client(made) is made
        return made

    def transport(self, **options: Any) -> Any:
        return (self.module.AsyncHTTPTransport if self.is_async else self.module.HTTPTransport)(**options)

    def calls(self, client: Any, *urls: str, **options: Any) -> Outcome:
        """GET each URL in turn; what each comes to."""
        return self.run(client, lambda url: client.get(url, **options), urls)

    def run(self, client: Any, call: Callable[[Any], Any], arguments: Any) -> Outcome:
        if not self.is_async:
            with client:
                return [attempt(lambda each: self.facts(call(each)), each) for each in arguments]

        async def every() -> Outcome:
            outcome = []
            async with client:
                for each in arguments:
                    try:
                        outcome.append(self.facts(await call(each)))
                    except Exception as error:
                        outcome.append((type(error).__name__, str(error)))
            return outcome

        return asyncio.run(every())

    def facts(self, response: Any) -> Any:
        return (
            response.status_code,
            response.content,
            response.text,
            response.http_version,
            [each.status_code for each in response.history],
            str(response.url),
            type(response).__module__.partition(".")[0],
        )


KINDS = {
    "httpx": (httpx, tracemw.httpx, False),
    "httpx-async": (httpx, tracemw.httpx, True),
    "httpx2": (httpx2, tracemw.httpx2, False),
    "httpx2-async": (httpx2, tracemw.httpx2, True),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def verify_context(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(verify=at.trusting()), at.https, at.http)


def verify_default(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(), at.https)


def verify_off(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(verify=False), at.https)


def verify_path(lib: Library, at: World) -> Outcome:
    with warnings.catch_warnings(action="ignore"):
        client = lib.client(verify=at.ca)
    return lib.calls(client, at.https)


def verify_environment(lib: Library, at: World) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", at.ca)
        return lib.calls(lib.client(), at.https) + lib.calls(lib.client(trust_env=False), at.https)


def certificate(lib: Library, at: World) -> Outcome:
    with_one, without = at.trusting(with_certificate=True), at.trusting()
    return [
        *lib.calls(lib.client(verify=with_one), at.strict),
        *map(is_failure, lib.calls(lib.client(verify=without), at.strict)),
    ]


def certificate_argument(lib: Library, at: World) -> Outcome:
    with warnings.catch_warnings(action="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", at.ca)
        client = lib.client(cert=at.pem)
    return lib.calls(client, at.strict)


def http2(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(verify=at.trusting(), http2=True), at.http2, f"{at.http2}/two")


def http2_only(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(verify=at.trusting(), http1=False, http2=True), at.http2)


def limits_of_kept_connections(lib: Library, at: World) -> Outcome:
    none_kept = lib.module.Limits(max_keepalive_connections=0)
    return lib.calls(lib.client(limits=none_kept), at.http, at.http) + lib.calls(lib.client(), at.http, at.http)


def limits_of_connections(lib: Library, at: World) -> Outcome:
    client = lib.client(limits=lib.module.Limits(max_connections=1), timeout=lib.module.Timeout(5, pool=0.2))
    first = client.build_request("GET", at.http)
    if not lib.is_async:
        with client:
            held = client.send(first, stream=True)
            outcome = attempt(lambda: client.get(at.http).status_code)
            held.close()
            return [outcome, attempt(lambda: client.get(at.http).status_code)]

    async def calls() -> Outcome:
        async with client:
            held = await client.send(first, stream=True)
            try:
                outcome: Any = await client.get(at.http)
            except lib.module.PoolTimeout as error:
                outcome = repr(error)
            await held.aclose()
            return [outcome, (await client.get(at.http)).status_code]

    return asyncio.run(calls())


def proxy_argument(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(proxy=at.proxy.url, verify=at.trusting()), at.http, at.https)


def proxy_with_a_password(lib: Library, at: World) -> Outcome:
    return lib.calls(
        lib.client(proxy=at.proxy.url.replace("//", "//joe:sesame@"), verify=at.trusting()), at.http, at.https
    )


def proxy_environment(lib: Library, at: World) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", at.proxy.url)
        patch.setenv("HTTPS_PROXY", at.proxy.url)
        through = lib.calls(lib.client(verify=at.trusting()), at.http, at.https)
        past = lib.calls(lib.client(verify=at.trusting(), trust_env=False), at.http, at.https)
        patch.setenv("NO_PROXY", "127.0.0.1")
        return through + past + lib.calls(lib.client(verify=at.trusting()), at.http, at.https)


def proxy_environment_for_all(lib: Library, at: World) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALL_PROXY", at.proxy.url)
        return lib.calls(lib.client(verify=at.trusting()), at.http, at.https)


def proxy_of_socks(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(proxy=f"socks5://{at.socks}", verify=at.trusting()), at.http, at.https)


def mounts(lib: Library, at: World) -> Outcome:
    through = lib.transport(proxy=at.proxy.url)
    routes = {"all://": through, "https://": lib.transport(verify=at.trusting()), at.http: None}
    return lib.calls(lib.client(mounts=routes), at.http, at.https, at.http.replace("127.0.0.1", "localhost"))


def mounts_and_a_proxy(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(proxy=at.proxy.url, mounts={"http://": None}), at.http, at.https)


def one_transport_for_all(lib: Library, at: World) -> Outcome:
    transport = lib.transport(verify=at.trusting())
    client = lib.client(transport=transport, mounts={"http://": transport, "https://": transport})
    return lib.calls(client, at.http, at.https, at.http)


def local_address(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(transport=lib.transport(local_address="127.0.0.2")), at.http)


def unix_socket(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(transport=lib.transport(uds=at.uds)), "http://shop.example/")


def retries(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(transport=lib.transport(retries=1)), at.http, "http://127.0.0.1:9/")


def own_transport(lib: Library, at: World) -> Outcome:
    base: Any = lib.module.AsyncHTTPTransport if lib.is_async else lib.module.HTTPTransport

    class Own(base):  # type: ignore[misc]
        label = "own"

        def handle_request(self, request: Any) -> Any:
            request.headers["X-Own"] = self.label
            return super().handle_request(request)

        async def handle_async_request(self, request: Any) -> Any:
            request.headers["X-Own"] = self.label
            return await super().handle_async_request(request)

    client = lib.client(transport=Own())
    return [client._transport.label, *lib.calls(client, at.http)]


def own_client(lib: Library, at: World) -> Outcome:
    base: Any = lib.module.AsyncClient if lib.is_async else lib.module.Client

    class Own(base):  # type: ignore[misc]
        """A client as SDKs of services derive it: options of its own, a transport of its own, defaults."""

        def __init__(self, *, key: str, **options: Any) -> None:
            self.key = key
            options.setdefault("headers", {"X-Key": key})
            super().__init__(transport=lib.transport(local_address="127.0.0.3"), **options)

        def __del__(self) -> None:
            self.key = ""

    client = lib.client(kind=Own, key="k-1", base_url=at.http)
    return [type(client).__name__, client.key, *lib.calls(client, "/own")]


def timeouts(lib: Library, at: World) -> Outcome:
    client = lib.client(timeout=lib.module.Timeout(5, read=0.2))
    outcome = lib.calls(client, f"{at.http}/slow", at.http)
    wait_until(lambda: len(at.seen.requests) == 2)
    return outcome


def headers(lib: Library, at: World) -> Outcome:
    client = lib.client(headers={"X-One": "1", "User-Agent": "mine", "Accept": "text/x"})
    return [*lib.calls(client, at.http, headers={"x-one": "2"}), dict(client.headers)]


def basic_authentication(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(auth=("joe", "sesame")), at.http, f"{at.http}/redirect")


def digest_authentication(lib: Library, at: World) -> Outcome:
    client = lib.client(auth=lib.module.DigestAuth("joe", "sesame"))
    outcome = lib.calls(client, f"{at.http}/private")
    for request in at.seen.requests:  # what a digest is made of is random
        request["headers"] = [name for name, _ in request["headers"]]
    return outcome


def authentication_by_netrc(lib: Library, at: World) -> Outcome:
    file = at.folder / "netrc"
    file.write_text("machine 127.0.0.1 login joe password sesame\n")
    return lib.calls(lib.client(auth=lib.module.NetRCAuth(str(file))), at.http)


def cookies(lib: Library, at: World) -> Outcome:
    client = lib.client(cookies={"size": "large"})
    return [*lib.calls(client, f"{at.http}/cookie", at.http), dict(client.cookies)]


def parameters_and_base(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(base_url=f"{at.http}/v1", params={"page": "1"}), "/items", "/items?sort=up")


def redirects(lib: Library, at: World) -> Outcome:
    there = lib.calls(lib.client(follow_redirects=True), f"{at.http}/redirect")
    return there + lib.calls(lib.client(), f"{at.http}/redirect")


def too_many_redirects(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(follow_redirects=True, max_redirects=2), f"{at.http}/loop")


def event_hooks(lib: Library, at: World) -> Outcome:
    heard: list[Any] = []

    def asked(request: Any) -> None:
        request.headers["X-Hook"] = "1"
        heard.append((request.method, sorted(request.headers)))

    def answered(response: Any) -> None:
        heard.append((response.status_code, sorted(response.request.headers)))

    async def asked_async(request: Any) -> None:
        asked(request)

    async def answered_async(response: Any) -> None:
        answered(response)

    hooks = [asked_async, answered_async] if lib.is_async else [asked, answered]
    client = lib.client(event_hooks={"request": hooks[:1], "response": hooks[1:]}, follow_redirects=True)
    return [*lib.calls(client, f"{at.http}/redirect"), heard]


def default_encoding(lib: Library, at: World) -> Outcome:
    return lib.calls(lib.client(default_encoding="latin-1"), f"{at.http}/latin") + lib.calls(
        lib.client(), f"{at.http}/latin"
    )


def uploads(lib: Library, at: World) -> Outcome:
    def chunks() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def async_chunks() -> AsyncIterator[bytes]:
        for chunk in chunks():
            yield chunk

    client = lib.client()
    bodies = [{"content": b"plain"}, {"json": {"a": 1}}, {"data": {"a": "1"}}, {"content": None}]
    return lib.run(
        client,
        lambda body: client.post(
            at.http,
            **(body if body != {"content": None} else {"content": async_chunks() if lib.is_async else chunks()}),
        ),
        bodies,
    )


HTTPX_CASES = [
    *(verify_context, verify_default, verify_off, verify_path, verify_environment, certificate, certificate_argument),
    *(http2, http2_only, limits_of_kept_connections, limits_of_connections, proxy_argument, proxy_with_a_password),
    *(proxy_environment, proxy_environment_for_all, proxy_of_socks, mounts, mounts_and_a_proxy, one_transport_for_all),
    *(local_address, unix_socket, retries, own_transport, own_client, timeouts, headers, basic_authentication),
    *(digest_authentication, authentication_by_netrc, cookies, parameters_and_base, redirects, too_many_redirects),
    *(event_hooks, default_encoding, uploads),
]


@pytest.mark.parametrize("case", HTTPX_CASES, ids=lambda case: case.__name__)
def test_what_a_client_has_been_told_holds_when_it_is_traced(
    kind: str, case: Case, origins: World, recorded: Recorded
) -> None:
    module, door, is_async = KINDS[kind]
    bare, traced = (Library(module, door, is_async=is_async) for _ in range(2))
    traced.traces = True
    hold_equal(origins, recorded, lambda: case(bare, origins), lambda: case(traced, origins))


# requests.


def facts(response: requests.Response) -> Any:
    return (
        response.status_code,
        response.content,
        response.text,
        [each.status_code for each in response.history],
        response.url,
        isinstance(response, requests.Response),
        dict(response.cookies),
    )


Make = Callable[[], requests.Session]


def gets(session: requests.Session, *urls: str, **options: Any) -> Outcome:
    with session:
        return [attempt(lambda url: facts(session.get(url, **options)), url) for url in urls]


def mounted(make: Callable[[requests.Session], requests.Session], adapter: Any) -> requests.Session:
    session = requests.Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, adapter)
    return make(session)


Traced = Callable[[requests.Session], requests.Session]


class Settings(HTTPAdapter):
    """An adapter that gives its connection pools settings of its own."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**kwargs, **self.settings})

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, **self.settings)


def session_verify(traced: Traced, at: World) -> Outcome:
    session = traced(requests.Session())
    session.verify = at.ca
    return [*gets(session, at.https, at.http), *gets(traced(requests.Session()), at.https, verify=at.ca)]


def session_verify_default(traced: Traced, at: World) -> Outcome:
    return gets(traced(requests.Session()), at.https)


def session_verify_off(traced: Traced, at: World) -> Outcome:
    with warnings.catch_warnings(action="ignore"):
        return gets(traced(requests.Session()), at.https, verify=False)


def session_verify_environment(traced: Traced, at: World) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", at.ca)
        untrusting = requests.Session()
        untrusting.trust_env = False
        return gets(traced(requests.Session()), at.https) + gets(traced(untrusting), at.https)


def session_certificate(traced: Traced, at: World) -> Outcome:
    session = traced(requests.Session())
    session.verify, session.cert = at.ca, at.pem
    without = gets(traced(requests.Session()), at.strict, verify=at.ca)
    return [*gets(session, at.strict), *map(is_failure, without)]


def session_proxies(traced: Traced, at: World) -> Outcome:
    session = traced(requests.Session())
    session.proxies = {"http": at.proxy.url, "https": at.proxy.url.replace("//", "//joe:sesame@")}
    return gets(session, at.http, at.https, verify=at.ca)


def session_proxies_of_one_call(traced: Traced, at: World) -> Outcome:
    return gets(traced(requests.Session()), at.http, at.https, proxies={"all": at.proxy.url}, verify=at.ca)


def session_proxies_by_environment(traced: Traced, at: World) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", at.proxy.url)
        patch.setenv("HTTPS_PROXY", at.proxy.url)
        through = gets(traced(requests.Session()), at.http, at.https, verify=at.ca)
        patch.setenv("NO_PROXY", "127.0.0.1")
        return through + gets(traced(requests.Session()), at.http, at.https, verify=at.ca)


def session_proxy_of_socks(traced: Traced, at: World) -> Outcome:
    session = traced(requests.Session())
    session.proxies = {"all": f"socks5h://{at.socks}"}
    return gets(session, at.http, at.https, verify=at.ca)


def a_proxy_used_before(traced: Traced, at: World) -> Outcome:
    session = requests.Session()
    session.proxies = {"all": at.proxy.url}
    session.get(at.http)
    at.seen.take()
    return gets(traced(session), at.http)


def ssl_context(traced: Traced, at: World) -> Outcome:
    adapter = Settings(ssl_context=at.trusting(with_certificate=True))
    return gets(mounted(traced, adapter), at.strict, at.https)


def ssl_context_through_a_proxy(traced: Traced, at: World) -> Outcome:
    adapter = Settings(ssl_context=at.trusting(with_certificate=True))
    return gets(mounted(traced, adapter), at.strict, proxies={"https": at.proxy.url})


def the_right_fingerprint(traced: Traced, at: World) -> Outcome:
    with warnings.catch_warnings(action="ignore"):
        return gets(mounted(traced, FingerprintAdapter(at.fingerprint)), at.https, verify=False)


def a_wrong_fingerprint(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, FingerprintAdapter("00" * 32)), at.https, verify=at.ca)


def a_wrong_fingerprint_in_a_setting(traced: Traced, at: World) -> Outcome:
    session = requests.Session()
    adapter: Any = session.get_adapter("https://")
    adapter.poolmanager.connection_pool_kw["assert_fingerprint"] = "00" * 32
    return gets(traced(session), at.https, verify=at.ca)


def the_right_host_name(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, Settings(assert_hostname="shop.example")), at.https, verify=at.ca)


def a_wrong_host_name(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, Settings(assert_hostname="other.example")), at.https, verify=at.ca)


def the_host_name_of_a_header(traced: Traced, at: World) -> Outcome:
    session = mounted(traced, HostHeaderSSLAdapter())
    with session:
        return [
            attempt(lambda host: facts(session.get(at.https, headers={"Host": host}, verify=at.ca)), host)
            for host in ("shop.example", "other.example")
        ]


def source_address(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, SourceAddressAdapter("127.0.0.2")), at.http)


def socket_options(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, TCPKeepAliveAdapter(idle=60, count=2, interval=5)), at.http)


def size_of_pools(traced: Traced, at: World) -> Outcome:
    session = mounted(traced, HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True))
    other = at.http.replace("127.0.0.1", "localhost")
    return gets(session, at.http, other, at.http, at.http)


def retries_of_a_status(traced: Traced, at: World) -> Outcome:
    policy = Retry(2, status_forcelist=[503], raise_on_status=False)
    return gets(mounted(traced, HTTPAdapter(max_retries=policy)), f"{at.http}/busy")


def retries_of_a_connection(traced: Traced, at: World) -> Outcome:
    outcome = gets(mounted(traced, HTTPAdapter(max_retries=1)), "http://127.0.0.1:9/")
    return [kind for kind, _ in outcome]


def a_cache(traced: Traced, at: World) -> Outcome:
    return gets(mounted(traced, CacheControlAdapter()), f"{at.http}/cached", f"{at.http}/cached", at.http)


def response_hooks(traced: Traced, at: World) -> Outcome:
    heard: list[Any] = []
    session = traced(requests.Session())
    session.hooks["response"].append(
        lambda response, **options: heard.append((response.status_code, sorted(response.request.headers)))
    )
    return [*gets(session, f"{at.http}/redirect"), heard]


def session_authentication(traced: Traced, at: World) -> Outcome:
    session = traced(requests.Session())
    session.auth = ("joe", "sesame")
    return gets(session, at.http, f"{at.http}/redirect")


def session_digest_authentication(traced: Traced, at: World) -> Outcome:
    outcome = gets(traced(requests.Session()), f"{at.http}/private", auth=requests.auth.HTTPDigestAuth("joe", "sesame"))
    for request in at.seen.requests:  # what a digest is made of is random
        request["headers"] = [name for name, _ in request["headers"]]
    return outcome


def session_authentication_by_netrc(traced: Traced, at: World) -> Outcome:
    file = at.folder / "netrc"
    file.write_text("machine 127.0.0.1 login joe password sesame\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETRC", str(file))
        untrusting = requests.Session()
        untrusting.trust_env = False
        return gets(traced(requests.Session()), at.http) + gets(traced(untrusting), at.http)


def session_settings(traced: Traced, at: World) -> Outcome:
    session = requests.Session()
    session.headers["X-One"] = "1"
    session.params = {"page": "1"}
    session.cookies.set("size", "large")
    session.max_redirects = 2
    return [
        *gets(traced(session), f"{at.http}/cookie", at.http, f"{at.http}/redirect", f"{at.http}/loop"),
        dict(session.cookies),
    ]


def redirects_not_followed(traced: Traced, at: World) -> Outcome:
    with traced(requests.Session()) as session:
        response = session.get(f"{at.http}/redirect", allow_redirects=False)
        assert response.next is not None
        return [facts(response), facts(session.send(response.next))]


def streams(traced: Traced, at: World) -> Outcome:
    with traced(requests.Session()) as session:
        session.stream = True
        response = session.get(at.http)
        return [list(response.iter_content(2)), response.raw.closed, facts(session.get(at.http))]


def session_timeouts(traced: Traced, at: World) -> Outcome:
    outcome = gets(traced(requests.Session()), f"{at.http}/slow", timeout=(5, 0.2))
    wait_until(lambda: len(at.seen.requests) == 1)
    return outcome


def session_uploads(traced: Traced, at: World) -> Outcome:
    with traced(requests.Session()) as session:
        return [
            facts(session.post(at.http, data=b"plain")),
            facts(session.post(at.http, json={"a": 1})),
            facts(session.post(at.http, data=iter([b"one ", b"two"]))),
            facts(session.put(at.http, data={"a": "1"})),
        ]


def a_session_of_a_class_of_its_own(traced: Traced, at: World) -> Outcome:
    class Own(requests.Session):
        def __init__(self, base: str) -> None:
            super().__init__()
            self.base = base

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            request.headers["X-Own"] = "1"
            return super().send(request, **options)

        def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
            return super().request(method, self.base + str(url), *args, **options)

    session = traced(Own(at.http))
    return [type(session).__name__, *gets(session, "/redirect")]


def a_copy_of_a_session(traced: Traced, at: World) -> Outcome:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(1, status_forcelist=[503], raise_on_status=False)))
    return gets(copy.deepcopy(traced(session)), f"{at.http}/busy")


REQUESTS_CASES = [
    *(session_verify, session_verify_default, session_verify_off, session_verify_environment, session_certificate),
    *(session_proxies, session_proxies_of_one_call, session_proxies_by_environment, session_proxy_of_socks),
    *(a_proxy_used_before, ssl_context, ssl_context_through_a_proxy, the_right_fingerprint, a_wrong_fingerprint),
    *(a_wrong_fingerprint_in_a_setting, the_right_host_name, a_wrong_host_name, the_host_name_of_a_header),
    *(source_address, socket_options, size_of_pools, retries_of_a_status, retries_of_a_connection, a_cache),
    *(response_hooks, session_authentication, session_digest_authentication, session_authentication_by_netrc),
    *(session_settings, redirects_not_followed, streams, session_timeouts, session_uploads),
    *(a_session_of_a_class_of_its_own, a_copy_of_a_session),
]


@pytest.mark.parametrize("case", REQUESTS_CASES, ids=lambda case: case.__name__)
def test_what_a_session_has_been_told_holds_when_it_is_traced(case: Case, origins: World, recorded: Recorded) -> None:
    def traced(session: requests.Session) -> requests.Session:
        adapters = list(session.adapters.items())
        assert tracemw.requests.trace_session(tracemw.requests.trace_session(session)) is session
        assert list(session.adapters.items()) == adapters
        return session

    hold_equal(origins, recorded, lambda: case(lambda session: session, origins), lambda: case(traced, origins))
