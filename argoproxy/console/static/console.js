// The page of the console. What clients and models wrote is put into text nodes alone, never into markup.
import { h, bars, duration, keepPlace, money, number, size, table, when } from "./elements.js";
import { api, decode, readToken, stateOf } from "./data.js";
import { showExchange } from "./exchange.js";
import { startTry } from "./try.js";

const [main, nav, skip, state, time, reload] = ["main", "nav", "skip", "state", "time", "reload"].map((id) => document.getElementById(id));
const SECOND = 1000;

const reason = (text, kind = "") => (text ? [h("p", { class: `notice ${kind}` }, text)] : []);
const kindOf = (ending) => (ending === "complete" ? "good" : ending === "client_gone" ? "quiet" : "bad");
const circuit = (name) => h("span", { class: name === "closed" ? "good" : name === "cooling" ? "warm" : "bad" }, name || "–");
const requestLink = (id) => h("a", { href: `#/request/${encodeURIComponent(id)}`, class: "mono" }, id.slice(0, 8));

const FOUND_IN = ["id", "model", "sent_model", "upstream", "key", "phase", "ending", "code"];
const hasText = (one, text) => FOUND_IN.some((name) => String(one[name] ?? "").toLowerCase().includes(text));

function findForm(name, parameters, about) {
  const field = h("input", { type: "search", name: "find", value: parameters.find || "", placeholder: about, "aria-label": about });
  return h("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); field.blur(); go(name, field.value ? { find: field.value } : {}); } }, field);
}

function showLive(live, parameters = {}) {
  const text = (parameters.find || "").toLowerCase();
  const [underWay, finished] = [live.open, live.finished].map((rows) => rows.filter((one) => !text || hasText(one, text)));
  const last = live.strip.at(-1) || { requests: 0, failed: 0, tokens_in: 0, tokens_out: 0 };
  const open = live.upstreams.reduce((sum, one) => sum + one.open_streams, 0);
  const waiting = live.upstreams.reduce((sum, one) => sum + one.waiting, 0);
  const cards = [
    [number(last.requests), "requests a second"],
    [number(last.failed), "of them failed"],
    [number(last.tokens_out), "tokens a second, answers"],
    [number(last.tokens_in), "tokens a second, prompts"],
    [number(Math.max(open, live.open_count)), "requests under way"],
    [number(waiting), "requests that wait"],
  ];
  return [
    h("h1", {}, "Live"),
    h("div", { class: "cards" }, cards.map(([value, about]) => h("div", { class: "card" }, h("b", {}, value), h("span", {}, about)))),
    bars("Requests a second; those that failed in red", live.strip, [["all", (one) => one.requests], ["failed", (one) => one.failed]]),
    bars("Tokens of answers a second", live.strip, [["tokens", (one) => one.tokens_out]]),
    findForm("live", parameters, "find a model, upstream, key, ending"),
    h("h2", {}, "Requests under way"),
    ...reason(live.open_reason),
    ...(live.open_reason ? [] : underWay.length ? [openTable(underWay)] : [h("p", { class: "quiet" }, text ? "None found." : "No request is under way.")]),
    ...reason(live.open_count > live.open.length ? `The oldest ${live.open.length} of ${number(live.open_count)}.` : ""),
    h("h2", {}, "Upstreams"),
    table(live.upstreams, [
      ["name", (one) => one.name, "wide"],
      ["circuit", (one) => circuit(one.state)],
      ["streams", (one) => number(one.open_streams), "number"],
      ["waiting", (one) => number(one.waiting), "number"],
    ]),
    h("h2", {}, "Requests that have ended"),
    ...reason(live.reason),
    ...(live.reason ? [] : [finishedTable(finished)]),
  ];
}

const PHASES = {
  read: ["read", "its client sends it, or it is checked"],
  waits: ["waits", "for a place at an upstream"],
  asked: ["asked", "the upstream has not begun to reply"],
  answered: ["answered", "the reply is read; nothing of it was sent to the client yet"],
  sent: ["sent", "the answer is on its way to the client"],
};

// What came of an answer so far, and how fast: tokens where they are counted, else bytes.
function progress(one) {
  if (one.first_byte_ms === undefined || one.first_byte_ms === null) return "";
  if (one.tokens === null) return size(one.bytes_sent);
  const seconds = (one.elapsed_ms - one.first_byte_ms) / SECOND;
  return `${number(one.tokens)} tokens${seconds > 1 ? `, ${number(Math.round(one.tokens / seconds))} a second` : ""}`;
}

// The time of a request as a bar: until the first byte, then until now; the silence at its end is pale.
function timeBar(one) {
  const part = (kind, ms) => {
    const made = h("span", { class: kind });
    made.style.width = `${Math.round((90 * ms) / Math.max(1, one.elapsed_ms))}px`;
    return made;
  };
  const first = one.first_byte_ms ?? one.elapsed_ms;
  const silent = one.first_byte_ms === null ? 0 : Math.min(one.silent_ms, one.elapsed_ms - first);
  return h("span", { class: "phases" }, part("before", first), part("after", one.elapsed_ms - first - silent), part("silent", silent));
}

const openTable = (rows) =>
  table(rows, [
    ["begun", (one) => when(one.at)],
    ["request", (one) => h("span", { class: "mono" }, one.id.slice(0, 8))],
    ["model", (one) => [one.model, one.sent_model && one.sent_model !== one.model ? h("div", { class: "quiet" }, `as ${one.sent_model}`) : null], "wide"],
    ["upstream", (one) => one.upstream],
    ["key", (one) => one.key],
    ["phase", (one) => h("span", { title: (PHASES[one.phase] || [])[1] }, (PHASES[one.phase] || [one.phase])[0])],
    ["", timeBar],
    ["time", (one) => duration(one.elapsed_ms), "number"],
    ["silent", (one) => (one.first_byte_ms === null || one.silent_ms < SECOND ? "" : duration(one.silent_ms)), "number"],
    ["answer so far", progress, "number"],
  ]);

const finishedTable = (rows) =>
  table(rows, [
    ["ended", (one) => when(one.at)],
    ["request", (one) => requestLink(one.id || "")],
    ["model", (one) => one.model || "", "wide"],
    ["upstream", (one) => one.upstream || ""],
    ["key", (one) => one.key || ""],
    ["ending", (one) => h("span", { class: kindOf(one.ending) }, one.code || one.ending || "")],
    ["first byte", (one) => duration(one.first_byte_ms), "number"],
    ["total", (one) => duration(one.total_ms), "number"],
    ["tokens", (one) => (one.completion_tokens ? `${number(one.prompt_tokens)} + ${number(one.completion_tokens)}` : ""), "number"],
  ]);

const both = ({ p50, p95 }) => (p50 === null ? "" : `${duration(p50)} / ${duration(p95)}`);

const showModels = (view) => [
  h("h1", {}, "Models"),
  ...reason(view.reason),
  table(view.models, [
    ["model", (one) => [one.name, one.is_model ? h("div", { class: "quiet" }, `is ${one.is_model}`) : null, one.refused ? h("div", { class: "bad" }, one.refused) : null], "wide"],
    ["upstreams", (one) => one.upstreams.join(", ")],
    ["circuit", (one) => circuit(one.circuit.state)],
    ["requests", (one) => number(one.counts.requests), "number"],
    ["failed", (one) => h("span", { class: one.counts.errors ? "bad" : "quiet" }, number(one.counts.errors)), "number"],
    ["tokens", (one) => `${number(one.counts.tokens_in)} + ${number(one.counts.tokens_out)}`, "number"],
    ["cost", (one) => money(one.counts.cost), "number"],
    ["first byte p50 / p95", (one) => both(one.first_byte_ms), "number"],
    ["total p50 / p95", (one) => both(one.total_ms), "number"],
    ["last", (one) => (one.last ? [requestLink(one.last.id), " ", h("span", { class: kindOf(one.last.ending) }, one.last.ending)] : "")],
    ["other rules", (one) => h("span", { class: "quiet" }, one.rules.filter((rule) => !rule.startsWith(`${one.name} (`)).join(", "))],
  ]),
];

const showUpstreams = (view) => [
  h("h1", {}, "Upstreams"),
  ...reason(view.reason),
  table(view.upstreams, [
    ["name", (one) => [one.name, one.is_default ? h("span", { class: "quiet" }, " default") : null]],
    ["kind", (one) => one.kind],
    ["address", (one) => h("span", { class: "mono" }, one.url), "wide"],
    ["circuit", (one) => [circuit(one.state), one.reason_text ? h("div", { class: "quiet" }, one.reason_text) : null, one.since_s ? h("div", { class: "quiet" }, `for ${duration(1000 * one.since_s)}`) : null], "wide"],
    ["streams", (one) => number(one.open_streams) + (one.max_concurrent ? ` of ${one.max_concurrent}` : ""), "number"],
    ["waiting", (one) => number(one.waiting), "number"],
    ["requests", (one) => number(one.counts.requests), "number"],
    ["attempts", (one) => Object.entries(one.attempts).map(([kind, count]) => h("div", { class: kind === "ok" ? "" : "bad" }, `${kind} ${number(count)}`))],
    ["cost", (one) => money(one.counts.cost), "number"],
  ]),
];

const limitText = (one) => {
  const unit = { rpm: "requests a minute", tpm: "tokens a minute", concurrent: "at once", budget: one.period ? `a ${one.period}` : "" }[one.kind];
  return h("div", {}, `${number(one.left)} of ${number(one.limit)} ${unit} left`, one.models ? ` for ${one.models}` : "", " ", meter(one.used / (one.limit || 1)));
};
const meter = (part) => {
  const bar = h("span", { class: "bar" });
  bar.style.width = `${Math.round(60 * Math.min(1, Math.max(0.02, part)))}px`;
  return bar;
};

const showKeys = (view) => [
  h("h1", {}, "Keys"),
  ...reason(view.reason),
  ...reason({ open: "No key is required: everybody who reaches the proxy may use it.", plugin: "A plug-in decides who may use the proxy." }[view.access]),
  table(view.keys, [
    ["name", (one) => one.name, "wide"],
    ["state", (one) => h("span", { class: one.state === "active" ? "good" : "bad" }, one.state)],
    ["ends with", (one) => h("span", { class: "mono" }, one.ends_with.join(", "))],
    ["team", (one) => one.team],
    ["models", (one) => one.models.join(", "), "wide"],
    ["limits", (one) => one.limits.map(limitText), "wide"],
    ["requests", (one) => number(one.counts.requests), "number"],
    ["tokens", (one) => `${number(one.counts.tokens_in)} + ${number(one.counts.tokens_out)}`, "number"],
    ["today", (one) => (one.today ? number(one.today.tokens_in + one.today.tokens_out) : ""), "number"],
    ["cost", (one) => money(one.counts.cost), "number"],
  ]),
  ...(view.teams.length ? [h("h2", {}, "Teams"), table(view.teams, [["name", (one) => one.name], ["models", (one) => one.models.join(", ")], ["limits", (one) => one.limits.map(limitText), "wide"]])] : []),
  ...(view.limits.length ? [h("h2", {}, "Limits of all, of models and of upstreams"), table(view.limits, [["of", (one) => one.subject], ["", limitText, "wide"]])] : []),
];

const GROUPS = ["key", "team", "model", "upstream", "day"];
function showUsage(view, parameters) {
  const most = Math.max(1, ...view.rows.map((one) => one.total_tokens));
  const select = (name, values, chosen) =>
    h("select", { name, "aria-label": name, onchange: (event) => go("usage", { ...parameters, [name]: event.target.value }) },
      values.map((value) => h("option", { value, selected: value === chosen }, value)));
  const bar = (one) => {
    const made = h("span", { class: "bar" });
    made.style.width = `${Math.max(1, Math.round((160 * one.total_tokens) / most))}px`;
    return made;
  };
  return [
    h("h1", {}, "Usage"),
    h("form", { class: "tools" }, h("label", {}, "by ", select("by", GROUPS, view.by)), h("label", {}, "since ", select("since", ["1d", "7d", "30d"], parameters.since || "7d"))),
    ...reason(view.reason),
    table(view.rows, [
      [view.by, (one) => one.name, "wide"],
      ["", bar],
      ["requests", (one) => number(one.requests), "number"],
      ["prompt", (one) => number(one.prompt_tokens), "number"],
      ["cached", (one) => number(one.cached_tokens), "number"],
      ["answers", (one) => number(one.completion_tokens), "number"],
      ["cost", (one) => money(one.cost), "number"],
    ]),
  ];
}

const showSettings = (view) => [
  h("h1", {}, "Settings"),
  h("p", { class: "quiet" }, `argoproxy ${view.version} in front of ${view.upstream}`),
  ...view.warnings.flatMap((one) => reason(one, "bad")),
  ...reason(view.reason),
  table(view.settings, [
    ["setting", (one) => h("span", { class: one.is_default ? "quiet mono" : "mono" }, one.section ? `${one.section}.${one.key}` : one.key)],
    ["value", (one) => h("span", { class: "mono" }, typeof one.value === "string" ? one.value : JSON.stringify(one.value)), "wide"],
    ["from", (one) => h("span", { class: "quiet" }, one.place), "wide"],
    ["what it is for", (one) => h("span", { class: "quiet" }, one.about), "wide"],
  ]),
];

// What is searched for stays while lines come; it is looked for in the lines that the page has.
let searched = "";

function logTable(lines) {
  const found = lines.filter((one) => `${one.level} ${one.text}`.toLowerCase().includes(searched.toLowerCase()));
  return table(found.slice(-300).reverse(), [
    ["time", (one) => when(one.at)],
    ["level", (one) => h("span", { class: one.level === "INFO" ? "quiet" : "bad" }, one.level)],
    ["", (one) => [one.id ? requestLink(one.id) : null, " ", h("span", { class: "mono" }, one.text)], "wide"],
  ]);
}

function showLog(view) {
  const found = h("div", {}, logTable(view.lines));
  const search = h("input", { type: "search", name: "search", value: searched, "aria-label": "Search", placeholder: "search, for instance error" });
  search.addEventListener("input", () => {
    searched = search.value;
    found.replaceChildren(logTable(view.lines));
  });
  return [h("h1", {}, "Log"), h("div", { class: "tools" }, search), ...reason(view.reason), found];
}

const showDoctor = (view) => [
  h("h1", {}, "Doctor"),
  h("form", { class: "tools", onsubmit: (event) => run(event, "doctor", { chat: event.target.chat.checked }) },
    h("button", { class: "main", disabled: view.state === "running" }, view.state === "running" ? "Runs…" : "Run"),
    h("label", {}, h("input", { type: "checkbox", name: "chat" }), " ask a model too, which may cost money")),
  ...reason(view.reason),
  ...(view.report ? [h("pre", {}, JSON.stringify(view.report, null, 2))] : []),
];

async function run(event, name, document) {
  event.preventDefault();
  await api(name, { method: "POST", body: JSON.stringify(document) });
  refresh();
}

const VIEWS = {
  live: ["Live", () => "live", showLive, SECOND],
  models: ["Models", () => "models", showModels, 5 * SECOND],
  upstreams: ["Upstreams", () => "upstreams", showUpstreams, 2 * SECOND],
  keys: ["Keys", () => "keys", showKeys, 5 * SECOND],
  usage: ["Usage", (parameters) => `usage?${new URLSearchParams({ by: "key", since: "7d", ...parameters })}`, showUsage, 10 * SECOND],
  settings: ["Settings", () => "settings", showSettings, 30 * SECOND],
  try: ["Try", () => "models", startTry, 0],
  doctor: ["Doctor", () => "doctor", showDoctor, 2 * SECOND],
  log: ["Log", () => "log", showLog, 2 * SECOND],
  request: ["", (_, id) => `exchange/${encodeURIComponent(id)}`, showExchange, 0],
};

const go = (name, parameters) => { location.hash = `#/${name}?${new URLSearchParams(parameters)}`; };

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name: VIEWS[name] ? name : "live", id: decode(id || ""), parameters: Object.fromEntries(new URLSearchParams(query || "")) };
}

