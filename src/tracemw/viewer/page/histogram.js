// A histogram of lengths of time, on a logarithmic scale.

import { html } from "./vendor/htm-preact.js";
import { link } from "./address.js";
import { count, milliseconds } from "./format.js";

const WIDTH = 400;
const HEIGHT = 64;

export function Histogram({ route, range }) {
  const place = (ms) => (WIDTH * Math.log(Math.max(ms / range.low, 1))) / (Math.log(range.high / range.low) || 1);
  const calls = (bar) => bar.calls || bar.exemplars.length;
  const most = Math.max(...route.bars.map(calls));
  return html`
    <div class="histogram">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="group" aria-label=${`Histogram of ${route.service} ${route.name}`}>
        ${route.bars.map((bar) => {
          const [left, right] = [place(bar.low_ms), place(bar.high_ms)];
          const height = Math.max(3, (HEIGHT * calls(bar)) / most);
          const failed = bar.calls ? (height * bar.failed) / bar.calls : 0;
          const { trace_id, span_id } = bar.exemplars[0];
          const says = `${milliseconds(bar.low_ms)} to ${milliseconds(bar.high_ms)}: ${count(Math.round(calls(bar)), "request")}${bar.failed ? `, ${Math.round(bar.failed)} failed` : ""}`;
          return html`
            <a key=${bar.low_ms} href=${link(`/trace/${trace_id}?span=${span_id}`)} aria-label=${`${says}; open one`}>
              <title>${says}</title>
              <rect class="room" x=${left} width=${Math.max(right - left, 1)} y="0" height=${HEIGHT} />
              <rect class="bar" x=${left + 0.5} width=${Math.max(right - left - 1, 1)} y=${HEIGHT - height} height=${height} />
              ${failed > 0 && html`<rect class="bar bad" x=${left + 0.5} width=${Math.max(right - left - 1, 1)} y=${HEIGHT - failed} height=${failed} />`}
            </a>
          `;
        })}
        ${["p50", "p95", "p99"].map((name) => route[name] && html`<line key=${name} class=${name} x1=${place(route[name].ms)} x2=${place(route[name].ms)} y1="0" y2=${HEIGHT} />`)}
      </svg>
      <ol class="scale" aria-hidden="true">
        ${decades(range).map((ms) => html`<li key=${ms} style=${{ left: `${(100 * place(ms)) / WIDTH}%` }}>${milliseconds(ms)}</li>`)}
      </ol>
    </div>
  `;
}

/** The powers of ten within a range of milliseconds. */
function decades({ low, high }) {
  const found = [];
  for (let exponent = Math.ceil(Math.log10(low)); 10 ** exponent <= high; exponent++) found.push(10 ** exponent);
  return found;
}
