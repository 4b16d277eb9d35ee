// One row of the waterfall: a span, the repeats for which a span stands, or an event.

import { html } from "./vendor/htm-preact.js";
import { count, duration } from "./format.js";
import { pieces, summaryOfRepeats } from "./rows.js";

const INDENT = 13; // pixels for each level
const DEEPEST = 24; // levels that are told apart
const WORDS = {
  "idle-gap": "waits, and nothing below runs",
  "pool-wait": "waits for a connection",
  "tracemw.loop.blocked": "blocks the event loop",
  "tracemw.loop.waited": "waits for a blocked event loop",
  "tracemw.pool.waited": "waits for a thread",
  "tracemw.gc.paused": "stopped by the garbage collector",
};
const MARKS = { "error-source": "source" }; // codes that have a shorter word

export function SpanRow({ row, top, trace, colour, open, active, chosen, faint, toggle, pick }) {
  const { span, depth, place, siblings } = row;
  const onPath = span.path !== undefined;
  const moved = !span.above || span.above.service !== span.service;
  return html`
    <div
      id=${`row-${span.id}`}
      class=${classes("row", span.failed && "failed", span.failed && span.marks.some(isSource) && "source", !onPath && "off", active && "active", chosen && "chosen", faint && "faint", span.proves.length && "proof")}
      role="treeitem"
      aria-level=${depth + 1}
      aria-posinset=${place}
      aria-setsize=${siblings}
      aria-expanded=${span.children.length ? open : undefined}
      aria-selected=${chosen}
      aria-label=${spoken(span)}
      style=${{ transform: `translateY(${top}px)`, "--service": colour }}
      onClick=${pick}
    >
      <div class="label" style=${indent(depth)}>
        <${Caret} shown=${span.children.length > 0} open=${open} title=${count(span.children.length, "child span")} toggle=${toggle} />
        <span class="dot"></span>
        ${span.orphan && html`<span class="badge" title="Its parent span has not arrived">no parent</span>`}
        ${moved && html`<b>${span.service}</b>`}
        <span class="name" title=${span.name === span.label ? span.name : `${span.label} (${span.name})`}>${span.label}</span>
        ${span.folded && html`<span class="badge" title=${`Stands for ${span.folded} spans that are alike, ${duration(span.busy)} in all`}>×${span.folded}</span>`}
        <${Marks} marks=${span.marks} failed=${span.failed} />
      </div>
      <span class="number">${duration(span.took)}</span>
      <span class="number own">${onPath ? duration(span.path) : ""}</span>
      <div class="lane">
        <span class="span" style=${stretch(span.start, span.took, trace.length)}></span>
        ${span.waits.map((wait, index) => html`<span key=${index} class="wait" style=${stretch(wait.start, wait.took, trace.length)} title=${`${duration(wait.took)}: ${WORDS[wait.why] ?? wait.why}`}></span>`)}
        ${span.notes?.map((note, index) => html`<span key=${index} class=${`tick ${toneOf(note)}`} style=${{ left: share(note.at, trace.length) }} title=${noteText(note)}></span>`)}
      </div>
    </div>
  `;
}

/** What is to be said of a span first, and how many more things. */
function Marks({ marks, failed }) {
  const [first, ...more] = marks;
  if (!first) return failed && html`<span class="mark" title="Failed">!</span>`;
  return html`
    <span class=${`mark ${first.severity}`} title=${first.title}>${MARKS[first.code] ?? first.code}</span>
    ${more.length > 0 && html`<span class="mark hint" title=${more.map((finding) => finding.code).join(", ")}>+${more.length}</span>`}
  `;
}

