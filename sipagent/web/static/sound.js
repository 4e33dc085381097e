// The sound of one use: asked for in spans, opened by the worker, and only a window of it held; of the whole only its peaks.

import { asked } from "./asking.js";
import { Fault, opener } from "./key.js";

const STEP_S = 4; // asked for at once to be heard: of a sealed recording the stream of 10 s around it
const SCAN_S = 60; // asked for at once to be drawn, or copied
const HELD = 12; // pieces
const BUCKETS = 2400; // of the drawing
const SPAN = /^(\d+)-(\d+)\/(\d+)$/;

let numbers = 0;

export class Sound extends EventTarget {
  // `use`: the answer of POST …/uses.
  static async of(use) {
    const sound = new Sound(use);
    const sealed = use.sealed ? use.key.sealed : null;
    await opener.ask("begin", { sound: sound.number, recording: use.recording, rate: sound.rate, sealed });
    return sound;
  }

  constructor(use) {
    super();
    this.use = use;
    this.url = use.sound;
    this.rate = use.sample_rate;
    this.samples = Math.max(1, Math.round(use.duration_s * use.sample_rate));
    this.number = ++numbers;
    this.closed = false;
    this.missing = []; // [first, last], rising
    this.cut = false; // its end is missing
    this.pieces = [];
    this.peaks = [0, 1].map(() => new Uint16Array(BUCKETS));
    this.known = new Uint8Array(BUCKETS);
  }

  get bucket() {
    return Math.max(1, Math.ceil(this.samples / BUCKETS));
  }

  // The piece that holds this sample: {first, last, samples}; null at the end.
  async at(position) {
    const held = this.pieces.findIndex(({ first, last }) => first <= position && position < last);
    if (held >= 0) {
      const [piece] = this.pieces.splice(held, 1);
      this.pieces.push(piece);
      return piece;
    }
    const piece = await this.#load(position, position + STEP_S * this.rate);
    if (!piece) return null;
    this.pieces.push(piece);
    if (this.pieces.length > HELD) this.pieces.shift();
    return piece;
  }

  // Every piece from the beginning; nothing of them is held.
  async *all() {
    for (let position = 0; ; ) {
      const piece = await this.#load(position, position + SCAN_S * this.rate);
      if (!piece) return;
      yield piece;
      position = piece.last;
    }
  }

  // Learns the peaks of what was not heard yet, half of the time at most, so that others get their turn.
  async scan() {
    for (;;) {
      const next = this.known.indexOf(0) * this.bucket;
      if (this.closed || next < 0 || next >= this.samples) return;
      const began = performance.now();
      if (!(await this.#load(next, next + SCAN_S * this.rate, false))) return;
      await new Promise((resolve) => setTimeout(resolve, performance.now() - began));
    }
  }

  close() {
    this.closed = true;
    this.pieces = [];
    if (opener.open || !this.use.sealed) opener.ask("end", { sound: this.number }).catch(() => null);
  }

  async #load(position, until, heard = true) {
    if (this.closed) throw new Fault("closed");
    if (position >= this.samples) return null;
    const { told, bytes } = await whole(`${this.url}?from=${position / this.rate}&to=${until / this.rate}`);
    const span = SPAN.exec(told ?? "")?.slice(1).map(Number);
    if (!span) throw new Fault("failed");
    const [first, last, samples] = span;
    this.samples = Math.max(1, samples);
    if (last <= position || first > position) return null;
    if (this.closed) throw new Fault("closed");
    const asking = { sound: this.number, bytes, first, last, bucket: this.bucket, heard };
    const read = await opener.ask("read", asking, [bytes]);
    if (read.found > 0 && read.opened === 0 && this.known.indexOf(1) < 0) throw new Fault("not_opened");
    this.#learn(first, last, read.peaks);
    for (const [from, to] of read.missing) this.#miss(from, to);
    if (last >= samples) this.cut = !read.ended;
    this.dispatchEvent(new Event("learnt"));
    return { first, last, samples: read.samples };
  }

  #learn(first, last, peaks) {
    const size = this.bucket;
    const begin = Math.floor(first / size);
    peaks.forEach((levels, lane) =>
      levels.forEach((level, at) => {
        if (level > this.peaks[lane][begin + at]) this.peaks[lane][begin + at] = level;
      }),
    );
    this.known.fill(1, Math.ceil(first / size), last >= this.samples ? BUCKETS : Math.floor(last / size));
  }

  #miss(from, to) {
    const spans = [...this.missing, [from, to]].sort((one, other) => one[0] - other[0]);
    this.missing = spans.slice(0, 1);
    for (const [start, end] of spans.slice(1)) {
      const last = this.missing.at(-1);
      if (start <= last[1]) last[1] = Math.max(last[1], end);
      else this.missing.push([start, end]);
    }
  }
}

// The bytes of a span, and where they belong. One that ends too soon is asked for again: the answer says why.
async function whole(url) {
  for (let tries = 1; ; tries++) {
    const answer = await asked(url);
    try {
      return { told: answer.headers.get("Sound-Span"), bytes: await answer.arrayBuffer() };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      if (tries === 2) throw new Fault("no_answer");
    }
  }
}
