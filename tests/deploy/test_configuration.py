"""The configuration of the collector and all behind it: what has to agree, and what must not be lost."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from deploy.queries import promql
from deploy.stack import OPERATORS, compose, data_sources, loaded, objects, teams, texts

COLLECTOR = loaded("collector/collector.yaml")
ALLOWED_KEYS = loaded("collector/allowed-keys.yaml")
TEMPO = loaded("tempo/tempo.yaml")


def hours(text: str) -> timedelta:
    """A duration as Go writes it, in hours."""
    return timedelta(hours=int(text.removesuffix("h")))


def defined(kind: str) -> set[str]:
    return {*COLLECTOR.get(kind, {}), *ALLOWED_KEYS.get(kind, {})}


def test_pipelines_of_the_collector_use_what_is_defined_and_all_of_it() -> None:
    pipelines = COLLECTOR["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics", "logs"}
    for kind in ("receivers", "processors", "exporters"):
        assert {name for pipeline in pipelines.values() for name in pipeline[kind]} == defined(kind)
    assert set(COLLECTOR["service"]["extensions"]) == defined("extensions")
    for exporter in COLLECTOR["exporters"].values():
        assert exporter.get("auth", {}).get("authenticator", "health_check") in defined("extensions")


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_memory_is_limited_first_and_nothing_leaves_before_the_second_net(signal: str) -> None:
    processors = COLLECTOR["service"]["pipelines"][signal]["processors"]
    assert processors[:2] == ["memory_limiter", "resource/team"]
    expected = {
        "traces": ["transform/allowed_keys", "redaction/secrets"],
        "metrics": ["attributes/team"],
        "logs": ["redaction/secrets"],
    }
    assert processors[2:] == expected[signal]


def test_who_sends_has_to_say_who_it_is_over_tls() -> None:
    for protocol in COLLECTOR["receivers"]["otlp"]["protocols"].values():
        assert protocol["auth"] == {"authenticator": "basicauth/teams"}
        assert protocol["tls"]["cert_file"]


def test_the_tenant_is_who_has_authenticated_whatever_a_client_says() -> None:
    (header,) = COLLECTOR["extensions"]["headers_setter/team"]["headers"]
    assert header == {"action": "upsert", "key": "X-Scope-OrgID", "from_attribute": "username"}
    for processor, key in (("resource/team", "attributes"), ("attributes/team", "actions")):
        (action,) = COLLECTOR["processors"][processor][key]
        assert action == {"action": "upsert", "key": "team", "from_context": "auth.username"}
    for name in ("otlp_http/tempo", "otlp_http/loki"):
        assert COLLECTOR["exporters"][name]["auth"] == {"authenticator": "headers_setter/team"}


def test_nothing_in_the_collector_forgets_who_has_authenticated() -> None:
    assert not any(name.partition("/")[0] == "batch" for name in defined("processors"))
    for exporter in COLLECTOR["exporters"].values():
        assert not {"batch", "storage"} & set(exporter["sending_queue"])


def test_the_collector_names_its_metrics_as_alerts_and_dashboards_do() -> None:
    (reader,) = COLLECTOR["service"]["telemetry"]["metrics"]["readers"]
    named = reader["pull"]["exporter"]["prometheus"]
    # Each Collector has had other defaults (open-telemetry/opentelemetry-collector#15027), so both are set.
    assert (named["without_type_suffix"], named["without_units"]) == (False, True)
    asked = {name for query in promql() for name in re.findall(r"\botelcol_\w+", query.text)}
    gauges = {"otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"}
    assert asked & gauges
    assert asked - gauges
    assert all(name.endswith("_total") for name in asked - gauges), "a counter has its suffix"
    assert not any(re.search(r"_(bytes|seconds|ratio)(_total)?$", name) for name in asked), "a name has no unit"


def test_tempo_keeps_tenants_apart_and_speaks_tls_and_takes_spans_from_the_collector_alone() -> None:
    assert TEMPO["multitenancy_enabled"] is True
    assert set(TEMPO["server"]["http_tls_config"]) == {"cert_file", "key_file"}
    assert set(TEMPO["distributor"]["receivers"]) == {"otlp"}
    for protocol in TEMPO["distributor"]["receivers"]["otlp"]["protocols"].values():
        assert protocol["tls"]["client_ca_file"]
    assert COLLECTOR["exporters"]["otlp_http/tempo"]["tls"]["key_file"]


def test_traces_and_logs_stay_for_days_and_no_team_has_more() -> None:
    kept = {
        hours(TEMPO["backend_worker"]["compaction"]["block_retention"]),
        hours(TEMPO["backend_scheduler"]["provider"]["compaction"]["compaction"]["block_retention"]),
        hours(loaded("loki/loki.yaml")["limits_config"]["retention_period"]),
    }
    (retention,) = kept
    assert timedelta(days=1) <= retention <= timedelta(days=14)
    assert loaded("loki/loki.yaml")["compactor"]["retention_enabled"] is True
    for team, limits in loaded("tempo/overrides.yaml")["overrides"].items():
        assert team in teams()
        assert hours(limits["compaction"]["block_retention"]) <= retention


def test_everything_that_tempo_and_loki_write_is_on_their_volumes() -> None:
    for name, mounted in (("tempo", "/var/tempo"), ("loki", "/loki")):
        told = [text for text in texts(loaded(f"{name}/{name}.yaml")) if text.startswith("/")]
        assert all(path.startswith((mounted, "/etc/")) for path in told), told
        assert any(volume.endswith(f":{mounted}") for volume in compose()[name]["volumes"])
    assert TEMPO["overrides"]["per_tenant_override_config"] == "/etc/tempo/overrides.yaml"


def test_tempo_takes_the_largest_request_that_tracemw_sends() -> None:
    from tracemw.config import Config

    limits = TEMPO["overrides"]["defaults"]["ingestion"]
    assert limits["burst_size_bytes"] > Config.batch_bytes
    receiver = COLLECTOR["receivers"]["otlp"]["protocols"]
    assert receiver["http"]["max_request_body_size"] > Config.batch_bytes
    assert receiver["grpc"]["max_recv_msg_size_mib"] * 1024**2 > Config.batch_bytes


@pytest.mark.parametrize("team", sorted(teams()))
def test_the_data_sources_of_a_team_show_that_team_alone_and_lead_to_one_another(team: str) -> None:
    sources = {source["type"]: source for source in data_sources()[team]}
    assert set(sources) == {"tempo", "prometheus", "loki"}
    for source in sources.values():
        assert source["jsonData"]["httpHeaderName1"] == "X-Scope-OrgID"
        assert source["secureJsonData"]["httpHeaderValue1"] == team
        assert source["editable"] is False
        if source["url"].startswith("https"):
            assert source["jsonData"]["tlsAuthWithCACert"] is True
            assert source["secureJsonData"]["tlsCACert"] == "$__file{/etc/tls/ca.crt}"
    traces, metrics, logs = sources["tempo"], sources["prometheus"], sources["loki"]
    assert traces["jsonData"]["tracesToLogsV2"]["datasourceUid"] == logs["uid"]
    assert traces["jsonData"]["tracesToMetrics"]["datasourceUid"] == metrics["uid"]
    assert traces["jsonData"]["serviceMap"]["datasourceUid"] == metrics["uid"]
    assert {each["datasourceUid"] for each in metrics["jsonData"]["exemplarTraceIdDestinations"]} == {traces["uid"]}
    assert [each["datasourceUid"] for each in logs["jsonData"]["derivedFields"]] == [traces["uid"]]


def test_the_files_of_teams_differ_in_the_name_alone() -> None:
    from deploy.stack import DEPLOY

    folder = DEPLOY / "grafana/datasources"
    assert len({(folder / f"{team}.yaml").read_text().replace(team, "TEAM") for team in teams()}) == 1


def test_names_of_teams_are_names_of_tenants() -> None:
    for team in teams() | {OPERATORS}:
        assert re.fullmatch(r"[a-z0-9-]{1,150}", team)


def test_each_data_source_is_known_by_one_name() -> None:
    uids = [source["uid"] for sources in data_sources().values() for source in sources]
    assert len(set(uids)) == len(uids)
    assert [source["uid"] for sources in data_sources().values() for source in sources if source.get("isDefault")] == [
        "metrics-operators"
    ]


def test_the_metrics_of_a_team_are_told_by_the_proxy_and_no_other_way() -> None:
    for team in teams():
        (metrics,) = (source for source in data_sources()[team] if source["type"] == "prometheus")
        assert metrics["url"] == "http://metrics:8080"
    arguments = compose()["metrics"]["command"]
    assert {"-label=team", "-header-name=X-Scope-OrgID", "-upstream=http://prometheus:9090"} <= set(arguments)


def addresses(name: str) -> set[tuple[str, int]]:
    """The services and ports that the configuration of a service names."""
    document: Any = {
        "collector": COLLECTOR["exporters"],
        "tempo": TEMPO,
        "prometheus": loaded("prometheus/prometheus.yaml")["scrape_configs"],
        "grafana": data_sources(),
        "metrics": compose()["metrics"]["command"],
    }[name]
    found = re.findall(r"(?:https?://|')([a-z]+):(\d{4,5})\b", str(document).replace("upstream=", "'"))
    if name == "prometheus":  # each process of the collector, by the name that leads to all of them
        (looked_up,) = (each for job in document if job["job_name"] == "collector" for each in job["dns_sd_configs"])
        assert looked_up["names"] == compose()["collector"]["networks"]["ingest"]["aliases"] == ["collectors"]
        found.append(("collector", str(looked_up["port"])))
    return {(host, int(port)) for host, port in found if host != "localhost"}


@pytest.mark.parametrize("name", ["collector", "tempo", "prometheus", "grafana", "metrics"])
def test_a_service_can_reach_what_its_configuration_names(name: str) -> None:
    services = compose()
    policies = {each["metadata"]["name"]: each["spec"] for _, each in objects() if each["kind"] == "NetworkPolicy"}
    asked = addresses(name)
    assert asked
    for host, port in asked:
        who = "blackbox" if name == "prometheus" and (host, port) in probed() else name
        assert set(services[who]["networks"]) & set(services[host]["networks"]), (who, host)
        assert lets(policies[who]["egress"], "to", host, port), (who, host, port)
        assert lets(policies[host]["ingress"], "from", who, port), (who, host, port)


def probed() -> set[tuple[str, int]]:
    """What only the blackbox exporter connects to."""
    jobs = {job["job_name"]: job for job in loaded("prometheus/prometheus.yaml")["scrape_configs"]}

    def targets(job: str) -> set[str]:
        return {target for each in jobs[job].get("static_configs", ()) for target in each["targets"]}

    scraped = set().union(*(targets(job) for job in jobs if job != "certificates"))
    pairs = [target.split(":") for target in targets("certificates") - scraped]
    return {(host, int(port)) for host, port in pairs}


def lets(rules: list[dict[str, Any]], direction: str, who: str, port: int) -> bool:
    """Tell whether a network policy lets somebody through."""
    for rule in rules:
        peers = rule.get(direction)
        named = peers is None or any(
            peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name") == who for peer in peers
        )
        if named and port in {each["port"] for each in rule["ports"]}:
            return True
    return False
