// The list of traces. Its filters stand in the address, so a reload or a shared link keeps them.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { change, link } from "./address.js";
import { Filters } from "./filter-form.js";
import { listQuery } from "./filters.js";
import { ago, count, dateTime, duration, serviceColours, timeOfDay } from "./format.js";
import { useListKeys } from "./keys.js";
import { useAnswer } from "./loading.js";
import { source } from "./source.js";
import { Severity } from "./verdict.js";

const LOOK_MILLISECONDS = 2000;

export function TraceList({ address }) {
  const filters = Object.fromEntries(address.searchParams);
  const query = listQuery(filters);
  const [live, setLive] = useState(true);
  const ask = async (_, signal) => {
    const [list, status] = await Promise.all([source.traces(query, signal), source.status(signal)]);
    return { traces: list.traces, status };
  };
  const { data, error } = useAnswer(ask, [query, live], live ? LOOK_MILLISECONDS : 0);
  const { causes, labels } = useAnswer((known, signal) => source.causes(query, known, signal), [query, live], live ? LOOK_MILLISECONDS : 0).data ?? {};
  const main = useRef();
  const { shown, held, release } = useStillness(data?.traces, query, main);
  useListKeys(main);
  useEffect(() => {
    document.title = "Traces · tracemw";
  }, []);
  const status = data?.status;
  const filtered = ["service", "errors", "minDuration", "maxDuration", "text"].some((name) => filters[name]);

  return html`
    <main class="list" ref=${main}>
      <div class="top">
        <h1>Traces</h1>
        <p class="totals" role="status">${status && `${count(status.traces, "trace")} · ${count(status.spans, "span")}`}</p>
        <button type="button" class="switch" role="switch" aria-checked=${live} onClick=${() => setLive(!live)}>
          <span class="knob" aria-hidden="true"></span>Live
        </button>
      </div>
      <${Filters} filters=${filters} services=${status?.services} change=${change} limits=${["20", "50", "200", "1000"]} usual="50" />
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      ${held > 0 && html`<button type="button" class="held" onClick=${release}>${count(held, "new trace")}: show</button>`}
      ${shown?.length ? html`<${Table} traces=${shown} causes=${causes ?? {}} labels=${labels ?? {}} known=${status.services} />` : shown && !error && html`<${Empty} filtered=${filtered} />`}
    </main>
  `;
}

/** The traces that are shown. While somebody reads further down, what is shown stays, and new traces are only counted. */
function useStillness(traces, query, main) {
  const kept = useRef({});
  const [, release] = useState(0);
  return useMemo(() => {
    const reading = main.current?.scrollTop > 40;
    if (!traces || !reading || kept.current.query !== query || !kept.current.traces) {
      kept.current = { query, traces };
      return { shown: traces, held: 0 };
    }
    const known = new Set(kept.current.traces.map((trace) => trace.traceId));
    const fresh = new Map(traces.map((trace) => [trace.traceId, trace]));
    return {
      shown: kept.current.traces.map((trace) => fresh.get(trace.traceId) ?? trace),
      held: traces.filter((trace) => !known.has(trace.traceId)).length,
      release: () => {
        kept.current = {};
        main.current.scrollTop = 0;
        release((round) => round + 1);
      },
    };
  }, [traces, query, kept.current.traces]);
}

function Table({ traces, causes, labels, known }) {
  const colours = serviceColours(new Set([...known, ...traces.flatMap((trace) => Object.keys(trace.services))]));
  const longest = traces.reduce((most, trace) => Math.max(most, Number(trace.durationNanos)), 1);
  return html`
    <div class="sheet-of-rows"><table class="traces">
      <thead>
        <tr>
          <th scope="col">Trace</th>
          <th scope="col">Services</th>
          <th scope="col" class="number">Spans</th>
          <th scope="col">Duration</th>
          <th scope="col" class="number">Start</th>
        </tr>
      </thead>
      <tbody>
        ${traces.map((trace) => html`<${Row} key=${trace.traceId} trace=${trace} cause=${causes[trace.traceId]} label=${labels[trace.traceId]} colours=${colours} longest=${longest} />`)}
      </tbody>
    </table></div>
  `;
}

function Row({ trace, cause, label, colours, longest }) {
  const start = BigInt(trace.startTimeUnixNano);
  const complete = trace.rootService !== null;
  const service = complete ? trace.rootService : trace.firstService;
  return html`
    <tr class=${trace.errors ? "failed" : ""}>
      <td class="what">
        <a href=${link(`/trace/${trace.traceId}`)} data-line>
          <span class="dot" style=${{ background: colours.get(service) }} aria-hidden="true"></span>
          <b>${service}</b> <span class="name">${label || (complete ? trace.rootName : trace.firstName) || "(no name)"}</span>
        </a>
        ${trace.errors > 0 && html`<span class="badge error">${count(trace.errors, "error")}</span>`}
        ${!complete && html`<span class="badge" title="The trace's first span has not arrived">no root</span>`}
        ${cause ? html`<p class=${`cause ${cause.severity}`}><${Severity} severity=${cause.severity} /><span>${cause.title}</span></p>` : html`<code>${trace.traceId}</code>`}
      </td>
      <td class="services">
        ${Object.keys(trace.services).map(
          (name) => html`
            <span key=${name} class="chip"><span class="dot" style=${{ background: colours.get(name) }}></span>${name}</span>
          `,
        )}
      </td>
      <td class="number">${trace.spans.toLocaleString("en")}</td>
      <td class="time">
        <span>${duration(Number(trace.durationNanos))}</span>
        <span class="share" aria-hidden="true"><i style=${{ width: `${(100 * Number(trace.durationNanos)) / longest}%` }}></i></span>
      </td>
      <td class="number when" title=${dateTime(start)}>${timeOfDay(start)}<small>${ago(start)}</small></td>
    </tr>
  `;
}

function Empty({ filtered }) {
  if (filtered) return html`<div class="empty"><h2>No trace passes these filters</h2></div>`;
  return html`
    <div class="empty">
      <h2>No traces yet</h2>
      <p>Start a service that sends them here:</p>
      <pre>import tracemw
tracemw.init("my-service")</pre>
      <pre>OTEL_EXPORTER_OTLP_ENDPOINT=${location.origin} python my_service.py</pre>
      <p>Anything that speaks OTLP over HTTP will do. This page shows new traces by itself.</p>
    </div>
  `;
}
