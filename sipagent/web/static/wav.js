// A sound as a WAV file (16-bit PCM), made as it is opened.

const SIDES = { caller: 0, operator: 1 };

// The file of `sound`, one side of it or both: a Blob. `progress` is told the part that is done, 0 to 1.
export async function wavOf(sound, channel, progress = () => null) {
  const side = SIDES[channel];
  const parts = [];
  let frames = 0;
  for await (const { samples, last } of sound.all()) {
    const taken = side === undefined ? samples : samples.filter((_, index) => index % 2 === side);
    frames += samples.length / 2;
    parts.push(new Blob([taken])); // leaves the memory of the page
    progress(last / sound.samples);
  }
  return new Blob([header(sound.rate, side === undefined ? 2 : 1, frames), ...parts], { type: "audio/wav" });
}

function header(rate, channels, frames) {
  const view = new DataView(new ArrayBuffer(44));
  const size = frames * channels * 2;
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  return view.buffer;
}

// Gives a file to the person.
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
