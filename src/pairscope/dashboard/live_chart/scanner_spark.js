// A z-score's way over the last bars as a line of a hundred by twenty-four, its mean in the middle.

const LEAST = 2; // deviations from the middle to the edge: below that, a quiet line looks quiet

/** Return the path of a line; it breaks where a value is missing. */
export function sparkPath(values) {
  const known = values.filter((value) => value !== null && Number.isFinite(value));
  if (known.length < 2) return "";
  const most = Math.max(LEAST, ...known.map(Math.abs));
  const step = 100 / (values.length - 1);
  let path = "";
  let drawing = false;
  values.forEach((value, i) => {
    if (value === null || !Number.isFinite(value)) {
      drawing = false;
      return;
    }
    path += `${drawing ? "L" : "M"}${(i * step).toFixed(1)} ${(12 - (value / most) * 11).toFixed(1)}`;
    drawing = true;
  });
  return path;
}
