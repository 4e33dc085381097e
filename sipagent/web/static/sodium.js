// What is used of libsodium, in memory of its own: each secret is at one place there, until it is wiped.

import load from "./vendor/libsodium-sumo.mjs";

const ARGON2ID = 2;
const STATE = 52; // bytes of a stream's state

export class Sodium {
  static async load() {
    const library = await load();
    library._sodium_init();
    return new Sodium(library);
  }

  constructor(library) {
    this.library = library;
  }

  // Bytes put into its memory; where they are.
  put(bytes) {
    const at = this.room(bytes.length);
    this.library.HEAPU8.set(bytes, at);
    return at;
  }

  room(size) {
    const at = this.library._malloc(size);
    if (!at) throw new RangeError("out of memory");
    return at;
  }

  // A copy of what is there.
  get(at, size) {
    return this.library.HEAPU8.slice(at, at + size);
  }

  wipe(at, size) {
    this.library.HEAPU8.fill(0, at, at + size);
    this.library._free(at);
  }

  // Calls `use` with places of these bytes, which are wiped afterwards.
  with(pieces, use) {
    const held = [];
    try {
      for (const piece of pieces) held.push([this.put(piece), piece.length]);
      return use(...held.map(([at]) => at));
    } finally {
      for (const [at, size] of held) this.wipe(at, size);
    }
  }

  // The 32 bytes that Argon2id makes of a passphrase; null if there is not enough memory.
  stretch(passphrase, salt, opslimit, memlimit) {
    return this.with([new Uint8Array(32), passphrase, salt], (out, typed, salted) => {
      const library = this.library;
      const size = passphrase.length;
      const wrong = library._crypto_pwhash(out, 32, 0, typed, size, 0, salted, opslimit, 0, memlimit, ARGON2ID);
      return wrong ? null : this.get(out, 32);
    });
  }

  // What is in a SecretBox (nonce, then crypto_secretbox_easy); null if not with this key, or altered.
  openSecretBox(box, key) {
    const size = box.length - 24 - 16;
    if (size < 0) return null;
    return this.with([new Uint8Array(size), box, key], (out, sealed, by) => {
      const wrong = this.library._crypto_secretbox_open_easy(out, sealed + 24, size + 16, 0, sealed, by);
      return wrong ? null : this.get(out, size);
    });
  }

  // The public key of the private one that is at this place.
  publicOf(secret) {
    return this.with([new Uint8Array(32)], (out) => {
      this.library._crypto_scalarmult_base(out, secret);
      return this.get(out, 32);
    });
  }

  // What is in a SealedBox, opened by the private key at this place; null if sealed to another, or altered.
  openSealedBox(box, publicKey, secret) {
    const size = box.length - 48;
    if (size < 0) return null;
    return this.with([new Uint8Array(size), box, publicKey], (out, sealed, to) => {
      const wrong = this.library._crypto_box_seal_open(out, sealed, box.length, 0, to, secret);
      return wrong ? null : this.get(out, size);
    });
  }
}

// Messages of crypto_secretstream_xchacha20poly1305, in their order, under the key at one place.
export class Pull {
  constructor(sodium, key) {
    this.sodium = sodium;
    this.key = key;
    this.state = sodium.room(STATE);
    this.out = sodium.room((1 << 20) + 8);
    this.begun = false;
  }

  begin(header) {
    const { sodium } = this;
    sodium.with([header], (at) => {
      this.begun = sodium.library._crypto_secretstream_xchacha20poly1305_init_pull(this.state, at, this.key) === 0;
    });
  }

  // {tag, content}, a view that the next message overwrites; null if it doesn't open, and no later one of its stream will.
  open(message, beside) {
    if (!this.begun) return null;
    const { sodium, state, out } = this, place = out + (1 << 20);
    return sodium.with([message, beside], (sealed, shown) => {
      const sizes = [message.length, 0, shown, beside.length, 0];
      const { library } = sodium;
      const wrong = library._crypto_secretstream_xchacha20poly1305_pull(state, out, 0, place, sealed, ...sizes);
      this.begun = !wrong;
      return wrong ? null : { tag: library.HEAPU8[place], content: library.HEAPU8.subarray(out, out + message.length - 17) };
    });
  }

  close() {
    this.sodium.wipe(this.state, STATE);
    this.sodium.wipe(this.out, (1 << 20) + 8);
  }
}
