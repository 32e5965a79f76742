// Rows as a CSV file in the viewer's hands: times as ISO 8601 with milliseconds and Z, nothing where nothing is known.

/** Write rows; `columns` are `[heading, value of a row]`. */
export function csvOf(rows, columns) {
  const lines = rows.map((row) => columns.map(([, value]) => written(value(row))).join(","));
  return [columns.map(([name]) => name).join(","), ...lines, ""].join("\r\n");
}

export const isoOf = (ms) => new Date(ms).toISOString();

function written(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
}

/** Hand a text to the browser as a file. */
export function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
