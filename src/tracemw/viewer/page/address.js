// Where the page is: each state has an address. A page that is one file keeps the address behind its "#".

import { inlined } from "./inlined.js";

/** The address, as a URL of which path and parameters count. */
export function here() {
  const text = inlined ? location.hash.slice(1) || inlined.start : location.pathname + location.search;
  return new URL(text, "http://page");
}

/** What leads to an address, for `href`. */
export function link(address) {
  return inlined ? `#${address}` : address;
}

/** Go to another address of the page; nothing is loaded anew. */
export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", link(address));
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Stay, with other parameters. A parameter without a value goes. */
export function change(parameters) {
  const { pathname, searchParams } = here();
  for (const [name, value] of Object.entries(parameters)) {
    if (value) searchParams.set(name, value);
    else searchParams.delete(name);
  }
  go(`${pathname}${searchParams.size ? `?${searchParams}` : ""}`, { replace: true });
}

/** Call back whenever the address has changed; returns what ends that. */
export function follow(callback) {
  addEventListener("popstate", callback);
  return () => removeEventListener("popstate", callback);
}

// A plain click on a link of the page stays in the page. With a modifier key the browser does what it always does.
addEventListener("click", (event) => {
  const target = event.target.closest?.("a[href^='/'], a[href^='#/']");
  if (!target || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(target.getAttribute("href").replace(/^#/, ""));
});
