// A page that is one file has its data in it. The viewer's own page asks the viewer.

const element = document.getElementById("data");

/** `{ traces, spans, survey }`, or null on the viewer's own page. */
export const inlined = element && JSON.parse(element.textContent);
