// The worker that opens what is sealed. It alone has the private key and the keys of recordings: no message from here holds
// one, and its policy lets it ask nothing of any server but for its own scripts. What it gives is samples.
//
// Asked {number, ask, …}, it answers {number, …} or {number, fault}, a code for which the page has words.

import { AUDIO, BEGINS, CLEAR, END, MESSAGE_EXTRA, STREAM_HEADER, chunksOf } from "./chunks.js";
import { Fault, decoded, encoded, identityIn, SIZE_LIMIT } from "./identity.js";
import { forget, kept, keep } from "./kept.js";
import { Pull, Sodium } from "./sodium.js";

const FINAL = 3;
const MOST_S = 300; // of sound in one answer

let sodium = null; // once it is needed
let looked = null; // the file of an identity that was chosen last: {bytes, identity}
let looks = 0; // how many were chosen
let opened = null; // {publicKey, secret: its place}
const sounds = new Map(); // by the page's numbers: {rate, key: its place, or 0 for one in clear, pull}

const asks = {
  // Reads a chosen file, or the one that the browser keeps: {comment, publicKey, sealed}.
  async look({ file }) {
    const turn = ++looks;
    looked = null;
    const bytes = file ? new Uint8Array(await file.slice(0, SIZE_LIMIT + 1).arrayBuffer()) : await kept();
    if (!bytes) throw new Fault("key_missing");
    const identity = identityIn(bytes);
    if (turn === looks) looked = { bytes, identity };
    const { comment, publicKey, kdf } = identity;
    return { comment, publicKey: encoded(publicKey), sealed: kdf !== null };
  },

  // Opens it: {publicKey}. `remember` keeps the file in the browser as it is.
  async unlock({ passphrase, remember }) {
    if (!looked) throw new Fault("key_missing");
    const { bytes, identity } = looked;
    if (remember && !identity.kdf) throw new Fault("key_unprotected");
    if (identity.kdf && !passphrase) throw new Fault("passphrase_missing");
    const secret = identity.kdf ? await unsealed(identity, passphrase) : identity.secret;
    if (secret.length !== 32) throw new Fault("key_damaged");
    close();
    sodium ??= await Sodium.load();
    opened = { publicKey: identity.publicKey, secret: sodium.put(secret) };
    secret.fill(0);
    if (encoded(sodium.publicOf(opened.secret)) !== encoded(identity.publicKey)) {
      close();
      throw new Fault("key_damaged");
    }
    if (remember) await keep(bytes).catch(closing);
    bytes.fill(0);
    looked = null;
    return { publicKey: encoded(identity.publicKey) };
  },

  async forget() {
    await forget();
    return {};
  },

  // Makes a recording readable under a number: `sealed` is its key as the vault has it, null for one in clear.
  async begin({ sound, recording, rate, sealed }) {
    if (sealed === null) sounds.set(sound, { rate, key: 0, pull: null });
    else {
      if (!opened) throw new Fault("key_closed");
      const box = decoded(sealed);
      const content = box && sodium.openSealedBox(box, opened.publicKey, opened.secret);
      if (!content) throw new Fault("not_for_this_key");
      const key = labelled(content, `sipagent-key-1 ${recording}\n`);
      const place = sodium.put(key);
      content.fill(0);
      sounds.set(sound, { rate, key: place, pull: new Pull(sodium, place) });
    }
    return {};
  },

  // The samples `first` to `last` of chunks: {samples, peaks, missing, ended, found, opened}. Interleaved, caller and operator;
  // silence where nothing could be opened, which `missing` lists as [first, last]. `peaks`: of each side the loudest of each
  // `bucket` samples, the first of which holds `first`. No samples unless they are to be heard.
  async read({ sound, bytes, first, last, bucket, heard }) {
    const of = sounds.get(sound);
    if (!of) throw new Fault("key_closed");
    const size = Math.min(last - first, MOST_S * of.rate);
    if (!(size >= 0 && bucket >= 1)) throw new Fault("failed");
    const { samples, ...answer } = span(of, new Uint8Array(bytes), first, first + size);
    const peaks = peaksOf(samples, first, bucket);
    if (heard) return { ...answer, peaks, samples };
    samples.fill(0);
    samples.buffer.transfer?.(0); // lets the memory go now, not when somebody cleans up
    return { ...answer, peaks, samples: null };
  },

  // Lets a recording go.
  async end({ sound }) {
    endOf(sounds.get(sound));
    sounds.delete(sound);
    return {};
  },

  // Wipes every key.
  async lock() {
    close();
    return {};
  },
};

