// Warns two minutes before the session ends. Once it has ended the login is shown, and nothing of the page is left on the screen.

import { length } from "./words.js";

const AGAIN_MS = 15_000; // after no answer
const TYPING_MS = 3000; // who types is let finish the word
const dialog = document.getElementById("ending");
const [why, anyway] = ["ending-why", "ending-anyway"].map((id) => document.getElementById(id));
const { csrf } = dialog.dataset;
const { page } = document.querySelector("main").dataset;

let ends = Date.now() + 1000 * dialog.dataset.left;
const warnMs = Math.min(120_000, 500 * dialog.dataset.left);
let inAnyCase = false, read = false, typedAt = 0, timer = null;
const leaving = new AbortController();

function after(ms, next) {
  clearTimeout(timer);
  if (!leaving.signal.aborted) timer = setTimeout(next, Math.max(0, ms));
}

async function ask(asking = {}) {
  let answer, told;
  try {
    answer = await fetch("/session", { ...asking, redirect: "manual", cache: "no-store" });
    if (answer.ok) told = await answer.json();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // the network: it may come back
  }
  if (leaving.signal.aborted) return;
  if (answer?.type === "opaqueredirect") return location.assign(`/login?next=${page}`);
  if (!told) return after(AGAIN_MS, ask);
  ends = Date.now() + 1000 * told.left_s;
  inAnyCase = told.in_any_case;
  warn();
}

function warn() {
  const left = ends - Date.now();
  if (left > warnMs) {
    dialog.close("still");
    return after(left - warnMs, ask);
  }
  for (const clock of dialog.querySelectorAll("[data-clock]")) clock.textContent = length(left / 1000);
  if (!dialog.open && !read && Date.now() - typedAt > TYPING_MS) {
    why.hidden = inAnyCase;
    anyway.hidden = !inAnyCase;
    dialog.setAttribute("aria-describedby", `${inAnyCase ? anyway.id : why.id} ending-kept`);
    const button = dialog.querySelector("button");
    if (inAnyCase) button.textContent = button.dataset.other;
    dialog.showModal();
    read = inAnyCase; // once is enough
  }
  after(left > 0 ? 1000 : 0, left > 0 ? warn : ask);
}

dialog.addEventListener("close", () => {
  if (dialog.returnValue === "still") return (dialog.returnValue = "");
  if (!inAnyCase) ask({ method: "POST", headers: { "X-CSRF-Token": csrf } });
});
document.addEventListener("keydown", () => (typedAt = Date.now()), leaving);
document.addEventListener("visibilitychange", () => document.hidden || ask(), leaving); // another tab may have prolonged it
document.addEventListener("page:leave", () => { // see navigation.js
  leaving.abort();
  clearTimeout(timer);
}, leaving);
after(ends - Date.now() - warnMs, ask);
