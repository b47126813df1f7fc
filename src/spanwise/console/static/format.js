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

/** Local time to the millisecond; with the day where it is not today. */
export function clock(nanos) {
  const when = dateOf(nanos);
  const time = `${pad(when.getHours())}:${pad(when.getMinutes())}:${pad(when.getSeconds())}.${pad(when.getMilliseconds(), 3)}`;
  if (when.toDateString() === new Date().toDateString()) return time;
  return `${when.getFullYear()}-${pad(when.getMonth() + 1)}-${pad(when.getDate())} ${time}`;
}

export const iso = (nanos) => dateOf(nanos).toISOString();

/** The colour class of a service: the same name has the same colour on every page. */
export function colour(service) {
  let hash = 2166136261;
  for (const character of service) hash = Math.imul(hash ^ character.codePointAt(0), 16777619) >>> 0;
  return `c${((hash ^ (hash >>> 15)) >>> 0) % 8}`;
}

export const serviceName = (service) => service || "(unnamed)";

export function valueText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 1 : 0);
}
