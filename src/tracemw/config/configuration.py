"""The whole configuration of a process: one frozen value, made once from arguments and environment."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracemw.config.allow import allowed_keys
from tracemw.config.arguments import Arguments, given_of
from tracemw.config.backend import Backend
from tracemw.config.environment import get, read
from tracemw.config.parsers import (
    boolean,
    milliseconds,
    names,
    one_of,
    pairs,
    positive_int,
    positive_milliseconds,
    size_in_bytes,
    to_ratio,
    whole_number,
)
from tracemw.config.pseudonym_keys import PseudonymKey, pseudonym_keys

DELIVERY_TIMEOUT: Final = 5.0
"""Seconds in which queued spans must be delivered: by a flush, at the end of a server, at the end of the process."""

SAMPLERS: Final = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
TEMPORALITIES: Final = ("cumulative", "delta", "lowmemory")
HISTOGRAMS: Final = ("explicit_bucket_histogram", "base2_exponential_bucket_histogram")
_IGNORED_FILES: Final = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
"""`OTEL_CONFIG_FILE` and `OTEL_EXPERIMENTAL_CONFIG_FILE` name a configuration file of OpenTelemetry. tracemw reads no
such file, and says so in the log."""
_PRODUCTION: Final = ("production", "prod")
_RATIO_BY_ENVIRONMENT: Final = {**dict.fromkeys(_PRODUCTION, 0.1), "staging": 0.5}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a process."""

    service: str | None
    """`service.name`; None leaves OpenTelemetry's `unknown_service`."""

    version: str | None
    """`service.version`."""

    environment: str | None
    """`deployment.environment.name`; it also chooses the default sampling ratio."""

    traces: Backend = field(default_factory=Backend)
    """Where spans go, and how."""

    metrics: Backend | None = None
    """Where HTTP metrics go, and how; None when they are not exported, as with `OTEL_METRICS_EXPORTER=none`."""

    metrics_temporality: str = "cumulative"
    """One of `TEMPORALITIES`: whether counters and histograms report totals, or changes since the last export
    (`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`)."""

    metrics_histograms: str = "explicit_bucket_histogram"
    """One of `HISTOGRAMS`: the aggregation of a histogram whose instrument names none
    (`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`)."""

    metrics_interval: float = 60.0
    """Seconds between two exports of metrics (`OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds, 60000 by default)."""

    metrics_timeout: float = 30.0
    """Seconds that an export of metrics may take, the collection included (`OTEL_METRIC_EXPORT_TIMEOUT`, in
    milliseconds, 30000 by default)."""

    exporter: str = "otlp"
    """`otlp`, or `none` to record without exporting (`OTEL_TRACES_EXPORTER`)."""

    sampler: str = "parentbased_traceidratio"
    """One of `SAMPLERS` (`OTEL_TRACES_SAMPLER`). Those without `parentbased_` decide anew about every request that
    comes in, whatever the caller has decided. The spans within the request follow that decision."""

    ratio: float = 1.0
    """The share of new traces to sample, 0 to 1, for the ratio samplers (`OTEL_TRACES_SAMPLER_ARG`, which counts
    without `OTEL_TRACES_SAMPLER`, too)."""

    queue_size: int = 2048
    """How many spans may wait for delivery (`OTEL_BSP_MAX_QUEUE_SIZE`, 2048 by default). Beyond that, the oldest are
    dropped."""

    queue_bytes: int = 64_000_000
    """How many bytes of spans may wait for delivery. Beyond that, the oldest are dropped."""

    batch_size: int = 512
    """How many spans one export may have (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, 512 by default)."""

    batch_bytes: int = 3_000_000
    """How many bytes one request may have before compression. Most backends take 4 MiB."""

    delay: float = 1.0
    """Seconds that a span waits for others to be sent along with it (`OTEL_BSP_SCHEDULE_DELAY`, in milliseconds, 1000
    by default)."""

    baggage: tuple[str, ...] = ()
    """The keys of baggage that become span attributes."""

    allow: frozenset[str] = frozenset()
    """The keys, and globs of keys, of attributes whose values may leave, beside those that are allowed unasked
    (`TRACEMW_ALLOW`, separated by commas, and `[tool.tracemw] allow` in the `pyproject.toml` of the project).
    Keys of baggage that becomes attributes are among them."""

    pseudonym_keys: tuple[PseudonymKey, ...] = ()
    """The keys of the pseudonyms that stand for users (`TRACEMW_PSEUDONYM_KEY`, as `ID:KEY`, or `ID:KEY,ID:KEY` while
    keys change). `tracemw.user` uses the first one, and `tracemw forget` searches for all. A key has at least 32
    characters, and counts as it is written. Without one, `tracemw.user` records nothing."""

    blame: bool = True
    """Whether the time that belongs to nobody is told (`TRACEMW_BLAME`)."""

    instrument: tuple[str, ...] = ()
    """The official instrumentations to turn on; `auto` for all that are installed."""

    not_by_auto: tuple[str, ...] = ()
    """The instrumentations that `auto` leaves out (`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`); `*` is all."""

    stacktrace_limit: int = 2000
    """How many bytes the stack trace of a recorded exception may take (`TRACEMW_STACKTRACE_LIMIT`)."""

    fold_after: int = 20
    """Like spans beneath one parent that stay as they are (`TRACEMW_FOLD_AFTER`). Further ones become one.
    0: all stay."""

    swallowed: bool = False
    """Whether spans tell the exceptions that the application swallows (`TRACEMW_SWALLOWED`)."""

    warn: bool = False
    """Whether the log says what goes wrong in a request (`TRACEMW_WARN`). By default it does where stderr is a
    terminal, unless the environment is production."""

    value_limit: int = 32_768
    """How many bytes of an attribute's value are exported, 32 KiB by default. If `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` or
    `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT` is set, spans cut values to that many characters, and this limit has room
    for all of those."""

    control_file: Path | None = None
    """The file that spikes are read from (`TRACEMW_CONTROL_FILE`). The file need not exist yet."""

    disabled: bool = False
    """Whether nothing is recorded at all (`OTEL_SDK_DISABLED=true`)."""

    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """The names of the arguments that `init` was given. Every other setting is that of a variable, or the default."""

    @classmethod
    def resolve(cls, arguments: Arguments) -> Config:
        """Return the configuration that the arguments and the environment make together.

        Raises:
            ValueError: for a value that is not accepted. The error names the argument or variable, the value unless it
                may be a secret, and what is accepted.
            TypeError: for headers that are not strings.
        """
        resource = read("OTEL_RESOURCE_ATTRIBUTES", pairs) or {}
        environment = (
            arguments.environment
            or resource.get("deployment.environment.name")
            or resource.get("deployment.environment")  # the attribute's former name
            or get("ENVIRONMENT")
        )
        with_metrics = read("OTEL_METRICS_EXPORTER", one_of("otlp", "none")) != "none" and arguments.metrics
        if arguments.ratio is not None:
            sampler, ratio = "parentbased_traceidratio", to_ratio("sampling", arguments.ratio)
        else:
            sampler, ratio = _sampler(environment)
        queue_bytes = _bytes("queue_bytes", arguments.queue_bytes) or cls.queue_bytes
        queue_size = read("OTEL_BSP_MAX_QUEUE_SIZE", positive_int) or cls.queue_size
        delay = read("OTEL_BSP_SCHEDULE_DELAY", milliseconds)
        fold_after = arguments.fold_after
        if fold_after is None:
            fold_after = read("TRACEMW_FOLD_AFTER", whole_number)
        blame = arguments.blame
        if blame is None:
            blame = read("TRACEMW_BLAME", boolean)
        baggage = tuple(arguments.baggage)
        swallowed = arguments.swallowed
        if swallowed is None:
            swallowed = read("TRACEMW_SWALLOWED", boolean) or False
        return cls(
            service=arguments.service or get("OTEL_SERVICE_NAME") or resource.get("service.name"),
            version=arguments.version or resource.get("service.version") or get("SERVICE_VERSION"),
            environment=environment,
            traces=Backend.resolve("traces", arguments),
            metrics=Backend.resolve("metrics", arguments) if with_metrics else None,
            metrics_temporality=read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", one_of(*TEMPORALITIES))
            or cls.metrics_temporality,
            metrics_histograms=read("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", one_of(*HISTOGRAMS))
            or cls.metrics_histograms,
            metrics_interval=read("OTEL_METRIC_EXPORT_INTERVAL", positive_milliseconds) or cls.metrics_interval,
            metrics_timeout=read("OTEL_METRIC_EXPORT_TIMEOUT", positive_milliseconds) or cls.metrics_timeout,
            exporter=read("OTEL_TRACES_EXPORTER", one_of("otlp", "none")) or cls.exporter,
            sampler=sampler,
            ratio=ratio,
            queue_size=queue_size,
            queue_bytes=queue_bytes,
            batch_size=min(read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", positive_int) or cls.batch_size, queue_size),
            batch_bytes=min(_bytes("batch_bytes", arguments.batch_bytes) or cls.batch_bytes, queue_bytes),
            delay=cls.delay if delay is None else delay,
            baggage=baggage,
            allow=allowed_keys(arguments.allow) | frozenset(baggage),
            pseudonym_keys=pseudonym_keys(),
            blame=cls.blame if blame is None else blame,
            instrument=("auto",) if arguments.instrument == "auto" else tuple(arguments.instrument),
            not_by_auto=read("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", names) or (),
            stacktrace_limit=arguments.stacktrace_limit
            or read("TRACEMW_STACKTRACE_LIMIT", positive_int)
            or cls.stacktrace_limit,
            fold_after=cls.fold_after if fold_after is None else fold_after,
            swallowed=swallowed,
            warn=_warns(arguments.warn, environment),
            value_limit=_value_limit(cls.value_limit),
            control_file=control_file(),
            disabled=read("OTEL_SDK_DISABLED", boolean) or False,
            given=given_of(arguments),
        )


def is_development(environment: str | None) -> bool:
    """Tell whether an environment is neither production nor staging."""
    return (environment or "").lower() not in _RATIO_BY_ENVIRONMENT


def ignored_files() -> list[str]:
    """Return the variables that name a configuration file of OpenTelemetry. tracemw reads no such file."""
    return [name for name in _IGNORED_FILES if get(name)]


def control_file() -> Path | None:
    """Return the absolute path of the control file that `TRACEMW_CONTROL_FILE` names; None when it is unset."""
    name = get("TRACEMW_CONTROL_FILE")
    return Path(name).absolute() if name else None


def _bytes(name: str, argument: object) -> int | None:
    if argument is not None:
        return size_in_bytes(name, argument)
    return read(f"TRACEMW_{name.upper()}", size_in_bytes)


def _warns(argument: bool | None, environment: str | None) -> bool:
    given = read("TRACEMW_WARN", boolean) if argument is None else argument
    if given is not None:
        return given
    try:
        return (environment or "").lower() not in _PRODUCTION and sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False


def _value_limit(default: int) -> int:
    """Return the bytes that a value may take. A character takes four at most in UTF-8."""
    names = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    characters = [int(value) for name in names if (value := get(name)) is not None and value.isdecimal()]
    return max([default, *(4 * limit for limit in characters)])


def _sampler(environment: str | None) -> tuple[str, float]:
    name = read("OTEL_TRACES_SAMPLER", one_of(*SAMPLERS))
    argument = get("OTEL_TRACES_SAMPLER_ARG")
    if name is None and argument is not None:
        return "parentbased_traceidratio", to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)
    if name is None:
        return "parentbased_traceidratio", _RATIO_BY_ENVIRONMENT.get((environment or "").lower(), 1.0)
    if argument is None or not name.endswith("traceidratio"):
        return name, 1.0
    return name, to_ratio("OTEL_TRACES_SAMPLER_ARG", argument)
