"""Give each team an organization of its own in Grafana, with its own data sources and the dashboards, and nothing else.

    cd deploy/compose
    python ../grafana/separate_teams.py --authority secrets/trust/ca.crt < secrets/grafana-passwords/admin-password

Teams are those that have data sources in Grafana's first organization, which is that of the operators. A second run
brings organizations up to date. Add people to them in Grafana, or by your identity provider.
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import sys
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

DASHBOARDS: Final = Path(__file__).with_name("dashboards")
OF_OPERATORS: Final = "stack.json"
"""The dashboard that shows what belongs to no team."""

_KINDS: Final = ("traces", "metrics", "logs")
_COPIED: Final = ("name", "uid", "type", "access", "url", "jsonData")
_FIRST: Final = 1


class Grafana:
    """The HTTP API of Grafana, for its administrator.

    Args:
        url: Such as `https://localhost:3000`.
        user: The name of the administrator.
        password: Its password.
        authority: A file with the certificate of who has signed Grafana's; None for those that the system trusts.
    """

    def __init__(self, url: str, user: str, password: str, authority: Path | None) -> None:
        self._url = url.rstrip("/")
        self._authorization = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        self._tls = ssl.create_default_context(cafile=authority)

    def ask(self, method: str, path: str, body: object = None, *, organization: int = _FIRST) -> Any:
        """Return what Grafana answers within an organization.

        Raises:
            HTTPError: for an answer that is no success.
            URLError: when Grafana does not answer, or shows a certificate that is not trusted.
        """
        headers = {
            "Authorization": self._authorization,
            "Content-Type": "application/json",
            "X-Grafana-Org-Id": str(organization),
        }
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._url}/api/{path}", data, headers, method=method)  # noqa: S310  the operator's own URL
        with urlopen(request, timeout=30, context=self._tls) as answer:  # noqa: S310
            return json.load(answer)

    def finds(self, path: str, *, organization: int = _FIRST) -> Any:
        """Return what there is; None if there is nothing."""
        try:
            return self.ask("GET", path, organization=organization)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise


def separate(grafana: Grafana, authority: str | None) -> list[str]:
    """Give each team what is its own, and return the teams.

    Args:
        grafana: Grafana, for its administrator.
        authority: The certificate of who has signed those of Tempo and Loki.
    """
    sources = {source["uid"]: source for source in grafana.ask("GET", "datasources")}
    teams = sorted(uid.removeprefix("traces-") for uid in sources if uid.startswith("traces-"))
    for team in teams:
        organization = _organization(grafana, team)
        for kind in _KINDS:
            _put_source(grafana, sources[f"{kind}-{team}"], team, authority, organization)
        for path in sorted(DASHBOARDS.glob("*.json")):
            if path.name != OF_OPERATORS:
                board = {"dashboard": json.loads(path.read_text()), "overwrite": True}
                grafana.ask("POST", "dashboards/db", board, organization=organization)
    return teams


def _organization(grafana: Grafana, team: str) -> int:
    found = grafana.finds(f"orgs/name/{quote(team)}")
    return int(found["id"] if found is not None else grafana.ask("POST", "orgs", {"name": team})["orgId"])


def _put_source(grafana: Grafana, source: dict[str, Any], team: str, authority: str | None, organization: int) -> None:
    """Copy a data source. Grafana tells no secret parts of it, so these are made anew."""
    secret = {"httpHeaderValue1": team}
    if authority is not None and source["jsonData"].get("tlsAuthWithCACert"):
        secret["tlsCACert"] = authority
    body = {**{key: source[key] for key in _COPIED}, "secureJsonData": secret}
    path = f"datasources/uid/{source['uid']}"
    if grafana.finds(path, organization=organization) is None:
        grafana.ask("POST", "datasources", body, organization=organization)
    else:
        grafana.ask("PUT", path, body, organization=organization)


def main() -> int:
    """Separate the teams of a Grafana; the password is read from standard input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="https://localhost:3000", help="of Grafana (default: %(default)s)")
    parser.add_argument("--user", default="admin", help="the administrator (default: %(default)s)")
    parser.add_argument("--authority", type=Path, metavar="FILE", help="the certificate of who has signed all others")
    options = parser.parse_args()
    grafana = Grafana(options.url, options.user, sys.stdin.readline().strip(), options.authority)
    try:
        teams = separate(grafana, options.authority and options.authority.read_text())
    except HTTPError as error:
        hint = "; is the password right?" if error.code in (401, 403) else ""
        print(
            f"Grafana answers {error.code} to {error.url}{hint}: {error.read().decode(errors='replace')[:200]}",
            file=sys.stderr,
        )
        return 2
    except URLError as error:
        print(f"Grafana does not answer at {options.url}: {error.reason}", file=sys.stderr)
        return 2
    print(f"Each of these has an organization of its own: {', '.join(teams)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
