"""Clients that another module of the service has instrumented."""

import requests
import urllib3

requests.get("https://example.com", timeout=3)
urllib3.PoolManager()  # expect: TMW302
