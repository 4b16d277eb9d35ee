"""The manifests are valid, and name only what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.stack import DEPLOY, KUBERNETES, objects, texts
from settings_reference import variables_read

OBJECTS = list(objects())
SCHEMAS = ("1.33.0", "1.37.0")
EXAMPLE = "service.yaml"
README = (DEPLOY / "README.md").read_text()


def title(found: tuple[str, dict[str, Any]]) -> str:
    return f"{found[0]}: {found[1]['kind']} {found[1]['metadata']['name']}"


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The file and the pod of each workload."""
    return [(file, each["spec"]["template"]["spec"]) for file, each in OBJECTS if "template" in each.get("spec", {})]


def generated() -> dict[str, set[str]]:
    """The ConfigMaps that kustomize makes, and their files."""
    made: dict[str, set[str]] = {}
    for path in DEPLOY.glob("*/kustomization.yaml"):
        for each in yaml.safe_load(path.read_text()).get("configMapGenerator", ()):
            assert all((path.parent / file).is_file() for file in each["files"])
            made[each["name"]] = {file.rpartition("/")[2] for file in each["files"]}
    return made


@pytest.mark.parametrize("version", SCHEMAS)
@pytest.mark.parametrize("found", OBJECTS, ids=title)
def test_an_object_has_the_form_that_kubernetes_takes(found: tuple[str, dict[str, Any]], version: str) -> None:
    kubernetes_validate.validate(found[1], version, strict=True)


def test_every_manifest_is_applied_but_for_the_example() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert {each for each in listed if not each.startswith("..")} == {file for file, _ in OBJECTS} - {EXAMPLE}
    folders = {path.parent.name for path in DEPLOY.glob("*/kustomization.yaml")} - {"kubernetes"}
    assert {each.removeprefix("../") for each in listed if each.startswith("..")} == folders


def test_kustomize_hands_out_every_file_of_grafana() -> None:
    made = generated()
    for name, pattern in (("grafana-dashboards", "dashboards/*.json"), ("grafana-datasources", "datasources/*.yaml")):
        assert made[name] == {path.name for path in (DEPLOY / "grafana").glob(pattern)}


def test_what_is_mounted_is_made_or_is_a_secret_that_the_readme_has_made() -> None:
    made = generated()
    for file, pod in pods():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        (workload,) = (each for name, each in OBJECTS if name == file and "template" in each.get("spec", {}))
        claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())}
        assert mounted == set(volumes) | claims
        for volume in volumes.values():
            if "configMap" in volume and not volume["configMap"].get("optional"):
                assert volume["configMap"]["name"] in made
            if "secret" in volume:
                assert f" {volume['secret']['secretName']} " in README, volume


def test_no_secret_is_in_the_manifests() -> None:
    assert not any(each["kind"] == "Secret" for _, each in OBJECTS)
    for _, pod in pods():
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                if "valueFrom" in variable and "secretKeyRef" in variable["valueFrom"]:
                    assert f" {variable['valueFrom']['secretKeyRef']['name']} " in README
    assert not any("Basic%20" in text for _, each in OBJECTS for text in texts(each))


@pytest.mark.parametrize("found", pods(), ids=lambda found: found[0])
def test_a_pod_runs_as_nobody_and_writes_to_its_volumes_alone(found: tuple[str, dict[str, Any]]) -> None:
    pod = found[1]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        ports = {port["name"] for port in container["ports"]}
        for probe in ("readinessProbe", "livenessProbe"):
            way = container[probe].get("httpGet") or container[probe]["tcpSocket"]
            assert way["port"] in ports
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_a_service_leads_to_pods_and_ports_that_there_are() -> None:
    there = {
        each["metadata"]["name"]: {
            port["name"] for container in each["spec"]["template"]["spec"]["containers"] for port in container["ports"]
        }
        for _, each in OBJECTS
        if "template" in each.get("spec", {})
    }
    services = [each for _, each in OBJECTS if each["kind"] == "Service"]
    assert {each["metadata"]["name"] for each in services} == {*there, "collectors"}
    for each in services:
        (name,) = each["spec"]["selector"].values()
        assert each["metadata"]["name"].removesuffix("s") in (name, name.removesuffix("s"))
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= there[name]


def test_every_pod_has_a_network_policy_and_what_has_none_is_cut_off() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for _, each in OBJECTS if each["kind"] == "NetworkPolicy"}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    workloads = {
        each["metadata"]["name"] for file, each in OBJECTS if "template" in each.get("spec", {}) and file != EXAMPLE
    }
    assert set(policies) - {"nobody", "names"} == workloads


def test_names_are_found_through_the_dns_of_the_cluster_of_the_node_and_of_openshift() -> None:
    (names,) = (each for _, each in OBJECTS if each["metadata"]["name"] == "names")
    found = [(str(rule["to"]), {port["port"] for port in rule["ports"]}) for rule in names["spec"]["egress"]]
    for peer, port in (("kube-system", 53), ("169.254.20.10/32", 53), ("openshift-dns", 5353)):
        assert any(peer in where and ports == {port} for where, ports in found)


@pytest.mark.parametrize("path", sorted((KUBERNETES / "egress").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_added_way_out_is_one_policy_for_one_pod_and_the_readme_names_it(path: Path) -> None:
    policy = yaml.safe_load(path.read_text())
    kubernetes_validate.validate(policy, SCHEMAS[-1], strict=True)
    assert policy["kind"] == "NetworkPolicy"
    assert policy["metadata"]["name"] == path.stem
    assert policy["spec"]["policyTypes"] == ["Egress"]
    (pod,) = policy["spec"]["podSelector"]["matchLabels"].values()
    assert path.stem.startswith(f"{pod}-to-")
    assert pod in {each["metadata"]["name"] for _, each in OBJECTS}
    assert f"kubectl -n observability apply -f deploy/kubernetes/egress/{path.name}" in path.read_text()
    assert f"egress/{path.name}" in README


def test_the_example_sets_variables_that_there_are() -> None:
    (container,) = next(pod for file, pod in pods() if file == EXAMPLE)["containers"]
    names = {variable["name"] for variable in container["env"]} - {"K8S_POD", "K8S_NODE"}
    assert names - variables_read() == set()
    (endpoint,) = (v["value"] for v in container["env"] if v["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT")
    assert endpoint == "https://collector.observability.svc:4318"
