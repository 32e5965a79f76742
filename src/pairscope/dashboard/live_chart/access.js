// Tickets, where the API asks for a key: the page's server has the key and hands the browser short-lived tickets.

import { mountable } from "./lifecycle.js";

const FRESH_MS = 24000; // a ticket lives for 30 s
const PATIENCE_MS = 8000;

const access = { required: false, ticket: null, at: -Infinity, spent: false, ask: null, waiting: [] };

/** Whether calls need a ticket; every view says so before its first call. */
export const ticketsNeeded = () => access.required;
export const needTickets = (needed) => Object.assign(access, { required: needed });

/** A ticket for one WebSocket, which spends it. */
export async function ticketToSpend() {
  const ticket = await current(() => !access.spent);
  access.spent = true;
  return ticket;
}

/** A ticket for a read, which does not spend it. */
export const ticketToRead = () => current(() => true);

async function current(usable) {
  const fresh = () => access.ticket && performance.now() - access.at < FRESH_MS && usable();
  const deadline = performance.now() + PATIENCE_MS;
  while (!fresh() && performance.now() < deadline) {
    access.ask?.();
    await new Promise((resolve) => {
      access.waiting.push(resolve);
      setTimeout(resolve, 1500);
    });
  }
  return access.ticket ?? "";
}

function offer({ ticket }) {
  if (!ticket || ticket === access.ticket) return;
  Object.assign(access, { ticket, at: performance.now(), spent: false });
  for (const resolve of access.waiting.splice(0)) resolve();
}

const take = mountable(() => ({ update: offer, destroy() {} }));

/** The component that brings tickets to the page; it shows nothing. */
export function mount(component) {
  access.ask = () => component.setTriggerValue("wanted", true);
  return take(component);
}
