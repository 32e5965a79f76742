// What an indicator looks like: on the price or in a pane of its own, which lines, how its numbers are written.

import { faded } from "./palette.js";
import { amount, price } from "./words.js";

const STYLES = [0, 2, 1]; // solid, dashed, dotted: the second and third period of the same kind

const KINDS = {
  sma: { label: "SMA", colour: 0 },
  ema: { label: "EMA", colour: 1 },
  bollinger: { label: "Bollinger", colour: 2, parts: ["upper", "middle", "lower"], faint: ["upper", "lower"] },
  vwap: { label: "VWAP", colour: 3 },
  rsi: { label: "RSI", colour: 4, pane: true, guides: [30, 70], range: [0, 100], write: (value) => value.toFixed(1) },
  macd: { label: "MACD", colour: 1, pane: true, parts: ["macd", "signal", "histogram"], guides: [0], write: small },
  atr: { label: "ATR", colour: 5, pane: true },
  volatility: { label: "Volatility, a year", colour: 6, pane: true, write: (value) => `${(value * 100).toFixed(1)} %` },
};

function small(value) {
  return amount(value);
}

/** Describe chosen indicators: one entry a name (`sma:20`), with its lines in drawing order. */
export function described(names) {
  const seen = {};
  return names.map((name) => {
    const [kind, ...periods] = name.split(":");
    const look = KINDS[kind] ?? { label: kind.toUpperCase(), colour: 7 };
    const ordinal = (seen[kind] = (seen[kind] ?? -1) + 1);
    const label = [look.label, periods.join(" · ")].filter(Boolean).join(" ");
    const parts = (look.parts ?? [null]).map((part) => ({ part, key: part ? `${name}.${part}` : name }));
    return { name, kind, label, look, ordinal, parts, pane: look.pane ?? false };
  });
}

/** Series options of one part of an indicator. */
export function lineOptions(indicator, part, palette) {
  const second = part === "signal" ? 3 : indicator.look.colour;
  const colour = palette.lines[second % palette.lines.length];
  const faint = indicator.look.faint?.includes(part);
  return {
    color: faint ? faded(colour, 0.6) : colour,
    lineWidth: part === "middle" || faint ? 1 : 2,
    lineStyle: part === "middle" ? 2 : STYLES[indicator.ordinal % STYLES.length],
    priceLineVisible: false,
    lastValueVisible: indicator.pane && part !== "signal",
    crosshairMarkerVisible: false,
  };
}

export function colourOf(indicator, part, palette) {
  return palette.lines[(part === "signal" ? 3 : indicator.look.colour) % palette.lines.length];
}

/** Write a value of an indicator; those on the price have the price's decimals. */
export function written(indicator, value, decimals) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (indicator.look.write) return indicator.look.write(value);
  return price(value, decimals);
}
