"""A script serves no requests, so there is no trace to hand on."""

import requests

requests.get("https://example.com", timeout=3)
