// One trace: the verdict, the findings, and the waterfall of its spans, beside it the span that is chosen.

import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { change, here, link } from "./address.js";
import { CopyButton } from "./copying.js";
import { count, dateTime, duration, serviceColours } from "./format.js";
import { inlined } from "./inlined.js";
import { useKeys } from "./keys.js";
import { useAnswer } from "./loading.js";
import { readTrace } from "./rows.js";
import { source } from "./source.js";
import { SpanPanel } from "./span.js";
import { Verdict } from "./verdict.js";
import { Waterfall } from "./waterfall.js";

const LOOK_MILLISECONDS = 2000;

export function TraceView({ traceId, address }) {
  const { data, error, loading } = useAnswer((known, signal) => source.trace(traceId, known, signal), [traceId], LOOK_MILLISECONDS);
  const status = useAnswer((_, signal) => source.status?.(signal) ?? null, []).data;
  const trace = useMemo(() => data && readTrace(data), [data]);
  const chosenId = address.searchParams.get("span");
  const chosen = trace?.byId.get(chosenId);
  const matches = useMatches(traceId, address.searchParams.get("find") ?? "", trace);
  const colours = useMemo(() => serviceColours(new Set([...(status?.services ?? []), ...(trace?.counts.keys() ?? [])])), [status, trace]);

  useEffect(() => {
    document.title = `${trace?.root.label ?? traceId} · tracemw`;
  }, [trace, traceId]);
  useEffect(() => {
    if (!inlined && location.hash) change({ span: location.hash.slice(1) }); // a link that others have made
  }, []);

  const choose = (id) => change({ span: id });
  const nextFinding = (step) => {
    const places = trace?.findings.map((finding) => finding.span_ids[0]) ?? [];
    if (places.length) choose(places.at((places.indexOf(chosenId) + step + (step < 0 && !places.includes(chosenId) ? 1 : 0)) % places.length));
  };
  useKeys({
    n: () => nextFinding(1),
    p: () => nextFinding(-1),
    e: () => change({ logs: here().searchParams.get("logs") ? "" : "1" }),
    "/": () => document.getElementById("find")?.focus(),
    Escape: () => chosenId && choose(null),
  });

  if (!trace) {
    return html`
      <main class="trace">
        ${error ? html`<p class="problem" role="alert">${error}</p>` : html`<${Missing} loading=${loading || !inlined} traceId=${traceId} />`}
      </main>
    `;
  }
  return html`
    <main class=${`trace ${chosen ? "split" : ""}`}>
      <section class="view" aria-label="Trace">
        ${error && html`<p class="problem" role="alert">${error}</p>`}
        <${Heading} trace=${trace} colours=${colours} />
        <${Verdict} trace=${trace} chosenId=${chosenId} choose=${choose} />
        <${Waterfall}
          trace=${trace}
          colours=${colours}
          chosenId=${chosenId}
          choose=${choose}
          matches=${matches}
          notes=${Boolean(address.searchParams.get("logs"))}
          find=${address.searchParams.get("find") ?? ""}
        />
      </section>
      ${chosen && html`<${SpanPanel} key=${chosen.id} span=${chosen} trace=${trace} colour=${colours.get(chosen.service)} close=${() => choose(null)} />`}
    </main>
  `;
}

/** The ids of the spans that have a text somewhere; null without a text. */
function useMatches(traceId, text, trace) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    if (!text.trim()) return setFound(null);
    const abort = new AbortController();
    const look = async () => {
      try {
        const words = text.toLowerCase().split(/\s+/).filter(Boolean);
        const named = trace.spans.filter((span) => words.every((word) => `${span.service} ${span.label}`.toLowerCase().includes(word)));
        setFound(new Set([...named.map((span) => span.id), ...(await source.matches(traceId, text, abort.signal))]));
      } catch (error) {
        if (error.name !== "AbortError") setFound(new Set());
      }
    };
    const timer = setTimeout(look, 150);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [traceId, text, trace]);
  return found;
}

function Missing({ loading, traceId }) {
  return html`
    <div class="empty">
      <h1>${loading ? "This trace is not here yet" : "This trace is not here"}</h1>
      <p><code>${traceId}</code></p>
      ${inlined
        ? html`<p>This file has a few traces only, which the findings name.</p>`
        : html`<p>It has not arrived, it was not sampled, or it was old and made room for others (see <code>--max-spans</code> and <code>--max-bytes</code>).</p>`}
    </div>
  `;
}

function Heading({ trace, colours }) {
  const { root } = trace;
  return html`
    <div class="heading" style=${{ "--service": colours.get(root.service) }}>
      <h1><span class="dot" aria-hidden="true"></span>${root.service} <b>${root.label}</b></h1>
      ${!inlined && html`<${CompareLink} trace=${trace} />`}
      <dl class="facts">
        <div><dt>Duration</dt><dd>${duration(root.took)}</dd></div>
        <div><dt>Spans</dt><dd>${trace.spans.length.toLocaleString("en")}</dd></div>
        ${trace.errors > 0 && html`<div class="failed"><dt>Errors</dt><dd>${trace.errors}</dd></div>`}
        <div><dt>Start</dt><dd>${dateTime(BigInt(trace.start))}</dd></div>
        <div class="trace-id"><dt>Trace</dt><dd><${CopyButton} text=${trace.traceId} name="trace id" /></dd></div>
      </dl>
      ${trace.counts.size > 1 &&
      html`
        <ul class="legend" aria-label="Services">
          ${[...trace.counts].map(
            ([name, { spans, errors }]) => html`
              <li key=${name} class="chip">
                <span class="dot" style=${{ background: colours.get(name) }} aria-hidden="true"></span>${name}
                <small>${count(spans, "span")}${errors > 0 && html`, <b class="failed">${count(errors, "error")}</b>`}</small>
              </li>
            `,
          )}
        </ul>
      `}
    </div>
  `;
}

function CompareLink({ trace }) {
  const { service, name } = trace.root;
  return html`<a class="quiet" href=${link(`/compare/median/${trace.traceId}?${new URLSearchParams({ service, route: name })}`)}>Compare with a usual one</a>`;
}
