// How weights come to the page: from a server as one file, from the disk, where nothing can be fetched, in scripts.
import { make } from "../kit.js";

/**
 * A file, in parts of one size; the last may be smaller.
 * @param {string} address @param {number} size @param {boolean} again past what the browser has stored
 */
async function* fromServer(address, size, again) {
  const stop = new AbortController();
  try {
    const response = await fetch(address, { cache: again ? "reload" : "default", signal: stop.signal });
    if (!response.ok || !response.body) throw new Error(`${response.status} ${response.statusText}`.trim());
    const reader = response.body.getReader();
    let [part, filled] = [new Uint8Array(size), 0];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (let at = 0; at < value.length; ) {
        const some = value.subarray(at, at + size - filled);
        part.set(some, filled);
        [at, filled] = [at + some.length, filled + some.length];
        if (filled < size) continue;
        yield part;
        [part, filled] = [new Uint8Array(size), 0];
      }
    }
    if (filled) yield part.slice(0, filled);
  } finally {
    stop.abort();
  }
}

/** What a script has brought that calls `courseLab`, until it is used: one call for all the labs of a page. */
const brought = new Map();
Object.assign(globalThis, {
  courseLab: (/** @type {string} */ name, /** @type {number} */ number, /** @type {string} */ text) =>
    brought.set(`${name}-${number}`, text),
});

/** Each part in base64. @param {string} folder @param {string} name @param {number} count */
async function* fromFolder(folder, name, count) {
  for (let number = 0; number < count; number++) {
    const script = make("script", { src: new URL(`${name}-${number}.js`, folder).href });
    const found = await new Promise((done) => {
      script.addEventListener("load", () => done(true));
      script.addEventListener("error", () => done(false));
      document.head.append(script);
    });
    script.remove();
    if (!found) return;
    yield brought.get(`${name}-${number}`) ?? ""; // nothing, if the script was cut short
    brought.delete(`${name}-${number}`);
  }
}

/**
 * The parts of a model's weights, as bytes or in base64, until all are there. Throws an error that says why not.
 * @param {import("./wish.js").About} model @param {string} folder @param {number} size @param {boolean} again
 */
export async function* partsOf({ name, sums: { length: count } }, folder, size, again) {
  const disk = location.protocol === "file:";
  const address = new URL(`${name}.safetensors`, folder).href;
  let number = 0;
  for await (const part of disk ? fromFolder(folder, name, count) : fromServer(address, size, again)) {
    yield part;
    number++;
    if (number === count) return;
  }
  throw new Error(`part ${number + 1} of ${count} is missing`);
}
