// The waterfall: a tree of spans by depth, and bars by offset and duration.
import { el } from "./dom.js";
import { colour, duration, knownRating, serviceName } from "./format.js";

const INDENT_PX = 14;
const GAP_PX = 6;
const MAX_INDENT = 24; // deeper spans keep this indent, so that their names stay readable

export class Waterfall {
  constructor(tree, ruler, legend, chosen, escape) {
    Object.assign(this, { tree, ruler, legend, chosen, escape });
    this.rows = new Map();
    this.collapsed = new Set();
    this.current = "";
    this.selected = "";
    tree.addEventListener("click", (event) => this.clicked(event));
    tree.addEventListener("keydown", (event) => this.pressed(event));
    // What fits beside what depends on the width: of the window, and of the panel of details beside.
    new ResizeObserver(() => this.fit()).observe(ruler);
  }

  show(trace) {
    this.spans = trace.spans;
    const hadFocus = this.tree.contains(document.activeElement);
    this.rows = new Map(trace.spans.map((span) => [span.span_id, this.row(span, trace.duration_ms || 1e-6)]));
    this.tree.replaceChildren(...this.rows.values());
    this.total = trace.duration_ms;
    this.fit();
    this.legend.replaceChildren(...trace.services.map((service) => el("span", { class: colour(service) }, el("span", { class: "dot" }), serviceName(service))));
    if (!this.rows.has(this.current)) this.current = trace.spans[0]?.span_id ?? "";
    this.refresh();
    if (hadFocus) this.rows.get(this.current)?.focus();
  }

  /** Figures of the axis and of the bars where they have room at this width. */
  fit() {
    if (!this.spans) return;
    // As fine an axis as fits; two marks always do.
    [4, 2, 1].some((steps) => this.drawRuler(steps));
    const lane = this.ruler.clientWidth;
    for (const time of this.tree.querySelectorAll(".time")) placeTime(time, lane);
  }

  /** Draws the axis in so many steps; tells whether its figures stay apart. */
  drawRuler(steps) {
    const marks = Array.from({ length: steps + 1 }, (_, index) =>
      el("span", { class: index === steps ? "last" : undefined, style: { left: `${(100 * index) / steps}%` } }, duration((this.total * index) / steps)),
    );
    this.ruler.replaceChildren(...marks);
    this.tree.style.setProperty("--steps", steps);
    const places = marks.map((mark) => mark.getBoundingClientRect());
    return places.every((place, index) => index === 0 || places[index - 1].right + GAP_PX <= place.left);
  }

  row(span, total) {
    const left = (100 * span.offset_ms) / total;
    const width = (100 * span.duration_ms) / total;
    const label = el(
      "div",
      { class: "label" },
      el("span", { class: "indent", style: { width: `${Math.min(span.depth, MAX_INDENT) * INDENT_PX}px` } }),
      el("span", { class: `caret${span.children ? "" : " leaf"}`, "aria-hidden": "true" }, "▶"),
      el("span", { class: "dot" }),
      el("span", { class: "text", title: span.name }, span.name || "(no name)"),
      span.status === "error" && el("span", { class: "badge error" }, "error"),
      span.rating && el("span", { class: `badge ${knownRating(span.rating)}`, title: span.rating_rule || undefined }, span.rating),
      span.orphan && el("span", { class: "badge mark", title: `Parent ${span.parent_id} did not arrive` }, "parent missing"),
      el("span", { class: "kind" }, span.kind === "internal" || span.kind === "unspecified" ? "" : span.kind),
    );
    const lane = el(
      "div",
      { class: "lane" },
      el("span", { class: "bar", style: { left: `min(${left}%, calc(100% - 2px))`, width: `${width}%` } }),
      ...span.exceptions.map((_, index) => tick(span, index, total)),
      el("span", { class: "time", "data-from": left, "data-to": left + width }, duration(span.duration_ms)),
    );
    return el(
      "div",
      {
        class: `span ${colour(span.service)}`,
        role: "treeitem",
        tabindex: -1,
        "data-span-id": span.span_id,
        "data-status": span.status,
        "data-kind": span.kind,
        "aria-level": span.depth + 1,
        "aria-selected": "false",
        "aria-label": `${span.name}, ${serviceName(span.service)}, ${duration(span.duration_ms)}${span.status === "error" ? ", error" : ""}`,
      },
      label,
      lane,
    );
  }

