// While a key is open, a link inside the page is fetched and its content put in place, so that the key stays where it is.
// Without a key, links and forms are the browser's.
//
// The modules that a page names are run anew each time it is entered so; on `page:leave` (of document) they let go.

import { opener } from "./key.js";
import "./session.js";
import { save } from "./wav.js";

const REPLACED = ["header", "main"];

let visits = 0;
let entering = Promise.resolve(); // of the page that is shown: its scripts may still be on their way, and want to find it

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!opener.open || !link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  const here = url.origin === location.origin && !link.target && !link.hasAttribute("download");
  if (!here || (url.hash && url.pathname + url.search === location.pathname + location.search)) return;
  event.preventDefault();
  go(url, { push: true });
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!opener.open || event.defaultPrevented || form.method === "dialog" || form.target || event.submitter?.formTarget) return;
  const url = new URL(event.submitter?.getAttribute("formaction") ?? form.action, location.href);
  if (url.origin !== location.origin) return;
  const fields = new FormData(form, event.submitter);
  if ([...fields.values()].some((value) => typeof value !== "string")) return;
  const body = new URLSearchParams(fields);
  event.preventDefault();
  if (form.method === "get") {
    url.search = body;
    go(url, { push: true });
  } else go(url, { push: true, body });
});

addEventListener("popstate", () => {
  if (opener.open) go(new URL(location.href), { push: false });
  else location.reload();
});

async function go(url, { push, body = null }) {
  const visit = ++visits;
  document.documentElement.setAttribute("aria-busy", "true");
  try {
    const answer = await answerOf(url, body);
    if (visit !== visits) return; // somewhere else meanwhile
    if (answer) await take(answer, url, { push, body, visit });
    else if (!body) leave(url); // the server does not answer: let the browser say so
  } finally {
    document.documentElement.removeAttribute("aria-busy");
  }
}

async function answerOf(url, body) {
  try {
    return await fetch(url, body ? { method: "POST", body } : {});
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

async function take(answer, url, { push, body, visit }) {
  const there = new URL(answer.url);
  const file = /^attachment;.*filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") ?? "");
  if (there.pathname === "/login" || there.origin !== location.origin) return leave(there);
  if (file) return save(await answer.blob(), file[1]);
  if (!(answer.headers.get("Content-Type") ?? "").startsWith("text/html")) return leave(body ? new URL(location.href) : url);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  await Promise.allSettled([entering]);
  if (visit !== visits) return;
  show(page);
  there.hash = url.hash;
  if (push && (!body || answer.redirected)) history.pushState(null, "", there);
  else if (!body) history.replaceState(null, "", there);
  entering = enter(page, visit);
  await entering;
}

function leave(url) {
  opener.close();
  location.assign(url);
}

function show(page) {
  document.dispatchEvent(new Event("page:leave"));
  document.title = page.title;
  document.documentElement.lang = page.documentElement.lang;
  for (const link of page.head.querySelectorAll("link[rel=stylesheet]"))
    if (!document.head.querySelector(`link[href="${CSS.escape(link.getAttribute("href"))}"]`)) document.head.append(link);
  for (const name of REPLACED) {
    const [there, here] = [page.querySelector(name), document.querySelector(name)];
    if (there && here) here.replaceWith(document.adoptNode(there));
  }
}

async function enter(page, visit) {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) target.scrollIntoView();
  else scrollTo(0, 0);
  (target || document.querySelector("main")).focus({ preventScroll: true });
  for (const script of page.querySelectorAll("script[type=module][src]")) {
    const url = new URL(script.getAttribute("src"), location.href);
    if (url.origin === location.origin) await import(`${url.href}?visit=${visit}`);
  }
}
