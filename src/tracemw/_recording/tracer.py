"""The tracer: the sampling decision, ids, and the start and end of its spans."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import copy_context
from random import Random, getrandbits
from time import monotonic_ns, time_ns
from typing import Any, Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace.propagation import _SPAN_KEY

from tracemw._otel.attributes import LazyAttributes
from tracemw._otel.context import current_context, request_span
from tracemw._otel.guard import processor_fault
from tracemw._otel.handled import switch
from tracemw._otel.recorder import is_ours
from tracemw._process.forks import begin_anew_with, here, renew
from tracemw._recording.books import DROPPED
from tracemw._recording.bounds import LOW_BITS, Bounds
from tracemw._recording.current_span import CurrentSpan
from tracemw._recording.flight_recorder import FlightRecorder
from tracemw._recording.folds import Fold, fold, fold_for, hand_on_folds
from tracemw._recording.held_span import HeldSpan
from tracemw._recording.limits import Limits, OwnLimits
from tracemw._recording.processors import Processors
from tracemw._recording.showing import hand_to
from tracemw._recording.span import UNSET, Span, nanoseconds
from tracemw._recording.swallowed_events import tell_swallowed
from tracemw.sampling.threshold import RANDOMNESS

# To get a member of an enumeration through its class costs a look-up each time.
_DROP: Final = Decision.DROP
_SAMPLE: Final = Decision.RECORD_AND_SAMPLE

_SAMPLED: Final = 1
_RANDOM: Final = 2
_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))
_IS_VALID: Final = 5
_REMOTE: Final = 2
"""The case up to which the span is a local root; see `start_span`."""
_NO_STATE: Final = DEFAULT_TRACE_STATE

KNOWS_THE_SDK: Final = tuple(SpanContext(1, 2, is_remote=False)) == (1, 2, False, _FLAGS[0], _NO_STATE, True)
"""Whether a span context is the tuple that this module makes of it. If not, the SDK's own tracers are used."""


