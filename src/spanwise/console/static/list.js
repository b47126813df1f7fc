// The list of traces: filters in the address bar, rows that refresh themselves.
import { byId, el } from "./dom.js";
import { clock, colour, count, duration, exactTime, knownRating, serviceName, useColours, zone } from "./format.js";
import { hideToken, lamp, pauseButton, poll } from "./poll.js";

const PAGE = 50;
const form = byId("filters");
const sections = { found: byId("found"), none: byId("nothing-matches"), empty: byId("nothing-yet") };
let offset = 0;

hideToken();
restore(new URLSearchParams(location.search));

function restore(query) {
  for (const name of ["name", "min_duration_ms"]) form.elements[name].value = query.get(name) ?? "";
  form.elements.errors.checked = query.get("errors") === "1";
  form.elements.rating.value = query.get("rating") ?? "";
  if (form.elements.rating.selectedIndex < 0) form.elements.rating.value = ""; // no such rating
  const service = query.get("service") ?? "";
  if (service) form.elements.service.append(el("option", { value: service }, service));
  form.elements.service.value = service;
  offset = Math.max(0, Number.parseInt(query.get("offset") ?? "0", 10) || 0);
}

function query() {
  const wanted = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value) wanted.set(name, value);
  if (offset) wanted.set("offset", offset);
  return wanted;
}

const address = () => {
  const wanted = query();
  wanted.set("limit", PAGE + 1); // one more tells whether there is an older page
  return `/api/traces?${wanted}`;
};

function show({ traces, services, colours }) {
  useColours(colours);
  const filtered = [...query().keys()].length > 0;
  sections.found.hidden = traces.length === 0;
  sections.none.hidden = traces.length > 0 || !filtered;
  sections.empty.hidden = traces.length > 0 || filtered;
  form.hidden = !sections.empty.hidden;
  showServices(services);

  const page = traces.slice(0, PAGE);
  const longest = Math.max(...page.map((trace) => trace.duration_ms), 0.001);
  const focused = document.activeElement?.dataset?.traceId;
  byId("rows").replaceChildren(...page.map((trace) => row(trace, longest)));
  if (focused) document.querySelector(`a[data-trace-id="${focused}"]`)?.focus();
  byId("newer").disabled = offset === 0;
  byId("older").disabled = traces.length <= PAGE;
  byId("range").textContent = `${count(offset + 1)}–${count(offset + page.length)}`;
}

function showServices(services) {
  const select = form.elements.service;
  const known = new Set([...select.options].map((option) => option.value));
  for (const service of services) if (service && !known.has(service)) select.append(el("option", { value: service }, service));
}

function row(trace, longest) {
  const link = `/traces/${trace.trace_id}`;
  const width = `${(100 * trace.duration_ms) / longest}%`;
  return el(
    "tr",
    { on: { click: (event) => open(event, link) } },
    el("td", { class: "started", title: exactTime(trace.start_unix_nano) }, clock(trace.start_unix_nano)),
    el(
      "td",
      { class: colour(trace.service) },
      el(
        "div",
        { class: "what" },
        el("span", { class: "dot", title: serviceName(trace.service) }),
        el("a", { class: "name", href: link, "data-trace-id": trace.trace_id, title: trace.name }, trace.name || "(no name)"),
        trace.rating && trace.rating !== "good" && el("span", { class: `badge ${knownRating(trace.rating)}`, title: "The worst rating of its spans" }, trace.rating),
        !trace.complete && el("span", { class: "badge mark", title: "The root span has not arrived" }, "no root yet"),
      ),
      el("div", { class: "small-started", title: exactTime(trace.start_unix_nano) }, clock(trace.start_unix_nano)),
    ),
    el(
      "td",
      { class: colour(trace.service) },
      el(
        "div",
        { class: "took" },
        el("span", {}, duration(trace.duration_ms)),
        el("span", { class: "track" }, el("span", { class: `fill${trace.errors ? " bad" : ""}`, style: { width } })),
      ),
    ),
    el("td", { class: "num" }, count(trace.spans)),
    el("td", { class: "num" }, trace.errors ? el("span", { class: "badge error" }, count(trace.errors)) : el("span", { class: "zero" }, "0")),
    el("td", { title: trace.services.map(serviceName).join(", ") }, ...trace.services.map((service) => el("span", { class: `service ${colour(service)}` }, el("span", { class: "dot" }), serviceName(service)))),
  );
}

// The whole row opens the trace; a drag that selects text and a click on the link do not.
function open(event, link) {
  if (event.target.closest("a") || String(getSelection())) return;
  if (event.ctrlKey || event.metaKey) window.open(link, "_blank", "noopener");
  else location.assign(link);
}

function totals(summary) {
  byId("total-traces").textContent = count(summary.traces);
  byId("total-spans").textContent = count(summary.spans);
  byId("total-errors").textContent = count(summary.errors);
  byId("total-points").textContent = count(summary.points);
  byId("total-logs").textContent = count(summary.logs);
  byId("others").hidden = summary.points + summary.logs === 0;
  byId("total-errors").classList.toggle("bad", summary.errors > 0);
}

for (const node of document.querySelectorAll(".zone")) node.textContent = zone(BigInt(Date.now()) * 1_000_000n);
pauseButton();
keepAddress();
const again = poll(address, show, lamp(byId("live")));
poll(() => "/api/summary", totals);

function changed() {
  const wanted = query().toString();
  history.replaceState(null, "", wanted ? `/?${wanted}` : "/");
  keepAddress();
  again();
}

// So that a trace's way back leads to the list as it was filtered.
function keepAddress() {
  sessionStorage.setItem("list", location.search);
}
let typing = 0;
// Both: a choice that is made by a program, an assistive one say, may only tell of the change.
for (const name of ["input", "change"]) {
  form.addEventListener(name, () => {
    offset = 0;
    clearTimeout(typing);
    typing = setTimeout(changed, 150);
  });
}
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => {
  offset = 0;
  setTimeout(changed); // the fields are cleared after this event
});
byId("newer").addEventListener("click", () => {
  offset = Math.max(0, offset - PAGE);
  changed();
});
byId("older").addEventListener("click", () => {
  offset += PAGE;
  changed();
});
