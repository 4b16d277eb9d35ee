"""What docker compose is told: which files and volumes there are, and who can be reached."""

from __future__ import annotations

import re

import pytest

from deploy.stack import COMPOSE, DEPLOY, KUBERNETES, ROOT, compose, loaded, objects, texts

SERVICES = compose()
MADE = {
    "secrets/collector",
    "secrets/tempo",
    "secrets/loki",
    "secrets/grafana",
    "secrets/trust",
    "secrets/collector-teams",
    "secrets/grafana-passwords",
    "secrets/alertmanager-receivers",
}
"""Folders that make-secrets.sh makes: see test_secrets.py."""
IN_COMPOSE_ALONE = {"volumes", "disks"}
"""Kubernetes gives volumes to their users, and its kubelet knows how full they are."""
WITHOUT_A_SHELL = {"collector", "tempo", "loki", "metrics"}
"""Images that have no program to ask with."""


def mounts() -> list[tuple[str, str, str]]:
    """Each mount: the service, what is mounted, and where."""
    split = [(name, mount.split(":")) for name, service in SERVICES.items() for mount in service.get("volumes", ())]
    return [(name, parts[0], parts[1]) for name, parts in split]


def test_only_the_collector_and_grafana_can_be_reached_from_outside() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"collector", "grafana"}
    ports = [port.split(":")[-2] for each in published.values() for port in each]
    assert sorted(ports) == ["3000", "4317", "4318"]
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])


def test_no_way_leads_out_from_where_the_data_is() -> None:
    networks = loaded("compose/compose.yaml")["networks"]
    leading_out = {name for name, network in networks.items() if not (network or {}).get("internal")}
    assert leading_out == {"edge"}
    on_it = {name for name, service in SERVICES.items() if leading_out & set(service.get("networks", ()))}
    assert on_it == {"collector", "grafana", "alertmanager"}


def test_object_storage_is_a_way_out_for_tempo_alone() -> None:
    added = loaded("compose/object-storage.yaml")
    (network,) = added["networks"]
    assert network not in loaded("compose/compose.yaml")["networks"]
    assert {name: set(each["networks"]) for name, each in added["services"].items()} == {
        "tempo": {*SERVICES["tempo"]["networks"], network}
    }


def test_a_service_is_asked_for_its_health_where_its_image_can_ask() -> None:
    asked = {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert asked == set(SERVICES) - WITHOUT_A_SHELL - {"volumes"}
    for name in asked:
        health = SERVICES[name]["healthcheck"]
        assert health["test"][:1] == ["CMD"]
        assert {"interval", "timeout", "retries", "start_period"} <= set(health)


def test_every_file_that_is_mounted_is_there_and_only_read() -> None:
    for name, source, target in mounts():
        if not source.startswith("."):
            continue
        assert f"{source}:{target}:ro" in SERVICES[name]["volumes"]
        inside = source.removeprefix("./")
        assert inside in MADE or (COMPOSE / source).exists(), source


def test_every_volume_and_network_is_declared_and_used() -> None:
    document = loaded("compose/compose.yaml")
    volumes = {source for _, source, _ in mounts() if not source.startswith(".")}
    assert volumes == set(document["volumes"])
    assert {network for each in SERVICES.values() for network in each.get("networks", ())} == set(document["networks"])


def test_the_volumes_are_given_to_the_users_who_write_to_them() -> None:
    (command,) = (text for text in texts(SERVICES["volumes"]["command"]) if "chown" in text)
    given = {
        folder: owner for owner, folders in re.findall(r"chown (\S+) ([/\w ]+)", command) for folder in folders.split()
    }
    for name, source, target in mounts():
        only_read = f"{source}:{target}:ro" in SERVICES[name]["volumes"]
        if not source.startswith(".") and name != "volumes" and not only_read:
            assert given[f"/{source}"] == SERVICES[name]["user"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"volumes"}))
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    assert "mem_limit" in service
    assert "privileged" not in service


