// The list of traces. Its filters stand in the address, so a reload or a shared link keeps them.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { fetchStatus, fetchTraces, listQuery } from "./api.js";
import { ago, count, dateTime, duration, serviceColours, timeOfDay } from "./format.js";

const REFRESH_MILLISECONDS = 2000;
const LIMITS = ["20", "50", "200", "1000"];

export function TraceList({ address, go }) {
  const filters = Object.fromEntries(address.searchParams);
  const [live, setLive] = useState(true);
  const { traces, status, error, refresh } = useTraces(listQuery(filters), live);
  useEffect(() => {
    document.title = "Traces · tracemw viewer";
  }, []);

  const change = (name, value) => {
    const query = new URLSearchParams(filters);
    if (value) query.set(name, value);
    else query.delete(name);
    go(`/${query.size ? `?${query}` : ""}`, { replace: true });
  };
  const filtered = ["service", "errors", "minDuration", "maxDuration", "text"].some((name) => filters[name]);

  return html`
    <header class="bar">
      <a class="brand" href="/"><img src="/page/icon.svg" alt="" width="22" height="22" />tracemw <span>viewer</span></a>
      <p class="totals" role="status">${status && `${count(status.traces, "trace")} · ${count(status.spans, "span")}`}</p>
      <div class="actions">
        <button type="button" class="switch" role="switch" aria-checked=${live} onClick=${() => setLive(!live)}>
          <span class="knob" aria-hidden="true"></span>Auto refresh
        </button>
        <button type="button" onClick=${refresh}>Refresh</button>
      </div>
    </header>
    <main class="list">
      <h1 class="hidden">Traces</h1>
      <${Filters} filters=${filters} services=${[...(status?.services ?? [])].sort()} change=${change} />
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      ${traces?.length ? html`<${Table} traces=${traces} known=${status.services} />` : traces && !error && html`<${Empty} filtered=${filtered} />`}
    </main>
  `;
}

/** The traces of a query and the viewer's totals, loaded now, and every two seconds while `live`. */
function useTraces(query, live) {
  const [result, setResult] = useState({});
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    const load = async () => {
      try {
        const [list, status] = await Promise.all([fetchTraces(query, abort.signal), fetchStatus(abort.signal)]);
        setResult({ traces: list.traces, status });
      } catch (error) {
        if (error.name === "AbortError") return;
        setResult((before) => ({ ...before, error: error.message }));
      }
      if (live) timer = setTimeout(load, REFRESH_MILLISECONDS);
    };
    load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [query, live, round]);
  return { ...result, refresh: () => setRound(round + 1) };
}

function Filters({ filters, services, change }) {
  const onText = (name) => (event) => change(name, event.target.value);
  const known = filters.service && !services.includes(filters.service) ? [filters.service, ...services] : services;
  return html`
    <form class="filters" role="search" aria-label="Filter traces" onSubmit=${(event) => event.preventDefault()}>
      <label class="wide">
        <span>Search</span>
        <input
          type="search"
          value=${filters.text ?? ""}
          onInput=${onText("text")}
          placeholder=${'trace id, span name, http.route="/a", { status = error }'}
          spellcheck="false"
        />
      </label>
      <label>
        <span>Service</span>
        <select value=${filters.service ?? ""} onChange=${onText("service")}>
          <option value="">All services</option>
          ${known.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <label>
        <span>Status</span>
        <select value=${filters.errors ?? ""} onChange=${onText("errors")}>
          <option value="">All</option>
          <option value="1">Errors</option>
        </select>
      </label>
      <label class="short">
        <span>Min duration</span>
        <input value=${filters.minDuration ?? ""} onInput=${onText("minDuration")} placeholder="100ms" />
      </label>
      <label class="short">
        <span>Max duration</span>
        <input value=${filters.maxDuration ?? ""} onInput=${onText("maxDuration")} placeholder="1.5s" />
      </label>
      <label class="short">
        <span>Limit</span>
        <select value=${filters.limit ?? "50"} onChange=${onText("limit")}>
          ${LIMITS.map((limit) => html`<option key=${limit} value=${limit}>${limit}</option>`)}
        </select>
      </label>
    </form>
  `;
}

function Table({ traces, known }) {
  const colours = serviceColours(new Set([...known, ...traces.flatMap((trace) => Object.keys(trace.services))]));
  const longest = traces.reduce((most, trace) => Math.max(most, Number(trace.durationNanos)), 1);
  return html`
    <table class="traces">
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
        ${traces.map((trace) => html`<${Row} key=${trace.traceId} trace=${trace} colours=${colours} longest=${longest} />`)}
      </tbody>
    </table>
  `;
}

function Row({ trace, colours, longest }) {
  const start = BigInt(trace.startTimeUnixNano);
  const complete = trace.rootService !== null;
  const service = complete ? trace.rootService : trace.firstService;
  return html`
    <tr class=${trace.errors ? "failed" : ""}>
      <td class="what">
        <a href=${`/trace/${trace.traceId}`}>
          <span class="dot" style=${{ background: colours.get(service) }} aria-hidden="true"></span>
          <b>${service}</b> <span class="name">${(complete ? trace.rootName : trace.firstName) || "(no name)"}</span>
        </a>
        ${trace.errors > 0 && html`<span class="badge error">${count(trace.errors, "error")}</span>`}
        ${!complete && html`<span class="badge" title="The trace's first span has not arrived">no root</span>`}
        <code>${trace.traceId}</code>
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
