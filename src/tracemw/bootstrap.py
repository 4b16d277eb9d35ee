"""`init` and `shutdown`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tracemw._setup.installation import current_installation
from tracemw._setup.tracing import Tracing
from tracemw.config import DELIVERY_TIMEOUT, Arguments, Config
from tracemw.redaction import Redaction
from tracemw.sampling import Sampling


def init(
    service: str | None = None,
    *,
    version: str | None = None,
    environment: str | None = None,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    tenant: str | None = None,
    certificate: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    compression: str | None = None,
    timeout: float | None = None,
    proxy: str | None = None,
    queue_bytes: int | None = None,
    batch_bytes: int | None = None,
    sampling: float | Sampling | None = None,
    metrics: bool | None = None,
    baggage: Iterable[str] = (),
    allow: Iterable[str] = (),
    redaction: Redaction | None = None,
    stacktrace_limit: int | None = None,
    fold_after: int | None = None,
    blame: bool | None = None,
    instrument: Iterable[str] = (),
    swallowed: bool | None = None,
    warn: bool | None = None,
) -> Tracing:
    """Set up tracing for this process: provider, resource, sampling, export over OTLP, and a clean shutdown.

    Every argument wins over its environment variable. `OTEL_EXPORTER_OTLP_...` holds for spans and metrics;
    `OTEL_EXPORTER_OTLP_TRACES_...` wins for spans, and `OTEL_EXPORTER_OTLP_METRICS_...` for metrics. When the process
    ends, by exit or SIGTERM, queued spans are delivered within 5 seconds.

    Args:
        service: `service.name`, else `OTEL_SERVICE_NAME`.
        version: `service.version`, else `OTEL_RESOURCE_ATTRIBUTES`, else `SERVICE_VERSION`.
        environment: `deployment.environment.name`, else `OTEL_RESOURCE_ATTRIBUTES`, else `ENVIRONMENT`.
        endpoint: The base URL of the backend, with no query, such as `http://tempo:4318`, else
            `OTEL_EXPORTER_OTLP_ENDPOINT`, else `TEMPO_ENDPOINT`, else `http://localhost:4318`, or
            `http://localhost:4317` for gRPC. With gRPC, an endpoint without a scheme means TLS, unless
            `OTEL_EXPORTER_OTLP_INSECURE=true`.
        protocol: `http/protobuf` or `grpc`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, else `http/protobuf`.
        headers: Headers of each export, of spans and of metrics, added to `OTEL_EXPORTER_OTLP_HEADERS`.
        tenant: The header `X-Scope-OrgID` of each export, else `TRACEMW_TENANT`.
        certificate: The path of the CA certificates (PEM) to trust, else `OTEL_EXPORTER_OTLP_CERTIFICATE`, else the
            system's. gRPC trusts grpc's own in place of the system's.
        client_certificate: The path of the certificate (PEM) to show, else `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`.
        client_key: The path of its key (PEM), unless both are in one file, else `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
        compression: `gzip` or `none`, else `OTEL_EXPORTER_OTLP_COMPRESSION`, else gzip unless the backend is on this
            machine.
        timeout: How many seconds one export may take, with its retries, else `OTEL_EXPORTER_OTLP_TIMEOUT` (in
            milliseconds), else 10.
        proxy: The `http://` URL of a proxy to go through, else `HTTP_PROXY` or `HTTPS_PROXY`, by the endpoint's scheme,
            unless `NO_PROXY` names the backend. The empty string means no proxy.
        queue_bytes: How many bytes of spans may wait for delivery, else `TRACEMW_QUEUE_BYTES`, else 64,000,000. Beyond
            that, the oldest spans are dropped.
        batch_bytes: How many bytes one request may have before compression, else `TRACEMW_BATCH_BYTES`, else 3,000,000.
            A larger span is dropped.
        sampling: The share of new traces to sample, 0 to 1, or a `tracemw.sampling.Sampling`, else
            `OTEL_TRACES_SAMPLER`, else by environment: production 0.1, staging 0.5, anything else 1.
        metrics: Whether to export HTTP metrics to the same backend, with a meter provider of tracemw's own. Doors use
            the global meter provider in any case.
        baggage: The keys of incoming baggage that become attributes of this process's spans, such as `("tenant.id",)`.
            All other baggage is passed on, and is not recorded. These keys are allowed.
        allow: The keys of your own attributes whose values may leave, such as `{"payment.amount", "order.*"}`, together
            with `TRACEMW_ALLOW` (separated by commas) and `[tool.tracemw] allow` in the first `pyproject.toml` from the
            working directory upwards. Upper and lower case differ. Values of other keys leave as `[REDACTED]`, unless
            the key is one of the semantic conventions that is no value of a user. A glob lets no key pass that tells a
            secret, such as `order.password`: name that one in full. `url.query.<name>` lets the values of a name in
            queries pass. Outside of production and staging, numbers and booleans pass, too.
        redaction: A rule of your own for what would be redacted, a `tracemw.redaction.Redaction`.
        stacktrace_limit: How many bytes the stack trace of a recorded exception may take, else
            `TRACEMW_STACKTRACE_LIMIT`, else 2000, since Grafana Tempo shows 2,048 bytes of a value. The first frame,
            the last ones and the exceptions' messages stay. The text says how much is left out.
        fold_after: How many like spans beneath one parent stay as they are, else `TRACEMW_FOLD_AFTER`, else 20. Further
            ones become one span with their number and times (`tracemw.folded.*`), unless they fail. 0 keeps all.
        blame: Whether a request's SERVER span tells the time that belongs to nobody, else `TRACEMW_BLAME`, else True:
            event loops that are blocked, waits for a thread, pauses of the garbage collector, and the queue of the
            server or proxy.
        instrument: The official instrumentations of databases and other libraries to turn on, by the names of their
            entry points, such as `("psycopg", "redis")`. `"auto"` means all that are installed, but for libraries that
            tracemw has a door for.
        swallowed: Whether spans tell the exceptions that the application handles and that end no span
            (`tracemw.swallowed`), else `TRACEMW_SWALLOWED`, else False. Python 3.11 cannot tell: there, a warning says
            so.
        warn: Whether the log says, in one line for each place and minute, when a request runs an N+1, swallows an
            error, waits for a connection, or blocks the event loop, else `TRACEMW_WARN`. By default it does where
            stderr is a terminal, unless the environment is production.

    Raises:
        ValueError: for a value that is not accepted. The error names the argument or variable and what is accepted.
            The error shows the value, unless that may be a secret.
        TypeError: for an unknown argument, or one of the wrong type.
        RuntimeError: when `init` has been called before, with no `shutdown` since; on a free-threaded build of CPython
            without its global lock.

    If somebody else has installed a tracer provider, that provider stays. Then `init` logs a warning, and returns a
    `Tracing` that flushes that provider. A provider that tracemw has installed for `opentelemetry-instrument` takes
    the new settings.
    """
    if redaction is not None and not isinstance(redaction, Redaction):
        raise TypeError(f"redaction takes a tracemw.redaction.Redaction, not {type(redaction).__name__}")
    if not isinstance(sampling, Sampling):
        sampling = Sampling(ratio=sampling)
    arguments = Arguments(
        service=service,
        version=version,
        environment=environment,
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        tenant=tenant,
        certificate=certificate,
        client_certificate=client_certificate,
        client_key=client_key,
        compression=compression,
        timeout=timeout,
        proxy=proxy,
        queue_bytes=queue_bytes,
        batch_bytes=batch_bytes,
        ratio=sampling.ratio,
        metrics=metrics,
        baggage=baggage,
        allow=allow,
        stacktrace_limit=stacktrace_limit,
        fold_after=fold_after,
        blame=blame,
        instrument=instrument,
        swallowed=swallowed,
        warn=warn,
    )
    return current_installation().install(Config.resolve(arguments), sampling, redaction)


def shutdown(timeout: float = DELIVERY_TIMEOUT) -> bool:
    """Deliver the queued spans within `timeout` seconds, and stop recording.

    Returns:
        Whether the backend has accepted all spans; True without an `init` before.
    """
    return current_installation().shutdown(timeout)
