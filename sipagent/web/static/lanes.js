// Draws the two sides of a sound, as far as it is known, with what is missing and where it was paused. What is drawn here
// the player also says in words.

const SIDES = 2;
const SIDE_NAMES = ["caller", "operator"];

export class Lanes {
  // `canvases`: caller, operator. `seek` is told the part of the whole that was clicked, 0 to 1.
  constructor(canvases, seek) {
    this.canvases = canvases;
    this.sound = null;
    this.pauses = [];
    this.map = [];
    this.position = 0;
    this.muted = [false, false];
    for (const canvas of canvases)
      canvas.addEventListener("click", (event) => seek(event.offsetX / Math.max(1, canvas.clientWidth)));
    this.watch = new ResizeObserver(() => this.draw());
    for (const canvas of canvases) this.watch.observe(canvas);
  }

  // The sound, its pauses in samples: [first, last]; `map`: what of each side did not come: {channel, span}.
  show(sound, pauses, map = []) {
    this.sound = sound;
    this.pauses = pauses;
    this.map = map;
    sound?.addEventListener("learnt", () => this.draw());
    this.draw();
  }

  close() {
    this.watch.disconnect();
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      for (let lane = 0; lane < SIDES; lane++) this.#lane(this.canvases[lane], lane);
    });
  }

  #lane(canvas, lane) {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = colour("--line");
    pen.fillRect(0, height / 2 - ratio / 2, width, ratio);
    const { sound } = this;
    if (!sound) return;
    const place = (position) => (position / sound.samples) * width;
    const box = ([first, last]) => [place(first), 0, Math.max(2 * ratio, place(last) - place(first)), height];
    pen.fillStyle = colour("--mark");
    for (const span of this.pauses) pen.fillRect(...box(span));
    pen.fillStyle = colour("--alarm-card");
    const gaps = this.map.filter((one) => one.channel !== SIDE_NAMES[1 - lane]).map((one) => one.span);
    for (const span of [...gaps, ...sound.missing]) pen.fillRect(...box(span));
    const played = place(this.position);
    const loudest = Math.max(1000, ...sound.peaks.map((peaks) => peaks.reduce((one, other) => Math.max(one, other), 0)));
    const [rest, heard] = this.muted[lane] ? [colour("--strong"), colour("--strong")] : [colour("--soft"), colour("--act")];
    const bucketAt = (x) => Math.floor(((x / width) * sound.samples) / sound.bucket);
    for (let x = 0; x < width; x += Math.max(1, ratio)) {
      const first = bucketAt(x);
      const last = Math.max(first + 1, bucketAt(x + 1));
      if (!sound.known[first]) continue;
      let peak = 0;
      for (let at = first; at < last && at < sound.known.length; at++) peak = Math.max(peak, sound.peaks[lane][at]);
      const high = Math.max(ratio, (peak / loudest) * height * 0.94);
      pen.fillStyle = x < played ? heard : rest;
      pen.fillRect(x, (height - high) / 2, ratio, high);
    }
    pen.fillStyle = colour("--alarm");
    for (const span of [...gaps, ...sound.missing]) pen.fillRect(box(span)[0], height - 3 * ratio, box(span)[2], 3 * ratio);
    pen.fillStyle = colour("--strong");
    for (const span of this.pauses) pen.fillRect(box(span)[0], height - 3 * ratio, box(span)[2], 3 * ratio);
    pen.fillStyle = colour("--focus");
    pen.fillRect(Math.min(played, width - 2 * ratio), 0, 2 * ratio, height);
  }
}
