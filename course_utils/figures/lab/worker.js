// What the lab computes beside the page: it loads weights, and runs texts. course_utils/figures/induction_lab.py
// joins this module with the two that it imports into one classic script.
import { Model, predictions, Run } from "./model.js";
import { Tokenizer } from "./tokenizer.js";

/**
 * @typedef {{ pattern: Float32Array, losses: number[], top: [string, number][][] }} Shown
 * pattern [head, query, key], heads of all layers in one row; losses[i]: −log p of token i, given those before it;
 * top[i]: what comes after token i, likeliest first
 * @typedef {{ kind: "result", number: number, tokens: string[], ids: number[], over: number, whole: Shown,
 *   changed: Shown | null, work: Record<string, number>[] }} Result
 */

const page = /** @type {any} */ (globalThis);
const SHOWN = 5; // predictions a token
/** With every head on, and with the reader's switches @type {Map<string, { whole: Run, changed: Run }>} */
const runs = new Map();
/** @type {Map<string, Uint8Array[]>} */
const parts = new Map();
/** @type {Tokenizer} */
let tokenizer;

/** @param {string} name @param {Uint8Array[]} pieces @param {number} bytes */
async function opened(name, pieces, bytes) {
  const buffer = await new Blob(/** @type {BlobPart[]} */ (pieces)).arrayBuffer();
  if (buffer.byteLength !== bytes) throw new Error(`${buffer.byteLength} bytes of ${bytes} arrived`);
  const model = new Model(buffer);
  runs.set(name, { whole: new Run(model), changed: new Run(model) });
  page.postMessage({ kind: "ready", name });
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
  },

  /** From a server: one file. @param {{ name: string, address: string, bytes: number }} message */
  async load({ name, address, bytes }) {
    const response = await fetch(address);
    if (!response.ok || !response.body) throw new Error(`${response.status} ${response.statusText}`.trim());
    const [reader, pieces] = [response.body.getReader(), /** @type {Uint8Array[]} */ ([])];
    for (let arrived = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      arrived += value.length;
      page.postMessage({ kind: "progress", name, share: arrived / bytes });
    }
    await opened(name, pieces, bytes);
  },

  /** From the disk: a text in base64, one part after the other. @param {{ name: string, text: string, number: number, of: number, bytes: number }} message */
  async part({ name, text, number, of, bytes }) {
    if (number === 0) parts.set(name, []);
    const pieces = parts.get(name) || [];
    pieces.push(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    page.postMessage({ kind: "progress", name, share: (number + 1) / of });
    if (number + 1 < of) return;
    parts.delete(name);
    await opened(name, pieces, bytes);
  },

  /** @param {{ number: number, name: string, text: string, off: import("./model.js").Off }} message */
  run({ number, name, text, off }) {
    const found = runs.get(name);
    if (!found) throw new Error(`${name} is not loaded`);
    const { whole, changed } = found;
    const all = [tokenizer.start, ...tokenizer.encode(text)];
    const ids = all.slice(0, whole.model.cfg.n_ctx);
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
      over: all.length - ids.length,
      whole: shown(whole),
      changed: switched ? shown(changed) : null,
      work,
    };
    const moved = [result.whole.pattern.buffer];
    if (result.changed) moved.push(result.changed.pattern.buffer);
    page.postMessage(result, moved);
  },
};

page.onmessage = async (/** @type {MessageEvent} */ { data }) => {
  try {
    await answers[/** @type {keyof answers} */ (data.kind)](data);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    page.postMessage({ kind: "failed", name: data.name, doing: data.kind, why });
  }
};
