// The page's side of opener.js: asks the worker that holds the keys. One for the whole page, as long as the page stays.

export class Fault extends Error {
  constructor(code, detail = null) {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}

class Opener extends EventTarget {
  #worker = null;
  #waiting = new Map();
  #number = 0;
  open = null; // {publicKey, comment} of the key that is open
  why = "key_was_closed"; // it was closed the last time

  // What the worker answers; throws a Fault with its code.
  ask(ask, fields = {}, transfer = []) {
    const number = ++this.#number;
    this.#worker ??= this.#start();
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, ask, ...fields }, transfer);
    });
  }

  // Opens the identity that was looked at last.
  async unlock(looked, passphrase, remember) {
    const { publicKey } = await this.ask("unlock", { passphrase, remember });
    this.open = { publicKey, comment: looked.comment };
    this.dispatchEvent(new Event("change"));
  }

  // Has every key wiped, and ends the worker; `why`: the code of a Fault.
  close(why = "key_was_closed") {
    this.why = why;
    const worker = this.#worker;
    if (worker) {
      worker.onmessage = () => worker.terminate();
      worker.postMessage({ number: 0, ask: "lock" });
    }
    this.#worker = null;
    for (const { reject } of this.#waiting.values()) reject(new Fault("key_closed"));
    this.#waiting.clear();
    const was = this.open;
    this.open = null;
    if (was) this.dispatchEvent(new Event("change"));
  }

  #start() {
    const worker = new Worker("/static/opener.js", { type: "module" });
    worker.onmessage = ({ data: { number, fault, ...answer } }) => {
      const { resolve, reject } = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (fault) reject(new Fault(fault));
      else resolve(answer);
    };
    worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new Fault("failed"));
      this.#waiting.clear();
    };
    return worker;
  }
}

export const opener = new Opener();

addEventListener("pagehide", () => opener.close());
