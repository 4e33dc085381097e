// The player of a recording's page (templates/player.html): a use is asked for, the sound opened, drawn and played.

import "./navigation.js";
import { use } from "./asking.js";
import { Attempts } from "./attempts.js";
import { Exporting } from "./export.js";
import { Fault, opener } from "./key.js";
import { KeyField } from "./key-field.js";
import { Lanes } from "./lanes.js";
import { Playing } from "./playing.js";
import { Sound } from "./sound.js";
import { length, moment } from "./words.js";

const STEP_S = 5, LEAP_S = 30;
const LANES = ["caller", "operator"];
const MAPPED = ["concealed", "nothing_came", "lost", "not_fed"]; // why sound may be missing, but for pauses and holds
const MOST = 50; // places that are said of one kind

class Player extends Attempts {
  constructor(root) {
    super(root, ["play", "export", "key-open"]);
    this.sound = this.playing = null;
    this.asked = ""; // for what
    this.lanes = new Lanes(LANES.map((lane) => this.at(`waveform-${lane}`)), (part) => this.goTo(part * this.lasts));
    this.key = root.dataset.sealed === "yes" ? new KeyField(this) : null;
    this.exporting = this.at("export") && new Exporting(this);
    this.at("listen").addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.toggle());
    });
    this.at("position").addEventListener("input", ({ target }) => this.goTo(Number(target.value)));
    this.at("back").addEventListener("click", () => this.by(-STEP_S));
    this.at("on").addEventListener("click", () => this.by(STEP_S));
    this.at("skip").addEventListener("click", () => this.playing?.set({ skipping: !this.playing.skipping }));
    this.at("speed").addEventListener("change", ({ target }) => this.playing?.set({ speed: Number(target.value) }));
    LANES.forEach((lane, index) => this.at(`mute-${lane}`).addEventListener("click", () => this.mute(index)));
    this.typed = (event) => this.onKey(event);
    document.addEventListener("keydown", this.typed);
    this.locked = () => this.root.dataset.sealed === "yes" && !opener.open && this.playing && this.fail(new Fault(opener.why));
    opener.addEventListener("change", this.locked);
  }

  // What is asked for, by the form. Throws a Fault without a purpose.
  asking() {
    const [purpose, reference] = ["purpose", "reference"].map((id) => this.at(id).value.trim());
    if (!purpose) {
      this.at("purpose").focus();
      throw new Fault("no_purpose");
    }
    return { purpose, reference };
  }

  async toggle() {
    if (this.playing?.playing) return this.playing.pause();
    const asking = this.asking();
    await this.key?.open();
    if (!this.playing || this.asked !== JSON.stringify(asking)) await this.begin(asking);
    this.playing.play();
  }

  async begin(asking) {
    this.let();
    this.state(this.say("asking"));
    const given = await use(this.root, asking);
    if (given === null) throw new Fault("approval");
    const sound = await Sound.of(given);
    this.playing = await Playing.of(sound, (error) => this.fail(error));
    this.sound = sound;
    if (this.closed) {
      this.let();
      throw new Fault("closed"); // the page was left meanwhile
    }
    this.asked = JSON.stringify(asking);
    this.pauses = (given.pauses ?? []).map((span) => this.inSamples(span, sound));
    this.map = (given.missing ?? []).filter((span) => MAPPED.includes(span.why)).map((span) => ({ ...span, span: this.inSamples(span, sound) }));
    this.lanes.show(sound, this.pauses, this.map);
    this.playing.addEventListener("change", () => this.show());
    sound.addEventListener("learnt", () => this.tellGaps(given));
    this.at("listening").hidden = false;
    this.at("speed").value = "1";
    this.tellGaps(given);
    this.scan(sound);
  }

  inSamples(span, sound) {
    const [first, last] = Array.isArray(span) ? span : [span.from_s, span.to_s];
    return [first, last].map((second) => Math.round(second * sound.rate));
  }

  // Draws the rest, once the first sound is on its way.
  scan(sound) {
    const begin = () => {
      sound.removeEventListener("learnt", begin);
      sound.scan().catch((error) => (this.sound === sound ? this.fail(error) : null));
    };
    sound.addEventListener("learnt", begin);
  }

  // Ends what is heard, and forgets it.
  let() {
    this.sound?.close();
    this.playing?.close();
    this.sound = this.playing = null;
    this.asked = "";
    this.lanes.show(null, []);
    this.at("listening").hidden = true;
    this.at("play").textContent = this.say("play");
    this.state("");
  }

  show() {
    const { playing, sound } = this;
    if (!playing) return;
    const [position, all] = [playing.position, sound.samples].map((samples) => length(samples / sound.rate));
    const range = this.at("position");
    range.max = String(Math.max(1, Math.floor(sound.samples / sound.rate)));
    range.value = String(Math.floor(playing.position / sound.rate));
    range.setAttribute("aria-valuetext", this.say("at", { position, all }));
    this.at("time-now").textContent = position;
    this.at("time-all").textContent = all;
    this.at("play").textContent = this.say(playing.playing ? "pause" : "play");
    this.at("skip").setAttribute("aria-pressed", String(playing.skipping));
    LANES.forEach((lane, index) => this.at(`mute-${lane}`).setAttribute("aria-pressed", String(playing.muted[index])));
    Object.assign(this.lanes, { position: playing.position, muted: playing.muted });
    this.lanes.draw();
    this.tellState(position, all);
  }

  // Only what changed is said: a screen reader is not told each second.
  tellState(position, all) {
    const { playing } = this;
    const now = playing.done ? "ended" : !playing.playing ? "paused" : playing.queued > 0 ? "playing" : "waiting";
    if (now !== this.told) this.state(this.say(now, { position, all }));
    this.told = now;
  }

  tellGaps(given) {
    const { sound } = this;
    if (!sound) return;
    const spans = (list) => list.map((span) => this.say("span", Object.fromEntries(["first", "last"].map((name, index) => [name, length(span[index] / sound.rate)]))));
    const exact = (list) => list.map((one) => this.say("span", { first: moment(one.from_s), last: moment(one.to_s) }));
    const lines = [];
    if (given.incomplete) lines.push([this.say("incomplete"), []]);
    if (sound.cut) lines.push([this.say("cut"), []]);
    if (this.pauses.length) lines.push([this.say("pauses"), spans(this.pauses)]);
    for (const why of MAPPED)
      for (const channel of [...LANES, "both"]) {
        const those = this.map.filter((one) => one.why === why && (one.channel ?? "both") === channel);
        if (those.length) lines.push([this.say(why, { side: this.say(channel) }), exact(those.slice(0, MOST)).concat(those.length > MOST ? ["…"] : [])]);
      }
    if (sound.missing.length) lines.push([this.say("missing"), spans(sound.missing)]);
    const text = JSON.stringify(lines);
    if (text === this.gaps) return;
    this.gaps = text;
    this.at("told-gaps").replaceChildren(
      ...lines.flatMap(([said, places]) => {
        const [line, list] = [document.createElement("p"), document.createElement("ul")];
        line.textContent = said;
        list.append(...places.map((place) => Object.assign(document.createElement("li"), { textContent: place })));
        return places.length ? [line, list] : [line];
      }),
    );
  }

  get lasts() {
    return this.sound ? this.sound.samples / this.sound.rate : 0;
  }

  // To a second of the recording, if there is one that is heard.
  goTo(second) {
    this.playing?.seek(Math.floor(second * this.sound.rate));
  }

  by(seconds) {
    if (this.playing) this.goTo(this.playing.position / this.sound.rate + seconds);
  }

  mute(lane) {
    this.playing?.set({ muted: this.playing.muted.map((muted, index) => (index === lane ? !muted : muted)) });
  }

  onKey(event) {
    const { target, key } = event;
    const inside = this.root.contains(target);
    if (!this.playing || event.ctrlKey || event.metaKey || event.altKey || this.at("export-dialog")?.open) return;
    if (!inside && target !== document.body && target.id !== "main") return; // letters act on focus alone (WCAG 2.1.4)
    const act = this.keys(event, inside)[key];
    if (!act || target.matches("select, textarea, input:not([type=range]):not([type=checkbox])")) return;
    if (key === " " && target.matches("button, summary, input[type=checkbox], a")) return;
    event.preventDefault();
    act();
  }

  keys({ shiftKey }, inside) {
    const step = shiftKey ? LEAP_S : STEP_S;
    const always = { " ": () => this.attempt(() => this.toggle()), ArrowLeft: () => this.by(-step), ArrowRight: () => this.by(step) };
    const faster = (by) => {
      const select = this.at("speed");
      select.selectedIndex = Math.max(0, Math.min(select.length - 1, select.selectedIndex + by));
      this.playing.set({ speed: Number(select.value) });
    };
    const letters = { "+": () => faster(1), "-": () => faster(-1), s: () => this.at("skip").click(), m: () => this.muteNext() };
    return inside ? { ...always, ...letters } : always;
  }

  // The caller, the operator, neither.
  muteNext() {
    const [caller, operator] = this.playing.muted;
    this.playing.set({ muted: caller ? [false, true] : operator ? [false, false] : [true, false] });
  }

  close() {
    this.closed = true;
    document.removeEventListener("keydown", this.typed);
    opener.removeEventListener("change", this.locked);
    this.let();
    this.lanes.close();
    this.key?.close();
  }
}

const root = document.getElementById("player");
if (root && !root.dataset.begun) {
  root.dataset.begun = "yes";
  const player = new Player(root);
  document.addEventListener("page:leave", () => player.close(), { once: true });
}
