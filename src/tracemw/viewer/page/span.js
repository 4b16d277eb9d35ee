// The panel with everything about one span.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { link } from "./address.js";
import { CopyButton } from "./copying.js";
import { readDetails, valueText } from "./details.js";
import { count, dateTime, duration, milliseconds } from "./format.js";
import { useAnswer } from "./loading.js";
import { source } from "./source.js";
import { Severity } from "./verdict.js";

export function SpanPanel({ span, trace, colour, close }) {
  const { data, error, loading } = useAnswer((_, signal) => source.span(trace.traceId, span.id, signal), [trace, span.id]);
  const details = data && readDetails(data);
  const attribute = Object.fromEntries(details?.attributes ?? []);
  const message = details?.message;
  return html`
    <aside class="panel" aria-label="Span" style=${{ "--service": colour }} aria-busy=${loading}>
      <div class="title">
        <h2>
          <span class="from"><span class="dot" aria-hidden="true"></span>${span.service}</span>
          ${span.label}
        </h2>
        <button type="button" class="close" aria-label="Close" title="Close (Esc)" onClick=${close}>×</button>
      </div>
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      ${span.failed && html`<p class="failure"><b>Error</b>${message && html`<span>${message}</span>`}</p>`}
      ${span.marks.map((finding, index) => html`<${Said} key=${index} finding=${finding} open=${index === 0} />`)}
      <dl class="facts">
        <div><dt>Duration</dt><dd>${duration(span.took)}</dd></div>
        <div><dt>Starts after</dt><dd>${duration(span.start)}</dd></div>
        <div><dt>On the critical path</dt><dd>${span.path === undefined ? "no" : duration(span.path)}</dd></div>
        <div><dt>Kind</dt><dd>${details?.kind ?? span.kind}</dd></div>
        <div><dt>Status</dt><dd class=${span.failed ? "failed" : ""}>${details?.status ?? ""}</dd></div>
        ${span.folded && html`<div><dt>Stands for</dt><dd>${count(span.folded, "span")}, ${duration(span.busy)}</dd></div>`}
      </dl>
      ${span.skew !== undefined && html`<p class="note">The clock of ${span.service} is ${duration(Math.abs(span.skew))} ${span.skew > 0 ? "behind" : "ahead"}; the page has put that right.</p>`}
      <${CodeLine} attribute=${attribute} line=${span.line} />
      ${data === null && html`<p class="note">There are no further details of this span here.</p>`}
      ${details?.dropped.length > 0 && html`<p class="note">Dropped by the service: ${details.dropped.map(([what, number]) => `${number} ${what}`).join(", ")}</p>`}
      ${details &&
      html`
        <${Events} events=${details.events} />
        <${Section} title="Attributes" size=${details.attributes.length}><${Attributes} pairs=${details.attributes} /><//>
        <${Links} links=${details.links} />
        <${Section} title="Resource" size=${details.resource.length}><${Attributes} pairs=${details.resource} /><//>
        <${Section} title="Span" size=${1}><${Attributes} pairs=${identity(span, trace, details)} /><//>
      `}
    </aside>
  `;
}

/** What a finding says of the span that proves it. */
function Said({ finding, open }) {
  const saving = finding.saving_ms >= 1 ? ` Saves up to ${milliseconds(finding.saving_ms)}.` : "";
  return html`
    <details class=${`said ${finding.severity}`} open=${open}>
      <summary><${Severity} severity=${finding.severity} /> <b>${finding.title}</b></summary>
      <p>${sentence(finding.remedy)}${saving}</p>
      <p class="tools"><${CopyButton} text=${finding.query} label="Copy a query for more of the same" /></p>
    </details>
  `;
}

function sentence(text) {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** Where in the code the span is: to copy into an editor. */
function CodeLine({ attribute, line }) {
  const file = attribute["code.file.path"] ?? attribute["code.filepath"];
  if (!file && !line) return null;
  const number = attribute["code.line.number"] ?? attribute["code.lineno"];
  return html`<p class="code-line"><span>Code</span><${CopyButton} text=${file ? `${file}${number === undefined ? "" : `:${number}`}` : line} name="line of code" /></p>`;
}

function identity(span, trace, details) {
  return [
    ["trace id", trace.traceId],
    ["span id", span.id],
    ["parent span id", span.parent || "none"],
    ["start", dateTime(details.start)],
    ["scope", details.scope],
    ["trace state", details.traceState],
    ["status message", span.failed ? "" : details.message],
    ["name", span.name === span.label ? "" : span.name],
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
              <td class=${typeof value}>${valueText(value)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}

function Events({ events }) {
  return html`
    <${Section} title=${count(events.length, "event")} size=${events.length}>
      <ol class="events">
        ${events.map((event, index) => html`<${EventItem} key=${index} event=${event} />`)}
      </ol>
    <//>
  `;
}

const TOLD = /^(exception\.(type|message|stacktrace)|log\.(level|message)|code\.(stacktrace|file\.path|line\.number|function\.name))$/;

/** An event: what was said, then where, then the rest. */
function EventItem({ event }) {
  const attribute = Object.fromEntries(event.attributes);
  const said = [attribute["log.message"], [attribute["exception.type"], attribute["exception.message"]].filter(Boolean).join(": ")].filter(Boolean);
  const stack = attribute["exception.stacktrace"] ?? attribute["code.stacktrace"];
  const rest = event.attributes.filter(([key]) => !TOLD.test(key));
  const bad = event.name === "exception" || attribute["log.level"] === "ERROR" || attribute["log.level"] === "CRITICAL";
  return html`
    <li class=${bad ? "exception" : ""}>
      <p><b>${attribute["log.level"] ?? (event.name || "(no name)")}</b><small>after ${duration(Math.max(0, event.offset))}</small></p>
      ${said.map((text, index) => html`<p key=${index} class="raised">${valueText(text)}</p>`)}
      <${CodeLine} attribute=${attribute} />
      ${stack && html`<${Stack} text=${valueText(stack).trim()} />`}
      ${rest.length > 0 && html`<${Attributes} pairs=${rest} />`}
    </li>
  `;
}

/** A stack. Lines of the application's own code begin with ">", and stand out. */
function Stack({ text }) {
  const element = useRef();
  useEffect(() => {
    element.current.scrollTop = element.current.scrollHeight; // the most recent call comes last
  }, [text]);
  return html`
    <pre tabindex="0" role="group" aria-label="Stack trace" ref=${element}>${text
        .split("\n")
        .map((line) => (line.startsWith(">") ? html`<b>${line}\n</b>` : `${line}\n`))}</pre>
  `;
}

function Links({ links }) {
  return html`
    <${Section} title=${count(links.length, "link")} size=${links.length}>
      <ul class="links">
        ${links.map(
          (each, index) => html`
            <li key=${index}>
              <a href=${link(`/trace/${each.traceId}`)}><code>${each.traceId}</code></a>
              <small>span <code>${each.spanId}</code></small>
              <${Attributes} pairs=${each.attributes} />
            </li>
          `,
        )}
      </ul>
    <//>
  `;
}
