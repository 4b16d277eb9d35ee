"""The viewer's page as one file with its data in it: it asks nobody, and can be sent to anybody.

The modules of the page become one script, each as a function that is called once. They import and export in one way
only, which `_IMPORT` and `_EXPORT` say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

_PAGE: Final = Path(__file__).parent / "page"
_STYLES: Final = ("base.css", "list.css", "trace.css")
_IMPORT: Final = re.compile(r'^import (?:\{ ([^}]*) \} from )?"\./([\w/.-]+)";$', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)
_EXPORT_LIST: Final = re.compile(r"export\{([^}]*)\};?\s*$")

_PAGE_OF_ONE_FILE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>tracemw</title>
<style>{style}</style>
</head>
<body>
<div id="app"><noscript>This page needs JavaScript.</noscript></div>
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def page_of(data: dict[str, Any]) -> str:
    """Return a page that shows data. No text in the data can become part of the page's markup.

    Args:
        data: `start` (the address that is shown first), `traces` (explanations by trace id), `spans` (of each trace,
            spans in OTLP's JSON by id), and `survey` (or None).
    """
    style = "".join((_PAGE / name).read_text() for name in _STYLES)
    script = _script()
    return _PAGE_OF_ONE_FILE.format(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _script() -> str:
    """Return the page's modules as one script, each after those that it imports."""
    done: dict[str, str] = {}
    _add("app.js", done)
    return "\n".join(done.values()).replace("</", "<\\/")


def _add(name: str, done: dict[str, str]) -> None:
    text = (_PAGE / name).read_text()
    for _, needed in _IMPORT.findall(text):
        if needed not in done:
            _add(needed, done)
    exported = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(_imported, text))
    listed = _EXPORT_LIST.search(body)
    if listed:
        body = body[: listed.start()]
        exported = [": ".join(reversed(each.split(" as "))) for each in listed[1].split(",")]
    done[name] = f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _imported(found: re.Match[str]) -> str:
    return f"const {{ {found[1]} }} = {_variable(found[2])};" if found[1] else ""


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
