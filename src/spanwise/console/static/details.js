// The panel beside the waterfall: everything one span carries.
import { el } from "./dom.js";
import { clock, colour, count, duration, knownRating, serviceName, valueText, zone } from "./format.js";

export function showDetails(panel, span, close) {
  panel.replaceChildren(
    el("header", { class: colour(span.service) }, el("h2", {}, span.name || "(no name)"), el("button", { class: "close", type: "button", "aria-label": "Close details", on: { click: close } }, "×")),
    el("p", { class: "line" }, `${serviceName(span.service)} · ${span.kind} · ${duration(span.duration_ms)} · starts at ${duration(span.offset_ms)}`),
    el(
      "p",
      { class: "line" },
      span.status !== "unset" && el("span", { class: `badge ${span.status === "ok" ? "good" : "error"}` }, span.status),
      span.rating && el("span", { class: `badge ${knownRating(span.rating)}` }, span.rating_rule ? `${span.rating}: ${span.rating_rule}` : span.rating),
      span.orphan && el("span", { class: "badge mark" }, "parent missing"),
    ),
    ...problems(span),
    el("h3", {}, "Attributes"),
    pairs(span.attributes, "none", span.units),
    ...events(span),
    ...logs(span),
    ...links(span),
    folded("Span", {
      "span id": span.span_id,
      "parent id": span.parent_id || "none (root)",
      started: `${clock(span.start_unix_nano)} ${zone(span.start_unix_nano)}`,
      instrumentation: span.scope || "not named",
      "dropped by limits": count(span.dropped),
    }),
    folded(`Resource of ${serviceName(span.service)}`, span.resource),
  );
  panel.onkeydown = (event) => {
    if (event.key === "Escape") close();
  };
  panel.scrollTop = 0;
  panel.hidden = false;
}

export function hideDetails(panel) {
  panel.hidden = true;
  panel.replaceChildren();
}

function pairs(values, nothing, units = {}) {
  const keys = Object.keys(values).sort();
  if (!keys.length) return el("p", { class: "quiet" }, nothing);
  return el("table", { class: "pairs" }, el("tbody", {}, ...keys.map((key) => el("tr", {}, el("th", { scope: "row" }, ...breakable(key)), el("td", {}, Object.hasOwn(units, key) ? `${valueText(values[key])} ${units[key]}` : valueText(values[key]))))));
}

// A dotted name may break after its dots and underscores, not in the middle of a word.
function breakable(name) {
  return name.split(/(?<=[._])/).flatMap((part, index) => (index ? [el("wbr"), part] : [part]));
}

function problems(span) {
  const shown = span.exceptions.map((item) =>
    el(
      "div",
      { class: "problem" },
      el("strong", {}, item.type || "Exception"),
      item.message && el("p", {}, item.message),
      item.stacktrace && el("h4", {}, "Stack trace"),
      item.stacktrace && el("pre", {}, item.stacktrace),
    ),
  );
  if (!shown.length && span.status === "error" && span.status_message) shown.push(el("div", { class: "problem" }, span.status_message));
  return shown;
}

function events(span) {
  const others = span.events.filter((event) => !event.exception);
  if (!others.length) return [];
  return [
    el("h3", {}, "Events"),
    ...others.map((event) => el("div", { class: "event" }, el("span", { class: "when" }, `at ${duration(event.offset_ms)}`), el("b", {}, event.name), Object.keys(event.attributes).length > 0 && pairs(event.attributes, ""))),
  ];
}

function logs(span) {
  if (!span.logs.length) return [];
  return [
    el("h3", {}, "Log records"),
    ...span.logs.map((log) => el("div", { class: "event" }, el("span", { class: "when" }, `at ${duration(log.offset_ms)}`), el("b", {}, log.severity), " ", log.body || log.event_name)),
  ];
}

function links(span) {
  if (!span.links.length) return [];
  return [
    el("h3", {}, "Links"),
    ...span.links.map((link) => el("div", { class: "event" }, /^[0-9a-f]{32}$/.test(link.trace_id) ? el("a", { href: `/traces/${link.trace_id}#${link.span_id}` }, link.trace_id) : link.trace_id)),
  ];
}

function folded(title, values) {
  return el("details", {}, el("summary", {}, title), pairs(values, "none"));
}
