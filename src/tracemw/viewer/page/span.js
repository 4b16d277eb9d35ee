// The panel with everything about one span.

import { html, useEffect } from "./vendor/htm-preact.js";
import { count, dateTime, duration } from "./format.js";

export function SpanPanel({ span, trace, colour, close }) {
  useEffect(() => {
    const onKeyDown = (event) => event.key === "Escape" && close();
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [close]);
  return html`
    <aside class="panel" aria-label="Span" style=${{ "--service": colour }}>
      <div class="title">
        <h2>
          <span class="from"><span class="dot" aria-hidden="true"></span>${span.service}</span>
          ${span.name || "(no name)"}
        </h2>
        <button type="button" class="close" aria-label="Close" title="Close (Esc)" onClick=${close}>×</button>
      </div>
      ${span.error &&
      html`<p class="failure"><b>Error</b>${span.message && html`<span>${span.message}</span>`}</p>`}
      <dl class="facts">
        <div><dt>Duration</dt><dd>${duration(span.duration)}</dd></div>
        <div><dt>Starts after</dt><dd>${duration(span.offset)}</dd></div>
        <div><dt>Kind</dt><dd>${span.kind}</dd></div>
        <div><dt>Status</dt><dd class=${span.error ? "failed" : ""}>${span.status}</dd></div>
      </dl>
      ${span.dropped.length > 0 &&
      html`<p class="note">Dropped by the service: ${span.dropped.map(([what, number]) => `${number} ${what}`).join(", ")}</p>`}
      <${Events} span=${span} />
      <${Section} title="Attributes" size=${span.attributes.length}><${Attributes} pairs=${span.attributes} /><//>
      <${Links} links=${span.links} />
      <${Section} title="Resource" size=${span.resource.length}><${Attributes} pairs=${span.resource} /><//>
      <${Section} title="Span" size=${1}>
        <${Attributes} pairs=${identity(span, trace)} />
      <//>
    </aside>
  `;
}

function identity(span, trace) {
  return [
    ["trace id", trace.traceId],
    ["span id", span.id],
    ["parent span id", span.parentId || "none"],
    ["start", dateTime(span.start)],
    ["scope", span.scope],
    ["trace state", span.traceState],
    ["status message", span.error ? "" : span.message],
  ].filter(([, value]) => value);
}

function Section({ title, size, children }) {
  if (!size) return null;
  return html`
    <details class="section" open>
      <summary><h3>${title}</h3></summary>
      ${children}
    </details>
  `;
}

function Attributes({ pairs }) {
  return html`
    <table class="attributes">
      <tbody>
        ${pairs.map(
          ([key, value], index) => html`
            <tr key=${index}>
              <th scope="row">${key}</th>
              <td class=${typeof value}>${text(value)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}

function Events({ span }) {
  return html`
    <${Section} title=${count(span.events.length, "event")} size=${span.events.length}>
      <ol class="events">
        ${span.events.map(
          (event, index) => html`
            <li key=${index} class=${event.name === "exception" ? "exception" : ""}>
              <p><b>${event.name || "(no name)"}</b><small>after ${duration(Math.max(0, event.offset))}</small></p>
              ${event.name === "exception" ? html`<${ExceptionEvent} event=${event} />` : html`<${Attributes} pairs=${event.attributes} />`}
            </li>
          `,
        )}
      </ol>
    <//>
  `;
}

/** An exception: first its type and message, then where it came from. */
function ExceptionEvent({ event }) {
  const attribute = Object.fromEntries(event.attributes);
  const rest = event.attributes.filter(([key]) => !/^exception\.(type|message|stacktrace)$/.test(key));
  return html`
    <p class="raised"><b>${text(attribute["exception.type"] ?? "")}</b> ${text(attribute["exception.message"] ?? "")}</p>
    ${attribute["exception.stacktrace"] &&
    html`<pre tabindex="0" aria-label="Stack trace">${text(attribute["exception.stacktrace"]).trim()}</pre>`}
    ${rest.length > 0 && html`<${Attributes} pairs=${rest} />`}
  `;
}

function Links({ links }) {
  return html`
    <${Section} title=${count(links.length, "link")} size=${links.length}>
      <ul class="links">
        ${links.map(
          (link, index) => html`
            <li key=${index}>
              <a href=${`/trace/${link.traceId}`}><code>${link.traceId}</code></a>
              <small>span <code>${link.spanId}</code></small>
              <${Attributes} pairs=${link.attributes} />
            </li>
          `,
        )}
      </ul>
    <//>
  `;
}

/** A value as text. A string stays as it is; everything else is like JSON, and 64-bit integers have all digits. */
function text(value) {
  if (typeof value === "string") return value;
  if (value === null) return "(empty)";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(quoted).join(", ")}]`;
  return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${quoted(item)}`).join(", ")}}`;
}

function quoted(value) {
  return typeof value === "string" ? JSON.stringify(value) : text(value);
}
