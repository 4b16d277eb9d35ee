"""Write `allowed-keys.yaml`, the second net for keys: the collector then keeps what tracemw lets out, and no other.

    python deploy/collector/write_allowed_keys.py --allow payment.amount 'order.*'

Name with `--allow` what your services allow by `tracemw.init(allow=...)`. Run again after an update of tracemw. A glob
lets keys pass here that tracemw keeps back, since they tell a secret: `order.password` for `order.*`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tracemw.redaction.allowed_keys import KEYS, PREFIXES

FILE: Final = Path(__file__).with_name("allowed-keys.yaml")

_IS_KEY: Final = re.compile(r"[A-Za-z0-9_.:/*?-]+").fullmatch
_WILD: Final = {"*": ".*", "?": "."}

_TEXT: Final = """\
# Written by write_allowed_keys.py: the keys that tracemw lets out of a process. Attributes of spans and events under
# other keys are dropped here. The resource keeps all of its keys, since the operator has set them.
processors:
  transform/allowed_keys:
    error_mode: propagate  # what cannot be looked at does not pass
    trace_statements:
      - keep_matching_keys(span.attributes, "{pattern}")
      - keep_matching_keys(spanevent.attributes, "{pattern}")
"""


def pattern(allow: Iterable[str] = ()) -> str:
    """Return what matches the keys that leave, for RE2.

    Args:
        allow: Keys and globs beside those that tracemw allows itself; `*` matches anything, and `?` one character.

    Raises:
        ValueError: for any other sign than those that keys are made of.
    """
    exact = [_literal(key) for key in sorted(KEYS)]
    named = [_of_glob(key) for key in sorted(set(allow))]
    prefixes = [f"{_literal(prefix)}.*" for prefix in sorted(PREFIXES)]
    return f"^({'|'.join([*exact, *prefixes, *named])})$"


def written(allow: Iterable[str] = ()) -> str:
    """Return the text of the file."""
    return _TEXT.format(pattern=pattern(allow))


def _of_glob(key: str) -> str:
    if not _IS_KEY(key):
        raise ValueError(f"--allow={key} is not accepted; use letters, digits, and the signs _ . : / - * ?")
    return "".join(_WILD.get(sign) or _literal(sign) for sign in key)


def _literal(text: str) -> str:
    """Return what matches the text itself. Brackets in place of backslashes need no escapes within quotes."""
    return re.sub(r"[.+?()|{}^$]", lambda sign: f"[{sign[0]}]", text)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--allow", nargs="*", default=[], metavar="KEY", help="a key or glob that your services allow")
    try:
        text = written(parser.parse_args().allow)
    except ValueError as problem:
        parser.error(str(problem))
    FILE.write_text(text)


if __name__ == "__main__":
    main()
