// How weights come to the page: from a server as one file, from the disk, where nothing can be fetched, in scripts.
import { make } from "../kit.js";

/**
 * A file, in parts of one size; the last may be smaller.
 * @param {string} address @param {number} bytes @param {number} size @param {boolean} again past what the browser stored
 */
async function* fromServer(address, bytes, size, again) {
  const stop = new AbortController();
  try {
    const response = await fetch(address, { cache: again ? "reload" : "default", signal: stop.signal });
    if (!response.ok || !response.body) throw new Error(`${response.status} ${response.statusText}`.trim());
    const reader = response.body.getReader();
    let [part, filled, arrived] = [new Uint8Array(size), 0, 0];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      arrived += value.length;
      for (let at = 0; at < value.length; ) {
        const some = value.subarray(at, at + size - filled);
        part.set(some, filled);
        [at, filled] = [at + some.length, filled + some.length];
        if (filled < size) continue;
        yield part;
        [part, filled] = [new Uint8Array(size), 0];
      }
    }
    if (arrived < bytes) throw new Error(`it is cut short: ${arrived} bytes of ${bytes} came`);
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

/** Each part in base64. @param {string} folder @param {string} name @param {number} count @param {boolean} again */
async function* fromFolder(folder, name, count, again) {
  const fresh = again ? `?${Date.now()}` : ""; // WebKit keeps a script that it has read
  for (let number = 0; number < count; number++) {
    const script = make("script", { src: new URL(`${name}-${number}.js${fresh}`, folder).href });
    const found = await new Promise((done) => {
      script.addEventListener("load", () => done(true));
      script.addEventListener("error", () => done(false));
      document.head.append(script);
    });
    script.remove();
    if (!found) throw new Error(`part ${number + 1} of ${count} is missing`);
    yield brought.get(`${name}-${number}`) ?? ""; // nothing, if the script was cut short
    brought.delete(`${name}-${number}`);
  }
}

/**
 * The parts of a model's weights, as bytes or in base64. It throws an error that says why one does not come.
 * @param {import("./wish.js").About} model @param {string} folder @param {number} size @param {boolean} again
 */
export function partsOf({ name, bytes, sums }, folder, size, again) {
  if (location.protocol === "file:") return fromFolder(folder, name, sums.length, again);
  return fromServer(new URL(`${name}.safetensors`, folder).href, bytes, size, again);
}
