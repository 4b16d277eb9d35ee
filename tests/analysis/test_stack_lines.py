"""The line of a stack trace is the innermost one that belongs to no library, whatever language wrote it."""

from __future__ import annotations

import time

import pytest

from tracemw.analysis.stack_lines import line_of_stack

PYTHON = """Traceback (most recent call last):
  File "/app/orders.py", line 57, in load
    return rows[0]
  File "/app/.venv/lib/python3.12/site-packages/sqlalchemy/engine/result.py", line 9, in __getitem__
IndexError: no row
"""
JAVA = """org.springframework.web.util.NestedServletException: Request processing failed
\tat org.springframework.web.servlet.FrameworkServlet.processRequest(FrameworkServlet.java:1014)
\tat com.shop.web.Orders.get(Orders.java:12)
Caused by: java.util.NoSuchElementException: No value present
\tat java.base/java.util.Optional.orElseThrow(Optional.java:377)
\tat com.shop.OrderService.load(OrderService.java:42)
\t... 50 more
"""
NODE = """Error: Invalid token
    at Object.parse (node:internal/json:10:3)
    at verify (/usr/src/app/node_modules/jsonwebtoken/verify.js:9:1)
    at async module.exports.charge (/usr/src/app/charge.js:37:13)
    at /usr/src/app/server.js:5:1
"""
DOTNET = r"""System.InvalidOperationException: Sequence contains no elements
   at System.Linq.ThrowHelper.ThrowNoElementsException()
   at Shop.Orders.Load(Int32 id) in C:\src\Shop\Orders.cs:line 42
   at Shop.Web.Get() in /src/Web.cs:line 7
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PYTHON, "orders.py:57, load"),
        (JAVA, "OrderService.java:42, load"),
        (NODE, "charge.js:37, charge"),
        (
            NODE.replace("async module.exports.charge (/usr/src/app/charge.js:37:13)", "new Promise (<anonymous>)"),
            "server.js:5",
        ),
        (DOTNET, "Orders.cs:42, Load"),
        ("Caused by: x\n\tat java.lang.Thread.run(Thread.java:8)", ""),
        ("Error: at work (see below)", ""),
        ("", ""),
    ],
    ids=["Python", "Java", "Node", "Node without a function", ".NET", "libraries alone", "a sentence", "nothing"],
)
def test_the_innermost_line_of_ones_own_code_is_told(text: str, line: str) -> None:
    assert line_of_stack(text) == line


@pytest.mark.parametrize("part", ["at a.a(", "at a (", "at a() in ", "at .a", ":line 1", 'File "'])
def test_a_stack_trace_of_a_megabyte_in_one_line_takes_linear_time(part: str) -> None:
    before = time.process_time()
    line_of_stack("at " + part * (1_000_000 // len(part)))
    assert time.process_time() - before < 1
