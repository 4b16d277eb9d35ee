// Buttons that copy.

import { html, useState } from "./vendor/htm-preact.js";

/** A button that copies a text, and says that it did. Without a label it shows the text itself. */
export function CopyButton({ text, label, name = "" }) {
  const [done, setDone] = useState(false);
  const copy = async (event) => {
    event.stopPropagation();
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`
    <button type="button" class=${`copy ${label ? "" : "code"}`} onClick=${copy} title=${`Copy ${name || text}`} aria-label=${label ? undefined : `Copy ${name || text}`}>
      ${label ?? html`<code>${text}</code>`}<span class="done" role="status">${done ? "Copied" : ""}</span>
    </button>
  `;
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
