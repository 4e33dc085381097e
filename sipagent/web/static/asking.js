// Asks the server, and says by a code why there is no answer.

import { Fault } from "./key.js";

const CODES = { 401: "session_over", 410: "gone" };

// The answer to GET, or to POST of `body` as JSON; throws a Fault.
export async function asked(url, { body = null, csrf = "" } = {}) {
  const headers = body === null ? {} : { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  const request = { method: body === null ? "GET" : "POST", headers, cache: "no-store", redirect: "error" };
  if (body !== null) request.body = JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(url, request);
  } catch (error) {
    if (error instanceof TypeError) throw new Fault("no_answer");
    throw error;
  }
  if (answer.status >= 500) throw new Fault("no_answer");
  if (!answer.ok) throw new Fault(CODES[answer.status] ?? "refused", await detailOf(answer));
  return answer;
}

// Asks for a use (web.md): its answer, or null where somebody else must approve it first.
export async function use(player, asking) {
  const body = Object.fromEntries(Object.entries(asking).filter(([, value]) => value));
  const answer = await asked(player.dataset.uses, { body, csrf: player.dataset.csrf });
  return answer.status === 202 ? null : answer.json();
}

async function detailOf(answer) {
  const kind = answer.headers.get("Content-Type") ?? "";
  if (!kind.startsWith("application/problem+json")) return null;
  return (await answer.json()).detail ?? null;
}
