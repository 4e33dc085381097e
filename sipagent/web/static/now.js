// Follows the calls of the moment by server-sent events. Without this script the page stays as it came.
const page = document.getElementById("now");
const words = JSON.parse(page.dataset.words);
const QUIET_MS = 15000; // between two sentences for who listens to the page

const at = (id) => document.getElementById(id);
const part = (row, name) => row.querySelector(`[data-is="${name}"]`);
const say = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

const day = (moment) => moment.toLocaleDateString(document.documentElement.lang === "fr" ? "fr-FR" : "sv-SE", { timeZone: page.dataset.zone });
const time = (moment) => moment.toLocaleTimeString("sv-SE", { timeZone: page.dataset.zone });
const clock = (moment) => (day(moment) === day(new Date(Date.now() + ahead)) ? time(moment) : `${day(moment)} ${time(moment)}`);
const user = (address) => (address ? address.replace(/^sips?:|[@;].*$/g, "") : "–");

let ahead = new Date(page.dataset.at) - Date.now(); // the server's clock before ours, ms
let shown = new Date(page.dataset.at);
let source = null;
let over = false;

function length(since) {
  const seconds = Math.max(0, Math.round((Date.now() + ahead - since) / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function rows(body, template, key, list, id, set) {
  const there = new Map([...body.children].map((row) => [row.dataset[key], row]));
  let behind = null;
  for (const one of list) {
    let row = there.get(one[id]);
    if (!row) {
      row = at(template).content.querySelector("tr").cloneNode(true);
      row.dataset[key] = one[id];
    }
    there.delete(one[id]);
    set(row, one);
    const place = behind ? behind.nextSibling : body.firstChild;
    if (place !== row) body.insertBefore(row, place);
    behind = row;
  }
  for (const row of there.values()) row.remove();
}

function setSince(row, since) {
  if (since) row.dataset.since = String(+new Date(since));
  else delete row.dataset.since;
  say(part(row, "since"), since ? length(+new Date(since)) : "");
}

function why(call) {
  if (call.recorded || (call.decision === "allowed" && call.state === "talks")) return "";
  if (words[call.decision]) return words[call.decision];
  const by = call.decided_by ? ` (${words[`by ${call.decided_by}`] ?? call.decided_by})` : "";
  return (words[`decision ${call.decision}`] ?? call.decision) + by;
}

function setCall(row, call) {
  const reference = part(row, "reference");
  say(reference, call.reference);
  if (reference.localName === "a") reference.setAttribute("href", `/recordings/${call.id}`);
  say(part(row, "began"), clock(new Date(call.began_at)));
  say(part(row, "doing"), fill(words[call.state], { operator: user(call.operator) }));
  part(row, "recorded").hidden = !call.recorded;
  part(row, "unrecorded").hidden = call.recorded;
  say(part(row, "why"), why(call));
  setSince(row, call.since);
}

function setOperator(row, one) {
  say(part(row, "name"), user(one.operator));
  say(part(row, "state"), one.call ? words["in a call"] : words.free);
  part(row, "state").classList.toggle("good", !one.call);
  say(part(row, "call"), one.reference ?? "");
  setSince(row, one.since);
}

// What is heard is one short sentence, and not too often.
let heardAt = -QUIET_MS, hearing = null;
function hear(text) {
  clearTimeout(hearing);
  const now = performance.now();
  hearing = setTimeout(() => { heardAt = performance.now(); say(at("said"), text); }, Math.max(0, heardAt + QUIET_MS - now));
}

let today = JSON.stringify(JSON.parse(page.dataset.today));
async function renewToday(told) { // what a form or a list of the server says is the server's to write
  if (told === today) return;
  today = told;
  const answer = await fetch("/", { redirect: "error", cache: "no-store" });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of ["today-now", "today-list"]) at(id).replaceWith(fresh.getElementById(id));
}

function show(moment) {
  shown = new Date(moment.at);
  ahead = shown - Date.now();
  rows(at("calls"), "call-row", "id", moment.calls, "id", setCall);
  rows(at("operators"), "operator-row", "operator", moment.operators, "operator", setOperator);
  renewToday(JSON.stringify(moment.today)).catch(() => { today = ""; }); // with the next moment
  at("calls-table").hidden = moment.calls.length === 0;
  at("stopped").hidden = moment.running;
  at("fault").hidden = !moment.fault;
  at("unreadable").hidden = !moment.unreadable;
  const recorded = moment.calls.filter((call) => call.recorded).length;
  const n = moment.calls.length;
  const text = fill(words[n > 1 ? "calls" : n ? "call" : "none"], { n, recorded });
  if (at("in-all").textContent !== text) hear(text);
  say(at("in-all"), text);
}

function tell(name, renew) {
  say(at("following"), fill(words[name], { time: time(shown) }));
  at("renew").hidden = !renew;
}

async function lost(stream) {
  tell("lost", true);
  if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again
  stream.close();
  try { // it does not: the session may be over, or who answers is a proxy before a server that starts
    const answer = await fetch("/", { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) return ended();
  } catch { /* nobody answers yet */ }
  if (source === stream) setTimeout(() => { if (source === stream) follow(); }, 3000);
}

function ended() {
  over = true;
  source?.close();
  tell("ended", true);
}

function follow() {
  const stream = source = new EventSource("/api/v1/events");
  stream.addEventListener("open", () => tell("live", false));
  stream.addEventListener("now", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("ended", ended);
  stream.addEventListener("error", () => { if (source === stream && !over) lost(stream); });
}

setInterval(() => {
  if (over) return;
  for (const row of document.querySelectorAll("tr[data-since]")) say(part(row, "since"), length(+row.dataset.since));
}, 1000);
// A browser has few connections to one server: a page that nobody looks at needs none.
document.addEventListener("visibilitychange", () => {
  if (over) return;
  if (document.hidden) {
    source?.close();
    source = null;
    tell("still", true);
  } else if (!source) follow();
});
if (!document.hidden) follow();
document.addEventListener("page:leave", () => { // see navigation.js
  over = true;
  source?.close();
}, { once: true });
