// Elements and texts. Children are nodes or texts; lists are flattened, null is left out.
const SVG = "http://www.w3.org/2000/svg";

export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

export function table(rows, columns) {
  const head = columns.map(([name, , kind]) => h("th", { scope: "col", class: kind === "number" ? "number" : null }, name));
  const body = rows.map((row) => h("tr", {}, columns.map(([, cell, kind]) => h("td", { class: kind || null }, cell(row)))));
  const empty = h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, "Nothing yet."));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body.length ? body : empty)));
}

// A chart of bars, a bar a second, the last one at the right; the layers stand before each other.
export function bars(caption, points, layers, width = 300, height = 74) {
  const most = Math.max(1, ...points.flatMap((point) => layers.map(([, value]) => value(point))));
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", caption);
  for (const [kind, value] of layers) {
    points.forEach((point, index) => {
      const size = (height * value(point)) / most;
      if (size > 0) picture.append(rect(kind, width - points.length + index, height - size, 0.85, size));
    });
  }
  return h("figure", { class: "chart" }, picture, h("figcaption", {}, h("span", {}, caption), h("span", {}, `most ${number(most)}`)));
}

// Return what gives a view that is drawn anew the place of its reader again: the focus, what is unfolded and scrolled.
export function keepPlace(view) {
  const focused = view.contains(document.activeElement) && document.activeElement !== view ? nameOf(view, document.activeElement) : null;
  const folds = [...view.querySelectorAll("details")].map((one) => one.open);
  const scrolled = [...view.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
  return () => {
    view.querySelectorAll("details").forEach((one, index) => { one.open = folds[index] ?? one.open; });
    view.querySelectorAll(".scroll, pre").forEach((one, index) => { [one.scrollLeft, one.scrollTop] = scrolled[index] || [0, 0]; });
    if (!focused) return;
    const same = [...view.querySelectorAll(focused.tag)].filter((one) => wordOf(one) === focused.word);
    (same[focused.index] || same[0] || view).focus({ preventScroll: true });
  };
}

const wordOf = (element) => element.getAttribute("href") || element.getAttribute("name") || element.textContent;

function nameOf(view, element) {
  const [tag, word] = [element.localName, wordOf(element)];
  return { tag, word, index: [...view.querySelectorAll(tag)].filter((one) => wordOf(one) === word).indexOf(element) };
}

function rect(kind, x, y, width, height) {
  const made = document.createElementNS(SVG, "rect");
  made.setAttribute("class", kind);
  Object.entries({ x, y, width, height }).forEach(([name, value]) => made.setAttribute(name, value));
  return made;
}

export const number = (value) =>
  value === null || value === undefined || value === "" ? "" : Number(value).toLocaleString("en", { maximumFractionDigits: Number(value) < 10 ? 2 : 0 });
export const money = (value) => (value === null || value === undefined ? "" : Number(value).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 }));
// A moment, as text or in seconds since 1970.
export const when = (at) => (at ? new Date(typeof at === "number" ? 1000 * at : at).toLocaleTimeString("en-GB") : "");

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export function duration(ms) {
  if (ms === null || ms === undefined || ms === "") return "";
  const value = Number(ms);
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 120_000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value / 60_000)} min`;
}
