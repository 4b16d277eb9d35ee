// What is said of many traces, as the pages that show a part of it share it.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { change } from "./address.js";
import { Filters } from "./filter-form.js";
import { listQuery } from "./filters.js";
import { inlined } from "./inlined.js";
import { useListKeys } from "./keys.js";
import { useAnswer } from "./loading.js";
import { source } from "./source.js";

const LOOK_MILLISECONDS = 5000;

/** A page over many traces: its title, the filters, and what `children(survey)` makes of the survey. */
export function SurveyPage({ title, hint, address, children }) {
  const filters = Object.fromEntries(address.searchParams);
  const query = listQuery(filters, "200");
  const { data, error, loading } = useAnswer((known, signal) => source.survey(query, known, signal), [query], LOOK_MILLISECONDS);
  const status = useAnswer((_, signal) => source.status?.(signal) ?? null, []).data;
  const main = useRef();
  useListKeys(main);
  useEffect(() => {
    document.title = `${title} · tracemw`;
  }, [title]);
  return html`
    <main class="list" ref=${main}>
      <div class="top">
        <h1>${title}</h1>
        <p class="totals" role="status">${data && `${inlined ? "" : "the newest "}${data.traces.toLocaleString("en")} traces${data.complete === false ? "; more would take too long: narrow the search" : ""}`}</p>
      </div>
      ${!inlined && html`<${Filters} filters=${filters} services=${status?.services} change=${change} limits=${["50", "200", "500", "1000"]} usual="200" />`}
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      ${loading && !data && html`<p class="note" role="status">Looking at the traces …</p>`}
      ${data && (data.traces ? children(data) : html`<div class="empty"><h2>No trace passes these filters</h2><p>${hint}</p></div>`)}
    </main>
  `;
}