export function RepeatsRow({ row, top, trace, colour, open, active, faint, toggle, pick }) {
  const { span, depth } = row;
  const { many, took, path, marks, proof } = summaryOfRepeats(span);
  const hidden = open ? [] : marks;
  return html`
    <div
      id=${`row-${row.key}`}
      class=${classes("row repeats", span.failed && "failed", path === undefined && "off", active && "active", faint && "faint", proof && "proof")}
      role="treeitem"
      aria-level=${depth + 1}
      aria-expanded=${open}
      aria-label=${[`${many} more like ${span.label}`, `${duration(took)} in all`, path && `${duration(path)} on the critical path`, ...hidden.map((finding) => finding.code)].filter(Boolean).join(", ")}
      style=${{ transform: `translateY(${top}px)`, "--service": colour }}
      onClick=${pick}
    >
      <div class="label" style=${indent(depth)}>
        <${Caret} shown=${true} open=${open} title=${count(many, "span")} toggle=${toggle} />
        <span class="name"><b>${many.toLocaleString("en")}</b> more like it</span>
        <${Marks} marks=${hidden} />
      </div>
      <span class="number">${duration(took)}</span>
      <span class="number own">${path === undefined ? "" : duration(path)}</span>
      <div class="lane">
        ${pieces(span.repeats, trace.length).map(([start, end], index) => html`<span key=${index} class="span" style=${stretch(start, end - start, trace.length)}></span>`)}
      </div>
    </div>
  `;
}

export function NoteRow({ row, top, trace, active, faint, pick }) {
  const { note, depth } = row;
  return html`
    <div
      id=${`row-${row.key}`}
      class=${classes("row note", toneOf(note), active && "active", faint && "faint")}
      role="treeitem"
      aria-level=${depth + 1}
      aria-label=${`${noteText(note)}, after ${duration(Math.max(0, note.at))}`}
      style=${{ transform: `translateY(${top}px)` }}
      onClick=${pick}
    >
      <div class="label" style=${indent(depth)}>
        <${Caret} />
        <span class="badge">${note.level ?? shortName(note.name)}</span>
        <span class="name" title=${noteText(note)}>${[note.type, note.text, note.line && `at ${note.line}`].filter(Boolean).join(": ").replace(": at ", " at ")}</span>
      </div>
      <span class="number"></span>
      <span class="number own"></span>
      <div class="lane"><span class=${`tick ${toneOf(note)}`} style=${{ left: share(note.at, trace.length) }}></span></div>
    </div>
  `;
}

function Caret({ shown, open, title, toggle }) {
  if (!shown) return html`<span class="caret"></span>`;
  const onClick = (event) => {
    event.stopPropagation();
    toggle();
  };
  return html`<span class=${classes("caret", "shown", open && "open")} title=${open ? "Collapse" : `Expand ${title}`} onClick=${onClick}></span>`;
}

/** What a screen reader says of a span. */
function spoken(span) {
  return [
    `${span.service} ${span.label}`,
    duration(span.took),
    span.folded && `stands for ${span.folded} spans`,
    span.path !== undefined && `${duration(span.path)} on the critical path`,
    span.failed && (span.marks.some(isSource) ? "source of the error" : "error"),
    ...span.marks.filter((finding) => !isSource(finding)).map((finding) => finding.code),
    ...span.waits.map((wait) => `${duration(wait.took)} ${WORDS[wait.why] ?? wait.why}`),
    span.orphan && "parent missing",
  ]
    .filter(Boolean)
    .join(", ");
}

function isSource(finding) {
  return finding.code === "error-source";
}

function toneOf(note) {
  if (note.name === "exception" || /^(ERROR|CRITICAL|FATAL)$/.test(note.level)) return "bad";
  return note.level === "WARNING" || note.name.startsWith("tracemw.") ? "odd" : "plain";
}

function shortName(name) {
  return name.replace(/^tracemw\./, "") || "(no name)";
}

function noteText(note) {
  return [note.level ?? shortName(note.name), note.type, note.text, note.line].filter(Boolean).join(" · ");
}

function indent(depth) {
  return { paddingLeft: `calc(6px + ${Math.min(depth, DEEPEST)} * var(--indent, ${INDENT}px))` };
}

function share(time, length) {
  return `${length ? Math.min(100, Math.max(0, (100 * time) / length)) : 0}%`;
}

function stretch(start, took, length) {
  return { left: share(start, length), width: length ? `${(100 * took) / length}%` : "100%" };
}

function classes(...names) {
  return names.filter(Boolean).join(" ");
}
