// Two traces side by side: what one does and the other does not, and where the time differs.

import { html, useEffect, useMemo } from "./vendor/htm-preact.js";
import { go, link } from "./address.js";
import { CopyButton } from "./copying.js";
import { duration } from "./format.js";
import { inlined } from "./inlined.js";
import { useAnswer } from "./loading.js";
import { source } from "./source.js";
import { Sentence } from "./verdict.js";

/** `before` may be `median`: then the usual trace of the address's `service` and `route` is looked for. */
export function CompareView({ before, after, address }) {
  if (before === "median") return html`<${UsualOne} after=${after} parameters=${address.searchParams} />`;
  return html`<${Pair} before=${before} after=${after} />`;
}

/** Find the trace that took as long as half of its route's do, and compare with that. */
function UsualOne({ after, parameters }) {
  const [service, name] = [parameters.get("service"), parameters.get("route")];
  const query = new URLSearchParams({ limit: "500", service });
  const { data, error } = useAnswer((known, signal) => source.survey(query, known, signal), []);
  const known = data?.routes.find((route) => route.service === service && route.name === name);
  const usual = known?.p50;
  const itself = usual?.trace_id === after.padStart(32, "0");
  useEffect(() => {
    if (usual && !itself) go(`/compare/${usual.trace_id}/${after}`, { replace: true });
  }, [usual]);
  return html`
    <main class="list">
      <h1>Compare</h1>
      <p class="note" role="status">${error ?? (!data ? "Looking for a usual request …" : usual && known.seen > 1 ? `This is the usual request of ${service} ${name}: half of them take as long, or less.` : `The viewer has no other requests of ${service} ${name} to compare with.`)}</p>
    </main>
  `;
}

function Pair({ before, after }) {
  const one = useAnswer((known, signal) => source.trace(before, known, signal), [before]);
  const other = useAnswer((known, signal) => source.trace(after, known, signal), [after]);
  const lines = useMemo(() => (one.data && other.data ? differences(one.data, other.data) : []), [one.data, other.data]);
  useEffect(() => {
    document.title = "Compare · tracemw";
  }, []);
  const most = Math.max(1, ...lines.map((line) => Math.abs(line.grown)));
  const missing = [one, other].some(({ data, loading }) => data === null && !loading);
  return html`
    <main class="list compare">
      <h1>Compare</h1>
      ${[one.error, other.error, missing && "One of these traces is not here."].filter(Boolean).map((text) => html`<p class="problem" role="alert">${text}</p>`)}
      ${one.data &&
      other.data &&
      html`
        <div class="pair">
          <${Side} title="Before" trace=${one.data} />
          <${Side} title="After" trace=${other.data} />
        </div>
        <${ManyRequests} before=${rootOf(one.data)} after=${rootOf(other.data)} />
        <p class="actions"><a class="quiet" href=${link(`/compare/${after}/${before}`)}>The other way round</a></p>
        <div class="sheet-of-rows">
          <table class="traces differences">
            <caption>Where the time on the critical path went: what has grown most comes first. Then how long the spans ran by themselves, off the path too, and how many there were.</caption>
            <thead>
              <tr>
                <th scope="col">Span</th>
                <th scope="col" class="number">Before</th>
                <th scope="col" class="number">After</th>
                <th scope="col" class="number">Grown by</th>
                <th scope="col" class="number">Own time in all</th>
                <th scope="col" class="number">Spans</th>
                <th scope="col"><span class="hidden">Picture</span></th>
              </tr>
            </thead>
            <tbody>
              ${lines.slice(0, 100).map((line) => html`<${Line} key=${line.key} line=${line} most=${most} after=${after} />`)}
            </tbody>
          </table>
        </div>
      `}
    </main>
  `;
}

