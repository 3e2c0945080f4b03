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

// Return status and document of an answer; status 0 without one. What has not changed is the document of before.
export async function api(path, options = {}) {
  const before = options.method ? undefined : known.get(path);
  const asked = { ...headers(), ...(before ? { "If-None-Match": before.tag } : {}) };
  try {
    const answer = await fetch(`api/${path}`, { ...options, headers: asked, cache: "no-store" });
    if (answer.status === 304) return { status: 304, document: before.document };
    const document = await answer.json();
    if (answer.ok && !options.method) {
      if (known.size > 50) known.clear();
      known.set(path, { tag: answer.headers.get("ETag"), document });
    }
    return { status: answer.status, document };
  } catch {
    return { status: 0, document: null };
  }
}

export function stateOf({ status, document }) {
  if (status === 200 || status === 304) return { text: `as of ${new Date().toLocaleTimeString("en-GB")}`, isBad: false };
  if (status === 0) return { text: "The console does not answer; what is shown is what it said last.", isBad: true };
  if (status === 401) return { text: "A token is required: open the address that the start of the console has printed.", isBad: true };
  return { text: (document && document.error && document.error.message) || `The console answered with ${status}.`, isBad: true };
}
