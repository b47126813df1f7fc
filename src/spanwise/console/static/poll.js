// Asking again: every two seconds while the page is looked at, with the ETag of the last answer.
import { byId } from "./dom.js";
import { now } from "./format.js";

const INTERVAL_MS = 2000;
const polls = []; // of this page; the pause button holds them all
let paused = false;
let heard = "";

/** Remove the token from the address bar once it is in the cookie: it should not be bookmarked or pasted. */
export function hideToken() {
  const url = new URL(location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  history.replaceState(null, "", url.pathname + url.search + url.hash);
}

/**
 * Fetch `address()` now and then; `changed(data)` is called with each new answer.
 * Returns a function that asks at once, for when the address has changed.
 */
export function poll(address, changed, live) {
  let etag = "";
  let asked = "";
  let timer = 0;
  let turn = 0;

  async function ask() {
    clearTimeout(timer);
    const mine = ++turn;
    const url = address();
    if (url !== asked) etag = "";
    asked = url;
    try {
      const answer = await fetch(url, { cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
      if (mine !== turn) return; // a newer question is under way
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(answer.status === 401 ? "token needed: open the printed address" : `answer ${answer.status}`);
        const data = await answer.json();
        if (mine !== turn) return;
        changed(data);
      }
      etag = answer.headers.get("ETag") ?? "";
      heard = now();
      live?.("on", "live");
      if (paused) tellPaused();
    } catch (error) {
      if (mine !== turn) return;
      live?.("off", error instanceof TypeError ? "console not reachable" : error.message);
    }
    if (!document.hidden && !paused) timer = setTimeout(ask, INTERVAL_MS);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) ask();
  });
  polls.push({
    resume: ask,
    hold() {
      turn += 1; // an answer that is under way must not change the page any more
      clearTimeout(timer);
      live?.("paused", "paused");
    },
  });
  ask();
  return ask;
}

/** Shows in the header whether the page still hears from the console. */
export function lamp(node) {
  return (state, text) => {
    if (paused && state === "on") [state, text] = ["paused", "paused"];
    if (node.textContent !== text) node.textContent = text;
    for (const name of ["on", "off", "paused"]) node.classList.toggle(name, name === state);
  };
}

/** The button that stops the page from changing under the reader, and the note that it is stopped. */
export function pauseButton() {
  const button = byId("pause");
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    byId("paused").hidden = !paused;
    if (paused) tellPaused();
    for (const one of polls) paused ? one.hold() : one.resume();
  });
}

function tellPaused() {
  byId("paused").textContent = `Paused: this page shows what had arrived by ${heard || "now"}. What arrives meanwhile is kept; press Resume to see it.`;
}
