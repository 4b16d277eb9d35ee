"""The client doors behind the same few verbs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import httpx
import httpx2
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util import Retry

import tracemw
import tracemw.httpx
import tracemw.httpx2
from tracemw.requests import TraceAdapter, trace_session
from tracemw.urllib3 import trace_pool_manager

R = TypeVar("R")


@dataclass
class Answer:
    """A response whose body has been read."""

    status: int
    body: bytes


class OpenResponse:
    """A response whose body has not been read yet."""

    def __init__(self, response: Any, chunks: Iterator[bytes], close: Callable[[], None]) -> None:
        self.response = response
        self._chunks = chunks
        self.close = close

    def read_some(self) -> bytes:
        return next(self._chunks)

    def read(self) -> bytes:
        return b"".join(self._chunks)


@dataclass
class Relay:
    """A request body that calls for each of its chunks, within a span and after it. It can be gone through again."""

    get: Callable[[str], bytes]
    urls: Sequence[str]

    def __iter__(self) -> Iterator[bytes]:
        for number, url in enumerate(self.urls):
            with tracemw.span(f"part.{number}"):
                yield b"in,"  # the span stays open meanwhile
                yield self.get(url)
            yield self.get(url)


@dataclass
class AsyncRelay:
    """The same for an asynchronous client."""

    get: Callable[[str], Awaitable[bytes]]
    urls: Sequence[str]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, url in enumerate(self.urls):
            with tracemw.span(f"part.{number}"):
                yield b"in,"
                yield await self.get(url)
            yield await self.get(url)


class Door:
    """One client door as the tests use it."""

    connect_error: str
    tls_error: str
    read_timeout: str
    disconnected: str
    garbage: str
    cut_short: str
    lacks: ClassVar[Mapping[str, str]] = {}
    """The features that the library has not, each with what of it says so."""

    def needs(self, feature: str) -> None:
        """Leave a hole in the table when the library has not the feature that a case is about."""
        if feature in self.lacks:
            pytest.skip(self.lacks[feature])

    def request(
        self,
        method: str,
        url: str,
        *,
        content: Any = None,
        headers: dict[str, str] | None = None,
        timeout: Any = 30,
        digest: tuple[str, str] | None = None,
    ) -> Answer:
        raise NotImplementedError

    def get(self, url: str, **options: Any) -> Answer:
        return self.request("GET", url, **options)

    def open(self, url: str, *, timeout: Any = 30) -> OpenResponse:
        raise NotImplementedError

    def reading_for(self, seconds: float) -> Any:
        """Make a timeout of so many seconds for a read, with all the time to connect that a busy machine takes."""
        raise NotImplementedError

    def upload(self, chunks: Iterable[bytes]) -> Any:
        """A request body that can be gone through once."""
        return iter(chunks)

    def relay(self, *urls: str) -> Any:
        """A request body that gets its chunks from these URLs by the same client."""
        return Relay(lambda url: self.get(url).body, urls)

    def retry(self, status: int, times: int) -> None:
        """Have the library retry a GET that is answered with `status`."""
        raise NotImplementedError

    def interrupt(self, url: str, arrived: threading.Event) -> None:
        """GET `url`, and give up on it deliberately once it has arrived: by Ctrl-C, if nothing else cancels a call."""

        def press(*_: object) -> None:
            raise KeyboardInterrupt

        def press_once_arrived() -> None:
            assert arrived.wait(30)
            os.kill(os.getpid(), signal.SIGALRM)

        before = signal.signal(signal.SIGALRM, press)
        pressing = threading.Thread(target=press_once_arrived)
        pressing.start()
        try:
            self.get(url)
        except KeyboardInterrupt:
            pass
        finally:
            pressing.join()
            signal.signal(signal.SIGALRM, before)

    def close(self) -> None:
        raise NotImplementedError


class HttpxDoor(Door):
    """The door for httpx, and that for httpx2, whose names are the same: by a transport, or by `trace_client`."""

    lacks: ClassVar = {"retries": "httpx: HTTPTransport(retries=) tries connecting again, within one handle_request"}
    library: ClassVar[Any] = httpx
    door: ClassVar[Any] = tracemw.httpx
    by_transport: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        name = cls.library.__name__
        cls.connect_error = cls.tls_error = f"{name}.ConnectError"
        cls.read_timeout = f"{name}.ReadTimeout"
        cls.disconnected = f"{name}.ReadError"
        cls.garbage = cls.cut_short = f"{name}.RemoteProtocolError"

    def __init__(self, **options: Any) -> None:
        self.client = self.make_client(self.library.Client, self.door.TraceTransport, options)

    def reading_for(self, seconds: float) -> Any:
        return self.library.Timeout(60, read=seconds)

    def make_client(self, kind: Any, transport: Any, options: dict[str, Any]) -> Any:
        if self.by_transport:
            return kind(transport=transport(**options), follow_redirects=True)
        return self.door.trace_client(kind(follow_redirects=True), **options)

    def request(self, method: str, url: str, *, digest: Any = None, **options: Any) -> Answer:
        auth = self.library.DigestAuth(*digest) if digest else None
        response = self.client.request(method, url, auth=auth, **options)
        return Answer(response.status_code, response.content)

    def open(self, url: str, *, timeout: Any = 30) -> OpenResponse:
        response = self.client.send(self.client.build_request("GET", url, timeout=timeout), stream=True)
        return OpenResponse(response, response.iter_raw(), response.close)

    def close(self) -> None:
        self.client.close()


class AsyncHttpxDoor(HttpxDoor):
    def __init__(self, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.async_client = self.make_client(self.library.AsyncClient, self.door.AsyncTraceTransport, options)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return self.runner.run(coroutine, context=copy_context())

    def request(self, method: str, url: str, *, digest: Any = None, **options: Any) -> Answer:
        auth = self.library.DigestAuth(*digest) if digest else None
        response = self.run(self.async_client.request(method, url, auth=auth, **options))
        return Answer(response.status_code, response.content)

    def open(self, url: str, *, timeout: Any = 30) -> OpenResponse:
        request = self.async_client.build_request("GET", url, timeout=timeout)
        response = self.run(self.async_client.send(request, stream=True))
        return OpenResponse(response, self._chunks(response), lambda: self.run(response.aclose()))

    def _chunks(self, response: Any) -> Iterator[bytes]:
        chunks = response.aiter_raw()

        async def following() -> bytes | None:
            return await anext(chunks, None)

        while (chunk := self.run(following())) is not None:
            yield chunk

    def upload(self, chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
        async def generate() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return generate()

    def relay(self, *urls: str) -> Any:
        async def get(url: str) -> bytes:
            content: bytes = (await self.async_client.get(url)).content
            return content

        return AsyncRelay(get, urls)

    def interrupt(self, url: str, arrived: threading.Event) -> None:
        async def cancelled() -> None:
            task = asyncio.create_task(self.async_client.get(url))
            assert await asyncio.to_thread(arrived.wait, 30)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        self.run(cancelled())

    def close(self) -> None:
        self.run(self.async_client.aclose())
        self.runner.close()


class TransportDoor(HttpxDoor):
    """`httpx.Client(transport=TraceTransport())`."""


class AsyncTransportDoor(AsyncHttpxDoor):
    """`httpx.AsyncClient(transport=AsyncTraceTransport())`."""


class ClientDoor(HttpxDoor):
    """`trace_client(httpx.Client())`."""

    by_transport: ClassVar[bool] = False


class AsyncClientDoor(AsyncHttpxDoor):
    """`trace_client(httpx.AsyncClient())`."""

    by_transport: ClassVar[bool] = False


class Httpx2TransportDoor(HttpxDoor):
    """The same four for httpx2."""

    library: ClassVar[Any] = httpx2
    door: ClassVar[Any] = tracemw.httpx2


class AsyncHttpx2TransportDoor(AsyncHttpxDoor):
    library: ClassVar[Any] = httpx2
    door: ClassVar[Any] = tracemw.httpx2


class Httpx2ClientDoor(Httpx2TransportDoor):
    by_transport: ClassVar[bool] = False


class AsyncHttpx2ClientDoor(AsyncHttpx2TransportDoor):
    by_transport: ClassVar[bool] = False


class RequestsDoor(Door):
    connect_error = disconnected = garbage = "requests.exceptions.ConnectionError"
    tls_error = "requests.exceptions.SSLError"
    read_timeout = "requests.exceptions.ReadTimeout"
    cut_short = "requests.exceptions.ChunkedEncodingError"
    lacks: ClassVar = {
        "resends": "requests: no argument of HTTPAdapter.send tells a redirect or a challenged request from a first one"
    }

    def __init__(self, **options: Any) -> None:
        self.session = self.make_session(options)

    def make_session(self, options: dict[str, Any]) -> requests.Session:
        session = requests.Session()
        for prefix in ("http://", "https://"):
            session.mount(prefix, TraceAdapter(**options))
        return session

    def request(self, method: str, url: str, *, content: Any = None, digest: Any = None, **options: Any) -> Answer:
        auth = HTTPDigestAuth(*digest) if digest else None
        response = self.session.request(method, url, data=content, auth=auth, **options)
        return Answer(response.status_code, response.content)

    def open(self, url: str, *, timeout: Any = 30) -> OpenResponse:
        response = self.session.get(url, stream=True, timeout=timeout)
        return OpenResponse(response, response.iter_content(None), response.close)

    def reading_for(self, seconds: float) -> Any:
        return 60, seconds

    def retry(self, status: int, times: int) -> None:
        adapter = self.session.get_adapter("http://")
        assert isinstance(adapter, HTTPAdapter)
        adapter.max_retries = Retry(times, status_forcelist=[status], raise_on_status=False)

    def close(self) -> None:
        self.session.close()


class SessionDoor(RequestsDoor):
    """`trace_session(requests.Session())`, with an adapter of a class of the application's own."""

    def make_session(self, options: dict[str, Any]) -> requests.Session:
        class OwnAdapter(HTTPAdapter):
            def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:  # type: ignore[override]
                return super().send(request, **more)

        session = requests.Session()
        session.mount("http://", OwnAdapter())
        return trace_session(session, **options)


