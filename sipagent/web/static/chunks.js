// The chunks of a recording, as media/recording/chunks.py describes them: whatever bytes come, only whole and
// undamaged ones are found. Nothing here knows a key.

export const AUDIO = 0, END = 2; // kinds; 1 is a note
export const CLEAR = 0, BEGINS = 1; // codings; 2 goes on in a stream
export const STREAM_HEADER = 24, MESSAGE_EXTRA = 17; // bytes

const HEADER = 36;
const MAGIC = [0xf6, 0x53, 0x49, 0x50];
const MOST = 1 << 20; // bytes of a payload
const EXTRA = [0, STREAM_HEADER + MESSAGE_EXTRA, MESSAGE_EXTRA];

const TABLE = new Uint32Array(256).map((_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

// CRC-32 (zlib's) of bytes, after those that gave `before`.
export function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]) & 0xff];
  return ~crc >>> 0;
}

// Every whole chunk, in order: {kind, coding, sequence, position, rate, frames, head, payload}; the last two are views.
export function* chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0, sequence = -1;
  while (at >= 0) {
    const chunk = chunkAt(bytes, view, at);
    if (chunk && chunk.sequence > sequence) {
      yield chunk;
      sequence = chunk.sequence;
      at += HEADER + chunk.payload.length;
    } else at = findMagic(bytes, at + 1);
  }
}

function chunkAt(bytes, view, at) {
  if (at + HEADER > bytes.length || MAGIC.some((byte, index) => bytes[at + index] !== byte)) return null;
  const [version, kind, coding, channels] = bytes.subarray(at + 4, at + 8);
  const position = Number(view.getBigUint64(at + 12, true));
  const [rate, frames, length, crc] = [20, 24, 28, 32].map((place) => view.getUint32(at + place, true));
  if (version !== 1 || channels !== 2 || kind > END || coding > 2 || rate === 0 || length > MOST) return null;
  const shown = length - EXTRA[coding];
  if (kind === AUDIO ? shown !== 4 * frames : shown < 0 || frames) return null;
  if (at + HEADER + length > bytes.length || !Number.isSafeInteger(position)) return null;
  const payload = bytes.subarray(at + HEADER, at + HEADER + length);
  if (crc32(payload, crc32(bytes.subarray(at, at + HEADER - 4))) !== crc) return null;
  const head = bytes.subarray(at, at + 24);
  return { kind, coding, sequence: view.getUint32(at + 8, true), position, rate, frames, head, payload };
}

function findMagic(bytes, at) {
  for (at = bytes.indexOf(MAGIC[0], at); at >= 0; at = bytes.indexOf(MAGIC[0], at + 1))
    if (bytes[at + 1] === MAGIC[1] && bytes[at + 2] === MAGIC[2] && bytes[at + 3] === MAGIC[3]) return at;
  return -1;
}
