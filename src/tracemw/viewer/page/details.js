// One span in OTLP's JSON, read for people.

/** Everything about a span that its row does not have. Offsets are nanoseconds from the span's start. */
export function readDetails({ span, resource, scope }) {
  const start = BigInt(span.startTimeUnixNano ?? 0);
  return {
    start,
    status: enumName(span.status?.code, "STATUS_CODE_", "unset"),
    message: span.status?.message ?? "",
    kind: enumName(span.kind, "SPAN_KIND_", "unspecified"),
    resource: readAttributes(resource?.attributes),
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
    dropped: [
      ["attributes", span.droppedAttributesCount],
      ["events", span.droppedEventsCount],
      ["links", span.droppedLinksCount],
    ].filter(([, number]) => number),
  };
}

/** The name of an enum's value. A value that OTLP does not know yet comes as a number, and counts as none. */
function enumName(value, prefix, none) {
  return typeof value === "string" ? value.replace(prefix, "").toLowerCase() : none;
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

/** A value as text. A string stays as it is; everything else is like JSON, and 64-bit integers have all digits. */
export function valueText(value) {
  if (typeof value === "string") return value;
  if (value === null) return "(empty)";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(quoted).join(", ")}]`;
  return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${quoted(item)}`).join(", ")}}`;
}

function quoted(value) {
  return typeof value === "string" ? JSON.stringify(value) : valueText(value);
}
