// Makes the package for a person with its sounds: they are opened here, by the key that the server has not.

import "./navigation.js";
import { use } from "./asking.js";
import { Attempts } from "./attempts.js";
import { KeyField } from "./key-field.js";
import { Fault } from "./key.js";
import { Sound } from "./sound.js";
import { save, wavOf } from "./wav.js";
import { zipOf } from "./zip.js";

// of one recording alone: the others are copied nevertheless
const OF_ONE = ["refused", "gone", "not_for_this_key", "sealed_for_other", "not_opened"];

class Packaging extends Attempts {
  constructor(root) {
    super(root, ["make-with-sounds", "key-open"]);
    this.key = this.at("key") && new KeyField(this);
    if (!root.querySelector("[data-sound]:not([data-sound=''])")) return;
    for (const id of ["with-sounds", "make-with-sounds"]) this.at(id).hidden = false;
    this.at("make-with-sounds").addEventListener("click", () => this.attempt(() => this.make()));
  }

  async make() {
    const form = new FormData(this.root);
    const ticked = [...this.root.querySelectorAll("input[name=id]:checked")];
    const choices = [...this.root.querySelectorAll("input[type=radio]")].map((one) => one.name);
    const decided = ["request", ...choices].every((name) => form.get(name)?.trim());
    if (!decided || ticked.length === 0) throw new Fault("undecided");
    const sounding = ticked.filter((box) => box.dataset.sound);
    if (sounding.some((box) => box.dataset.sound === "sealed")) await this.key.open();
    const entries = [];
    const left = [];
    for (const [index, box] of sounding.entries()) {
      const told = (part) =>
        this.state(this.say("copying", { n: index + 1, all: sounding.length, percent: Math.floor(100 * part) }));
      told(0);
      try {
        entries.push({ name: `sounds/${box.value}.wav`, content: await this.copy(box.value, form, told) });
        form.append("sound", box.value);
      } catch (error) {
        if (!OF_ONE.includes(error.code)) throw error;
        left.push(`${box.dataset.told} (${error.detail ?? this.say(error.code)})`);
      }
    }
    this.state(this.say("packing"));
    const { name, files } = await this.written(form);
    const texts = Object.entries(files).map(([file, content]) => ({ name: file, content }));
    save(await zipOf([...texts, ...entries]), name);
    if (left.length) this.alarm(this.say("left_out", { calls: left.join("; ") }));
    this.state(this.say("made", { name }));
  }

  // One sound as a WAV file: an export, in the trace before it is here.
  async copy(id, form, told) {
    const [reference, channel] = [form.get("request").trim(), form.get("channel")];
    const asking = { purpose: "access_request", reference, action: "export", channel, file: `${id}.wav` };
    const at = { dataset: { uses: `/api/v1/recordings/${id}/uses`, csrf: this.root.dataset.csrf } };
    const sound = await Sound.of(await use(at, asking));
    try {
      return await wavOf(sound, channel, told);
    } finally {
      sound.close();
    }
  }

  // The letter, and the same for programs, by the names of their files.
  async written(form) {
    form.set("parts", "yes");
    const body = new URLSearchParams(form);
    let answer;
    try {
      answer = await fetch("/requests/package", { method: "POST", body, cache: "no-store", redirect: "error" });
    } catch (error) {
      if (error instanceof TypeError) throw new Fault("no_answer");
      throw error;
    }
    if (answer.ok) return answer.json();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    throw new Fault("refused", page.querySelector("[role=alert]")?.textContent ?? null);
  }
}

const form = document.getElementById("package");
if (form) {
  const packaging = new Packaging(form);
  document.addEventListener("page:leave", () => packaging.key?.close(), { once: true });
}
