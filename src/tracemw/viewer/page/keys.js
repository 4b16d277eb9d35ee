// Keys that work wherever the focus is, and the list of all keys.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";

const KEYS = [
  ["Everywhere", [
    ["?", "Show these keys"],
    ["g t", "Go to traces"],
    ["g f", "Go to findings"],
    ["g r", "Go to routes"],
    ["g m", "Go to the map"],
    ["/", "Search"],
  ]],
  ["Lists", [
    ["j, k", "Next and previous line"],
    ["Enter", "Open the line"],
  ]],
  ["One trace", [
    ["n, p", "Next and previous finding"],
    ["e", "Show logs and events as rows"],
    ["Esc", "Close the span"],
  ]],
  ["Spans, when the tree has the focus", [
    ["↑ ↓, j, k", "Next and previous row"],
    ["→ ←", "Open and fold; to the parent"],
    ["Page Up, Page Down, Home, End", "Further"],
    ["Enter", "Show the span"],
  ]],
];

/** Bind keys, such as `n`, or `g f` for one after the other, while the component is there. */
export function useKeys(bindings) {
  const current = useRef();
  current.current = bindings;
  useEffect(() => {
    let before = "";
    const onKeyDown = (event) => {
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
      const typing = event.target.closest?.("input, select, textarea");
      if (typing) {
        if (event.key === "Escape") typing.blur();
        return;
      }
      if (document.querySelector("dialog[open]")) return;
      const bound = current.current[`${before} ${event.key}`] ?? current.current[event.key];
      before = event.key === "g" ? "g" : "";
      if (!bound) return;
      event.preventDefault();
      bound();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}

/** Keys that move the focus from line to line among the links of a list. */
export function useListKeys(container) {
  const move = (step) => {
    const links = [...container.current.querySelectorAll("[data-line]")];
    const place = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, place + step))]?.focus();
  };
  useKeys({ j: () => move(1), k: () => move(-1), "/": () => document.getElementById("search")?.focus() });
}

/** The list of keys, which `?` opens. */
export function KeysDialog({ close }) {
  const dialog = useRef();
  useEffect(() => dialog.current.showModal(), []);
  return html`
    <dialog ref=${dialog} class="keys" aria-labelledby="keys-title" onClose=${close} onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
      <form method="dialog"><h2 id="keys-title">Keys</h2><button class="close" aria-label="Close">×</button></form>
      ${KEYS.map(
        ([where, keys]) => html`
          <section key=${where}>
            <h3>${where}</h3>
            <dl>
              ${keys.map(([key, does]) => html`<div key=${key}><dt>${key.split(", ").map((each) => html`<kbd key=${each}>${each}</kbd> `)}</dt><dd>${does}</dd></div>`)}
            </dl>
          </section>
        `,
      )}
    </dialog>
  `;
}
