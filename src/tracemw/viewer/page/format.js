// Durations, times, counts and colours, for people.

const UNITS = [
  [3600e9, "h"],
  [60e9, "min"],
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
];

/** A duration in nanoseconds, to three significant digits. */
export function duration(nanoseconds) {
  for (const [size, unit] of UNITS) {
    if (nanoseconds >= 0.9995 * size) return `${significant(nanoseconds / size)} ${unit}`;
  }
  return nanoseconds === 0 ? "0 ms" : `${Math.round(nanoseconds)} ns`;
}

function significant(value) {
  return String(Number(value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)));
}

/** The local time of day of nanoseconds since the epoch (a BigInt), to the millisecond. */
export function timeOfDay(nanoseconds) {
  const date = new Date(Number(nanoseconds / 1000000n));
  const two = (number) => String(number).padStart(2, "0");
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}

/** The local date and time of nanoseconds since the epoch (a BigInt). */
export function dateTime(nanoseconds) {
  const date = new Date(Number(nanoseconds / 1000000n));
  return `${date.toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" })}, ${timeOfDay(nanoseconds)}`;
}

/** How long ago nanoseconds since the epoch (a BigInt) were, roughly. */
export function ago(nanoseconds) {
  const seconds = Math.round((Date.now() - Number(nanoseconds / 1000000n)) / 1000);
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** "1 span", "2 spans". */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const COLOURS = 12; // --service-0 … --service-11 in style.css
const DISTINCT = 8; // the first eight are easy to tell apart; more services than that get the rest

/**
 * A colour for each service. The name decides the colour. Where two names would share one, the later name takes the next
 * free colour. So a service has the same colour everywhere, if the names come in the order in which the viewer met them.
 */
export function serviceColours(names) {
  const colours = new Map();
  const taken = new Set();
  for (const name of names) {
    let slot = hash(name) % DISTINCT;
    for (let tries = 0; taken.has(slot) && tries < COLOURS; tries++) slot = (slot + 1) % COLOURS;
    taken.add(slot);
    colours.set(name, `var(--service-${slot})`);
  }
  return colours;
}

function hash(text) {
  let value = 2166136261; // FNV-1a
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 16777619);
  return value >>> 25; // the upper bits are the well mixed ones
}

/** A duration in milliseconds, which is what findings have. */
export function milliseconds(value) {
  return duration(value * 1e6);
}

/** A share from 0 to 1. Small ones do not become 0 %. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return `${Number((100 * share).toFixed(share < 0.1 ? 1 : 0))} %`;
}
