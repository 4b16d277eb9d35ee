"""How spans look in the tracers of several languages, in both generations of the semantic conventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Attributes = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One language's tracer, in one generation of the conventions."""

    name: str
    language: str
    old: bool = False
    """Whether attributes have their names of before 2023."""

    def served(self, method: str, route: str, path: str, status: int, host: str) -> tuple[str, Attributes]:
        """Return the name and the attributes of a request being served."""
        name = f"{method} {route}"
        if self.language == "go":
            name = route.strip("/").split("/")[0] or "index"
        elif self.language == "django":
            name = f"{method} {route.strip('/')}/"
        if self.old:
            told: Attributes = {
                "http.method": method,
                "http.scheme": "http",
                "http.target": path,
                "http.host": f"{host}:8080",
                "net.host.name": host,
                "net.host.port": 8080,
                "http.flavor": "1.1",
                "http.user_agent": "curl/8",
            }
            if status:
                told["http.status_code"] = status
        else:
            told = {
                "http.request.method": method,
                "url.scheme": "http",
                "url.path": path.split("?")[0],
                "server.address": host,
                "server.port": 8080,
                "network.protocol.version": "1.1",
            }
            if status:
                told["http.response.status_code"] = status
        if self.language != "go":
            told["http.route"] = route
        if self.language == "java":
            told |= {"thread.id": 41, "thread.name": "http-nio-8080-exec-3"}
        return name, told

    def called(self, method: str, host: str, path: str, status: int) -> tuple[str, Attributes]:
        """Return the name and the attributes of a call over HTTP, as the caller sees it."""
        name = f"HTTP {method}" if self.language == "go" else method
        if self.old:
            told: Attributes = {"http.method": method, "http.url": f"http://{host}:8080{path}"}
            if self.language in ("java", "node", "go"):
                told |= {"net.peer.name": host, "net.peer.port": 8080}
            if status:
                told["http.status_code"] = status
        else:
            told = {
                "http.request.method": method,
                "url.full": f"http://{host}:8080{path}",
                "server.address": host,
                "server.port": 8080,
            }
            if status:
                told["http.response.status_code"] = status
            if status >= 400:
                told["error.type"] = str(status)
        return name, told

    def queried(self, system: str, text: str, table: str) -> tuple[str, Attributes]:
        """Return the name and the attributes of a query."""
        operation = text.split()[0]
        names = {
            "java": f"{operation} shop.{table}",
            "node": f"pg.query:{operation} shop",
            "go": "sql.conn.query",
            "django": operation,
            "ours": f"{operation} {table}",
        }
        name = names.get(self.language, f"{operation} shop" if self.old else operation)
        host = "db.internal"
        if self.old:
            return name, {
                "db.system": system,
                "db.statement": text,
                "db.name": "shop",
                "net.peer.name": host,
                "net.peer.port": 5432,
            }
        told = {
            "db.system.name": system,
            "db.query.text": text,
            "db.namespace": "shop",
            "server.address": host,
            "server.port": 5432,
        }
        if self.language in ("ours", "java"):
            told["db.query.summary"] = f"{operation} {table}"
        return name, told

    def failed(self, kind: str, message: str) -> Attributes:
        """Return the attributes of an event `exception`."""
        return {"exception.type": kind, "exception.message": message, "exception.stacktrace": f"{kind}: {message}\n"}


STACKS = (
    Stack(name="python", language="python"),
    Stack(name="python, old", language="python", old=True),
    Stack(name="django, old", language="django", old=True),
    Stack(name="java", language="java"),
    Stack(name="java, old", language="java", old=True),
    Stack(name="node, old", language="node", old=True),
    Stack(name="node", language="node"),
    Stack(name="go", language="go"),
    Stack(name="go, old", language="go", old=True),
    Stack(name="tracemw", language="ours"),
)
