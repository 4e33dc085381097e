// A copy that leaves the archive: it is asked for in words, traced as an export, and made here.

import { use } from "./asking.js";
import { Sound } from "./sound.js";
import { save, wavOf } from "./wav.js";

export class Exporting {
  constructor(player) {
    this.player = player;
    this.dialog = player.at("export-dialog");
    player.at("export").addEventListener("click", () => player.attempt(() => this.ask()));
    player.at("export-channel").addEventListener("change", () => this.name());
    this.dialog.addEventListener("close", () => {
      if (this.dialog.returnValue === "copy") player.attempt(() => this.copy());
    });
  }

  get channel() {
    return this.player.at("export-channel").value;
  }

  // The file's name, which the trace says too.
  name() {
    const { recording } = this.player.root.dataset;
    const name = this.channel === "both" ? `${recording}.wav` : `${recording}-${this.channel}.wav`;
    this.player.at("export-name").textContent = name;
    return name;
  }

  async ask() {
    this.asking = this.player.asking();
    await this.player.key?.open();
    this.name();
    this.dialog.returnValue = "";
    this.dialog.showModal();
  }

  async copy() {
    const { player, channel } = this;
    const file = this.name();
    player.state(player.say("asking"));
    const approval = Number(player.root.dataset.approval) || null;
    const given = await use(player.root, { ...this.asking, action: "export", channel, file, approval });
    if (given === null) return player.state(player.say("approval"));
    const sound = await Sound.of(given);
    try {
      const told = (part) => player.state(player.say("copying", { percent: Math.floor(100 * part) }));
      save(await wavOf(sound, channel, told), file);
    } finally {
      sound.close();
    }
    player.state(player.say("copied", { name: file }));
  }
}