// A view that is drawn anew would take away what its user is writing, choosing, marking or pressing.
let isPressed = false;
const isInUse = () =>
  isPressed || main.matches(":has(input:focus, select:focus, textarea:focus)") || !(getSelection() || { isCollapsed: true }).isCollapsed;

let latest = null; // what was answered last
let drawn = { asked: "", document: null };
let turns = 0;
let timer = 0;
let before = "#/live"; // the view that a request was opened from

function draw() {
  if (!latest) return;
  const { asked, document, show, every, parameters } = latest;
  const isSame = drawn.asked === asked;
  if (isSame && (!every || drawn.document === document || isInUse())) return;
  const kept = isSame ? keepPlace(main) : () => main.contains(window.document.activeElement) && main.focus({ preventScroll: true });
  main.replaceChildren(...show(document, parameters).flat());
  drawn = { asked, document };
  kept();
}

function tell({ text, isBad, isOld }) {
  time.textContent = isBad ? "" : `as of ${new Date().toLocaleTimeString("en-GB")}`;
  if (state.textContent !== text) state.textContent = text;
  state.className = isBad ? "bad" : "warm";
  reload.hidden = !isOld;
}

async function refresh() {
  clearTimeout(timer);
  const turn = ++turns;
  const { name, id, parameters } = place();
  const [, path, show, every] = VIEWS[name];
  const asked = `${name} ${path(parameters, id)} ${parameters.find || ""}`; // two views may ask for the same
  const answer = await api(path(parameters, id));
  if (turn !== turns) return;
  if (every && !document.hidden) timer = setTimeout(refresh, answer.status === 0 ? 3 * SECOND : every);
  const told = stateOf(answer);
  tell(told);
  if (answer.status === 200 || answer.status === 304) {
    latest = { asked, document: answer.document, show, every, parameters };
    draw();
  } else if (drawn.asked !== asked || answer.status === 401) {
    latest = null;
    drawn = { asked: "", document: null };
    main.replaceChildren(h("p", { class: "notice bad" }, told.text));
  }
}

function navigate() {
  if (readToken()) return;
  const { name } = place();
  for (const [key, link] of links) {
    if (key === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name][0] || "Request"} · argoproxy`;
  if (name !== "request") before = location.hash;
  refresh();
}

// Leave a field, else a request.
function leave(event) {
  if (event.key !== "Escape") return;
  if (main.matches(":has(input:focus, select:focus, textarea:focus)")) main.focus({ preventScroll: true });
  else if (place().name === "request") location.hash = before;
}

const links = Object.entries(VIEWS).filter(([, view]) => view[0]).map(([key, view]) => [key, h("a", { href: `#/${key}` }, view[0])]);
nav.replaceChildren(...links.map(([, link]) => link));
skip.addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
reload.addEventListener("click", () => location.reload());
addEventListener("keydown", leave);
main.addEventListener("pointerdown", () => { isPressed = true; });
for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, () => { isPressed = false; setTimeout(draw); });
main.addEventListener("focusout", () => setTimeout(draw));
document.addEventListener("selectionchange", () => isPressed || draw());
addEventListener("hashchange", navigate);
document.addEventListener("visibilitychange", () => document.hidden || !VIEWS[place().name][3] || refresh());
navigate();
