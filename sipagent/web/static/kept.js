// The file of an identity that the browser keeps, if it was asked to: as it is, sealed by its passphrase.

import { Fault } from "./identity.js";

const NAME = "sipagent", STORE = "identity", KEY = "file";

export async function kept() {
  try {
    return (await inStore("readonly", (store) => store.get(KEY))) ?? null;
  } catch (error) {
    if (error instanceof DOMException) return null; // it keeps nothing at all
    throw error;
  }
}

export async function keep(bytes) {
  try {
    await inStore("readwrite", (store) => store.put(bytes, KEY));
  } catch (error) {
    if (error instanceof DOMException) throw new Fault("key_not_kept");
    throw error;
  }
}

export async function forget() {
  await inStore("readwrite", (store) => store.delete(KEY));
}

async function inStore(mode, use) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await answerOf(opening);
  try {
    return await answerOf(use(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
