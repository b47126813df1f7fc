// One trace: head, waterfall, details; refreshes itself while spans still arrive.
import { byId } from "./dom.js";
import { clock, count, duration, exactTime, useColours, zone } from "./format.js";
import { hideDetails, showDetails } from "./details.js";
import { hideToken, lamp, pauseButton, poll } from "./poll.js";
import { Waterfall } from "./waterfall.js";

hideToken();
byId("back").href = `/${sessionStorage.getItem("list") ?? ""}`;
const traceId = byId("trace").dataset.traceId;
const split = byId("split");
const waterfall = new Waterfall(byId("tree"), byId("ruler"), byId("legend"), choose, close);

function choose(span) {
  split.classList.add("open");
  showDetails(byId("details"), span, close);
  history.replaceState(null, "", `#${span.span_id}`);
  // On a narrow page the details are below the waterfall, where a click would seem to do nothing.
  if (matchMedia("(max-width: 900px)").matches) byId("details").scrollIntoView();
}

function close() {
  if (byId("details").hidden) return;
  split.classList.remove("open");
  hideDetails(byId("details"));
  history.replaceState(null, "", location.pathname);
  waterfall.release();
}

let first = true;
function show(trace) {
  useColours(trace.colours);
  document.title = `${trace.name} · spanwise`;
  byId("trace-name").textContent = trace.name || "(no name)";
  byId("trace-started").textContent = `${clock(trace.start_unix_nano)} ${zone(trace.start_unix_nano)}`;
  byId("trace-started").title = exactTime(trace.start_unix_nano);
  byId("trace-duration").textContent = duration(trace.duration_ms);
  byId("trace-spans").textContent = count(trace.spans.length);
  byId("trace-errors").textContent = count(trace.errors);
  byId("trace-errors").classList.toggle("bad", trace.errors > 0);
  note(trace);
  waterfall.show(trace);
  if (first) waterfall.choose(location.hash.slice(1));
  first = false;
}

function note(trace) {
  const orphans = trace.spans.filter((span) => span.orphan).length;
  const parts = [];
  if (trace.truncated) parts.push(`Only the first ${count(trace.spans.length)} spans are shown.`);
  if (orphans) parts.push(`${count(orphans)} ${orphans === 1 ? "span names a parent" : "spans name parents"} that did not arrive.`);
  byId("trace-note").textContent = parts.join(" ");
  byId("trace-note").hidden = parts.length === 0;
}

pauseButton();
poll(() => `/api/traces/${traceId}`, show, lamp(byId("live")));
