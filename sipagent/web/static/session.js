// While a key is open, asks each minute whether its person is still logged in: a session that has ended takes the key along, also
// where nothing is asked for any more. What is asked keeps no session alive.

import { asked } from "./asking.js";
import { Fault, opener } from "./key.js";

const EVERY_MS = 60_000;
const QUIET = "/api/v1/events";

let timer = null;

opener.addEventListener("change", () => {
  clearInterval(timer);
  timer = opener.open ? setInterval(look, EVERY_MS) : null;
});

async function look() {
  try {
    const answer = await asked(QUIET);
    await answer.body.cancel();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    if (error.code === "session_over") opener.close(error.code);
  }
}
