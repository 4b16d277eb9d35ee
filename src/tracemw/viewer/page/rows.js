// The spans of a trace as a tree, and the rows in which they are shown. These are pure functions and know nothing of the page.

/**
 * The trace of an explanation: its spans get `children`, `repeats` (siblings for which one span stands), `service` by its
 * name, and `proves`, the findings that they prove. A finding is marked at the first of its spans.
 */
export function readTrace(explanation) {
  const byId = new Map();
  for (const span of explanation.rows) {
    span.number = span.service;
    span.service = explanation.services[span.service] || "unknown_service";
    span.label ??= span.name || "(no name)";
    span.children = [];
    span.repeats = [];
    span.proves = [];
    span.marks = [];
    span.waits = [];
    byId.set(span.id, span);
  }
  const roots = [];
  for (const span of explanation.rows) {
    span.above = byId.get(span.parent) ?? null;
    if (span.like) byId.get(span.like).repeats.push(span);
    else if (span.above) span.above.children.push(span);
    else roots.push(span);
  }
  const earlier = (one, other) => one.start - other.start || (one.id < other.id ? -1 : 1);
  for (const span of explanation.rows) {
    if (span.children.length > 1) span.children.sort(earlier);
    if (span.repeats.length > 1) span.repeats.sort(earlier);
  }
  for (const finding of explanation.findings) {
    finding.span_ids.forEach((id, index) => {
      byId.get(id)?.proves.push(finding);
      if (index === 0) byId.get(id)?.marks.push(finding);
    });
  }
  for (const wait of explanation.waits) byId.get(wait.span)?.waits.push(wait);
  const first = byId.get(explanation.root);
  return {
    ...explanation,
    traceId: explanation.trace_id,
    spans: explanation.rows,
    byId,
    root: first,
    roots: roots.sort((one, other) => (other === first) - (one === first) || earlier(one, other)),
    counts: countServices(explanation.rows),
    errors: explanation.rows.filter((span) => span.failed).length,
    told: explanation.rows.reduce((sum, span) => sum + (span.notes?.length ?? 0), 0),
  };
}

function countServices(spans) {
  const services = new Map();
  for (const { service, failed } of spans) {
    const counts = services.get(service) ?? { spans: 0, errors: 0 };
    counts.spans += 1;
    counts.errors += failed ? 1 : 0;
    services.set(service, counts);
  }
  return services;
}

/**
 * The rows from top to bottom: `{ kind, key, span, depth, place, siblings }`, where `kind` is `span`, `repeats` (those for
 * which the span stands) or `note` (an event of the span).
 *
 * `collapsed` has the ids of spans whose children are hidden, `opened` those whose repeats are shown. `notes` says whether
 * events have rows.
 */
export function visibleRows(roots, { collapsed, opened, notes }) {
  const rows = [];
  const waiting = [];
  const push = (spans, depth) => {
    for (let index = spans.length - 1; index >= 0; index--) {
      const span = spans[index];
      if (span.repeats.length) waiting.push({ kind: "repeats", key: `${span.id}+`, span, depth, place: index + 1, siblings: spans.length });
      waiting.push({ kind: "span", key: span.id, span, depth, place: index + 1, siblings: spans.length });
    }
  };
  push(roots, 0);
  while (waiting.length) {
    const row = waiting.pop();
    rows.push(row);
    const { span, depth } = row;
    if (row.kind === "repeats") {
      if (opened.has(span.id)) push(span.repeats, depth + 1);
      continue;
    }
    if (collapsed.has(span.id)) continue;
    if (notes) span.notes?.forEach((note, index) => rows.push({ kind: "note", key: `${span.id}.${index}`, span, note, depth: depth + 1 }));
    push(span.children, depth + 1);
  }
  return rows;
}

/** What has to be shown so that a span is in sight: the spans above it, and those whose repeats it is one of. */
export function wayTo(span) {
  const above = [];
  const firsts = [];
  for (let each = span; each; each = each.above) {
    if (each !== span) above.push(each.id);
    if (each.like) firsts.push(each.like);
  }
  return { above, firsts };
}

/**
 * What there is to say of the spans for which a span stands, and of all below them: `many` and `took` (of the spans alone),
 * `path` (on the critical path; undefined when none is), and `marks`.
 */
export function summaryOfRepeats(span) {
  if (span.summary) return span.summary;
  const summary = { many: 0, took: 0, path: undefined, marks: [], proof: false };
  for (const each of span.repeats) {
    summary.many += each.folded ?? 1;
    summary.took += each.busy ?? each.took;
  }
  const waiting = [...span.repeats];
  while (waiting.length) {
    const each = waiting.pop();
    if (each.path !== undefined) summary.path = (summary.path ?? 0) + each.path;
    summary.marks.push(...each.marks);
    summary.proof ||= each.proves.length > 0;
    for (const below of each.children) waiting.push(below);
    for (const below of each.repeats) waiting.push(below);
  }
  const order = ["error", "warning", "hint"];
  summary.marks.sort((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity));
  span.summary = summary;
  return summary;
}

/** The pieces `[start, end]` of the time that spans cover. If there are more than so many spans, those that are close are one. */
export function pieces(spans, length, most = 150) {
  const least = spans.length > most ? length / most : -Infinity;
  const found = [];
  for (const { start, took } of spans) {
    const last = found.at(-1);
    if (last && start - last[1] < least) last[1] = Math.max(last[1], start + took);
    else found.push([start, start + took]);
  }
  return found;
}
