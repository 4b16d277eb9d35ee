// The page shows the list or one trace. The address decides which.

import { html, render, useLayoutEffect, useState } from "./vendor/htm-preact.js";
import { TraceList } from "./list.js";
import { TraceView } from "./trace.js";

/** Go to another address of the page; nothing is loaded anew. */
export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}

// A plain click on a link of the page stays in the page. With a modifier key the browser does what it always does.
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});

/** A part of an address, decoded. One that cannot be decoded stays as it is, and the viewer says what is wrong. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function App() {
  const [address, setAddress] = useState(location.pathname + location.search);
  useLayoutEffect(() => {
    const follow = () => setAddress(location.pathname + location.search);
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  const url = new URL(address, location.origin);
  const traceId = /^\/trace\/([^/]+)\/?$/.exec(url.pathname)?.[1];
  return traceId
    ? html`<${TraceView} key=${traceId} traceId=${decoded(traceId).toLowerCase()} />`
    : html`<${TraceList} address=${url} go=${go} />`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
