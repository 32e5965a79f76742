// A pair's past under its newest hedge ratio: the spread that a trader who enters now would have held all along.

/** Rows whose spread, mean, deviation and z-score stand under one hedge ratio; as they are where it is not known. */
export function inHindsight(rows, { window, price_space: space }, { alpha, beta } = {}) {
  if (!Number.isFinite(alpha) || !Number.isFinite(beta)) return rows;
  const scale = space === "log" ? Math.log : (price) => price;
  const spreads = rows.map(({ price_y: y, price_x: x }) => (y > 0 && x > 0 ? scale(y) - (alpha + beta * scale(x)) : null));
  return rows.map((row, t) => {
    const part = t + 1 < window ? [] : spreads.slice(t + 1 - window, t + 1);
    if (!part.length || part.includes(null)) return { ...row, spread: spreads[t], mean: null, std: null, zscore: null };
    const mean = part.reduce((sum, value) => sum + value, 0) / window;
    const std = Math.sqrt(part.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (window - 1));
    return { ...row, spread: spreads[t], mean, std, zscore: std > 0 ? (spreads[t] - mean) / std : null };
  });
}
