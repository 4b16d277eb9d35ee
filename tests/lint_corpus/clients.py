"""Clients for outbound calls."""

import aiohttp
import httpx
import httpx as h
import httpx2
import requests
import urllib3
from httpx import AsyncClient
from requests import Session
from shop.retries import Retries

import tracemw.httpx
import tracemw.requests
import tracemw.urllib3
from tracemw.httpx import TraceTransport, trace_client
from tracemw.requests import trace_session

bare = httpx.Client()  # expect: TMW302
other = h.Client(timeout=3)  # expect: TMW302
newer = httpx2.AsyncClient()  # expect: TMW302
wrapped = trace_client(httpx.Client())
wrapped_whole = tracemw.httpx.trace_client(AsyncClient())
by_transport = httpx.Client(transport=TraceTransport())
mounted = httpx.Client(mounts={"https://": TraceTransport()})
later = httpx.Client()
trace_client(later)
session = requests.Session()  # expect: TMW302
traced_session = tracemw.requests.trace_session(Session())
pools = urllib3.PoolManager()  # expect: TMW302
traced_pools = tracemw.urllib3.trace_pool_manager(urllib3.PoolManager())


def call(transport, app):
    httpx.get("https://example.com")  # expect: TMW302
    requests.post("https://example.com", timeout=3)  # expect: TMW302
    with httpx.Client() as client:  # expect: TMW302
        client.get("https://example.com")
    with trace_client(httpx.Client()) as client:
        client.get("https://example.com")
    with httpx.Client(transport=transport) as client:
        client.get("https://example.com")
    with httpx.Client() as client:
        trace_client(client)
    httpx.Client(transport=httpx.MockTransport(app))
    httpx.Client(**transport)
    httpx.Client(**{"timeout": 3})  # expect: TMW302
    httpx.Client(transport=Retries())  # the project's own: a traced one may be inside
    httpx.Client(transport=httpx.HTTPTransport(retries=3))  # expect: TMW302
    requests.get("https://example.com", timeout=3)  # noqa
    httpx.URL("https://example.com")
    return requests.Response()


class Api:
    def __init__(self):
        self.session = requests.Session()
        trace_session(self.session)
        self.bare = requests.Session()  # expect: TMW302


async def fetch():
    async with aiohttp.ClientSession() as session:  # expect: TMW302
        await session.get("https://example.com")
    async with AsyncClient() as client:  # expect: TMW302
        await client.get("https://example.com")
