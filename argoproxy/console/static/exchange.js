// One request: both sides, thoughts folded, what changed on the way.
import { h, duration, number, table } from "./elements.js";

const FATES = { stripped: "stripped: the client did not get it", moved: "moved", kept: "kept" };
const json = (value) => h("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));

function part(one) {
  const cut = one.cut ? h("div", { class: "quiet" }, `and ${number(one.cut)} more characters`) : null;
  const text = h("pre", { class: one.fate === "stripped" ? "stripped" : null }, one.text);
  if (one.kind === "text") return [text, cut];
  const title = one.kind === "thought" ? `thought, ${number(one.text.length)} characters${one.fate ? `, ${FATES[one.fate]}` : ""}` : `${one.kind.replace("_", " ")} ${one.name}`;
  return h("details", { open: one.kind === "error" || one.kind === "refusal" }, h("summary", {}, title), text, cut);
}

const turn = (one) => h("div", { class: "turn" }, h("b", {}, one.finish ? `${one.role} · ${one.finish}` : one.role), one.parts.map(part));

const diff = (one) =>
  h("div", { class: "diff mono" }, `${one.path} `, one.kind === "added" ? null : h("del", {}, one.before), " ", one.kind === "removed" ? null : h("ins", {}, one.after));

function side(title, one) {
  const facts = Object.entries(one.facts).filter(([, value]) => value !== null && value !== "");
  const raw = (name, value) => (value === null || value === undefined ? null : h("details", {}, h("summary", {}, name), json(value)));
  return h("section", { class: "side" },
    h("h2", {}, title),
    h("p", { class: "quiet mono" }, facts.map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ")),
    one.note ? h("p", { class: "notice" }, one.note) : null,
    one.error ? h("p", { class: "notice bad" }, one.error) : null,
    one.changes.length ? [h("h2", {}, "What rules changed"), one.changes.map(diff)] : null,
    one.turns.length ? [h("h2", {}, "Asked"), one.turns.map(turn)] : null,
    one.tools.length ? h("details", {}, h("summary", {}, `${one.tools.length} tools`), table(one.tools, [["name", (tool) => tool.name], ["", (tool) => tool.description, "wide"]])) : null,
    Object.keys(one.parameters).length ? h("details", {}, h("summary", {}, "Parameters"), json(one.parameters)) : null,
    one.answer.length ? [h("h2", {}, "Answered"), one.answer.map(turn)] : null,
    raw("Request, raw", one.raw_input), raw("Answer, raw", one.raw_output));
}

function times(phases) {
  const total = phases.reduce((sum, phase) => sum + phase.ms, 0) || 1;
  const pieces = phases.map((phase) => {
    const piece = h("i", { class: phase.failed ? "bad" : null, title: `${phase.name}: ${duration(phase.ms)}` });
    piece.style.width = `${(100 * phase.ms) / total}%`;
    return piece;
  });
  return [h("div", { class: "times" }, pieces), h("p", { class: "quiet" }, phases.map((phase) => `${phase.name} ${duration(phase.ms)}`).join(" ▸ "))];
}

export function showExchange(view) {
  const matches = view.matches.map((id) => h("li", {}, h("a", { href: `#/request/${encodeURIComponent(id)}`, class: "mono" }, id)));
  return [
    h("h1", { class: "mono" }, view.id || "Request"),
    view.reason ? h("p", { class: "notice" }, view.reason) : null,
    matches.length ? h("ul", {}, matches) : null,
    view.phases.length ? times(view.phases) : null,
    h("div", { class: "sides" }, view.client ? side("Client", view.client) : null, view.attempts.map((one, index) => side(`Upstream, attempt ${index + 1}`, one))),
    view.curl ? h("details", {}, h("summary", {}, "The same request with curl"), json(view.curl)) : null,
  ].flat(2).filter((one) => one !== null);
}
