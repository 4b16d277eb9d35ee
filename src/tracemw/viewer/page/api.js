// The page's questions to the viewer. Every failure is an Error with a message to show.

async function getJson(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The viewer does not answer. Is tracemw view still running?");
  }
  if (!response.ok) throw new Error((await response.text()).trim() || `The viewer answered ${response.status}.`);
  return response.json();
}

/** The newest traces that pass the filters (see `listQuery`). */
export function fetchTraces(query, signal) {
  return getJson(`/viewer/traces?${query}`, signal);
}

/** How much is stored, and from which services. */
export function fetchStatus(signal) {
  return getJson("/viewer/status", signal);
}

/** One trace in Tempo's shape; a trace that is not there is an empty object. */
export async function fetchTrace(traceId, signal) {
  return (await getJson(`/api/v2/traces/${encodeURIComponent(traceId)}`, signal)).trace;
}

/** The page's filters as parameters for the viewer. */
export function listQuery(filters) {
  const query = new URLSearchParams({ limit: filters.limit || "50" });
  if (filters.service) query.set("service", filters.service);
  for (const name of ["minDuration", "maxDuration"]) {
    if (filters[name]) query.set(name, bareNumbersAreMilliseconds(filters[name].trim()));
  }
  if (filters.errors) query.set("errors", "true");
  const text = (filters.text || "").trim();
  if (text) query.set(...textFilter(text));
  return query.toString();
}

function bareNumbersAreMilliseconds(text) {
  return /^[0-9]+(\.[0-9]+)?$/.test(text) ? `${text}ms` : text;
}

/** What the search box takes: TraceQL in braces, one comparison without braces and quotes, tags, or any text. */
function textFilter(text) {
  if (text.startsWith("{")) return ["q", text];
  const [, name, operator, value] = text.match(/^([\w.]+)\s*(!=|>=|<=|=~|!~|>|<|=)\s*([^\s"]+|"[^"]*")$/) ?? [];
  const scope = /^(span\.|resource\.|\.)/;
  if (name && (operator !== "=" || scope.test(name))) {
    const intrinsic = /^(name|duration|status|kind|rootName|rootServiceName|traceDuration)$/.test(name);
    const bare = intrinsic ? !/^(duration|traceDuration|status|kind)$/.test(name) : Number.isNaN(Number(value));
    const quoted = bare && !value.startsWith('"') && !/^(true|false|nil)$/.test(value) ? `"${value}"` : value;
    return ["q", `{ ${intrinsic || scope.test(name) ? name : `.${name}`} ${operator} ${quoted} }`];
  }
  return [/^[^\s="]+=/.test(text) ? "tags" : "text", text];
}