  /** What is collapsed, chosen and focusable, brought onto the rows. */
  refresh() {
    let hiddenBelow = Infinity;
    for (const span of this.spans) {
      const row = this.rows.get(span.span_id);
      if (span.depth <= hiddenBelow) hiddenBelow = Infinity;
      row.hidden = span.depth > hiddenBelow;
      const closed = this.collapsed.has(span.span_id);
      if (closed && !row.hidden) hiddenBelow = span.depth;
      if (span.children) row.setAttribute("aria-expanded", String(!closed));
      row.querySelector(".caret").classList.toggle("open", !closed);
      row.setAttribute("aria-selected", String(span.span_id === this.selected));
      row.tabIndex = span.span_id === this.current ? 0 : -1;
    }
  }

  choose(spanId) {
    const span = this.spans.find((item) => item.span_id === spanId);
    if (!span) return;
    this.current = this.selected = spanId;
    this.refresh();
    this.chosen(span);
  }

  release() {
    this.selected = "";
    this.refresh();
    this.rows.get(this.current)?.focus();
  }

  toggle(span, close = !this.collapsed.has(span.span_id)) {
    if (close) this.collapsed.add(span.span_id);
    else this.collapsed.delete(span.span_id);
    this.refresh();
  }

  clicked(event) {
    const row = event.target.closest(".span");
    if (!row) return;
    const span = this.spans.find((item) => item.span_id === row.dataset.spanId);
    if (event.target.closest(".caret:not(.leaf)")) this.toggle(span);
    else this.choose(span.span_id);
  }

  pressed(event) {
    const visible = this.spans.filter((span) => !this.rows.get(span.span_id).hidden);
    const index = visible.findIndex((span) => span.span_id === this.current);
    const span = visible[index];
    if (!span) return;
    const moves = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: visible.length - 1 };
    if (event.key in moves) this.focus(visible[moves[event.key]]);
    else if (event.key === "Enter" || event.key === " ") this.choose(span.span_id);
    else if (event.key === "Escape") this.escape();
    else if (event.key === "ArrowLeft" && span.children && !this.collapsed.has(span.span_id)) this.toggle(span, true);
    else if (event.key === "ArrowLeft") this.focus(visible.find((item) => item.span_id === span.parent_id));
    else if (event.key === "ArrowRight" && this.collapsed.has(span.span_id)) this.toggle(span, false);
    else if (event.key === "ArrowRight" && span.children) this.focus(visible[index + 1]);
    else return;
    event.preventDefault();
  }

  focus(span) {
    if (!span) return;
    this.current = span.span_id;
    this.refresh();
    this.rows.get(span.span_id).focus();
  }
}

function tick(span, index, total) {
  const events = span.events.filter((event) => event.exception);
  const at = Math.min(100, Math.max(0, (100 * (events[index]?.offset_ms ?? span.offset_ms)) / total));
  return el("span", { class: "tick", style: { left: `${at}%` }, title: span.exceptions[index].type });
}

// Behind the bar where there is room, else before it, else on it at its end. The width is guessed from the
// number of characters: measuring thousands of labels would lay the page out again for each.
function placeTime(time, lane) {
  const room = time.textContent.length * 7.5 + 12;
  const from = Number(time.dataset.from);
  const to = Math.min(Number(time.dataset.to), 100);
  const behind = (lane * (100 - to)) / 100 >= room;
  const before = !behind && (lane * from) / 100 >= room;
  time.className = behind ? "time" : before ? "time before" : "time inside";
  time.style.setProperty("left", `${before ? from : to}%`);
}
