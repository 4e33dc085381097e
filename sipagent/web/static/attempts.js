// What a page tries for a person, and says of it: where it is, or why it failed, in the words of listening-words.html.

import { Fault, opener } from "./key.js";
import { wordsIn } from "./words.js";

const ENDING = ["gone", "session_over", "key_was_closed"]; // after which nothing may be heard any more

export class Attempts {
  // `root`: the element with `data-uses`, `data-csrf`, `data-key`, `data-key-name`; `buttons`: ids of what waits meanwhile.
  // On the page are `listen-fault` (an alert) and `listen-state` (a status).
  constructor(root, buttons) {
    this.root = root;
    this.buttons = buttons;
    this.busy = false;
    this.say = wordsIn(this.at("listening-words"));
  }

  at(id) {
    return document.getElementById(id);
  }

  // Lets go of what was opened.
  let() {}

  // Does something that may fail, and says so. One thing at a time.
  async attempt(act) {
    if (this.busy) return;
    this.busy = true;
    const buttons = this.buttons.map((id) => this.at(id)).filter(Boolean);
    buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
    this.alarm(null);
    try {
      await act();
    } catch (error) {
      this.fail(error);
    } finally {
      this.busy = false;
      buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    }
  }

  // Says why it does not go on.
  fail(error) {
    const { code, detail } = error instanceof Fault ? error : new Fault("failed");
    if (code === "closed") return; // by the person
    if (!(error instanceof Fault)) console.error(error);
    if (ENDING.includes(code)) this.let();
    if (code === "session_over") opener.close();
    this.alarm(code === "refused" && detail ? detail : this.say(code, { key: this.root.dataset.keyName ?? "" }));
  }

  alarm(text) {
    const place = this.at("listen-fault");
    place.hidden = text === null;
    place.textContent = text ?? "";
    if (text !== null) this.state("");
  }

  state(text) {
    const place = this.at("listen-state");
    if (place.textContent !== text) place.textContent = text;
  }
}
