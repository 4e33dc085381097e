// The file of an identity, as retention/vault.py describes it, under the same limits.
// What is wrong is thrown as a Fault with a code, for which the page has words.

export class Fault extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export const SIZE_LIMIT = 1 << 16; // bytes; no key file of ours is longer

const KIND = "sipagent-identity-1";
const RECIPIENT = "sipagent-recipient-1";
const MOST_PASSES = 16, MOST_MEMORY = 1 << 30; // that a file may ask for
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

// {publicKey, secret, comment, kdf: {opslimit, memlimit, salt} or null}; the secret still sealed if there is a kdf.
export function identityIn(bytes) {
  if (bytes.length > SIZE_LIMIT) throw new Fault("key_too_long");
  const text = textOf(bytes);
  if (text.startsWith(RECIPIENT)) throw new Fault("key_public");
  const fields = fieldsOf(text);
  if (fields.version !== KIND || typeof fields.comment !== "string") throw new Fault("key_damaged");
  const [publicKey, secret] = [decoded(fields.public), decoded(fields.secret)];
  if (!publicKey || publicKey.length !== 32 || !secret) throw new Fault("key_damaged");
  return { publicKey, secret, comment: fields.comment, kdf: fields.kdf === null ? null : derivation(fields.kdf) };
}

// The bytes of a text in base64, null for anything else.
export function decoded(text) {
  if (typeof text !== "string" || !BASE64.test(text)) return null;
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export function encoded(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw new Fault("key_damaged");
    throw error;
  }
}

function fieldsOf(text) {
  try {
    const fields = JSON.parse(text);
    return fields !== null && typeof fields === "object" ? fields : {};
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) throw new Fault("key_damaged");
    throw error;
  }
}

function derivation(kdf) {
  const salt = decoded(kdf?.salt);
  const { name, opslimit, memlimit } = kdf ?? {};
  if (name !== "argon2id" || salt?.length !== 16) throw new Fault("key_damaged");
  for (const [asked, most] of [[opslimit, MOST_PASSES], [memlimit, MOST_MEMORY]])
    if (!Number.isInteger(asked) || asked <= 0 || asked > most) throw new Fault("key_damaged");
  return { salt, opslimit, memlimit };
}
