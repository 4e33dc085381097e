// A screen on the wall: asks for the counts, for months if need be. Who asks is told by the token behind the # of its address, which
// a browser sends to nobody by itself; or by a session, which asking does not keep alive.

import { length, wordsIn } from "./words.js";

const FIGURES = ["waiting", "free", "busy", "away", "calls"];
const EVERY_MS = 2000;
const STALE_MS = 10_000; // until what is shown is said to be old

const at = (id) => document.getElementById(id);
const say = wordsIn(at("words"));
const page = at("wall");
const { zone } = page.dataset;
const language = document.documentElement.lang;
const full = at("full");

let ahead = 0; // the server's clock before ours, ms
let shown = null, firstSince = null;

const time = (moment) => moment.toLocaleTimeString(language, { timeZone: zone, hour: "2-digit", minute: "2-digit" });
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const figure = (name, text) => write(at(name).querySelector("dd"), text);

function tick() {
  const now = new Date(Date.now() + ahead);
  write(at("clock"), time(now));
  const waited = firstSince ? length((now - firstSince) / 1000) : "–";
  at("first").classList.toggle("long", waited.length > 5);
  figure("first", waited);
}

function show(told) {
  shown = new Date(told.at);
  ahead = shown - Date.now();
  firstSince = told.first_since && new Date(told.first_since);
  for (const name of FIGURES) figure(name, String(told[name]));
  page.classList.remove("empty");
  page.classList.toggle("some", told.waiting > 0);
  page.classList.toggle("nobody-free", told.waiting > 0 && told.free === 0);
  const closed = told.closed_until ? say("closed", { time: time(new Date(told.closed_until)) }) : "";
  tell(told.running ? closed : say("stopped"), false);
  tick();
}

function empty() {
  shown = firstSince = null;
  page.className = "empty";
  for (const name of FIGURES) figure(name, "–");
  tell(say("nobody"), false);
}

function tell(text, stale) {
  write(at("said"), text);
  page.classList.toggle("stale", stale);
}

async function look() {
  const token = location.hash.slice(1);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch("/api/v1/wall", { headers, cache: "no-store", signal: AbortSignal.timeout(STALE_MS) });
    if (answer.ok) show(await answer.json());
    else if (answer.status === 401 || answer.status === 403) empty();
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof DOMException)) throw error; // else: nobody answers just now
  } finally {
    if (shown && Date.now() + ahead - shown > STALE_MS && !page.classList.contains("stale")) tell(say("lost", { time: time(shown) }), true);
    page.removeAttribute("data-waiting");
    setTimeout(look, EVERY_MS);
  }
}

full.hidden = !document.fullscreenEnabled;
full.addEventListener("click", () => document.documentElement.requestFullscreen());
document.addEventListener("fullscreenchange", () => (full.hidden = Boolean(document.fullscreenElement)));
setInterval(tick, 1000);
look();
