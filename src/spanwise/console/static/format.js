// Figures as text. Times come as decimal strings of nanoseconds, which a Number cannot hold exactly.

export function duration(ms) {
  if (ms === 0) return "0";
  if (ms < 0.001) return `${Math.round(ms * 1e6)} ns`;
  if (ms < 1) return `${digits(ms * 1000)} µs`;
  if (ms < 1000) return `${digits(ms)} ms`;
  if (ms < 60_000) return `${digits(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Three significant digits: enough to compare, few enough to read.
function digits(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export const count = (value) => value.toLocaleString("en");

const dateOf = (nanos) => new Date(Number(BigInt(nanos) / 1_000_000n));
const pad = (value, width = 2) => String(value).padStart(width, "0");

const timeOf = (when) => `${pad(when.getHours())}:${pad(when.getMinutes())}:${pad(when.getSeconds())}`;

/** Local time of this moment, to the second. */
export const now = () => timeOf(new Date());

/** Local date and time to the millisecond. */
export function clock(nanos) {
  const when = dateOf(nanos);
  return `${when.getFullYear()}-${pad(when.getMonth() + 1)}-${pad(when.getDate())} ${timeOf(when)}.${pad(when.getMilliseconds(), 3)}`;
}

/** The zone that `clock` shows at that time, as UTC+01:00: a summer's trace is not in winter's zone. */
export function zone(nanos) {
  const minutes = -dateOf(nanos).getTimezoneOffset();
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}

/** Date, time and zone, and the same in UTC: what a tooltip has room for. */
export function exactTime(nanos) {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return `${clock(nanos)} ${zone(nanos)}${name ? ` (${name})` : ""}\n${dateOf(nanos).toISOString()}`;
}

// From the console's answers, which see every service: a page alone cannot tell which colours are taken.
let colours = {};
export function useColours(found) {
  colours = found;
}

/** The colour class of a service: the same name has the same colour on every page. */
export const colour = (service) => `c${Object.hasOwn(colours, service) ? colours[service] : 0}`;

/** The badge class of a rating; none for a word that a sender made up. */
export const knownRating = (rating) => (["good", "acceptable", "poor", "critical"].includes(rating) ? rating : "");

export const serviceName = (service) => service || "(unnamed)";

export function valueText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 1 : 0);
}
