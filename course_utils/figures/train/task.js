// The task of course_utils/repeats.py, number for number: random tokens that repeat, and the first weights.

/**
 * The settings of a run, as Python's RepeatsConfig has them.
 * @typedef {{ n_layers: number, n_heads: number, d_head: number, d_vocab: number, n_ctx: number, shortest: number,
 *   longest: number, smeared_keys: boolean, positions: "read" | "stream" | "none", clamped: boolean,
 *   optimiser: "adamw" | "sgd", lr: number, batch: number, seed: number }} Settings
 * @typedef {Float32Array | Float64Array} Numbers
 */

export const [WEIGHTS, FRESH, BATCHES] = [0, 1, 2]; // streams of random numbers
const FEWEST = 5; // tokens that repeat in a sequence to measure on

/** Numbers from 0 to 1, the generator "mulberry32". @param {number} seed @param {number} stream */
export function uniform(seed, stream) {
  let a = (Math.imul(seed, 0x9e3779b1) + Math.imul(stream, 0x85ebca6b)) | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * `n` sequences, one after the other, and how many tokens each repeats.
 * @param {Settings} settings @param {number} stream @param {number} n
 */
export function sequences({ n_ctx, d_vocab, shortest, longest, seed }, stream, n) {
  const [low, high] = stream === FRESH ? [FEWEST, (n_ctx - 1) >> 1] : [shortest, longest];
  const draw = uniform(seed, stream);
  const [tokens, lengths] = [new Int32Array(n * n_ctx), new Int32Array(n)];
  for (let row = 0; row < n; row++) {
    const length = low + Math.floor(draw() * (high - low + 1));
    const once = Array.from({ length: high }, () => 1 + Math.floor(draw() * (d_vocab - 1)));
    for (let i = 1; i < n_ctx; i++) tokens[row * n_ctx + i] = once[(i - 1) % length];
    lengths[row] = length;
  }
  return { tokens, lengths };
}
