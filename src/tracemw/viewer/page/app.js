// The page shows one of a few views. The address decides which.

import { html, render, useLayoutEffect, useState } from "./vendor/htm-preact.js";
import { follow, go, here, link } from "./address.js";
import { CompareView } from "./compare.js";
import { FindingsView } from "./findings.js";
import { inlined } from "./inlined.js";
import { KeysDialog, useKeys } from "./keys.js";
import { TraceList } from "./list.js";
import { MapView } from "./map.js";
import { RoutesView } from "./routes.js";
import { TraceView } from "./trace.js";

const PLACES = [
  ["/", "Traces", TraceList],
  ["/findings", "Findings", FindingsView],
  ["/routes", "Routes", RoutesView],
  ["/map", "Map", MapView],
].filter(([path]) => !inlined || (inlined.survey && path !== "/"));

/** A part of an address, decoded. One that cannot be decoded stays as it is, and the viewer says what is wrong. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function App() {
  const [address, setAddress] = useState(here);
  const [keys, setKeys] = useState(false);
  useLayoutEffect(() => follow(() => setAddress(here())), []);
  useKeys({
    "?": () => setKeys(true),
    ...Object.fromEntries(PLACES.map(([path, name]) => [`g ${name[0].toLowerCase()}`, () => go(path)])),
  });
  const [, first, ...rest] = address.pathname.split("/").map(decoded);
  return html`
    <header class="bar">
      <a class="brand" href=${link(inlined ? inlined.start : "/")}><${Logo} />tracemw</a>
      <nav aria-label="Places">
        ${PLACES.map(([path, name]) => html`<a key=${path} href=${link(path)} aria-current=${isAt(path, address.pathname) ? "page" : undefined}>${name}</a>`)}
      </nav>
      <button type="button" class="help" aria-label="Keys" title="Keys (?)" onClick=${() => setKeys(true)}>?</button>
    </header>
    ${first === "trace"
      ? html`<${TraceView} key=${rest[0]} traceId=${rest[0].toLowerCase()} address=${address} />`
      : first === "compare"
        ? html`<${CompareView} key=${address.pathname} before=${rest[0]} after=${rest[1]} address=${address} />`
        : html`<${PLACES.find(([path]) => path === address.pathname)?.[2] ?? TraceList} address=${address} />`}
    ${keys && html`<${KeysDialog} close=${() => setKeys(false)} />`}
  `;
}

/** Traces belong to the list of traces, and comparisons to the routes. */
function isAt(path, pathname) {
  return path === pathname || (path === "/" && pathname.startsWith("/trace/"));
}

function Logo() {
  return html`
    <svg class="logo" viewBox="0 0 16 16" width="22" height="22" aria-hidden="true">
      <rect width="16" height="16" rx="4" />
      <path d="M3 4.5h7M5 8h8M7 11.5h4" />
    </svg>
  `;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
