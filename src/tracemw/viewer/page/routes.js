// How long the routes of services take: a histogram for each, whose bars and quantiles lead to traces.

import { html } from "./vendor/htm-preact.js";
import { link } from "./address.js";
import { count, milliseconds, percent } from "./format.js";
import { Histogram } from "./histogram.js";
import { SurveyPage } from "./survey.js";

export function RoutesView({ address }) {
  return html`
    <${SurveyPage} title="Routes" hint="Routes come from the spans of requests." address=${address}>
      ${(survey) => {
        const range = rangeOf(survey.routes);
        return html`
          <p class="note">Routes that take most time in all come first. All histograms have one scale, from ${milliseconds(range.low)} to ${milliseconds(range.high)}. A bar or a quantile opens a trace. Lines: p50 solid, p95 dashed, p99 dotted.</p>
          <ul class="routes">
            ${survey.routes.map((route) => html`<${Route} key=${`${route.service} ${route.name}`} route=${route} range=${range} />`)}
          </ul>
        `;
      }}
    <//>
  `;
}

/** The lengths between which all routes are, in milliseconds. */
function rangeOf(routes) {
  const bars = routes.flatMap((route) => route.bars);
  return { low: Math.min(...bars.map((bar) => bar.low_ms)), high: Math.max(...bars.map((bar) => bar.high_ms)) };
}

function Route({ route, range }) {
  const { p50, p99 } = route;
  return html`
    <li class="route">
      <div class="what">
        <small>${route.service}</small>
        <h2>${route.name || "(no name)"}</h2>
        <p>
          ${route.calls ? count(Math.round(route.calls), "request") : `${count(route.seen, "trace")} that were kept, which are no sample of the traffic`}${route.failed > 0 &&
          html`, <b class="failed">${percent(route.failed / route.calls)} failed</b>`}
        </p>
        ${p50 && p50.trace_id !== p99.trace_id && html`<a class="quiet" href=${link(`/compare/${p50.trace_id}/${p99.trace_id}`)}>Compare usual with slow</a>`}
      </div>
      <${Histogram} route=${route} range=${range} />
      <dl class="numbers">
        ${["p50", "p95", "p99"].map((name) => html`<div key=${name}><dt>${name}</dt><dd>${route[name] ? html`<a href=${traceOf(route[name])} data-line>${milliseconds(route[name].ms)}</a>` : "–"}</dd></div>`)}
      </dl>
    </li>
  `;
}

/** The address of a call's trace, at its span. */
export function traceOf(call) {
  return link(`/trace/${call.trace_id}?span=${call.span_id}`);
}
