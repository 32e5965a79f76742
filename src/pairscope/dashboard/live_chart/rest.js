// GET from the API's REST side, with its errors in its own words.

import { needTickets, ticketToRead, ticketsNeeded } from "./access.js";

/** Where the API is, as this browser reaches it: a stated address, else the page's own host and the API's port. */
export function addressesOf({ url, port, tickets }) {
  needTickets(Boolean(tickets));
  const base = url ? url.replace(/\/+$/, "") : `${location.protocol}//${location.hostname}:${port}`;
  return { rest: base, feed: `${base.replace(/^http/, "ws")}/ws/updates` };
}

/** An answer that is not a 2xx: `message` is the problem's detail, `status` the code (0: nobody answered). */
export class Problem extends Error {
  constructor(detail, status) {
    super(detail);
    this.status = status;
  }
}

export async function get(base, path, params = {}, { signal } = {}) {
  const url = new URL(base + path);
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const headers = { Accept: "application/json" };
  if (ticketsNeeded()) headers.Authorization = `Bearer ${await ticketToRead()}`;
  let answer;
  try {
    answer = await fetch(url, { signal, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("the API cannot be reached", 0);
  }
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(problem.detail ?? problem.title ?? answer.statusText, answer.status);
}

/** Say if trying again later can help. */
export function mayPass(error) {
  return error instanceof Problem && (error.status === 0 || error.status === 429 || error.status >= 500);
}
