// A trade of a backtest in words: which way, from when to when, why it ended, and what it left.

import { duration, known, signed } from "./pair_words.js";
import { moment } from "./words.js";

const REASONS = { exit: "back at its exit", stop: "stopped", max_holding: "held too long", end: "open at the end", liquidation: "liquidated" };

/** The place of the trade that was open at a time, or of the nearest one that began within `reach` ms; -1 for none. */
export function tradeAt(trades, time, reach = 0) {
  const open = trades.findIndex(({ entry_timestamp: from, exit_timestamp: to }) => from <= time && time <= to);
  if (open >= 0) return open;
  let best = -1;
  let least = reach;
  trades.forEach(({ entry_timestamp: from, exit_timestamp: to }, i) => {
    const away = Math.min(Math.abs(from - time), Math.abs(to - time));
    if (away <= least) [best, least] = [i, away];
  });
  return best;
}

/** A trade in one line: Short, 03-04 12:31 at z +2.10 → 13:05 at z +0.40 (34 min, back at its exit): +12.31 USDT. */
export function tradeWords(trade, barSeconds) {
  const way = trade.side === "long" ? "▲ Long" : "▼ Short";
  const at = (z) => (known(z) ? ` at z ${signed(z, 2)}` : "");
  const lasted = duration((trade.exit_timestamp - trade.entry_timestamp) / 1000 / barSeconds, barSeconds);
  const reason = REASONS[trade.reason] ?? trade.reason;
  return `${way}, ${moment(trade.entry_timestamp, barSeconds)}${at(trade.entry_zscore)} → ${moment(trade.exit_timestamp, barSeconds)}${at(trade.exit_zscore)} (${lasted}, ${reason}): ${signed(trade.pnl, 2)} USDT after ${signed(trade.fees, 2).replace("+", "")} fees`;
}
