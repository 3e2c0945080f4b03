// A chat that is sent to the proxy as any client would: the body is shown, and sent as it stands there.
import { h } from "./elements.js";
import { headers } from "./data.js";

const START = { messages: [{ role: "user", content: "Hello!" }], stream: true };

export function startTry(view) {
  const names = view.models.filter((one) => one.is_listed || one.counts.requests).map((one) => one.name);
  const models = h("datalist", { id: "models" }, names.map((name) => h("option", { value: name })));
  const body = h("textarea", { name: "body", "aria-label": "Body", spellcheck: "false" });
  body.value = JSON.stringify({ model: names[0] || "", ...START }, null, 2);
  const model = h("input", { name: "model", list: "models", "aria-label": "Model", placeholder: "model" });
  model.value = names[0] || "";
  model.addEventListener("change", () => change(body, { model: model.value }));
  const key = h("input", { name: "key", type: "password", autocomplete: "off", "aria-label": "Key", placeholder: "key, if not that of the settings" });
  const send = h("button", { class: "main" }, "Send");
  const answer = h("pre", { "aria-live": "polite" });
  const raw = h("pre", {});
  const form = h("form", { onsubmit: (event) => submit(event, { body, key, send, answer, raw }) },
    h("div", { class: "tools" }, model, models, " ", key, " ", send), body);
  return [h("h1", {}, "Try"), form, h("h2", {}, "Answer"), answer, h("details", {}, h("summary", {}, "As it came"), raw)];
}

function change(body, values) {
  try {
    body.value = JSON.stringify({ ...JSON.parse(body.value), ...values }, null, 2);
  } catch { /* what is no JSON is the user's to mend */ }
}

async function submit(event, { body, key, send, answer, raw }) {
  event.preventDefault();
  let asked;
  try {
    asked = JSON.parse(body.value);
  } catch (error) {
    answer.textContent = `The body is not JSON: ${error.message}`;
    return;
  }
  send.disabled = true;
  answer.textContent = raw.textContent = "";
  try {
    const options = { method: "POST", headers: headers(), body: JSON.stringify({ body: asked, key: key.value }) };
    await read(await fetch("api/try", options), answer, raw);
  } catch (error) {
    answer.textContent += `\n${error.message}`;
  } finally {
    send.disabled = false;
  }
}

async function read(response, answer, raw) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    raw.textContent = text;
    answer.textContent = textOf(text);
  }
}

// The text of an answer, of a stream or whole; what is neither is shown as it is.
function textOf(text) {
  const events = text.split(/\r?\n\r?\n/).filter((one) => one.startsWith("data: {"));
  try {
    const documents = events.length ? events.map((one) => JSON.parse(one.slice(6))) : [JSON.parse(text)];
    const parts = documents.flatMap((one) => (one.choices || []).map((choice) => (choice.delta || choice.message || {}).content || choice.text || ""));
    const errors = documents.filter((one) => one.error).map((one) => one.error.message);
    return [...parts, ...errors].join("") || (events.length ? "" : text);
  } catch {
    return text;
  }
}