def test_compose_and_kubernetes_run_the_same_images_and_each_is_pinned() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if name not in IN_COMPOSE_ALONE}
    in_kubernetes = {
        container["name"]: container["image"]
        for file, each in objects()
        if each["kind"] in ("Deployment", "StatefulSet") and file != "service.yaml"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert in_kubernetes == images
    for image in (service["image"] for service in SERVICES.values()):
        assert re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_the_tempo_of_the_stack_is_the_one_that_tracemw_is_tested_against() -> None:
    tested = (ROOT / "tests/integration/tempo/compose.yaml").read_text()
    assert f"${{TEMPO_IMAGE:-{SERVICES['tempo']['image']}}}" in tested


def test_compose_and_kubernetes_start_services_alike() -> None:
    for file, each in objects():
        if each["kind"] in ("Deployment", "StatefulSet") and file != "service.yaml":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert container.get("args", []) == SERVICES[container["name"]].get("command", [])
            told = {pair["name"]: pair["value"] for pair in container.get("env", ())}
            assert told == SERVICES[container["name"]].get("environment", {})


def test_nobody_looks_at_grafana_unnamed_and_no_password_is_in_a_file_of_the_repository() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SERVER_PROTOCOL"] == "https"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"].startswith("/run/secrets/")
    assert "/deploy/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    suspicious = re.compile(r"-----BEGIN|(?i:password|secret|token)\s*[:=]\s*[\"']?[A-Za-z0-9+/]{12,}")
    for path in [*DEPLOY.rglob("*.yaml"), *KUBERNETES.rglob("*.yaml"), *DEPLOY.rglob("*.md")]:
        if "secrets" not in path.parts and path.name != "collector.yaml":
            assert not suspicious.search(path.read_text()), path


def listening() -> dict[str, set[int]]:
    """The ports on which each service listens, as Kubernetes is told."""
    return {
        container["name"]: {port["containerPort"] for port in container["ports"]}
        for file, each in objects()
        if each["kind"] in ("Deployment", "StatefulSet") and file != "service.yaml"
        for container in each["spec"]["template"]["spec"]["containers"]
    }


def test_every_address_in_the_configuration_is_a_service_and_a_port_on_which_it_listens() -> None:
    there = listening()
    assert set(there) == set(SERVICES) - IN_COMPOSE_ALONE
    found: set[tuple[str, int]] = set()
    for path in sorted(DEPLOY.rglob("*.yaml")):
        if "secrets" in path.parts or path.parent.name in ("kubernetes", "compose"):
            continue
        found |= {
            (host, int(port)) for host, port in re.findall(r"(?:https?://|\")([a-z]+):(\d{4,5})\b", path.read_text())
        }
    assert {host for host, _ in found} - set(there) == {"localhost"}
    for host, port in found:
        assert host == "localhost" or port in there[host], (host, port)


def test_nobody_can_reach_the_port_of_tempo_that_erases() -> None:
    erasing = loaded("tempo/tempo.yaml")["server"]["grpc_listen_port"]
    assert erasing == 9095
    assert not any(str(erasing) in port for service in SERVICES.values() for port in service.get("ports", ()))
    assert erasing not in listening()["tempo"]
    for _, each in objects():
        if each["kind"] in ("Service", "NetworkPolicy"):
            assert str(erasing) not in str(each)


def test_prometheus_watches_every_service_of_the_stack_and_every_volume_with_data() -> None:
    jobs = {job["job_name"] for job in loaded("prometheus/prometheus.yaml")["scrape_configs"]}
    assert jobs == {*SERVICES, "certificates"} - {"volumes"}
    watched = {target.removeprefix("/disks/") for name, _, target in mounts() if name == "disks"}
    assert watched == set(loaded("compose/compose.yaml")["volumes"]) - {"alertmanager"}
    assert SERVICES["disks"]["networks"] == ["query"]


def test_alerts_go_to_an_alertmanager_whose_receivers_are_secrets() -> None:
    (where,) = loaded("prometheus/prometheus.yaml")["alerting"]["alertmanagers"]
    assert where["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    told = loaded("alertmanager/alertmanager.yaml")
    (pages,) = told["route"]["routes"]
    assert (pages["matchers"], pages["receiver"], told["route"]["receiver"]) == (
        ['severity = "page"'],
        "pages",
        "tickets",
    )
    for receiver in told["receivers"]:
        (webhook,) = receiver["webhook_configs"]
        assert webhook == {"url_file": f"/run/secrets/alertmanager/{receiver['name']}-url"}
