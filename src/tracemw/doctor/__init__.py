"""What ``tracemw doctor`` looks at: whether spans arrive, and what to do when they do not.

The way through the room:

* ``diagnosis``: what a doctor says: settings, checks, scores
* ``subject``, ``effective_settings``: the settings that are examined, and where each comes from
* ``examining``: all checks, one after another, within the time there is
* ``diagnosis_of``: starts a process for an application, and takes its document; ``examine_application`` is that process

What needs no network:

* ``variables``, ``process_models``, ``doubled_instrumentation``: what surrounds the process

The way to the backend, each step after the one that it needs:

* ``reaching``: URL, proxy, name, port
* ``tls_handshake``: certificates
* ``canary``: a span of our own, by the exporter of all spans
* ``outcomes``: what the backend did with it; ``other_protocol`` says what else listens there
* ``clock_skew``: the backend's clock against ours
* ``query_server``: whether the span is there

What recent traces tell:

* ``inbound_trust``: whether callers from outside may have everything recorded
* ``redacted_keys``: keys whose values do not leave
* ``instrumentation_score``, ``score_rules``, ``telemetry``: the Instrumentation Score

``diagnosis_as_text`` and ``diagnosis_as_json`` say it all to people and to programs.
"""
