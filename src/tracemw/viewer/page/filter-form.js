// The filters of a list or a survey.

import { html } from "./vendor/htm-preact.js";
import { useAnswer } from "./loading.js";
import { source } from "./source.js";

/** `change({ name: value })` takes a filter that was set; `usual` is the limit when none is set. */
export function Filters({ filters, services = [], change, limits, usual }) {
  const names = useAnswer((_, signal) => source.attributeNames(signal), []).data ?? [];
  const onText = (name) => (event) => change({ [name]: event.target.value });
  const sorted = [...services].sort();
  const known = filters.service && !sorted.includes(filters.service) ? [filters.service, ...sorted] : sorted;
  return html`
    <form class="filters" role="search" aria-label="Filter traces" onSubmit=${(event) => event.preventDefault()}>
      <label class="wide">
        <span>Search</span>
        <input
          id="search"
          type="search"
          list="attribute-names"
          value=${filters.text ?? ""}
          onInput=${onText("text")}
          placeholder=${'trace id, span name, http.route="/a", { status = error }'}
          spellcheck="false"
          autocomplete="off"
        />
        <datalist id="attribute-names">${names.map((name) => html`<option key=${name} value=${`${name}=`}></option>`)}</datalist>
      </label>
      <label>
        <span>Service</span>
        <select value=${filters.service ?? ""} onChange=${onText("service")}>
          <option value="">All services</option>
          ${known.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <label class="short">
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
        <span>Newest</span>
        <select value=${filters.limit ?? usual} onChange=${onText("limit")}>
          ${limits.map((limit) => html`<option key=${limit} value=${limit}>${limit}</option>`)}
        </select>
      </label>
    </form>
  `;
}
