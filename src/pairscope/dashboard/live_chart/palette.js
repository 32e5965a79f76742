// Colours: up and down in the chosen palette, the rest from the page's theme.

const CLASSIC = { dark: { up: "#0ECB81", down: "#F6465D" }, light: { up: "#0B8F5C", down: "#D1293F" } };
// Blue and orange stay apart in every common colour-vision deficiency.
const COLOUR_BLIND = { dark: { up: "#56B4E9", down: "#E69F00" }, light: { up: "#0072B2", down: "#D55E00" } };

const LINES = {
  dark: ["#F0B90B", "#3FB6FF", "#B659FF", "#FF8A3D", "#2DD4BF", "#F472B6", "#A3E635", "#94A3B8"],
  light: ["#A87900", "#0B6FB8", "#7C2FCB", "#C2540A", "#0F766E", "#BE185D", "#4D7C0F", "#475569"],
};

/** Read the theme at a node; `kind` is `classic` or `colour-blind`. */
export function paletteAt(node, kind) {
  const css = getComputedStyle(node);
  const variable = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise;
  const background = variable("--st-background-color", "#0B0E11");
  const tone = isDark(background) ? "dark" : "light";
  const pair = (kind === "colour-blind" ? COLOUR_BLIND : CLASSIC)[tone];
  return {
    ...pair,
    kind,
    tone,
    background,
    lines: LINES[tone],
    text: variable("--st-text-color", "#EAECEF"),
    muted: tone === "dark" ? "#848E9C" : "#5B6472",
    border: variable("--st-border-color", "#2B3139"),
    grid: tone === "dark" ? "rgba(132,142,156,0.10)" : "rgba(91,100,114,0.12)",
    accent: variable("--st-primary-color", "#F0B90B"),
    font: variable("--st-font", "sans-serif"),
  };
}

/** Tell whether two palettes paint alike. */
export function samePalette(a, b) {
  return a && b && a.kind === b.kind && a.background === b.background && a.text === b.text && a.border === b.border;
}

/** Add transparency to a #RRGGBB colour. */
export function faded(colour, alpha) {
  return `${colour}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}

/** Give the colours of up and down to the style sheet. */
export function paint(host, palette) {
  host.style.setProperty("--ps-up", palette.up);
  host.style.setProperty("--ps-down", palette.down);
  host.style.setProperty("--ps-muted", palette.muted);
  host.dataset.tone = palette.tone;
}

function isDark(colour) {
  const hex = colour.match(/^#([0-9a-f]{6})/i)?.[1];
  const parts = hex ? hex.match(/../g).map((pair) => parseInt(pair, 16)) : (colour.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  return parts[0] * 0.299 + parts[1] * 0.587 + parts[2] * 0.114 < 128;
}
