// What the lab computes beside the page: it takes weights in, and runs texts. With what it imports it becomes one
// classic script.
import { Model, predictions, Run } from "./model.js";
import { Tokenizer } from "./tokenizer.js";

/**
 * @typedef {{ pattern: Float32Array, losses: number[], top: [string, number][][] }} Shown
 * pattern [head, query, key], heads of all layers in one row; losses[i]: −log p of token i, given those before it;
 * top[i]: what comes after token i, likeliest first
 * @typedef {{ kind: "result", number: number, tokens: string[], ids: number[], end: number, over: boolean,
 *   whole: Shown, changed: Shown | null, work: Record<string, number>[] }} Result
 * end: how far the text was read; over: whether it goes on after the tokens that the model can read
 */

const page = /** @type {any} */ (globalThis);
const SHOWN = 5; // predictions a token
/** With every head on, and with the reader's switches @type {Map<string, { whole: Run, changed: Run }>} */
const runs = new Map();
/** Weights that are under way @type {Map<string, { load: number, whole: Uint8Array }>} */
const coming = new Map();
/** @type {Tokenizer} */
let tokenizer;

/** @param {string} name @param {Model} model */
const furnish = (name, model) => runs.set(name, { whole: new Run(model), changed: new Run(model) });

const REMAINDERS = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});
/** CRC-32. (The browser's own hashes are not there for a page that came over plain http.) @param {Uint8Array} bytes */
export function crc32(bytes) {
  let sum = ~0;
  for (let i = 0; i < bytes.length; i++) sum = REMAINDERS[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** @param {Uint8Array | string} part bytes, or base64: what is none becomes nothing */
function decoded(part) {
  if (typeof part !== "string") return part;
  let text = "";
  try {
    text = atob(part);
  } catch {}
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i); // twenty times as fast as `from`
  return bytes;
}

/** What the page needs of a run. @param {Run} run @returns {Shown} */
function shown(run) {
  const { n_layers, n_heads } = run.model.cfg;
  const [n, tokens] = [run.tokens.length, run.tokens];
  const pattern = new Float32Array(n_layers * n_heads * n * n);
  for (let layer = 0; layer < n_layers; layer++) {
    for (let head = 0; head < n_heads; head++) {
      const start = (layer * n_heads + head) * n * n;
      for (let q = 0; q < n; q++) pattern.set(run.attention(layer, head, q), start + q * n);
    }
  }
  const after = tokens.map((_, i) => predictions(run, i, SHOWN));
  return {
    pattern,
    losses: tokens.map((token, i) => (i ? after[i - 1].loss(token) : 0)),
    top: after.map(({ top }) => top.map(([id, share]) => [tokenizer.show(id), share])),
  };
}

const answers = {
  /** @param {{ tokenizer: { bytes: number[], merges: number[][] } }} message */
  start(message) {
    tokenizer = new Tokenizer(message.tokenizer);
    page.postMessage({ kind: "started" });
  },

  /**
   * Weights come in parts, the first one first; `load` tells one attempt from the next.
   * @param {{ name: string, load: number, number: number, of: number, part: Uint8Array | string, at: number,
   *   bytes: number, sum: number }} message at: where in all the `bytes` it belongs
   */
  part({ name, load, number, of, part, at, bytes, sum }) {
    if (number === 0) coming.set(name, { load, whole: new Uint8Array(bytes) });
    const its = coming.get(name);
    if (its?.load !== load) return; // of an attempt that has failed
    const found = decoded(part);
    if (crc32(found) !== sum) {
      coming.delete(name);
      throw new Error(`part ${number + 1} of ${of} is damaged or cut short`);
    }
    its.whole.set(found, at);
    if (number + 1 < of) return;
    coming.delete(name);
    furnish(name, new Model(its.whole.buffer));
    page.postMessage({ kind: "ready", name, load });
  },

  /** @param {{ number: number, name: string, text: string, off: import("./model.js").Off }} message */
  run({ number, name, text, off }) {
    const found = runs.get(name);
    if (!found) throw new Error(`${name} is not loaded`);
    const { whole, changed } = found;
    const most = whole.model.cfg.n_ctx - 1;
    const read = tokenizer.encode(text, most);
    const ids = [tokenizer.start, ...read.ids.slice(0, most)];
    whole.forward(ids);
    const work = [whole.work];
    const switched = off.heads.length + off.paths.length > 0;
    if (switched) {
      // Where nothing was off before, the run with every head on is where to go on from.
      if (changed.off.heads.length + changed.off.paths.length === 0) changed.copy(whole);
      changed.forward(ids, off);
      work.push(changed.work);
    } else changed.off = off;
    const result = {
      kind: "result",
      number,
      tokens: ids.map((id) => tokenizer.show(id)),
      ids,
      end: read.end,
      over: read.ids.length > most || read.end < text.length,
      whole: shown(whole),
      changed: switched ? shown(changed) : null,
      work,
    };
    const moved = [result.whole.pattern.buffer];
    if (result.changed) moved.push(result.changed.pattern.buffer);
    page.postMessage(result, moved);
  },
};

page.onmessage = (/** @type {MessageEvent} */ { data }) => {
  const { kind, name, load, number } = data;
  try {
    answers[/** @type {keyof answers} */ (kind)](data);
  } catch (error) {
    const its = kind === "run" && runs.get(name);
    if (its) furnish(name, its.whole.model); // nothing half computed stays
    const why = error instanceof Error ? error.message : String(error);
    page.postMessage({ kind: "failed", doing: kind, name, load, number, why });
  }
};
