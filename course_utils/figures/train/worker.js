// What trains beside the page. It does what it is told and no more: so many steps, then it says how things stand.
// With what it imports it becomes one classic script.
import { Net, Run, shares } from "./engine.js";
import { compositionScores, lossesOfCopies, prefixScores, previousScores } from "./scores.js";
import { BATCHES, FRESH, sequences } from "./task.js";

/**
 * How things stand at a step: losses of the batch that comes next; each head's scores on fresh sequences, and prefix
 * matching on sequences as it is trained on (`own`); losses of copies on the fresh ones (`whole`); K-composition;
 * patterns [head, query, key] on one sequence, 255 is all attention.
 * @typedef {{ step: number, loss: number, first: number, later: number, previous: number[], prefix: number[],
 *   own: number[], whole: number[], composition: number[], patterns: Uint8Array }} Moment
 */

const page = /** @type {any} */ (globalThis);
const MEASURED = 32; // fresh sequences
const SHOWN = 5; // predictions a token
/** @typedef {import("./engine.js").Off} Off */
/** @type {{ net: Net, run: Run, fresh: Run, one: Run, test: { tokens: Int32Array, lengths: Int32Array } }} */
let its;

/** @param {Run} run of its first sequence */
function patternsOf(run) {
  const { n_layers, n_heads: H, n_ctx: T } = run.net.settings;
  const patterns = new Uint8Array(n_layers * H * T * T);
  for (let l = 0; l < n_layers; l++)
    for (let i = 0; i < H * T * T; i++) patterns[l * H * T * T + i] = Math.round(255 * run.pattern[l][i]);
  return patterns;
}

/**
 * One sequence, as the lab has it shown (lab/worker.js); `top` has tokens' ids.
 * @param {number[]} tokens @param {Off} [off]
 */
function onOne(tokens, off) {
  const { one } = its;
  const { n_layers, n_heads: H, n_ctx: T, d_vocab: V } = one.net.settings;
  const n = tokens.length;
  const pattern = new Float32Array(n_layers * H * n * n);
  one.forward(
    Int32Array.from({ length: T }, (_, i) => tokens[i] ?? 0),
    off,
  ); // what comes later changes nothing before
  for (let head = 0; head < n_layers * H; head++) {
    for (let q = 0; q < n; q++) {
      const start = ((head % H) * T + q) * T;
      pattern.set(one.pattern[Math.floor(head / H)].subarray(start, start + q + 1), (head * n + q) * n);
    }
  }
  const [losses, top] = [[0], /** @type {[number, number][][]} */ ([])];
  for (let q = 0; q < n; q++) {
    shares(one.logits, q * V, V);
    const next = one.logits.subarray(q * V, (q + 1) * V);
    if (q + 1 < n) losses.push(-Math.log(next[tokens[q + 1]]));
    top.push([...next.entries()].sort((a, b) => b[1] - a[1]).slice(0, SHOWN));
  }
  return { pattern, losses, top };
}

/** @returns {Moment} */
function moment() {
  const { net, run, fresh, test } = its;
  const next = sequences(net.settings, BATCHES + net.steps, net.settings.batch);
  run.forward(next.tokens);
  const loss = run.lose();
  const [first, later] = lossesOfCopies(run, next.lengths);
  fresh.forward(test.tokens);
  fresh.lose();
  return {
    step: net.steps,
    loss,
    first,
    later,
    previous: previousScores(fresh),
    prefix: prefixScores(fresh, test.lengths),
    own: prefixScores(run, next.lengths),
    whole: lossesOfCopies(fresh, test.lengths),
    composition: compositionScores(net),
    patterns: patternsOf(fresh),
  };
}

const acts = {
  /** @param {{ settings: import("./task.js").Settings }} message */
  start({ settings }) {
    const net = new Net(settings, Float32Array);
    const test = sequences(settings, FRESH, MEASURED);
    its = { net, run: new Run(net, settings.batch), fresh: new Run(net, MEASURED), one: new Run(net, 1), test };
    const shown = [...test.tokens.subarray(0, settings.n_ctx)];
    return { ...moment(), tokens: shown, length: test.lengths[0] };
  },

  /** @param {{ steps: number }} message */
  train({ steps }) {
    const { net, run } = its;
    for (let i = 0; i < steps; i++) {
      run.forward(sequences(net.settings, BATCHES + net.steps, net.settings.batch).tokens);
      if (!Number.isFinite(run.backward())) break;
      net.step();
    }
    return moment();
  },

  /**
   * The model as it stands, on one sequence and on the fresh ones, with heads off and paths cut.
   * @param {{ tokens: number[], off: Off, cut: boolean }} message
   */
  apart({ tokens, off, cut }) {
    const { fresh, test } = its;
    fresh.forward(test.tokens, off);
    fresh.lose();
    const [first, later] = lossesOfCopies(fresh, test.lengths);
    const prefix = prefixScores(fresh, test.lengths);
    const changed = cut ? onOne(tokens, off) : null;
    return { first, later, prefix, tokens, whole: onOne(tokens), changed };
  },
};

page.onmessage = (/** @type {MessageEvent} */ { data }) => {
  const answer = acts[/** @type {keyof typeof acts} */ (data.kind)](data);
  page.postMessage({ ...answer, kind: data.kind, run: data.run, number: data.number });
};
