// What is wrong in the newest traces: each finding once, with how often it is there, what it costs, and one trace to look at.

import { html } from "./vendor/htm-preact.js";
import { change, link } from "./address.js";
import { CopyButton } from "./copying.js";
import { milliseconds, percent } from "./format.js";
import { inlined } from "./inlined.js";
import { SurveyPage } from "./survey.js";
import { Sentence, Severity } from "./verdict.js";

export function FindingsView({ address }) {
  const chosen = address.searchParams.get("code");
  return html`
    <${SurveyPage} title="Findings" hint="Send some traces, or widen the search." address=${address}>
      ${(survey) => {
        const codes = Map.groupBy(survey.findings, (finding) => finding.code);
        const shown = survey.findings.filter((finding) => !chosen || finding.code === chosen);
        return html`
          ${!survey.findings.length && html`<section class="verdict apart" aria-label="Verdict"><${Sentence} verdict=${survey.verdict} /></section>`}
          ${codes.size > 1 &&
          html`
            <div class="codes" role="group" aria-label="Kinds of findings">
              <button type="button" aria-pressed=${!chosen} onClick=${() => change({ code: "" })}>All <small>${survey.findings.length}</small></button>
              ${[...codes].map(
                ([code, findings]) => html`
                  <button key=${code} type="button" aria-pressed=${chosen === code} onClick=${() => change({ code })}>${code} <small>${findings.length}</small></button>
                `,
              )}
            </div>
          `}
          <ul class="groups" aria-label="Findings, worst first">
            ${shown.map((finding, index) => html`<${Group} key=${`${finding.code} ${finding.query} ${index}`} finding=${finding} survey=${survey} />`)}
          </ul>
        `;
      }}
    <//>
  `;
}

function Group({ finding, survey }) {
  return html`
    <li class=${`group ${finding.severity}`}>
      <${Severity} severity=${finding.severity} />
      <div class="what">
        <p><code class="code-name">${finding.code}</code> <small>${finding.service}</small></p>
        <h2><a href=${traceOf(finding)} data-line>${finding.title}</a></h2>
        <p class="remedy">${finding.remedy}</p>
        <p class="tools">
          ${finding.line && html`<${CopyButton} text=${finding.line} name="line of code" />`}
          <a class="quiet" href=${traceOf(finding)}>Open a trace that shows it</a>
          ${!inlined && html`<a class="quiet" href=${link(`/?${new URLSearchParams({ service: finding.service })}`)}>Traces of ${finding.service}</a>`}
          <${CopyButton} text=${finding.query} label="Copy query" name="a query for more of the same" />
        </p>
      </div>
      <dl class="numbers">
        <div><dt>Traces</dt><dd>${finding.traces ? `${finding.traces} of ${survey.traces}` : "over many"}</dd></div>
        ${finding.share > 0 && html`<div><dt>Of requests</dt><dd>${percent(finding.share)}</dd></div>`}
        ${finding.cost_in_all_ms > 0 && html`<div><dt>Cost in all</dt><dd>${milliseconds(finding.cost_in_all_ms)}</dd></div>`}
        ${finding.saving_ms >= 1 && html`<div><dt>Saves up to</dt><dd>${milliseconds(finding.saving_ms)}</dd></div>`}
      </dl>
    </li>
  `;
}

function traceOf(finding) {
  return link(`/trace/${finding.trace_id}?span=${finding.span_ids[0] ?? ""}`);
}
