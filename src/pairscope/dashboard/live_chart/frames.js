// When to draw: together, at a frame of the browser's, and no more often than an eye can follow.

const EVERY_MS = 50;
const waiting = new Set();
let asked = false;
let lastAt = -Infinity;

/** Call a function at the next drawing; asked for again before that, it is still called once. */
export function drawSoon(draw) {
  waiting.add(draw);
  if (asked) return;
  asked = true;
  setTimeout(() => requestAnimationFrame(run), Math.max(0, lastAt + EVERY_MS - performance.now()));
}

/** Take back what was asked for. */
export function drawNever(draw) {
  waiting.delete(draw);
}

function run() {
  asked = false;
  lastAt = performance.now();
  const due = [...waiting];
  waiting.clear();
  for (const draw of due) draw();
}
