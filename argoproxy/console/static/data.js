// Asks for data with the token. It comes in the fragment of the address, which no server sees, and is kept for this tab.
const KEY = "argoproxy-token";
const known = new Map();

// Return what an escaped text stands for; one that is escaped badly stands for itself.
export function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Take the token out of the address; return whether the address changes by that, which begins anew.
export function readToken() {
  const found = /^#token=([^&]+)(?:&to=(.*))?$/.exec(location.hash);
  if (!found) return false;
  sessionStorage.setItem(KEY, decode(found[1]));
  history.replaceState(null, "", `${location.pathname}${location.search}#/${found[2] || "live"}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
  return true;
}

export const headers = () => ({ Authorization: `Bearer ${sessionStorage.getItem(KEY) || ""}`, "Content-Type": "application/json" });

// Return status and document of an answer, and what its headers say of the proxy and of this page; status 0 without one.
// What has not changed is the document of before.
export async function api(path, options = {}) {
  const before = options.method ? undefined : known.get(path);
  const asked = { ...headers(), ...(before ? { "If-None-Match": before.tag } : {}) };
  try {
    const answer = await fetch(`api/${path}`, { ...options, headers: asked, cache: "no-store" });
    const told = { status: answer.status, proxy: answer.headers.get("Argoproxy-State"), page: answer.headers.get("Argoproxy-Page") };
    if (answer.status === 304) return { ...told, document: before.document };
    const document = await answer.json();
    if (answer.ok && !options.method) {
      if (known.size > 50) known.clear();
      known.set(path, { tag: answer.headers.get("ETag"), document });
    }
    return { ...told, document };
  } catch {
    return { status: 0, document: null };
  }
}

let firstPage = "";
const NO_TOKEN = "A token is required: open the address that the start of the console has printed.";
const OTHER_TOKEN = "The console was started anew, with another token: open the address that this start has printed.";
const OF_PROXY = {
  draining: "The proxy drains: it will stop soon.",
  stopped: "The proxy does not run.",
};

// Return what is to be said beside a view, and whether its page is that of another version.
export function stateOf({ status, document, proxy, page }) {
  if (status === 0) return { text: "The console does not answer; what is shown is what it said last.", isBad: true };
  if (status === 401) return { text: firstPage ? OTHER_TOKEN : NO_TOKEN, isBad: true };
  firstPage ||= page || "";
  if (page && page !== firstPage) return { text: "The console is another version now: reload the page.", isBad: true, isOld: true };
  if (status === 200 || status === 304) return { text: OF_PROXY[proxy] || "", isBad: false };
  return { text: (document && document.error && document.error.message) || `The console answered with ${status}.`, isBad: true };
}
