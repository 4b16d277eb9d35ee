// The page's filters, as parameters for the viewer.

/** The parameters of a list or a survey. */
export function listQuery(filters, limit = "50") {
  const query = new URLSearchParams({ limit: filters.limit || limit });
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
