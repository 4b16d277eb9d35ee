"""A module that knows nothing of tracing: its methods are called the same, and mean something else."""

import xml.dom.minidom
from concurrent.futures import ThreadPoolExecutor


def dom(element, password):
    element.set_attribute("password", password)
    element.setAttribute("email", "x")
    element.add_event("x", {"email": 1})
    return xml.dom.minidom.parseString("<a/>")


def work(items):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(str, items))


def swallow(span):
    with span("x"):
        try:
            work([])
        except Exception:
            pass
