// The spans of a trace as a tree beside a time axis. Only the rows in sight are drawn.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { change } from "./address.js";
import { count, duration } from "./format.js";
import { NoteRow, RepeatsRow, SpanRow } from "./row.js";
import { visibleRows, wayTo } from "./rows.js";

const ROW = 28; // pixels, the same as --row in base.css
const SPARE = 8; // rows that are drawn beyond each edge, so that scrolling shows no gap
const STEP = 4; // rows by which the drawn ones move on
const TICKS = 4;

export function Waterfall({ trace, colours, chosenId, choose, matches, notes, find }) {
  const [collapsed, setCollapsed] = useState(new Set());
  const [opened, setOpened] = useState(new Set());
  const [activeKey, setActiveKey] = useState(trace.roots[0].id);
  const [view, setView] = useState({ top: 0, height: 800 });
  const scroller = useRef();
  const rows = useMemo(() => visibleRows(trace.roots, { collapsed, opened, notes }), [trace, collapsed, opened, notes]);
  const places = useMemo(() => new Map(rows.map((row, index) => [row.key, index])), [rows]);
  const active = places.get(activeKey) ?? 0;
  const repeats = useMemo(() => trace.spans.filter((span) => span.repeats.length).map((span) => span.id), [trace]);

  useLayoutEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);

  const measure = () => {
    const { scrollTop, clientHeight } = scroller.current;
    const top = Math.floor(scrollTop / ROW / STEP) * STEP * ROW;
    setView((before) => (before.top === top && before.height === clientHeight ? before : { top, height: clientHeight }));
  };

  // Whoever chooses a span wants to see it, wherever it is hidden.
  useEffect(() => {
    const span = trace.byId.get(chosenId);
    if (!span) return;
    const { above, firsts } = wayTo(span);
    if (above.some((id) => collapsed.has(id))) setCollapsed(without(collapsed, above));
    if (firsts.some((id) => !opened.has(id))) setOpened(new Set([...opened, ...firsts]));
    setActiveKey(span.id);
  }, [chosenId, trace]);
  useLayoutEffect(() => {
    if (chosenId && places.has(chosenId)) bringIntoSight(places.get(chosenId));
  }, [chosenId, places]);

  const bringIntoSight = (index) => {
    const element = scroller.current;
    const top = index * ROW;
    if (top < element.scrollTop || top + ROW > element.scrollTop + element.clientHeight) {
      element.scrollTop = top < element.scrollTop ? top - ROW : top + 2 * ROW - element.clientHeight;
    }
  };
  const toggle = (row) => {
    if (row.kind === "repeats") setOpened(toggled(opened, row.span.id));
    else setCollapsed(toggled(collapsed, row.span.id));
  };
  const isOpen = (row) => (row.kind === "repeats" ? opened.has(row.span.id) : !collapsed.has(row.span.id));
  const canOpen = (row) => row.kind === "repeats" || (row.kind === "span" && row.span.children.length > 0);
  const activate = (index) => {
    const place = Math.min(rows.length - 1, Math.max(0, index));
    bringIntoSight(place);
    setActiveKey(rows[place].key);
    if (chosenId && rows[place].kind === "span") choose(rows[place].span.id);
  };
  const nextMatch = (step) => {
    const all = trace.spans.filter((span) => matches?.has(span.id));
    if (all.length) choose(all.at((all.findIndex((span) => span.id === chosenId) + step) % all.length).id);
  };
  const pick = (row) => {
    setActiveKey(row.key);
    if (row.kind === "repeats") toggle(row);
    else choose(row.span.id);
  };
  const onKeyDown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = rows[active];
    const page = Math.max(1, Math.floor(view.height / ROW) - 1);
    const keys = {
      ArrowDown: () => activate(active + 1),
      ArrowUp: () => activate(active - 1),
      j: () => activate(active + 1),
      k: () => activate(active - 1),
      PageDown: () => activate(active + page),
      PageUp: () => activate(active - page),
      Home: () => activate(0),
      End: () => activate(rows.length - 1),
      ArrowRight: () => canOpen(row) && (isOpen(row) ? activate(active + 1) : toggle(row)),
      ArrowLeft: () => {
        if (canOpen(row) && isOpen(row)) toggle(row);
        else if (row.depth) activate(rows.slice(0, active).findLastIndex((each) => each.depth < row.depth));
      },
      Enter: () => pick(row),
      " ": () => pick(row),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  };

  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + STEP + SPARE);
  return html`
    <div class="waterfall">
      <div class="tools" role="toolbar" aria-label="Spans">
        <label class="find">
          <span class="hidden">Find spans</span>
          <input
            id="find"
            type="search"
            value=${find}
            placeholder="Find in names and attributes"
            spellcheck="false"
            onInput=${(event) => change({ find: event.target.value })}
            onKeyDown=${(event) => event.key === "Enter" && nextMatch(event.shiftKey ? -1 : 1)}
          />
        </label>
        <span class="found" role="status">${matches && `${matches.size.toLocaleString("en")} of ${count(trace.spans.length, "span")}`}</span>
        ${repeats.length > 0 &&
        html`<button type="button" aria-pressed=${opened.size === 0} onClick=${() => setOpened(opened.size ? new Set() : new Set(repeats))}>Repeats folded</button>`}
        ${trace.told > 0 &&
        html`<button type="button" aria-pressed=${notes} title="Logs, stacks and exceptions as rows (e)" onClick=${() => change({ logs: notes ? "" : "1" })}>Logs and events <small>${trace.told}</small></button>`}
        <button type="button" onClick=${() => setCollapsed(new Set())}>Expand all</button>
        <button type="button" onClick=${() => setCollapsed(withChildren(trace.spans))}>Collapse all</button>
      </div>
      <div class="axis" aria-hidden="true">
        <span>Span</span>
        <span class="number">Duration</span>
        <span class="number own" title="Own time on the critical path">On path</span>
        <ol>
          ${Array.from({ length: TICKS + 1 }, (_, tick) => html`<li key=${tick} style=${{ left: `${(100 * tick) / TICKS}%` }}>${duration((trace.length * tick) / TICKS)}</li>`)}
        </ol>
      </div>
      <div
        class="rows"
        ref=${scroller}
        role="tree"
        tabindex="0"
        aria-label="Spans by start time; arrow keys move, Enter shows a span"
        aria-activedescendant=${`row-${rows[active].key}`}
        onKeyDown=${onKeyDown}
        onScroll=${measure}
      >
        <div class="sheet" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
          ${rows.slice(first, Math.max(last, 0)).map((row, index) => {
            const Row = { span: SpanRow, repeats: RepeatsRow, note: NoteRow }[row.kind];
            return html`
              <${Row}
                key=${row.key}
                row=${row}
                top=${(first + index) * ROW}
                trace=${trace}
                colour=${colours.get(row.span.service)}
                open=${isOpen(row)}
                active=${first + index === active}
                chosen=${row.kind === "span" && row.span.id === chosenId}
                faint=${matches !== null && !matches.has(row.span.id)}
                toggle=${() => toggle(row)}
                pick=${() => pick(row)}
              />
            `;
          })}
          ${!(first <= active && active < last) && html`<span id=${`row-${rows[active].key}`} role="treeitem" class="hidden"></span>`}
        </div>
      </div>
    </div>
  `;
}

function withChildren(spans) {
  return new Set(spans.filter((span) => span.children.length).map((span) => span.id));
}

function toggled(set, item) {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}

function without(set, items) {
  const next = new Set(set);
  for (const item of items) next.delete(item);
  return next;
}
