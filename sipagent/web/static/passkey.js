// Passkeys (WebAuthn): logging in by one, and adding one. The forms are shown where the browser has passkeys.

import { wordsIn } from "./words.js";

const at = (id) => document.getElementById(id);
const say = wordsIn(at("passkey-words"));
const WHY = { InvalidStateError: "already", NotSupportedError: "unfit", ConstraintError: "unfit", SecurityError: "address" };

class Fault extends Error {}

const bytesOf = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));

function textOf(buffer) {
  const text = Array.from(new Uint8Array(buffer), (one) => String.fromCharCode(one)).join("");
  return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const fieldsOf = (form) => new URLSearchParams(new FormData(form));

function tell(fault, state = "") {
  at("passkey-fault").hidden = !fault;
  at("passkey-fault").textContent = fault;
  at("passkey-state").textContent = state;
}

// What the server has to say; throws a Fault with its words, or ours.
async function asked(url, body) {
  const request = { method: "POST", body, cache: "no-store", redirect: "error" };
  let told;
  try {
    const answer = await fetch(url, request);
    told = await answer.json();
    if (!answer.ok && !told.error) throw new Fault(say("no_answer"));
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError) throw new Fault(say("no_answer"));
    throw error;
  }
  if (told.error) throw new Fault(told.error);
  return told;
}

async function made(options) {
  const there = options.excludeCredentials.map((one) => ({ ...one, id: bytesOf(one.id) }));
  const user = { ...options.user, id: bytesOf(options.user.id) };
  const publicKey = { ...options, user, challenge: bytesOf(options.challenge), excludeCredentials: there };
  const { id, rawId, type, response } = await navigator.credentials.create({ publicKey });
  const transports = response.getTransports?.() ?? [];
  const [clientDataJSON, attestationObject] = [response.clientDataJSON, response.attestationObject].map(textOf);
  return { id, rawId: textOf(rawId), type, response: { clientDataJSON, attestationObject, transports } };
}

async function signed(options) {
  const publicKey = { ...options, challenge: bytesOf(options.challenge) };
  const { id, rawId, type, response } = await navigator.credentials.get({ publicKey });
  const userHandle = response.userHandle ? textOf(response.userHandle) : null;
  const parts = [response.clientDataJSON, response.authenticatorData, response.signature];
  const [clientDataJSON, authenticatorData, signature] = parts.map(textOf);
  return { id, rawId: textOf(rawId), type, response: { clientDataJSON, authenticatorData, signature, userHandle } };
}

// Shows a form, and sends it once `answer` has what it carries. `cancelled`: what is said where nothing came.
function prepare(form, answer, cancelled) {
  let busy = false;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    const button = form.querySelector("button");
    button.setAttribute("aria-disabled", "true");
    tell("", say("waiting"));
    try {
      form.elements.credential.value = JSON.stringify(await answer());
      tell("", say("sending"));
      form.submit();
    } catch (error) {
      const word = error.name === "NotAllowedError" || error.name === "AbortError" ? cancelled : WHY[error.name] ?? "failed";
      tell(error instanceof Fault ? error.message : say(word, { name: error.name }));
      button.removeAttribute("aria-disabled");
      busy = false;
    }
  });
}

const [login, adding] = ["passkey-login", "passkey-add"].map(at);
if (window.isSecureContext && window.PublicKeyCredential) {
  if (login) prepare(login, async () => signed(await asked("/login/passkey/ask", fieldsOf(login))), "cancelled");
  if (adding) {
    at("passkey-none").hidden = true;
    prepare(adding, async () => made(await asked("/account/passkeys/ask", fieldsOf(adding))), "not_made");
  }
} else if (adding) {
  at("passkey-none").textContent = say("no_passkeys");
}
addEventListener("pageshow", ({ persisted }) => persisted && location.reload()); // what was sent is used
