// What is watched, in a trader's words: which charts there are, what a tile says, and a value with its unit.

import { fixed, known } from "./pair_words.js";
import { age, amount } from "./words.js";

const SIZES = [["B", 1], ["KB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12]];

/** Charts by what they are about; `least` is how far up the scale goes at least, `free` one that need not begin at 0. */
export const GROUPS = [
  {
    title: "The feed",
    charts: [
      { name: "feed_lag_ms", title: "Feed lag", least: 100 },
      { name: "tick_age_ms", title: "Silence", least: 100 },
      { name: "ticks_per_second", title: "Trades a second", least: 1 },
      { name: "late_ticks", title: "Late trades", least: 1 },
      { name: "open_gaps", title: "Open gaps", least: 1 },
      { name: "reconnects", title: "Reconnects", least: 1 },
    ],
  },
  {
    title: "Storing it",
    charts: [
      { name: "queue_depth", title: "Queue", least: 10 },
      { name: "flush_ms", title: "Write to the store", least: 10 },
      { name: "spool_bytes", title: "Spool", least: 1000 },
      { name: "store_bytes", title: "Size of the store", free: true, least: 1000 },
      { name: "disk_free_bytes", title: "Free disk", free: true, least: 1e8 },
    ],
  },
  {
    title: "Computing",
    charts: [
      { name: "engine_step_ms", title: "Engine", least: 1 },
      { name: "pair_step_ms", title: "Live pairs", least: 1 },
      { name: "loop_lag_ms", title: "Held up", least: 10 },
      { name: "cpu_percent", title: "Pairscope's processor", least: 10 },
      { name: "machine_cpu_percent", title: "The machine's processor", least: 10 },
      { name: "memory_bytes", title: "Memory", free: true, least: 1e7 },
    ],
  },
  {
    title: "Telling it",
    charts: [
      { name: "clients", title: "Viewers", least: 1 },
      { name: "bus_published", title: "Updates a second", least: 1 },
      { name: "bus_conflated", title: "Updates skipped", least: 1 },
      { name: "cache_entries", title: "Cache", least: 10 },
      { name: "alert_firings", title: "Alerts fired", least: 1 },
      { name: "outbox_waiting", title: "Alerts to be sent", least: 1 },
    ],
  },
];

export const WORDS = { ok: "● Fine", warning: "▲ Strained", critical: "■ In trouble", unknown: "○ Not known" };

/** A value with its unit: 213 ms, 6.75 MB, 140 /s. */
export function written(value, unit) {
  if (!known(value)) return "–";
  if (unit === "ms") return Math.abs(value) < 10 ? `${fixed(value, 1)} ms` : Math.abs(value) < 10000 ? `${fixed(value, 0)} ms` : age(value);
  if (unit === "bytes") return bytes(value);
  if (unit === "%") return `${fixed(value, value < 10 ? 1 : 0)} %`;
  if (unit.endsWith("/s")) return `${value < 10 ? fixed(value, 1) : amount(Math.round(value))} /s`;
  return amount(value);
}

function bytes(value) {
  const [name, size] = SIZES.findLast(([, one]) => Math.abs(value) >= one) ?? SIZES[0];
  const number = value / size;
  return `${size === 1 || number >= 100 ? fixed(number, 0) : number >= 10 ? fixed(number, 1) : fixed(number, 2)} ${name}`;
}

/** A time of the day in UTC, to the second. */
export const clock = (ms) => `${new Date(ms).toISOString().slice(11, 19)} UTC`;

/**
 * The tiles, best read left to right: each names the measures that it stands for, the check of health beside them, and
 * makes its number and its sentence of `tell(name)` (the newest value, written), `now(name)` (as a number) and
 * `sum(name)` (what was counted in all samples).
 */
export const TILES = [
  {
    title: "Feed",
    check: "feed",
    measures: ["feed_lag_ms", "tick_age_ms", "reconnects"],
    number: ({ tell }) => `${tell("feed_lag_ms")} lag`,
    words: ({ tell, now }) => `${tell("ticks_per_second").replace(" /s", "")} trades a second, the newest ${known(now("tick_age_ms")) ? age(now("tick_age_ms")) : "–"} ago`,
  },
  {
    title: "Store",
    check: "store",
    measures: ["flush_ms", "spool_bytes", "disk_free_bytes"],
    number: ({ tell }) => tell("store_bytes"),
    words: ({ tell, now }) => `the newest write took ${tell("flush_ms")}; ${now("spool_bytes") ? `${tell("spool_bytes")} wait on disk` : "nothing waits on disk"}`,
  },
  {
    title: "Cache",
    check: "cache",
    measures: ["cache_evictions", "bus_closed"],
    number: ({ tell }) => `${tell("cache_entries")} values`,
    words: ({ tell, now, sum }) => `${sum("cache_evictions") ? `${amount(sum("cache_evictions"))} had to leave early` : "none had to leave early"}; ${tell("bus_published").replace(" /s", "")} updates a second to ${plural(now("clients"), "viewer")}`,
  },
  {
    title: "Queue",
    measures: ["queue_depth"],
    number: ({ tell }) => `${tell("queue_depth")} of ${tell("queue_capacity")}`,
    words: () => "batches of trades wait to be stored",
  },
  {
    title: "Gaps",
    measures: ["open_gaps"],
    number: ({ tell }) => `${tell("open_gaps")} open`,
    words: ({ sum }) => `${plural(sum("late_ticks"), "late trade")} and ${plural(sum("reconnects"), "reconnect")} in the time shown`,
  },
  {
    title: "Machine",
    measures: ["loop_lag_ms", "machine_cpu_percent", "memory_bytes", "disk_free_bytes"],
    number: ({ tell }) => `${tell("machine_cpu_percent")} busy`,
    words: ({ tell }) => `${tell("memory_bytes")} of memory, ${tell("disk_free_bytes")} of disk free, held up for ${tell("loop_lag_ms")} at most`,
  },
];

function plural(count, word) {
  return known(count) ? `${amount(count)} ${word}${count === 1 ? "" : "s"}` : `– ${word}s`;
}

const RANKS = ["ok", "warning", "critical"];
const CHECKS = { ok: "ok", degraded: "warning", down: "critical" };

/** How a tile stands: as bad as the worst of its measures and its check; unknown where none of them is known. */
export function standingOf(tile, now, checks) {
  const found = tile.measures.map((name) => now[name]?.status).filter(Boolean);
  const check = CHECKS[checks?.[tile.check]?.status];
  if (check) found.push(check);
  return found.length ? RANKS[Math.max(...found.map((status) => RANKS.indexOf(status)))] : "unknown";
}

/** Judge a value by its ranges, as the API judges the newest one. */
export function judged(value, ranges) {
  if (!ranges || !known(value)) return "ok";
  const inside = ([low, high]) => (low === null || value >= low) && (high === null || value <= high);
  return inside(ranges.healthy) ? "ok" : inside(ranges.tolerable) ? "warning" : "critical";
}
