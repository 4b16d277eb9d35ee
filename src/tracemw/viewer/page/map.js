// The map of services: who calls whom, how often, how long it takes, and how much of it fails.

import { html } from "./vendor/htm-preact.js";
import { milliseconds, percent } from "./format.js";
import { layOut } from "./layers.js";
import { traceOf } from "./routes.js";
import { SurveyPage } from "./survey.js";

const BOX = { boxWidth: 150, boxHeight: 46, columnGap: 190, rowGap: 26, labelHeight: 24 };
const MARGIN = 16;
const KINDS = { service: "", database: "database", elsewhere: "sends no spans" };
const SILENT = "every call fails"; // nobody knows whether it would send spans

export function MapView({ address }) {
  return html`
    <${SurveyPage} title="Map" hint="The map shows calls between services, and of databases." address=${address}>
      ${(survey) =>
        survey.ways.length
          ? html`<${Drawing} ways=${survey.ways} /><${Calls} ways=${survey.ways} />`
          : html`<div class="empty"><h2>No calls between services</h2><p>These traces call nobody: no other service, and no database.</p></div>`}
    <//>
  `;
}

function Drawing({ ways }) {
  const drawn = layOut(ways, BOX);
  const most = Math.max(...ways.map((way) => way.calls || way.seen));
  const width = drawn.width + 2 * MARGIN;
  const around = drawn.ways.some(({ stops }) => stops.at(-1).x <= stops[0].x) ? 40 : 0;
  const height = drawn.height + 2 * MARGIN + around;
  return html`
    <div class="map" tabindex="0" role="region" aria-label="Map of services; the table below says the same">
      <svg viewBox=${`${-MARGIN} ${-MARGIN} ${width} ${height}`} width=${width} height=${height} aria-hidden="true">
        ${drawn.ways.map((way) => html`<${Way} key=${keyOf(way)} way=${way} most=${most} />`)}
        ${drawn.places.map((place) => html`<${Place} key=${place.key} place=${place} kind=${kindOf(place, ways)} />`)}
      </svg>
    </div>
  `;
}

function Way({ way, most }) {
  const share = way.calls ? way.failed / way.calls : 0;
  const thickness = 1.5 + 4 * Math.sqrt((way.calls || way.seen) / most);
  const [before, last] = way.stops.slice(-2);
  const back = last.x <= before.x; // a call to the left, or of itself, goes around below
  const label = [`${short(way.calls || way.seen)}×`, way.p95 && `p95 ${milliseconds(way.p95.ms)}`, share > 0 && `${percent(share)} fail`];
  return html`
    <g class=${`way ${share > 0 ? "bad" : ""}`}>
      <path d=${back ? pathBack(way) : pathForward(way)} stroke-width=${thickness} />
      <text x=${last.x - 7} y=${way.end - thickness / 2 - 3} text-anchor="end">${label.filter(Boolean).join(" · ")}</text>
    </g>
  `;
}

function pathForward({ stops, end }) {
  const path = [`M${stops[0].x + BOX.boxWidth},${stops[0].y}`];
  stops.slice(1).forEach((stop, index) => {
    const x1 = stops[index].x + BOX.boxWidth;
    const half = (stop.x - x1) / 2;
    const y = stop.isStop ? stop.y : end;
    path.push(`C${x1 + half * 0.8},${stops[index].y} ${stop.x - half * 1.2},${y} ${stop.x},${y}`);
    if (stop.isStop) path.push(`H${stop.x + BOX.boxWidth}`);
  });
  return path.join(" ");
}

function pathBack({ stops: [from, to], end }) {
  const low = Math.max(from.y + from.height / 2, to.y + to.height / 2) + 44;
  return `M${from.x + BOX.boxWidth},${from.y} C${from.x + BOX.boxWidth + 70},${low} ${to.x - 70},${low} ${to.x},${end}`;
}

function Place({ place, kind }) {
  const middle = BOX.boxWidth / 2;
  return html`
    <g class=${`place ${place.kind}`} transform=${`translate(${place.x} ${place.y})`}>
      <title>${place.name}</title>
      <rect y=${-place.height / 2} width=${BOX.boxWidth} height=${place.height} rx=${place.kind === "database" ? 20 : 9} />
      <text x=${middle} y=${kind ? -2 : 5} text-anchor="middle">${cut(place.name, 19)}</text>
      ${kind && html`<text x=${middle} y="14" text-anchor="middle" class="small">${kind}</text>`}
    </g>
  `;
}

function Calls({ ways }) {
  const sorted = [...ways].sort((one, other) => other.failed - one.failed || other.calls - one.calls);
  return html`
    <div class="sheet-of-rows">
      <table class="traces calls">
        <caption class="hidden">Calls between services</caption>
        <thead>
          <tr>
            <th scope="col">Caller</th>
            <th scope="col">Called</th>
            <th scope="col" class="number">Calls</th>
            <th scope="col" class="number">Failed</th>
            <th scope="col" class="number">p50</th>
            <th scope="col" class="number">p95</th>
            <th scope="col" class="number">p99</th>
          </tr>
        </thead>
        <tbody>
          ${sorted.map(
            (way) => html`
              <tr key=${keyOf(way)}>
                <td>${way.caller.name}</td>
                <td>${way.called.name}${kindOf(way.called, ways) && html` <small>${kindOf(way.called, ways)}</small>`}</td>
                <td class="number">${Math.round(way.calls || way.seen).toLocaleString("en")}</td>
                <td class=${`number ${way.failed ? "failed" : ""}`}>${way.calls && way.failed ? percent(way.failed / way.calls) : "–"}</td>
                ${["p50", "p95", "p99"].map((name) => html`<td key=${name} class="number">${way[name] ? html`<a href=${traceOf(way[name])} data-line>${milliseconds(way[name].ms)}</a>` : "–"}</td>`)}
              </tr>
            `,
          )}
        </tbody>
      </table>
    </div>
  `;
}

/** What a place is, in words; of a service that sends spans, nothing. */
function kindOf({ kind, name }, ways) {
  const calls = ways.filter((way) => way.called.kind === kind && way.called.name === name);
  const fails = calls.length > 0 && calls.every((way) => way.calls && way.failed >= way.calls);
  return kind === "elsewhere" && fails ? SILENT : KINDS[kind];
}

function keyOf(way) {
  return `${way.caller.kind} ${way.caller.name} ${way.called.kind} ${way.called.name}`;
}

function short(number) {
  return number >= 1000 ? `${Number((number / 1000).toPrecision(3))}k` : String(Math.round(number));
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
