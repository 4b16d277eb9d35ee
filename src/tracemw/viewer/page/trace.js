// One trace as a waterfall: a tree of spans beside a time axis. Only the rows in sight are drawn.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { fetchStatus, fetchTrace } from "./api.js";
import { count, dateTime, duration, serviceColours } from "./format.js";
import { readTrace, visibleRows } from "./model.js";
import { SpanPanel } from "./span.js";

const ROW = 30; // pixels, the same as --row in style.css
const SPARE = 12; // rows that are drawn beyond each edge, so that scrolling shows no gap
const TICKS = 4;
const LATE_MILLISECONDS = 2000; // from one look at a trace to the next, while some of its spans have not arrived
const LATE_LOOKS = 15;

export function TraceView({ traceId }) {
  const { trace, known, error, loading, reload } = useTrace(traceId);
  const [selectedId, setSelectedId] = useState(location.hash.slice(1) || null); // a link may lead to a span
  useEffect(() => {
    history.replaceState(null, "", selectedId ? `#${selectedId}` : location.pathname + location.search);
  }, [selectedId]);
  useEffect(() => {
    document.title = `${trace?.root.name ?? traceId} · tracemw viewer`;
  }, [trace, traceId]);
  const selected = trace?.spans.find((span) => span.id === selectedId);
  const colours = useMemo(() => serviceColours(new Set([...(known ?? []), ...(trace?.services.keys() ?? [])])), [known, trace]);

  return html`
    <header class="bar">
      <a class="brand" href="/"><img src="/page/icon.svg" alt="" width="22" height="22" />tracemw <span>viewer</span></a>
      <nav aria-label="Place"><a href="/">Traces</a> <span aria-hidden="true">/</span> <code>${traceId}</code></nav>
      <div class="actions">
        <${CopyButton} text=${traceId} label="Copy trace id" />
        <button type="button" onClick=${reload}>Refresh</button>
      </div>
    </header>
    <main class=${`trace ${selected ? "split" : ""}`}>
      ${error && html`<p class="problem" role="alert">${error}</p>`}
      ${!trace && !error && html`<${Missing} loading=${loading} traceId=${traceId} />`}
      ${trace &&
      html`
        <section class="view" aria-label="Waterfall">
          <${Heading} trace=${trace} colours=${colours} />
          <${Waterfall} trace=${trace} colours=${colours} selectedId=${selectedId} select=${setSelectedId} />
        </section>
      `}
      ${selected &&
      html`<${SpanPanel} span=${selected} trace=${trace} colour=${colours.get(selected.service)} close=${() => setSelectedId(null)} />`}
    </main>
  `;
}

