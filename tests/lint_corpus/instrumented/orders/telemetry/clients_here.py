"""Clients that the official instrumentations trace."""

import aiohttp
import httpx
import requests
from opentelemetry.instrumentation.requests import RequestsInstrumentor

import tracemw

tracemw.init("shop", instrument=("aiohttp-client", "httpx"))
RequestsInstrumentor().instrument()


async def fetch():
    requests.get("https://example.com", timeout=3)
    httpx.get("https://example.com")
    async with aiohttp.ClientSession() as session:
        await session.get("https://example.com")
