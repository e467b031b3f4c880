// What heads do and what a run is shown by: the scores of course_utils/repeats.py and circuits/composition.py.
import { product } from "./engine.js";

/** @typedef {import("./engine.js").Run} Run */

/** Mean attention of each head to the token before, from position 2 on. @param {Run} run */
export function previousScores(run) {
  const { n_ctx: T } = run.net.settings;
  return eachHead(run, (pattern, start) => {
    let sum = 0;
    for (let q = 2; q < T; q++) sum += pattern[start + q * T + q - 1];
    return [sum, T - 2];
  });
}

/** Mean attention of each head, over the second copy, to what followed its query's token before. @param {Run} run @param {Int32Array} lengths */
export function prefixScores(run, lengths) {
  const { n_ctx: T } = run.net.settings;
  return eachHead(run, (pattern, start, s) => {
    const tokens = run.tokens.subarray(s * T, (s + 1) * T);
    let sum = 0;
    for (let q = lengths[s] + 1; q <= 2 * lengths[s]; q++)
      for (let k = 1; k <= q; k++) if (tokens[k - 1] === tokens[q]) sum += pattern[start + q * T + k];
    return [sum, lengths[s]];
  });
}

/**
 * Of each head, layer by layer: a mean over all sequences.
 * @param {Run} run @param {(pattern: import("./task.js").Numbers, start: number, sequence: number) => [sum: number, count: number]} of
 */
function eachHead(run, of) {
  const { n_layers, n_heads: H, n_ctx: T } = run.net.settings;
  const scores = [];
  for (let l = 0; l < n_layers; l++)
    for (let h = 0; h < H; h++) {
      let [total, number] = [0, 0];
      for (let s = 0; s < run.n; s++) {
        const [sum, count] = of(run.pattern[l], (s * H + h) * T * T, s);
        total += sum;
        number += count;
      }
      scores.push(total / number);
    }
  return scores;
}

/** Mean loss on the tokens of the first copy, and on those that are known. @param {Run} run @param {Int32Array} lengths */
export function lossesOfCopies(run, lengths) {
  const { n_ctx: T } = run.net.settings;
  const [sums, counts] = [
    [0, 0],
    [0, 0],
  ];
  for (let s = 0; s < run.n; s++)
    for (let at = 1; at < T - 1; at++) {
      if (at === lengths[s]) continue; // whether the second copy begins here, nobody can know
      const copy = at > lengths[s] ? 1 : 0;
      sums[copy] += run.losses[s * T + at];
      counts[copy]++;
    }
  return [sums[0] / counts[0], sums[1] / counts[1]];
}

/** K-composition of each head of layer 1 with each of layer 0, [earlier, later]: ‖W_QK² (W_OV¹)ᵀ‖ / (‖W_QK²‖ ‖W_OV¹‖). @param {import("./engine.js").Net} net */
export function compositionScores(net) {
  const { M } = net;
  const { n_heads: H, d_head: D, n_layers } = net.settings;
  if (n_layers < 2) return [];
  /** [D, D]: a head's weights times another's. @param {string} a @param {number} h @param {string} b @param {number} g @param {number} l */
  const gram = (a, h, b, g, l) => {
    const out = new Float64Array(D * D);
    product(out, 0, D, net.of(a, l), h * D, 1, M, net.of(b, l), g * D, M, 1, D, D, M, false, 0);
    return out;
  };
  const writes = (/** @type {number} */ h) => {
    const [O, out] = [net.of("W_O", 0), new Float64Array(D * D)];
    product(out, 0, D, O, h * D * M, M, 1, O, h * D * M, 1, M, D, D, M, false, 0);
    return out;
  };
  const heads = [...Array(H).keys()];
  const values = heads.map((h) => gram("W_V", h, "W_V", h, 0));
  const queries = heads.map((h) => gram("W_Q", h, "W_Q", h, 1));
  const written = heads.map((h) => trace(values[h], writes(h), D)); // ‖W_OV¹‖²
  const looks = heads.map((h) => trace(queries[h], gram("W_K", h, "W_K", h, 1), D)); // ‖W_QK²‖²
  const scores = [];
  for (const earlier of heads)
    for (const later of heads) {
      const middle = new Float64Array(D * D); // W_O W_K
      product(
        middle,
        0,
        D,
        net.of("W_O", 0),
        earlier * D * M,
        M,
        1,
        net.of("W_K", 1),
        later * D,
        M,
        1,
        D,
        D,
        M,
        false,
        0,
      );
      const [left, all] = [new Float64Array(D * D), new Float64Array(D * D)];
      product(left, 0, D, middle, 0, 1, D, values[earlier], 0, D, 1, D, D, D, false, 0);
      product(all, 0, D, left, 0, D, 1, middle, 0, D, 1, D, D, D, false, 0);
      scores.push(Math.sqrt(trace(queries[later], all, D) / (written[earlier] * looks[later])));
    }
  return scores;
}

/** Σ a[i, j] b[i, j] of two symmetric matrices. @param {Float64Array} a @param {Float64Array} b @param {number} D */
function trace(a, b, D) {
  let sum = 0;
  for (let i = 0; i < D * D; i++) sum += a[i] * b[i];
  return sum;
}