class PoolManagerDoor(Door):
    """`trace_pool_manager(urllib3.PoolManager())`."""

    connect_error = "urllib3.exceptions.NewConnectionError"
    tls_error = "urllib3.exceptions.MaxRetryError"
    read_timeout = "urllib3.exceptions.ReadTimeoutError"
    disconnected = garbage = cut_short = "urllib3.exceptions.ProtocolError"
    lacks: ClassVar = {
        "challenges": "urllib3: PoolManager answers no challenge",
        "credentials": "urllib3: a URL's user name and password make no header",
    }

    def __init__(self, **options: Any) -> None:
        retries = Retry(10, connect=False, read=False, other=0)
        self.manager = trace_pool_manager(urllib3.PoolManager(retries=retries), **options)

    def request(self, method: str, url: str, *, content: Any = None, digest: Any = None, **options: Any) -> Answer:
        response = self.manager.request(method, url, body=content, preload_content=False, **options)
        return Answer(response.status, response.data)

    def open(self, url: str, *, timeout: Any = 30) -> OpenResponse:
        response = self.manager.request("GET", url, timeout=timeout, preload_content=False)
        return OpenResponse(response, response.stream(None), response.close)

    def reading_for(self, seconds: float) -> Any:
        return urllib3.Timeout(connect=60, read=seconds)

    def retry(self, status: int, times: int) -> None:
        self.manager.connection_pool_kw["retries"] = Retry(times, status_forcelist=[status], raise_on_status=False)

    def close(self) -> None:
        self.manager.clear()


DOORS: dict[str, type[Door]] = {
    "httpx": ClientDoor,
    "httpx-async": AsyncClientDoor,
    "httpx-transport": TransportDoor,
    "httpx-transport-async": AsyncTransportDoor,
    "httpx2": Httpx2ClientDoor,
    "httpx2-async": AsyncHttpx2ClientDoor,
    "httpx2-transport": Httpx2TransportDoor,
    "httpx2-transport-async": AsyncHttpx2TransportDoor,
    "requests": SessionDoor,
    "requests-adapter": RequestsDoor,
    "urllib3": PoolManagerDoor,
}

FAILURES = (httpx.HTTPError, httpx2.HTTPError, requests.RequestException, urllib3.exceptions.HTTPError)
"""What the libraries raise when a call fails."""
