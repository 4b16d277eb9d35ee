// A trace in Tempo's JSON becomes a tree of spans. These are pure functions and know nothing of the page.

const NO_PARENT = "0000000000000000";

/**
 * Read a trace; null for one without spans.
 *
 * An `offset` is the nanoseconds from the first instant of the trace, or of the span for its events. A `start` is the
 * nanoseconds since the epoch, as a BigInt.
 */
export function readTrace(trace) {
  const spans = [];
  for (const resourceSpans of trace.resourceSpans ?? []) {
    const resource = readAttributes(resourceSpans.resource?.attributes);
    const service = resource.find(([key]) => key === "service.name")?.[1] || "unknown_service";
    for (const scopeSpans of resourceSpans.scopeSpans ?? []) {
      for (const span of scopeSpans.spans ?? []) spans.push(readSpan(span, String(service), resource, scopeSpans.scope));
    }
  }
  if (!spans.length) return null;
  const start = spans.reduce((first, span) => (span.start < first ? span.start : first), spans[0].start);
  let length = 0;
  for (const span of spans) {
    span.offset = Number(span.start - start);
    length = Math.max(length, span.offset + span.duration);
  }
  const roots = linkTree(spans);
  return {
    traceId: hex(trace.resourceSpans.find((each) => each.scopeSpans?.[0]?.spans?.[0]).scopeSpans[0].spans[0].traceId),
    start,
    length,
    spans,
    roots,
    root: roots.find((span) => !span.orphan) ?? roots[0],
    services: countServices(spans),
    errors: spans.filter((span) => span.error).length,
  };
}

function readSpan(span, service, resource, scope) {
  const start = BigInt(span.startTimeUnixNano ?? 0);
  const end = BigInt(span.endTimeUnixNano ?? 0);
  return {
    id: hex(span.spanId),
    parentId: hex(span.parentSpanId ?? ""),
    name: span.name ?? "",
    kind: enumName(span.kind, "SPAN_KIND_", "unspecified"),
    status: enumName(span.status?.code, "STATUS_CODE_", "unset"),
    error: span.status?.code === "STATUS_CODE_ERROR",
    message: span.status?.message ?? "",
    service,
    resource,
    scope: [scope?.name, scope?.version].filter(Boolean).join(" "),
    attributes: readAttributes(span.attributes),
    events: (span.events ?? []).map((event) => ({
      name: event.name ?? "",
      offset: Number(BigInt(event.timeUnixNano ?? 0) - start),
      attributes: readAttributes(event.attributes),
    })),
    links: (span.links ?? []).map((link) => ({
      traceId: hex(link.traceId ?? ""),
      spanId: hex(link.spanId ?? ""),
      attributes: readAttributes(link.attributes),
    })),
    traceState: span.traceState ?? "",
    flags: span.flags ?? 0,
    dropped: [
      ["attributes", span.droppedAttributesCount],
      ["events", span.droppedEventsCount],
      ["links", span.droppedLinksCount],
    ].filter(([, number]) => number),
    start,
    offset: 0,
    duration: end > start ? Number(end - start) : 0, // the clock may have been set back in between
    children: [],
    orphan: false,
    source: false,
  };
}

/** The name of an enum's value. A value that OTLP does not know yet comes as a number, and counts as none. */
function enumName(value, prefix, none) {
  return typeof value === "string" ? value.replace(prefix, "").toLowerCase() : none;
}

/** Give every span its children, and return the roots. Both are in the order of their start times. */
function linkTree(spans) {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const roots = [];
  for (const span of spans) {
    const parent = byId.get(span.parentId);
    if (parent) parent.children.push(span);
    else {
      span.orphan = span.parentId !== "" && span.parentId !== NO_PARENT;
      roots.push(span);
    }
  }
  const reached = new Set();
  for (const root of roots) reach(root, reached);
  // Spans that are each other's ancestors hang from no root. Each such circle is cut at its first span.
  for (const span of spans) {
    if (reached.has(span)) continue;
    const parent = byId.get(span.parentId);
    parent.children.splice(parent.children.indexOf(span), 1);
    span.orphan = true;
    roots.push(span);
    reach(span, reached);
  }
  const earlier = (one, other) => one.offset - other.offset || (one.id < other.id ? -1 : 1);
  for (const span of spans) {
    span.children.sort(earlier);
    span.source = span.error && !span.children.some((child) => child.error);
  }
  return roots.sort(earlier);
}

function reach(root, reached) {
  const waiting = [root];
  while (waiting.length) {
    const span = waiting.pop();
    reached.add(span);
    for (const child of span.children) if (!reached.has(child)) waiting.push(child);
  }
}

/** The rows of the waterfall from top to bottom. Spans below a collapsed one have none. */
export function visibleRows(roots, collapsed) {
  const rows = [];
  const waiting = roots.map((span, index) => ({ span, depth: 0, place: index + 1, siblings: roots.length })).reverse();
  while (waiting.length) {
    const row = waiting.pop();
    rows.push(row);
    const { children, id } = row.span;
    if (collapsed.has(id)) continue;
    for (let index = children.length - 1; index >= 0; index--) {
      waiting.push({ span: children[index], depth: row.depth + 1, place: index + 1, siblings: children.length });
    }
  }
  return rows;
}

function countServices(spans) {
  const services = new Map();
  for (const { service, error } of spans) {
    const counts = services.get(service) ?? { spans: 0, errors: 0 };
    counts.spans += 1;
    counts.errors += error ? 1 : 0;
    services.set(service, counts);
  }
  return services;
}

/** Attributes as pairs of key and plain value, by key. */
function readAttributes(attributes) {
  const pairs = (attributes ?? []).map(({ key, value }) => [key ?? "", readValue(value ?? {})]);
  return pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
}

function readValue(value) {
  if ("stringValue" in value) return value.stringValue;
  if ("boolValue" in value) return value.boolValue;
  if ("intValue" in value) return BigInt(value.intValue);
  if ("doubleValue" in value) return Number(value.doubleValue);
  if ("arrayValue" in value) return (value.arrayValue.values ?? []).map(readValue);
  if ("kvlistValue" in value) return Object.fromEntries(readAttributes(value.kvlistValue.values));
  if ("bytesValue" in value) return `base64:${value.bytesValue}`;
  return null;
}

function hex(base64) {
  return Array.from(atob(base64), (character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}