self.onmessage = async ({ data: { number, ask, ...fields } }) => {
  try {
    const answer = await asks[ask](fields);
    self.postMessage({ number, ...answer }, answer.samples ? [answer.samples.buffer] : []);
  } catch (error) {
    if (!(error instanceof Fault)) console.error(error);
    self.postMessage({ number, fault: error instanceof Fault ? error.code : "failed" });
  }
};

// The private key of a protected identity. The memory that Argon2id takes is let go with its own copy of the library.
async function unsealed({ secret, kdf }, passphrase) {
  const typed = new TextEncoder().encode(passphrase.normalize("NFC"));
  const key = (await Sodium.load()).stretch(typed, kdf.salt, kdf.opslimit, kdf.memlimit);
  typed.fill(0);
  if (!key) throw new Fault("no_memory");
  sodium ??= await Sodium.load();
  const plain = sodium.openSecretBox(secret, key);
  key.fill(0);
  if (!plain) throw new Fault("passphrase_wrong");
  return plain;
}

function labelled(content, label) {
  const expected = new TextEncoder().encode(label);
  if (content.length !== expected.length + 32 || expected.some((byte, index) => content[index] !== byte)) {
    content.fill(0);
    throw new Fault("sealed_for_other");
  }
  return content.subarray(expected.length);
}

function span(of, bytes, first, last) {
  const samples = new Int16Array(2 * (last - first));
  const stored = new Uint8Array(samples.buffer);
  const missing = [];
  let position = first, ended = false, found = 0, readable = 0;
  const skip = (until) => {
    if (until > position) missing.push([position, until]);
    position = Math.max(position, until);
  };
  for (const chunk of chunksOf(bytes)) {
    found++;
    const content = contentOf(of, chunk);
    if (content === null) continue;
    readable++;
    if (chunk.rate !== of.rate || chunk.position < position || chunk.position + chunk.frames > last) continue;
    skip(chunk.position);
    if (chunk.kind === AUDIO) stored.set(content, 4 * (chunk.position - first)); // little-endian, as every browser's machine
    position = chunk.position + chunk.frames;
    ended = chunk.kind === END;
  }
  skip(last);
  return { samples, missing, ended, found, opened: readable };
}

function peaksOf(samples, first, bucket) {
  const begin = Math.floor(first / bucket);
  const count = Math.floor((first + samples.length / 2) / bucket) - begin + 1;
  const peaks = [new Uint16Array(count), new Uint16Array(count)];
  for (let at = 0, place = 0, until = (begin + 1) * bucket - first; at < samples.length; at += 2) {
    if (at / 2 >= until) [place, until] = [place + 1, until + bucket];
    for (let side = 0; side < 2; side++) {
      const level = Math.abs(samples[at + side]);
      if (level > peaks[side][place]) peaks[side][place] = level;
    }
  }
  return peaks;
}

// The bytes of a chunk's sound, empty for a note; null if it can't be opened. One in clear is nothing of a sealed recording.
function contentOf(of, { kind, coding, head, payload }) {
  if (!of.key) return coding === CLEAR ? (kind === AUDIO ? payload : payload.subarray(0, 0)) : null;
  if (coding === CLEAR) return null;
  if (coding === BEGINS) {
    of.pull.begin(payload.subarray(0, STREAM_HEADER));
    payload = payload.subarray(STREAM_HEADER);
  }
  const size = kind === AUDIO ? payload.length : MESSAGE_EXTRA;
  const beside = new Uint8Array(head.length + payload.length - size);
  beside.set(head);
  beside.set(payload.subarray(size), head.length);
  const message = of.pull.open(payload.subarray(0, size), beside);
  return message && (message.tag === FINAL) === (kind === END) ? message.content : null;
}

function endOf(of) {
  if (of?.key) {
    of.pull.close();
    sodium.wipe(of.key, 32);
  }
}

function closing(error) {
  close();
  throw error;
}

function close() {
  for (const of of sounds.values()) endOf(of);
  sounds.clear();
  if (opened) sodium.wipe(opened.secret, 32);
  opened = null;
}
