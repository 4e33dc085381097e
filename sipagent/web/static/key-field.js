// Where a key is chosen, opened and closed (templates/key.html).

import { Fault, opener } from "./key.js";

export class KeyField {
  // `player`: an Attempts.
  constructor(player) {
    this.player = player;
    this.looked = null; // {comment, publicKey, sealed} of the file that is chosen, or kept
    const at = (id) => player.at(id);
    at("key-open").addEventListener("click", () => player.attempt(() => this.open()));
    at("key-file").addEventListener("change", () => {
      player.alarm(null);
      this.look(at("key-file").files[0]).catch((error) => player.fail(error));
    });
    at("passphrase").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      at("key-open").click();
    });
    at("key-close").addEventListener("click", () => opener.close());
    at("key-forget").addEventListener("click", () => player.attempt(() => this.forget()));
    this.changed = () => this.show();
    opener.addEventListener("change", this.changed);
    this.show();
    if (!opener.open) this.look(null).catch((error) => (error.code === "key_missing" ? null : player.fail(error)));
  }

  // Learns what a file is, or without one what the browser keeps.
  async look(file) {
    this.looked = await opener.ask("look", { file });
    const kept = !file;
    this.player.at("key-kept").hidden = !kept;
    this.player.at("key-kept-name").textContent = kept ? this.looked.comment : "";
  }

  // Opens the key unless it is open; unfolds the field where it can't. Throws a Fault.
  async open() {
    try {
      await this.unlock();
    } catch (error) {
      this.player.at("key").open = true;
      if (error.code === "key_missing") this.player.at("key-file").focus();
      if (error.code === "passphrase_missing") this.player.at("passphrase").focus();
      throw error;
    }
  }

  async unlock() {
    const { player } = this;
    const [file, typed, keep] = ["key-file", "passphrase", "key-keep"].map((id) => player.at(id));
    if (!opener.open) {
      if (file.files[0]) await this.look(file.files[0]);
      if (!this.looked) throw new Fault("key_missing");
      if (this.looked.sealed && !typed.value) throw new Fault("passphrase_missing");
      player.state(player.say("opening"));
      await opener.unlock(this.looked, typed.value, keep.checked);
      typed.value = "";
      player.state(player.say("key_open"));
    }
    const wanted = player.root.dataset.key;
    if (wanted && wanted !== opener.open.publicKey) throw new Fault("key_other");
  }

  async forget() {
    await opener.ask("forget");
    this.looked = null;
    this.player.at("key-kept").hidden = true;
  }

  show() {
    const { player } = this;
    const [closed, opened] = [player.at("key-closed"), player.at("key-opened")];
    const inside = player.at("key").contains(document.activeElement);
    closed.hidden = opener.open !== null;
    opened.hidden = player.at("key-is-open").hidden = opener.open === null;
    player.at("key-name").textContent = opener.open?.comment ?? "";
    if (inside) player.at(opener.open ? "key-close" : "key-file").focus(); // what had the focus may be hidden now
    if (!opener.open) this.looked = null;
  }

  close() {
    opener.removeEventListener("change", this.changed);
  }
}
