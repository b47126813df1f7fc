// Asking again: every two seconds while the page is looked at, with the ETag of the last answer.

const INTERVAL_MS = 2000;

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
      live?.(true, "live");
    } catch (error) {
      if (mine !== turn) return;
      live?.(false, error instanceof TypeError ? "console not reachable" : error.message);
    }
    if (!document.hidden) timer = setTimeout(ask, INTERVAL_MS);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ask();
  });
  ask();
  return ask;
}

/** Shows in the header whether the page still hears from the console. */
export function lamp(node) {
  return (on, text) => {
    if (node.textContent !== text) node.textContent = text;
    node.classList.toggle("on", on);
    node.classList.toggle("off", !on);
  };
}