class Tracer(SdkTracer):
    """A tracer whose spans are cheap. The provider makes one by adopting the SDK's tracer, never by construction."""

    is_tracemw = True

    recorder: FlightRecorder | None = None
    """Holds unsampled traces. Without a recorder, unsampled traces are not recorded."""
    redact: Callable[[ReadableSpan], ReadableSpan] | None = None
    """Makes of an ended span the copy that foreign processors see; None if they see the span."""
    limits: Limits
    own_limits: OwnLimits
    fold_after: int
    """Like spans beneath one parent that stay as they are, a copy from `own_limits`; 0 if nothing is folded."""
    plain: frozenset[type]
    most: int
    _sampler_of_bounds: Sampler | None = None
    _bounds: Bounds | None = None
    _is_asked_by_policy = False
    _is_counted: bool

    @classmethod
    def adopt(cls, tracer: SdkTracer, recorder: FlightRecorder | None, own_limits: OwnLimits) -> Tracer:
        """Return a tracer of this class with all that the SDK's tracer has."""
        # A new object. To change the class of the other would spoil its dictionary: CPython would look up each field
        # and method the slow way.
        adopted = _new(cls)
        for name, value in vars(tracer).items():
            setattr(adopted, name, value)
        adopted.recorder = recorder
        cls.use(adopted, own_limits)
        adopted.limits = Limits(adopted._span_limits)
        adopted.plain, adopted.most = adopted.limits.plain, adopted.limits.most
        adopted._is_counted = type(adopted._tracer_metrics) is not NoOpTracerMetrics
        return adopted

    def use(self, own_limits: OwnLimits) -> None:
        """Use other limits of our own from now on."""
        self.own_limits = own_limits
        self.fold_after = own_limits.fold_after

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> ApiSpan:
        """Start a span, as `opentelemetry.trace.Tracer.start_span` says.

        Args:
            name: The span's name.
            context: The context whose current span is the parent; by default, the current context.
            kind: The span's kind.
            attributes: The attributes to start with. Samplers see them.
            links: Related spans in this trace or others.
            start_time: The start in nanoseconds since the epoch; by default, now.
            record_exception: Whether an exception that leaves the span's block is recorded.
            set_status_on_exception: Whether such an exception sets the status to ERROR.

        Raises:
            TypeError: when the context's current span gives something else for its span context.
        """
        # One long function, since a call costs as much as several of these steps. The decision of our own sampler is
        # inlined: test_our_recorder_decides_as_the_sdks_does_by_asking_the_sampler holds it equal to the sampler's.

        # -- The parent.
        if not here[0]:
            renew()
        current = current_context() if context is None else context
        active: Any = current.get(_SPAN_KEY) if current else None
        kind_of_parent = type(active)
        if active is None:
            parent: SpanContext | None = None
        elif kind_of_parent is NonRecordingSpan or kind_of_parent is Span or kind_of_parent is HeldSpan:
            parent = active._context
        else:
            parent = _context_of(active)
        if not self._tracer_config.is_enabled:
            return NonRecordingSpan(INVALID_SPAN_CONTEXT if parent is None else parent)

        # -- The trace, and the case: a root, a remote parent (sampled or not), or a local one (sampled or not).
        generator = self.id_generator
        is_usual = type(generator) is RandomIdGenerator
        if parent is not None and parent[_IS_VALID]:
            trace_id, _, is_remote, parent_flags, state, _ = parent
            case = (1 if is_remote else 3) + (not parent_flags & _SAMPLED)
            bits = parent_flags & _RANDOM
        else:
            parent = None
            trace_id = (is_usual and getrandbits(128)) or generator.generate_trace_id()
            case, state = 0, _NO_STATE
            bits = _RANDOM if is_usual or generator.is_trace_id_random() else 0

        # -- The decision: by numbers for the SDK's samplers, by the policy for our own, by a call for any other.
        sampler = self.sampler
        if sampler is not self._sampler_of_bounds:
            self._is_asked_by_policy = is_ours(sampler)
            self._bounds, self._sampler_of_bounds = Bounds.of(sampler), sampler
        bounds = self._bounds
        if bounds is not None:
            decision = _SAMPLE if trace_id & LOW_BITS < bounds[case] else _DROP
        elif self._is_asked_by_policy:
            ours: Any = sampler
            policy = ours.policy
            if parent is not None and (case > _REMOTE or ours.follows_callers):
                decision = _SAMPLE if parent_flags & _SAMPLED else _DROP
            elif parent is None and policy.is_plain:
                decision = _DROP
                if not policy.threshold or trace_id & RANDOMNESS >= policy.threshold:
                    decision, state = _SAMPLE, policy.trace_state
            else:
                choice = ours.choose(trace_id, parent and state, kind, attributes)
                decision = _SAMPLE if choice.is_sampled else _DROP
                state = choice.trace_state or _NO_STATE
                if choice.spike is not None:
                    attributes = choice.marked(attributes)
        else:
            known: Any = attributes
            if isinstance(known, LazyAttributes):
                known = known.made()
            result = sampler.should_sample(context, trace_id, name, kind, known, links or ())
            decision = result.decision
            attributes = result.attributes
            state = _NO_STATE if result.trace_state is None else result.trace_state

        # -- The span's context.
        span_id = (is_usual and getrandbits(64)) or generator.generate_span_id()
        flags = _FLAGS[bits + _SAMPLED if decision is _SAMPLE else bits]
        if is_usual:
            span_context = _tuple(SpanContext, (trace_id, span_id, False, flags, state, True))
        else:
            span_context = SpanContext(trace_id, span_id, False, flags, state)  # foreign ids may not be valid
        count_end = self._tracer_metrics.start_span(parent, decision) if self._is_counted else None

        # -- The span, field by field: its constructor would be slower.
        if decision is _DROP:
            held = self._make_held_span(active if case > _REMOTE else None, current, trace_id)
            if held is None:
                return NonRecordingSpan(span_context)
            span: Span = held
        else:
            span = _new(Span)
        span._tracer = self
        span._name = name
        span._context = span_context
        span._parent = parent
        span._kind = kind
        span._resource = self.resource
        span._instrumentation_scope = self._instrumentation_scope
        span._plain = self.plain
        span._most = self.most
        span._status = UNSET
        span._events = ()
        span._links = span._new_links(links) if links else ()
        span.has_children, span.parent_span = False, None
        span._has_templates = False
        span._end_time = None
        span._open = True
        if attributes is not None:
            span.take(attributes)
        else:
            span._attributes = {}
        if not (record_exception and set_status_on_exception):
            span._record_exception = record_exception
            span._set_status_on_exception = set_status_on_exception
        if count_end is not None:
            span._record_end_metrics = count_end

        # -- The time, last: the work above is not the application's.
        if case > _REMOTE and getattr(active, "clock_offset", None) is not None and active._end_time is None:
            span.clock_offset = offset = active.clock_offset  # beneath a span of ours that is open
            now = monotonic_ns() + offset
            if self.fold_after and (kind_of_parent is Span or kind_of_parent is HeldSpan):
                span.parent_span = active
                active.has_children = True
        else:
            now = time_ns()
            span.clock_offset = now - monotonic_ns()
        if start_time is None:
            span._start_time = now
        else:
            span._start_time = start_time if type(start_time) is int else nanoseconds(start_time, now)

        # -- The processors that hear of the start.
        processor = self.span_processor
        if type(processor) is not Processors:
            starting: tuple[SpanProcessor, ...] = (processor,)
        elif decision is not _DROP:
            starting = processor.starting
        else:
            starting = processor.of_held[0]
            if processor.later:
                cast("HeldSpan", span).started_in = copy_context(), context
        if starting:
            for each in starting:
                try:
                    each.on_start(span, parent_context=context)
                except Exception as error:
                    self.note(each, "on_start", error)
        return span

    def note(self, processor: SpanProcessor, hook: str, error: Exception) -> None:
        """Count and log an exception of a processor. The span, the other processors and the application go on."""
        if self.recorder is not None:
            self.recorder.books.processor_errors += 1
        processor_fault(processor, hook, error)

    def _make_held_span(self, parent: object, context: Context, trace_id: int) -> HeldSpan | None:
        """Return a new held span, beneath a local parent if there is one; None when nothing is to be recorded."""
        recorder = self.recorder
        if recorder is None:
            return None
        root = None
        if type(parent) is HeldSpan:
            root = parent.root or parent
        elif parent is not None and recorder.is_on:
            root = _local_root_of(parent, context, trace_id)
        # What starts beneath a dropped root is not recorded either.
        if not recorder.is_on or (parent is not None and (root is None or root.fate is DROPPED)):
            recorder.books.unsampled += 1
            return None
        span = _new(HeldSpan)
        span.root = root
        span.fate = span._first = span._answered_at = None
        span.has_failures = span._is_asked_for = False
        return span

    def ended(self, span: Span) -> None:
        """Hand a span that has just ended on, unless it is folded: to the processors, or to the flight recorder."""
        if self._is_counted and span._record_end_metrics is not None:
            span._record_end_metrics()
        if switch.is_on and span.handled is not None:
            tell_swallowed(span)
        if span.parent_span is not None and fold(span):
            return
        if span.has_children and span.folds is not None:
            hand_on_folds(span)
        processor = self.span_processor
        readable: ReadableSpan = span
        is_held = type(span) is HeldSpan
        if type(processor) is not Processors:
            readable = hand_to(span, (processor,), (processor,))
        elif processor.is_private and not processor.ending if is_held else processor.are_plain:
            for each in processor.of_held[2] if is_held else processor.ended:
                try:
                    each.on_end(span)
                except Exception as error:
                    self.note(each, "on_end", error)
        elif is_held:
            readable = hand_to(span, processor.of_held[1], processor.of_held[2])
        else:
            hand_to(span, processor.ending, processor.ended)
        if is_held and self.recorder is not None:
            held: Any = span
            self.recorder.record(held, readable)

    def fold_for(self, context: Context, shape: Hashable) -> Fold | None:
        """Return the fold that a span of this shape (`_db.conforming.shape_of`) would join if it started in `context`.

        None if there is none yet, or if the span has to be made, since somebody else decides about it, or counts it.
        """
        parent: Any = context.get(_SPAN_KEY)
        kind = type(parent)
        if self._is_counted or (self._bounds is None and not self._is_asked_by_policy):
            return None
        return fold_for(self, parent, shape) if kind is Span or kind is HeldSpan else None

    def start_as_current_span(  # type: ignore[override]  # the SDK's returns the context manager of a generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Start a span, as `start_span` does, that is current in a block or in each call of a function.

        The span ends with the block, unless `end_on_exit` is False.
        """
        arguments = (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
        return CurrentSpan(self, arguments, end_on_exit=end_on_exit)


def _context_of(active: object) -> SpanContext | None:
    found: Any = active.get_span_context() if isinstance(active, ApiSpan) else None
    if found is not None and not isinstance(found, SpanContext):
        raise TypeError("parent_span_context must be a SpanContext or None.")
    return found


def _local_root_of(parent: object, context: Context, trace_id: int) -> HeldSpan | None:
    """Return the held local root above a parent that is no held span itself; None without one.

    Such a parent may be a wrapper that another instrumentation has put around a span: the root is that span's. Or the
    parent may be mere ids, handed to a thread, say: the root is that of the request, if it is of the same trace.
    """
    root = getattr(parent, "local_root", None)
    if root is None:
        root = getattr(request_span(context), "local_root", None)
        if type(root) is HeldSpan and root._context.trace_id != trace_id:
            return None
    return root if type(root) is HeldSpan else None


_new: Final = object.__new__
_tuple: Final = tuple.__new__


def _make_ids_of_our_own() -> None:
    """Take new random numbers, other than the parent's: after a fork in C, Python does not reseed its own."""
    global getrandbits
    getrandbits = Random().getrandbits  # noqa: S311  no secret


begin_anew_with(_make_ids_of_our_own)