/** A trace, and the services that the viewer knows. While spans of the trace are missing, it is loaded again. */
function useTrace(traceId) {
  const [state, setState] = useState({ loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    let looks = 0;
    const load = async () => {
      try {
        const [found, status] = await Promise.all([fetchTrace(traceId, abort.signal), fetchStatus(abort.signal)]);
        const trace = readTrace(found);
        looks += 1;
        const late = (!trace || trace.roots.some((span) => span.orphan)) && looks < LATE_LOOKS;
        setState({ trace, known: status.services, loading: late });
        if (late) timer = setTimeout(load, LATE_MILLISECONDS);
      } catch (error) {
        if (error.name !== "AbortError") setState((before) => ({ ...before, error: error.message, loading: false }));
      }
    };
    load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [traceId, round]);
  return { ...state, reload: () => setRound(round + 1) };
}

function Missing({ loading, traceId }) {
  return html`
    <div class="empty">
      <h2>${loading ? "Waiting for this trace" : "This trace is not here"}</h2>
      <p><code>${traceId}</code></p>
      <p>It has not arrived, it was not sampled, or it was old and made room for others (see <code>--max-spans</code> and <code>--max-bytes</code>).</p>
    </div>
  `;
}

function CopyButton({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" onClick=${copy} aria-live="polite">${done ? "Copied" : label}</button>`;
}

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers offer the clipboard only to secure contexts. An address in the local network is none.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function Heading({ trace, colours }) {
  return html`
    <div class="heading">
      <h1><b style=${{ color: colours.get(trace.root.service) }}>${trace.root.service}</b> ${trace.root.name}</h1>
      <dl class="facts">
        <div><dt>Start</dt><dd>${dateTime(trace.start)}</dd></div>
        <div><dt>Duration</dt><dd>${duration(trace.length)}</dd></div>
        <div><dt>Spans</dt><dd>${trace.spans.length.toLocaleString("en")}</dd></div>
        <div class=${trace.errors ? "failed" : ""}><dt>Errors</dt><dd>${trace.errors}</dd></div>
      </dl>
      <ul class="legend" aria-label="Services">
        ${[...trace.services].map(
          ([name, { spans, errors }]) => html`
            <li key=${name} class="chip">
              <span class="dot" style=${{ background: colours.get(name) }} aria-hidden="true"></span>${name}
              <small>${count(spans, "span")}${errors > 0 && html`, <b class="failed">${count(errors, "error")}</b>`}</small>
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

function Waterfall({ trace, colours, selectedId, select }) {
  const [collapsed, setCollapsed] = useState(new Set());
  const [activeId, setActiveId] = useState(trace.roots[0].id);
  const [view, setView] = useState({ top: 0, height: 800 });
  const scroller = useRef();
  const rows = useMemo(() => visibleRows(trace.roots, collapsed), [trace, collapsed]);
  const active = Math.max(0, rows.findIndex((row) => row.span.id === activeId));

  useLayoutEffect(() => {
    const measure = () => setView({ top: scroller.current.scrollTop, height: scroller.current.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);

  const toggle = (span, open = collapsed.has(span.id)) => {
    const next = new Set(collapsed);
    if (open) next.delete(span.id);
    else next.add(span.id);
    setCollapsed(next);
  };
  const activate = (index) => {
    const row = rows[Math.min(rows.length - 1, Math.max(0, index))];
    const place = rows.indexOf(row) * ROW;
    const element = scroller.current;
    if (place < element.scrollTop) element.scrollTop = place;
    if (place + ROW > element.scrollTop + element.clientHeight) element.scrollTop = place + ROW - element.clientHeight;
    setActiveId(row.span.id);
    if (selectedId) select(row.span.id);
  };
  const onKeyDown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { span, depth } = rows[active];
    const page = Math.max(1, Math.floor(view.height / ROW) - 1);
    const keys = {
      ArrowDown: () => activate(active + 1),
      ArrowUp: () => activate(active - 1),
      PageDown: () => activate(active + page),
      PageUp: () => activate(active - page),
      Home: () => activate(0),
      End: () => activate(rows.length - 1),
      ArrowRight: () => (collapsed.has(span.id) ? toggle(span, true) : span.children.length && activate(active + 1)),
      ArrowLeft: () => {
        if (span.children.length && !collapsed.has(span.id)) toggle(span, false);
        else if (depth) activate(rows.slice(0, active).findLastIndex((row) => row.depth < depth));
      },
      Enter: () => select(span.id),
      " ": () => select(span.id),
      Escape: () => select(null),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  };

  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + SPARE);
  return html`
    <div class="waterfall">
      <div class="axis">
        <div>
          ${trace.spans.some((span) => span.children.length) &&
          html`
            <button type="button" onClick=${() => setCollapsed(new Set())}>Expand all</button>
            <button type="button" onClick=${() => setCollapsed(withChildren(trace.spans))}>Collapse all</button>
          `}
        </div>
        <ol aria-hidden="true">
          ${Array.from({ length: TICKS + 1 }, (_, tick) => html`<li key=${tick} style=${{ left: `${(100 * tick) / TICKS}%` }}>${duration((trace.length * tick) / TICKS)}</li>`)}
        </ol>
      </div>
      <div
        class="rows"
        ref=${scroller}
        role="tree"
        tabindex="0"
        aria-label="Spans by start time; arrow keys move, Enter shows a span"
        aria-activedescendant=${`span-${rows[active].span.id}`}
        onKeyDown=${onKeyDown}
        onScroll=${(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
      >
        <div class="sheet" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
          ${rows.slice(first, Math.max(last, 0)).map(
            (row, index) => html`
              <${SpanRow}
                key=${row.span.id}
                row=${row}
                top=${(first + index) * ROW}
                length=${trace.length}
                colour=${colours.get(row.span.service)}
                open=${!collapsed.has(row.span.id)}
                active=${first + index === active}
                selected=${row.span.id === selectedId}
                toggle=${toggle}
                pick=${() => {
                  setActiveId(row.span.id);
                  select(row.span.id);
                }}
              />
            `,
          )}
          ${!(first <= active && active < last) && html`<span id=${`span-${rows[active].span.id}`} class="hidden"></span>`}
        </div>
      </div>
    </div>
  `;
}

function withChildren(spans) {
  return new Set(spans.filter((span) => span.children.length).map((span) => span.id));
}

function SpanRow({ row, top, length, colour, open, active, selected, toggle, pick }) {
  const { span, depth, place, siblings } = row;
  const left = length ? (100 * span.offset) / length : 0;
  const width = length ? (100 * span.duration) / length : 100;
  // The label goes where there is room: after the bar, else before it, else inside.
  const side = left + width < 82 ? "after" : left > 18 ? "before" : "inside";
  const label = { after: { left: `${left + width}%` }, before: { right: `${100 - left}%` }, inside: { right: `${Math.max(0, 100 - left - width)}%` } };
  return html`
    <div
      id=${`span-${span.id}`}
      class=${["row", span.error && "failed", active && "active", selected && "selected"].filter(Boolean).join(" ")}
      role="treeitem"
      aria-level=${depth + 1}
      aria-posinset=${place}
      aria-setsize=${siblings}
      aria-expanded=${span.children.length ? open : undefined}
      aria-selected=${selected}
      aria-label=${`${span.service} ${span.name}, ${duration(span.duration)}${span.error ? (span.source ? ", source of the error" : ", error") : ""}${span.orphan ? ", parent missing" : ""}`}
      style=${{ transform: `translateY(${top}px)`, "--service": colour }}
      onClick=${pick}
    >
      <div class="label" style=${{ paddingLeft: `${8 + Math.min(depth, 24) * 14}px` }}>
        ${span.children.length
          ? html`<button
              type="button"
              class=${`fold ${open ? "open" : ""}`}
              tabindex="-1"
              aria-hidden="true"
              title=${open ? "Collapse" : `Expand ${count(span.children.length, "child span")}`}
              onClick=${(event) => {
                event.stopPropagation();
                toggle(span);
              }}
            ></button>`
          : html`<span class="fold"></span>`}
        <span class="dot"></span>
        ${span.orphan && html`<span class="badge" title="Its parent span has not arrived">no parent</span>`}
        <b>${span.service}</b>
        <span class="name" title=${span.name}>${span.name || "(no name)"}</span>
        ${span.error && html`<span class=${`mark ${span.source ? "source" : ""}`} title=${span.source ? "The error's source: nothing below it failed" : "Error"}>${span.source ? "source" : "!"}</span>`}
      </div>
      <div class="lane">
        <span class="span" style=${{ left: `${left}%`, width: `${width}%` }}></span>
        <span class=${`took ${side}`} style=${label[side]}>${duration(span.duration)}</span>
      </div>
    </div>
  `;
}