/** Two traces may differ by chance. How sure a difference is, a comparison of many says. */
function ManyRequests({ before, after }) {
  const between = Number(((before.took + after.took) / 2e6).toPrecision(4));
  if (inlined || before.kind !== "server" || before.title !== after.title || before.took === after.took) return null;
  const side = (root) => quoted(`{ trace:duration ${root.took / 1e6 < between ? "<" : ">="} ${between}ms }`);
  const request = `--service ${quoted(before.service)} --route ${quoted(before.name)} --url ${location.origin}`;
  const command = `tracemw compare --before ${side(before)} --after ${side(after)} ${request}`;
  return html`<div class="note many"><p>Two requests may differ by chance. What sets quick and slow ones apart, and how sure that is:</p><${CopyButton} text=${command} name="command" /></div>`;
}

/** A text as one word of a shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function rootOf(trace) {
  const { name, label = name, kind, took, service } = trace.rows.find((row) => row.id === trace.root);
  return { name, kind, took, service: trace.services[service], title: `${trace.services[service]} ${label}` };
}

function Side({ title, trace }) {
  const root = rootOf(trace);
  return html`
    <section class="side" aria-label=${title}>
      <p><small>${title}</small> <b>${duration(root.took)}</b> <a href=${link(`/trace/${trace.trace_id}`)} data-line>${root.title}</a></p>
      <${Sentence} verdict=${trace.verdict} finding=${trace.cause ? trace.findings[0] : null} />
    </section>
  `;
}

function Line({ line, most, after }) {
  const width = (50 * Math.abs(line.grown)) / most;
  return html`
    <tr>
      <td class="what">
        ${line.span ? html`<a href=${link(`/trace/${after}?span=${line.span}`)} data-line>${line.label}</a>` : line.label} <small>${line.service}</small>
        ${line.below && html`<code>below ${line.below}</code>`}
      </td>
      <td class="number">${duration(line.before)}</td>
      <td class="number">${duration(line.after)}</td>
      <td class=${`number ${line.grown > 0 ? "worse" : ""}`}>${line.grown ? `${line.grown > 0 ? "+" : "−"}${duration(Math.abs(line.grown))}` : "0"}</td>
      <td class="number">${duration(line.own[0]) === duration(line.own[1]) ? duration(line.own[0]) : html`${duration(line.own[0])} → <b>${duration(line.own[1])}</b>`}</td>
      <td class="number">${line.counts[0] === line.counts[1] ? line.counts[0] : html`${line.counts[0]} → <b>${line.counts[1]}</b>`}</td>
      <td class="picture"><span class="grown" aria-hidden="true"><i class=${line.grown > 0 ? "worse" : "better"} style=${{ left: `${line.grown > 0 ? 50 : 50 - width}%`, width: `${width}%` }}></i></span></td>
    </tr>
  `;
}

/** Spans that stand in the same place of both trees: their own time, on the critical path and in all, and their number. */
function differences(before, after) {
  const lines = new Map();
  [before, after].forEach((trace, side) => {
    const lineOf = new Map();
    for (const row of trace.rows) {
      const service = trace.services[row.service];
      const above = lineOf.get(row.parent);
      const label = row.label ?? row.name;
      const key = `${above?.number ?? ""} ${service} ${label}`;
      const line = lines.get(key) ?? { key, number: lines.size, label, service, below: above?.label, before: 0, after: 0, own: [0, 0], counts: [0, 0] };
      line[side ? "after" : "before"] += row.path ?? 0;
      line.own[side] += row.own ?? row.busy ?? row.took;
      line.counts[side] += row.folded ?? 1;
      if (side) line.span ??= row.id;
      lineOf.set(row.id, line);
      lines.set(key, line);
    }
  });
  const all = [...lines.values()].map((line) => ({ ...line, grown: line.after - line.before }));
  const tells = (line) => Math.abs(line.grown) + Math.abs(line.own[1] - line.own[0]) + 1000 * Math.abs(line.counts[1] - line.counts[0]);
  return all.sort((one, other) => other.grown - one.grown || tells(other) - tells(one));
}
