// Renews the part of a page that waits for something, until it waits no more.

const SOON_MS = 1000;
const LATE_MS = 5000;

async function renewed() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (left) return null;
  if (!answer.ok || answer.redirected) {
    location.reload();
    return null;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.getElementById("renewed");
}

let pause = SOON_MS, left = false;
document.addEventListener("page:leave", () => (left = true), { once: true }); // see navigation.js
async function look() {
  if (left) return;
  const here = document.getElementById("renewed");
  try {
    const now = await renewed();
    if (now === null || left) return;
    if (!("waiting" in now.dataset)) {
      here.replaceWith(now);
      return;
    }
    const said = here.querySelector("[role=status]");
    const says = now.querySelector("[role=status]");
    if (said && says) said.textContent = says.textContent; // in its place, so that it is read aloud
    else here.replaceChildren(...now.childNodes);
  } catch (error) {
    console.warn(error); // the network: it may come back
  }
  pause = Math.min(pause * 1.3, LATE_MS);
  setTimeout(look, pause);
}
if (document.querySelector("#renewed[data-waiting]")) setTimeout(look, pause);
