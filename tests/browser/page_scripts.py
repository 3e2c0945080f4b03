"""What tests ask of a page, in its own language."""

#: What can be operated, in the order of the document.
CONTROLS = """
[...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
  .filter((one) => !one.disabled && one.checkVisibility())
"""
#: The number of the control that has the focus, -1 for none; whether it is outlined; whether it is seen.
FOCUS = f"""
(() => {{
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const top = document.elementFromPoint(box.x + Math.min(box.width / 2, 20), box.y + Math.min(box.height / 2, 10));
  return {{
    number: {CONTROLS.strip()}.indexOf(one),
    what: one.outerHTML.slice(0, 120),
    isOutlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isSeen: one.contains(top),
  }};
}})()
"""
#: Texts whose contrast with what is behind them is less than WCAG's 4.5 to 1.
FAINT = """
(() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const mix = (colors) => {
    for (const color of colors) { paint.fillStyle = color; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (color) => color.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (one) => (one ? [...behind(one.parentElement), getComputedStyle(one).backgroundColor] : []);
  const isText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")].filter((one) => isText(one) && one.checkVisibility() && !one.disabled)
    .map((one) => {
      const back = behind(one);
      const [text, ground] = [light(mix([...back, getComputedStyle(one).color])), light(mix(back))];
      return [(Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05), one.outerHTML.slice(0, 120)];
    })
    .filter(([contrast]) => contrast < 4.5);
})()
"""
#: How bright the page is behind everything, from 0 to 255.
BRIGHTNESS = "Math.max(...getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number))"
#: What does not fit into the width of the page.
TOO_WIDE = """
(() => {
  const root = document.documentElement;
  const width = root.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width + 1)
    .filter((one) => !one.closest(".scroll, pre"));
  return root.scrollWidth > width ? wide.map((one) => one.outerHTML.slice(0, 200)).concat(`${root.scrollWidth}`) : [];
})()
"""
