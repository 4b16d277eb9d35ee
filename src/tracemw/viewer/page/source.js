// Where answers come from: the viewer, or the data in the file. Every failure is an Error with a message to show.

import { inlined } from "./inlined.js";

async function getJson(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The viewer does not answer. Is tracemw view still running?");
  }
  if (!response.ok) throw new Error((await response.text()).trim() || `The viewer answered ${response.status}.`);
  return response.status === 204 ? undefined : response.json();
}

const part = encodeURIComponent;
const since = (known) => (known === undefined ? "" : `known=${known}`);

const viewer = {
  /** The newest traces that pass the filters (see `listQuery`). */
  traces: (query, signal) => getJson(`/viewer/traces?${query}`, signal),

  /** The findings behind the verdicts on the traces of a list, and what readers call these, by trace id; undefined if the `known` version holds. */
  causes: (query, known, signal) => getJson(`/viewer/causes?${query}&${since(known)}`, signal),

  /** How much is stored, and from which services. */
  status: (signal) => getJson("/viewer/status", signal),

  /** One trace with all that is said of it; null if it is not there; undefined if the `known` version holds. */
  trace: (traceId, known, signal) => getJson(`/viewer/trace/${part(traceId)}?${since(known)}`, signal),

  /** One span in OTLP's JSON. */
  span: (traceId, spanId, signal) => getJson(`/viewer/trace/${part(traceId)}/span/${part(spanId)}`, signal),

  /** The ids of the spans of a trace with every word of a text in names or attributes. */
  matches: async (traceId, text, signal) =>
    (await getJson(`/viewer/trace/${part(traceId)}/matches?text=${part(text)}`, signal)).spans,

  /** What is said of the newest traces that pass the filters; undefined if the `known` version holds. */
  survey: (query, known, signal) => getJson(`/viewer/survey?${query}&${since(known)}`, signal),

  /** The names that attributes have. */
  attributeNames: async (signal) => (await getJson("/api/search/tags", signal)).tagNames,
};

const file = {
  trace: async (traceId, known) => (known === undefined ? structuredClone(inlined.traces[traceId] ?? null) : undefined),
  span: async (traceId, spanId) => inlined.spans[traceId]?.[spanId] ?? null,
  matches: async (traceId, text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const spans = Object.entries(inlined.spans[traceId] ?? {});
    const has = (span) => words.every((word) => textOf(span).includes(word));
    return spans.filter(([, span]) => has(span)).map(([id]) => id);
  },
  survey: async (_, known) => (known === undefined ? inlined.survey : undefined),
};

function textOf({ span, resource }) {
  const pairs = (attributes) =>
    (attributes ?? []).map(({ key, value }) => `${key}=${Object.values(value ?? {}).map((each) => (typeof each === "object" ? JSON.stringify(each) : each))}`);
  const events = (span.events ?? []).flatMap((event) => [event.name, ...pairs(event.attributes)]);
  return [span.name, ...pairs(span.attributes), ...pairs(resource?.attributes), ...events].join("\n").toLowerCase();
}

export const source = inlined ? file : viewer;
