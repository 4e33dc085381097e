// Plays a sound: keeps the worklet fed a few seconds ahead, whatever is sought, skipped or muted meanwhile.

const AHEAD_S = 8;
const QUIET = 300; // of 32768; less is silence
const FRAME_S = 0.02;
const LONGEST_S = 1, KEPT_S = 0.15; // of silence: what is not skipped, and what of the rest is heard at either end

export class Playing extends EventTarget {
  // `fail` is told why there is no more sound.
  static async of(sound, fail) {
    const context = new AudioContext({ sampleRate: sound.rate, latencyHint: "interactive" });
    await context.audioWorklet.addModule("/static/playing-worklet.js");
    return new Playing(sound, context, fail);
  }

  constructor(sound, context, fail) {
    super();
    Object.assign(this, { sound, context, fail, turn: 0, position: 0, next: 0, queued: 0 });
    Object.assign(this, { playing: false, done: false, speed: 1, skipping: false, muted: [false, false] });
    this.node = new AudioWorkletNode(context, "playing", { numberOfInputs: 0, outputChannelCount: [2] });
    this.node.connect(context.destination);
    this.node.port.onmessage = ({ data }) => this.#heard(data);
    this.wake = () => null;
  }

  play() {
    if (this.done) this.seek(0);
    this.playing = true;
    this.#set();
    this.context.resume();
    if (this.turn === 0) this.seek(this.position);
    this.#changed();
  }

  pause() {
    this.playing = false;
    this.#set();
    this.context.suspend();
    this.#changed();
  }

  seek(position) {
    this.position = this.next = Math.max(0, Math.min(position, this.sound.samples - 1));
    this.done = false;
    this.queued = 0;
    this.turn++;
    this.node.port.postMessage({ ask: "seek", turn: this.turn });
    if (this.playing) this.#set();
    this.wake();
    const turn = this.turn;
    this.#feed(turn).catch((error) => (turn === this.turn ? this.fail(error) : null));
    this.#changed();
  }

  // Any of {speed, muted: [caller, operator], skipping}.
  set(changes) {
    const refill = "skipping" in changes || ("muted" in changes && this.skipping);
    Object.assign(this, changes);
    this.#set();
    if (refill && this.turn > 0 && !this.done) this.seek(this.position);
    this.#changed();
  }

  close() {
    this.turn = -1;
    this.playing = false;
    this.wake();
    this.node.disconnect();
    return this.context.close();
  }

  #set() {
    const gains = this.muted.map((muted) => (muted ? 0 : 1));
    this.node.port.postMessage({ ask: "set", playing: this.playing, speed: this.speed, gains });
  }

  #heard({ turn, position, queued, done }) {
    if (turn !== this.turn) return;
    this.queued = queued;
    if (position !== null) this.position = position;
    if (done && !this.done) {
      this.done = true;
      this.playing = false;
      this.position = this.sound.samples;
      this.#set();
    }
    this.wake();
    this.#changed();
  }

  async #feed(turn) {
    while (turn === this.turn) {
      if (this.queued > AHEAD_S * this.speed) {
        await new Promise((resolve) => (this.wake = resolve));
        continue;
      }
      const piece = await this.sound.at(this.next);
      if (turn !== this.turn) return;
      if (!piece) {
        this.node.port.postMessage({ ask: "end", turn });
        return;
      }
      const from = this.next - piece.first;
      const frames = piece.samples.length / 2;
      for (const [first, last] of this.skipping ? this.#loud(piece.samples, from) : [[from, frames]]) {
        const samples = piece.samples.slice(2 * first, 2 * last);
        this.node.port.postMessage({ ask: "feed", turn, position: piece.first + first, samples }, [samples.buffer]);
        this.queued += (last - first) / this.sound.rate;
      }
      this.next = piece.last;
    }
  }

  // The spans of a piece that are heard when silence is skipped, in frames.
  #loud(samples, from) {
    const { rate } = this.sound;
    const step = Math.round(FRAME_S * rate), most = LONGEST_S * rate, kept = KEPT_S * rate;
    const end = samples.length / 2, spans = [];
    let began = from, silence = null; // of the span, and of the silence at its end
    for (let at = from; at <= end; at += step) {
      if (at + step < end && this.#quiet(samples, at, at + step)) {
        silence ??= at;
        continue;
      }
      const until = at + step < end ? at : end;
      if (silence !== null && until - silence > most) {
        const stop = Math.min(silence + kept, until);
        if (stop > began) spans.push([began, stop]);
        began = at + step < end ? Math.max(stop, at - kept) : end;
      }
      silence = null;
    }
    if (end > began) spans.push([began, end]);
    return spans;
  }

  #quiet(samples, first, last) {
    for (let frame = first; frame < last; frame++)
      for (const lane of [0, 1])
        if (!this.muted[lane] && Math.abs(samples[2 * frame + lane]) >= QUIET) return false;
    return true;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
