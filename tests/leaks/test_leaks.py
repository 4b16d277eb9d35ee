"""Hundreds of secrets go through a service, in every carrier, on every way out. None arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import Backend, backend_serving, grpc_backend_serving
from leaks.corpus import leaks

_TESTS = Path(__file__).parent.parent


def _arrived(backend: Backend) -> bytes:
    return b"\n".join([*(request.SerializeToString() for request in backend.requests), *backend.metrics_bodies])


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_secret_leaves_on_any_way(protocol: str, tmp_path: Path) -> None:
    console, secrets = tmp_path / "console.txt", leaks()
    assert len(secrets) >= 400
    resource = "team=shop,note=password%3Dhunter2-made-up,api_key=k-made-up-0001"
    with (
        backend_serving() if protocol != "grpc" else grpc_backend_serving() as ours,
        backend_serving() as theirs,
    ):
        environment = {
            **os.environ,
            "PYTHONPATH": str(_TESTS),
            "OTEL_EXPORTER_OTLP_ENDPOINT": ours.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_RESOURCE_ATTRIBUTES": resource,
            "TRACEMW_ALLOW": "",
        }
        command = [sys.executable, "-m", "leaks.service", str(console), f"{theirs.url}/v1/traces"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert ran.returncode == 0, ran.stderr[-4000:]
        ways = {"our exporter": _arrived(ours), "the SDK's exporter": _arrived(theirs), "console": console.read_bytes()}
    assert len(ours.spans) == len(theirs.spans) >= 4 * len(secrets)
    assert ours.metrics_bodies or protocol == "grpc"
    sought = {leak.secret for leak in secrets} | {"hunter2-made-up", "k-made-up-0001"}
    for way, told in ways.items():
        shown = {form for secret in sought for form in _forms(secret) if form in told}
        assert shown == set(), f"{way} shows {len(shown)}"
        assert b"REDACTED" in told
    counted = json.loads(ran.stdout)
    assert counted["own.text"] == len(secrets)
    assert not any(secret in key for key in counted for secret in sought)


def _forms(secret: str) -> set[bytes]:
    """How a secret may be written: as it is, as in JSON, and as Python shows it."""
    return {secret.encode(), json.dumps(secret)[1:-1].encode(), repr(secret)[1:-1].encode()}
