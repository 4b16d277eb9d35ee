// What analysis says of a trace, in words: the verdict, and the findings that lead to their spans.

import { html, useState } from "./vendor/htm-preact.js";
import { CopyButton } from "./copying.js";
import { milliseconds } from "./format.js";

const SHOWN = 3; // findings beside the first one

export function Verdict({ trace, chosenId, choose }) {
  const [all, setAll] = useState(false);
  const [first, ...others] = trace.findings;
  const rest = trace.cause ? others : trace.findings;
  const shown = all ? rest : rest.slice(0, SHOWN);
  return html`
    <section class="verdict" aria-label="Verdict">
      <${Sentence} verdict=${trace.verdict} finding=${trace.cause ? first : null} choose=${choose} />
      ${shown.length > 0 &&
      html`
        <ul class="findings" aria-label="Further findings">
          ${shown.map((finding, index) => html`<${FindingRow} key=${index} finding=${finding} chosen=${finding.span_ids[0] === chosenId} choose=${choose} />`)}
        </ul>
      `}
      ${rest.length > SHOWN &&
      html`<button type="button" class="quiet" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "Show fewer" : `${rest.length - SHOWN} more`}</button>`}
    </section>
  `;
}

/** A verdict: what is wrong stands out, and what to do follows. `choose` takes the id of the span that proves it. */
export function Sentence({ verdict, finding, choose }) {
  if (!finding) {
    return html`<div class="sentence fine"><${Severity} severity="fine" /><p>${verdict.replace(/^n/, "N")}</p></div>`;
  }
  const end = verdict.indexOf("; ", finding.title.length);
  const cause = verdict.startsWith(finding.title) && end > 0 ? verdict.slice(0, end) : "";
  return html`
    <div class=${`sentence ${finding.severity}`}>
      <${Severity} severity=${finding.severity} />
      <div>
        <p><b class="cause">${cause}</b><span class="remedy">${verdict.slice(cause.length).replace(/^; /, "")}</span></p>
        <p class="tools">
          <code class="code-name">${finding.code}</code>
          ${finding.line && html`<${CopyButton} text=${finding.line} name="line of code" />`}
          ${choose && html`<button type="button" class="quiet" onClick=${() => choose(finding.span_ids[0])}>Show the span</button>`}
        </p>
      </div>
    </div>
  `;
}

function FindingRow({ finding, chosen, choose }) {
  return html`
    <li>
      <button type="button" class="finding" aria-pressed=${chosen} title=${finding.title} onClick=${() => choose(finding.span_ids[0])}>
        <${Severity} severity=${finding.severity} />
        <code class="code-name">${finding.code}</code>
        <span class="title">${finding.title}</span>
        ${finding.cost_ms > 0 && html`<span class="cost">${milliseconds(finding.cost_ms)}</span>`}
      </button>
    </li>
  `;
}

const SIGNS = { error: "✕", warning: "!", hint: "i", fine: "✓" };

/** How bad it is, by sign, shape and colour. */
export function Severity({ severity }) {
  return html`<span class=${`severity ${severity}`} role="img" aria-label=${severity === "fine" ? "Nothing is wrong" : severity}>${SIGNS[severity]}</span>`;
}
