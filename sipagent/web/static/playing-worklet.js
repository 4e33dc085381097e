// Plays what it is fed, at the context's rate, which is that of the recording. At speed 1 samples come out as they are; at
// others pieces of the sound are laid over each other where they fit best (WSOLA), so that voices keep their pitch.

const CAPACITY_S = 90;
const REPORT_S = 0.05;
const OVERLAP_S = 0.02, SEARCH_S = 0.008;

class Playing extends AudioWorkletProcessor {
  constructor() {
    super();
    this.store = new Int16Array(2 * CAPACITY_S * sampleRate);
    this.overlap = Math.round(OVERLAP_S * sampleRate);
    this.search = Math.round(SEARCH_S * sampleRate);
    this.speed = 1;
    this.gains = [1, 1];
    this.wanted = [1, 1];
    this.playing = false;
    this.flush(0);
    this.port.onmessage = ({ data }) => this[data.ask](data);
  }

  flush(turn) {
    this.turn = turn;
    this.read = this.write = 0; // frames in the store
    this.marks = []; // where in the store which position of the recording is
    this.ended = this.told = false;
    this.silent = 0;
    this.tail = null; // what follows what was played last
    this.ready = []; // frames that are stretched and not played yet
    this.readyAt = 0;
  }

  seek({ turn }) {
    this.flush(turn);
  }

  feed({ turn, position, samples }) {
    if (turn !== this.turn) return;
    const frames = samples.length / 2;
    if (2 * this.write + samples.length > this.store.length) this.compact();
    this.store.set(samples.subarray(0, this.store.length - 2 * this.write), 2 * this.write);
    this.marks.push({ at: this.write, position });
    this.write = Math.min(this.write + frames, this.store.length / 2);
  }

  end({ turn }) {
    if (turn === this.turn) this.ended = true;
  }

  set({ playing = this.playing, speed = this.speed, gains = this.wanted }) {
    if (speed !== this.speed) [this.tail, this.ready] = [null, []];
    if (!this.playing) this.gains = [...gains]; // else they change within a block, without a click
    Object.assign(this, { playing, speed, wanted: gains });
  }

  compact() {
    const gone = Math.max(0, Math.floor(this.read) - 2 * this.search);
    this.store.copyWithin(0, 2 * gone, 2 * this.write);
    this.read -= gone;
    this.write -= gone;
    for (const mark of this.marks) mark.at -= gone;
    while (this.marks.length > 1 && this.marks[1].at <= this.read) this.marks.shift();
  }

  process(inputs, [[left, right]]) {
    if (this.playing) {
      const frames = this.speed === 1 && !this.ready.length ? this.plain(left, right) : this.stretched(left, right);
      this.mute(left, right);
      if (this.ended && frames < left.length) this.playing = false;
    }
    this.silent += left.length;
    if (this.silent >= REPORT_S * sampleRate || (this.ended && !this.playing && !this.told)) this.report();
    return true;
  }

  plain(left, right) {
    const at = Math.floor(this.read);
    const frames = Math.min(left.length, this.write - at);
    for (let frame = 0; frame < frames; frame++) {
      left[frame] = this.store[2 * (at + frame)] / 32768;
      right[frame] = this.store[2 * (at + frame) + 1] / 32768;
    }
    this.read = at + frames;
    return frames;
  }

  stretched(left, right) {
    let frame = 0;
    while (frame < left.length) {
      if (this.readyAt >= this.ready.length) {
        this.ready = this.stretch();
        this.readyAt = 0;
        if (!this.ready.length) break;
      }
      left[frame] = this.ready[this.readyAt++];
      right[frame++] = this.ready[this.readyAt++];
    }
    if (this.readyAt >= this.ready.length) this.ready = [];
    return frame;
  }

  // The next frames, interleaved; none if more must be fed first, or at the end.
  stretch() {
    const { overlap, search, store } = this;
    const at = Math.floor(this.read);
    if (at + 2 * overlap + search > this.write) {
      if (!this.ended || at >= this.write) return [];
      const rest = Array.from(store.subarray(2 * at, 2 * this.write), (level) => level / 32768);
      this.read = this.write;
      return rest;
    }
    const from = this.tail ? at + this.best(at) : at;
    const out = new Float32Array(2 * overlap);
    for (let index = 0; index < 2 * overlap; index++) {
      const level = store[2 * from + index] / 32768;
      const part = (index >> 1) / overlap;
      out[index] = this.tail ? this.tail[index] * (1 - part) + level * part : level;
    }
    const next = 2 * (from + overlap);
    this.tail = Float32Array.from(store.subarray(next, next + 2 * overlap), (level) => level / 32768);
    this.read += overlap * this.speed;
    return out;
  }

  // How far from here the sound is most like what would follow.
  best(at) {
    const { overlap, search, store, tail } = this;
    let found = 0, most = -Infinity;
    for (let shift = -Math.min(search, at); shift <= search; shift += 2) {
      let like = 0, power = 1e-6;
      for (let frame = 0; frame < overlap; frame += 2) {
        const place = 2 * (at + shift + frame);
        const level = (store[place] + store[place + 1]) / 32768;
        like += level * (tail[2 * frame] + tail[2 * frame + 1]);
        power += level * level;
      }
      const score = like / Math.sqrt(power);
      if (score > most) [most, found] = [score, shift];
    }
    return found;
  }

  mute(left, right) {
    [left, right].forEach((out, lane) => {
      const [from, to] = [this.gains[lane], this.wanted[lane]];
      if (from !== 1 || to !== 1)
        for (let frame = 0; frame < out.length; frame++) out[frame] *= from + ((to - from) * (frame + 1)) / out.length;
      this.gains[lane] = to;
    });
  }

  report() {
    this.silent = 0;
    this.told = this.ended && !this.playing;
    const mark = this.marks.findLast(({ at }) => at <= this.read);
    const position = mark ? mark.position + Math.floor(this.read) - mark.at : null;
    const queued = (this.write - this.read) / sampleRate;
    this.port.postMessage({ turn: this.turn, position, queued, done: this.ended && this.read >= this.write });
  }
}

registerProcessor("playing", Playing);
