// The model of course_utils/model.py, forward and backward, and what moves its weights, in plain JavaScript.
// A matrix of rows is one typed array; all heads of a layer share one matrix.
import { uniform, WEIGHTS } from "./task.js";

/**
 * @typedef {import("./task.js").Settings} Settings
 * @typedef {import("./task.js").Numbers} Numbers
 * @typedef {{ heads: [number, number][], paths: [number, number][] }} Off heads (layer, head) that write nothing; paths
 *   from a head of layer 0 to the keys of a head of layer 1
 * @typedef {Float32ArrayConstructor | Float64ArrayConstructor} Kind
 */

const [WHOLE, KEYS, UPTO, FROM] = [0, 1, 2, 3]; // which part of a product is wanted, where what is later is nothing

/**
 * out[i, j] = Σ_k a[i, k] b[k, j], added to what is there if `add`. Each matrix has its start and the distance between
 * neighbours along its two axes. This is where the time goes: four rows and two columns at a time, so that a number
 * that was read is used several times while it is at hand.
 * KEYS: only columns that are no later than the rows; UPTO: only k no later than the row; FROM: only k from the row on.
 * @param {Numbers} out @param {number} o @param {number} oi
 * @param {Numbers} a @param {number} a0 @param {number} ai @param {number} ak
 * @param {Numbers} b @param {number} b0 @param {number} bk @param {number} bj
 * @param {number} I a multiple of 4 @param {number} J even @param {number} K @param {boolean} add @param {number} part
 */
export function product(out, o, oi, a, a0, ai, ak, b, b0, bk, bj, I, J, K, add, part) {
  for (let i = 0; i < I; i += 4) {
    const columns = part === KEYS ? Math.min(J, i + 4) : J;
    const first = part === FROM ? i : 0;
    const end = part === UPTO ? Math.min(K, i + 4) : K;
    for (let j = 0; j < columns; j += 2) {
      let c00 = 0,
        c01 = 0,
        c10 = 0,
        c11 = 0,
        c20 = 0,
        c21 = 0,
        c30 = 0,
        c31 = 0;
      let p0 = a0 + i * ai + first * ak,
        p1 = p0 + ai,
        p2 = p1 + ai,
        p3 = p2 + ai,
        q0 = b0 + j * bj + first * bk,
        q1 = q0 + bj;
      for (let k = first; k < end; k++) {
        const left = b[q0],
          right = b[q1];
        const x0 = a[p0],
          x1 = a[p1],
          x2 = a[p2],
          x3 = a[p3];
        c00 += x0 * left;
        c01 += x0 * right;
        c10 += x1 * left;
        c11 += x1 * right;
        c20 += x2 * left;
        c21 += x2 * right;
        c30 += x3 * left;
        c31 += x3 * right;
        p0 += ak;
        p1 += ak;
        p2 += ak;
        p3 += ak;
        q0 += bk;
        q1 += bk;
      }
      const at = o + i * oi + j;
      if (add) {
        out[at] += c00;
        out[at + 1] += c01;
        out[at + oi] += c10;
        out[at + oi + 1] += c11;
        out[at + 2 * oi] += c20;
        out[at + 2 * oi + 1] += c21;
        out[at + 3 * oi] += c30;
        out[at + 3 * oi + 1] += c31;
      } else {
        out[at] = c00;
        out[at + 1] = c01;
        out[at + oi] = c10;
        out[at + oi + 1] = c11;
        out[at + 2 * oi] = c20;
        out[at + 2 * oi + 1] = c21;
        out[at + 3 * oi] = c30;
        out[at + 3 * oi + 1] = c31;
      }
    }
  }
}

/** Each weight's place in the one array that holds them all, in Python's order. @param {Settings} settings */
function places({ n_layers: L, n_heads: H, d_head: D, d_vocab: V, n_ctx: T, smeared_keys }) {
  const M = H * D;
  /** @type {[string, number][]} */
  const sizes = [
    ["W_E", V * M],
    ["W_pos", T * M],
    ["W_Q", L * M * M],
    ["W_K", L * M * M],
    ["W_V", L * M * M],
    ["W_O", L * M * M],
    ["W_U", M * V],
  ];
  if (smeared_keys) sizes.push(["smear", L * H]);
  let at = 0;
  /** @type {Record<string, [from: number, to: number]>} */
  const found = {};
  for (const [name, size] of sizes) {
    found[name] = [at, at + size];
    at += size;
  }
  return { found, size: at };
}

/** A model with random weights, and what an optimiser remembers of it. */
export class Net {
  /** @param {Settings} settings @param {Kind} Kind of numbers */
  constructor(settings, Kind) {
    const { found, size } = places(settings);
    this.settings = settings;
    this.Kind = Kind;
    this.M = settings.n_heads * settings.d_head;
    this.places = found;
    this.weights = new Kind(size);
    this.gradients = new Kind(size);
    this.mean = new Kind(size);
    this.square = new Kind(size);
    this.steps = 0;
    this.#draw();
  }

  /** @param {string} name @param {number} [layer] of weights that each layer has */
  of(name, layer) {
    return this.#part(this.weights, name, layer);
  }

  /** @param {string} name @param {number} [layer] */
  gradient(name, layer) {
    return this.#part(this.gradients, name, layer);
  }

  /** @param {Numbers} all @param {string} name @param {number} [layer] */
  #part(all, name, layer) {
    const [from, to] = this.places[name];
    const size = layer === undefined ? to - from : (to - from) / this.settings.n_layers;
    return all.subarray(from + (layer ?? 0) * size, from + ((layer ?? 0) + 1) * size);
  }

  #draw() {
    const { seed, positions } = this.settings;
    const draw = uniform(seed, WEIGHTS);
    const own = this.M ** -0.5;
    /** @type {Record<string, number>} */
    const spreads = { W_E: 0.5, W_pos: 1, W_O: own / 2 };
    for (const [name, [from, to]] of Object.entries(this.places)) {
      if (name === "smear") continue; // half and half
      const drawn = Float64Array.from(
        { length: to - from },
        () => (2 * draw() - 1) * Math.sqrt(3) * (spreads[name] ?? own),
      );
      if (name !== "W_pos" || positions !== "none") this.load(name, drawn);
    }
  }

  /** Takes a weight in Python's shape: [head, d_model, d_head] becomes [d_model, all heads]. @param {string} name @param {ArrayLike<number>} values */
  load(name, values) {
    this.#turn(name, (mine, its) => {
      this.weights[mine] = values[its];
    });
  }

  /** A weight, or its gradient, in Python's shape. @param {string} name @param {Numbers} from */
  save(name, from = this.weights) {
    const values = new Float64Array(this.places[name][1] - this.places[name][0]);
    this.#turn(name, (mine, its) => {
      values[its] = from[mine];
    });
    return values;
  }

  /** @param {string} name @param {(mine: number, its: number) => void} pair */
  #turn(name, pair) {
    const { n_heads: H, d_head: D, n_layers: L } = this.settings;
    const [from, to] = this.places[name];
    if (!/^W_[QKV]$/.test(name)) {
      for (let i = from; i < to; i++) pair(i, i - from);
      return;
    }
    let its = 0;
    for (let l = 0; l < L; l++)
      for (let h = 0; h < H; h++)
        for (let m = 0; m < this.M; m++)
          for (let d = 0; d < D; d++) pair(from + l * this.M ** 2 + m * this.M + h * D + d, its++);
  }

  /** One step along the gradients, as torch.optim.AdamW or torch.optim.SGD takes it. */
  step() {
    const { optimiser, lr } = this.settings;
    const { weights, gradients, mean, square } = this;
    this.steps++;
    if (optimiser === "sgd") {
      for (let i = 0; i < weights.length; i++) {
        mean[i] = 0.9 * mean[i] + gradients[i];
        weights[i] -= lr * mean[i];
      }
      return;
    }
    const [first, second] = [1 - 0.9 ** this.steps, Math.sqrt(1 - 0.99 ** this.steps)];
    for (let i = 0; i < weights.length; i++) {
      const g = gradients[i];
      const m = 0.9 * mean[i] + 0.1 * g;
      const s = 0.99 * square[i] + 0.01 * g * g;
      mean[i] = m;
      square[i] = s;
      weights[i] = weights[i] * (1 - lr * 0.01) - ((lr / first) * m) / (Math.sqrt(s) / second + 1e-8);
    }
  }
}

/** So many sequences in a model, with everything on the way: each sequence takes n_ctx rows. */
export class Run {
  /** @param {Net} net @param {number} n */
  constructor(net, n) {
    const { n_layers: L, n_heads: H, d_vocab: V, n_ctx: T } = net.settings;
    const { M, Kind } = net;
    const rows = n * T;
    const matrix = (columns = M) => new Kind(rows * columns);
    const layers = (columns = M) => Array.from({ length: L }, () => matrix(columns));
    this.net = net;
    this.n = n;
    this.rows = rows;
    this.tokens = new Int32Array(rows);
    this.x = [matrix(), ...layers()]; // the stream before layer 0, after layer 0 …
    this.placed = layers(); // what queries and keys read
    this.q = layers();
    this.k = layers();
    this.raw = net.settings.smeared_keys ? layers() : this.k; // keys before they are smeared
    this.v = layers();
    this.z = layers();
    this.pattern = layers(H * T); // [sequence, head, query, key]
    this.logits = matrix(V);
    this.losses = new Float64Array(rows);
    this.dx = matrix();
    this.dz = matrix();
    this.dq = matrix();
    this.dk = matrix();
    this.dkeys = net.settings.smeared_keys ? matrix() : this.dk;
    this.dv = matrix();
    this.dplaced = matrix();
    this.dpattern = new Kind(T * T);
  }

  /** @param {Numbers} out @param {Numbers} x @param {Numbers} W [rows, columns] @param {number} from @param {number} to its sizes @param {boolean} [add] */
  #times(out, x, W, from, to, add = false) {
    product(out, 0, to, x, 0, from, 1, W, 0, to, 1, this.rows, to, from, add, WHOLE);
  }

  /** The gradient of x @ W: into that of W it is added, into that of x it is written or added.
   * @param {Numbers} dy @param {Numbers} x @param {Numbers} W @param {Numbers} dW @param {Numbers} dx @param {number} from @param {number} to @param {boolean} add
   */
  #back(dy, x, W, dW, dx, from, to, add) {
    product(dW, 0, to, x, 0, 1, from, dy, 0, to, 1, from, to, this.rows, true, WHOLE);
    product(dx, 0, from, dy, 0, to, 1, W, 0, 1, to, this.rows, from, to, add, WHOLE);
  }

  /** @param {Int32Array} tokens @param {Off} [off] */
  forward(tokens, off = { heads: [], paths: [] }) {
    const { net, rows } = this;
    const { M } = net;
    const { n_layers, n_heads: H, d_head: D, d_vocab, n_ctx: T, positions, smeared_keys, clamped } = net.settings;
    const [E, place] = [net.of("W_E"), net.of("W_pos")];
    const [streamed, read] = [positions === "stream", positions === "read"];
    this.tokens.set(tokens);
    for (let r = 0; r < rows; r++) {
      const [from, at] = [tokens[r] * M, (r % T) * M];
      for (let m = 0; m < M; m++) this.x[0][r * M + m] = E[from + m] + (streamed ? place[at + m] : 0);
    }
    for (let l = 0; l < n_layers; l++) {
      const [x, placed] = [this.x[l], this.placed[l]];
      for (let i = 0; i < x.length; i++) placed[i] = x[i] + (read ? place[i % (T * M)] : 0);
      this.#times(this.q[l], placed, net.of("W_Q", l), M, M);
      this.#times(this.raw[l], placed, net.of("W_K", l), M, M);
      this.#times(this.v[l], x, net.of("W_V", l), M, M);
      if (l === 1) for (const [earlier, later] of off.paths) this.#cut(earlier, later, off);
      if (smeared_keys) this.#smear(l);
      for (let s = 0; s < this.n; s++)
        for (let h = 0; h < H; h++) this.#look(l, s, h, clamped && l === 0 && h === 0, D, T);
      for (const [layer, head] of off.heads)
        if (layer === l) for (let r = 0; r < rows; r++) this.z[l].fill(0, r * M + head * D, r * M + head * D + D);
      this.x[l + 1].set(x);
      this.#times(this.x[l + 1], this.z[l], net.of("W_O", l), M, M, true);
    }
    this.#times(this.logits, this.x[n_layers], net.of("W_U"), M, d_vocab);
  }

  /** One head on one sequence: scores, their softmax, and the values averaged by it.
   * @param {number} l @param {number} s @param {number} h @param {boolean} clamped @param {number} D @param {number} T
   */
  #look(l, s, h, clamped, D, T) {
    const { M } = this.net;
    const pattern = this.pattern[l];
    const [at, start] = [s * T * M + h * D, (s * this.net.settings.n_heads + h) * T * T];
    if (clamped) for (let i = 0; i < T; i++) pattern[start + i * T + Math.max(i - 1, 0)] = 1;
    else {
      product(pattern, start, T, this.q[l], at, M, 1, this.k[l], at, 1, M, T, T, D, false, KEYS);
      softmax(pattern, start, T, 1 / Math.sqrt(D));
    }
    product(this.z[l], at, M, pattern, start, T, 1, this.v[l], at, M, 1, T, D, T, false, UPTO);
  }

  /** Takes what a head of layer 0 wrote out of the keys of a head of layer 1. @param {number} earlier @param {number} later @param {Off} off */
  #cut(earlier, later, off) {
    if (off.heads.some(([layer, head]) => layer === 0 && head === earlier)) return; // it wrote nothing
    const { net, rows } = this;
    const { M, Kind } = net;
    const D = net.settings.d_head;
    const [written, part] = [new Kind(rows * M), new Kind(rows * D)];
    product(
      written,
      0,
      M,
      this.z[0],
      earlier * D,
      M,
      1,
      net.of("W_O", 0),
      earlier * D * M,
      M,
      1,
      rows,
      M,
      D,
      false,
      WHOLE,
    );
    product(part, 0, D, written, 0, M, 1, net.of("W_K", 1), later * D, M, 1, rows, D, M, false, WHOLE);
    for (let r = 0; r < rows; r++) for (let d = 0; d < D; d++) this.raw[1][r * M + later * D + d] -= part[r * D + d];
  }

  /** Each key mixed with the one before it. @param {number} l */
  #smear(l) {
    const { M } = this.net;
    const { d_head: D, n_ctx: T } = this.net.settings;
    const [raw, k, alpha] = [this.raw[l], this.k[l], this.net.of("smear", l)];
    for (let i = 0; i < k.length; i++) {
      const own = sigmoid(alpha[Math.floor((i % M) / D)]);
      k[i] = own * raw[i] + (1 - own) * raw[i % (T * M) < M ? i : i - M];
    }
  }

  /** Logits become probabilities; each row's loss. What is predicted at position 0, and at the end, does not count. */
  lose() {
    const { logits, losses, tokens, rows } = this;
    const { d_vocab: V, n_ctx: T } = this.net.settings;
    let sum = 0;
    for (let r = 0; r < rows; r++) {
      const at = r % T;
      const right = at === T - 1 ? 0 : logits[r * V + tokens[r + 1]];
      losses[r] = at === 0 || at === T - 1 ? 0 : shares(logits, r * V, V) - right;
      sum += losses[r];
    }
    return sum / (this.n * (T - 2));
  }

  /** After `forward`: the mean loss, and the gradient of each weight in place of the last ones. */
  backward() {
    const { net, rows, tokens, logits, dx, dq, dv, dz, dplaced } = this;
    const { M } = net;
    const { n_layers, n_heads: H, d_head: D, d_vocab: V, n_ctx: T, positions, smeared_keys, clamped } = net.settings;
    const count = this.n * (T - 2);
    const loss = this.lose();
    for (let r = 0; r < rows; r++) {
      const at = r % T;
      if (at === 0 || at === T - 1) logits.fill(0, r * V, (r + 1) * V);
      else logits[r * V + tokens[r + 1]] -= 1;
    }
    for (let i = 0; i < logits.length; i++) logits[i] /= count;
    net.gradients.fill(0);
    this.#back(logits, this.x[n_layers], net.of("W_U"), net.gradient("W_U"), dx, M, V, false);
    const places = net.gradient("W_pos");
    for (let l = n_layers - 1; l >= 0; l--) {
      this.#back(dx, this.z[l], net.of("W_O", l), net.gradient("W_O", l), dz, M, M, false);
      for (let s = 0; s < this.n; s++)
        for (let h = 0; h < H; h++) this.#lookBack(l, s, h, clamped && l === 0 && h === 0, D, T);
      if (smeared_keys) this.#smearBack(l);
      this.#back(dq, this.placed[l], net.of("W_Q", l), net.gradient("W_Q", l), dplaced, M, M, false);
      this.#back(this.dkeys, this.placed[l], net.of("W_K", l), net.gradient("W_K", l), dplaced, M, M, true);
      this.#back(dv, this.x[l], net.of("W_V", l), net.gradient("W_V", l), dx, M, M, true);
      for (let i = 0; i < dx.length; i++) dx[i] += dplaced[i];
      if (positions === "read") for (let i = 0; i < dx.length; i++) places[i % (T * M)] += dplaced[i];
    }
    const dE = net.gradient("W_E");
    for (let r = 0; r < rows; r++) for (let m = 0; m < M; m++) dE[tokens[r] * M + m] += dx[r * M + m];
    if (positions === "stream") for (let i = 0; i < dx.length; i++) places[i % (T * M)] += dx[i];
    return loss;
  }

  /** @param {number} l @param {number} s @param {number} h @param {boolean} clamped @param {number} D @param {number} T */
  #lookBack(l, s, h, clamped, D, T) {
    const { M } = this.net;
    const [pattern, dS, dz] = [this.pattern[l], this.dpattern, this.dz];
    const [at, start] = [s * T * M + h * D, (s * this.net.settings.n_heads + h) * T * T];
    product(this.dv, at, M, pattern, start, 1, T, dz, at, M, 1, T, D, T, false, FROM);
    product(dS, 0, T, dz, at, M, 1, this.v[l], at, 1, M, T, T, D, false, KEYS);
    const size = Math.sqrt(D);
    for (let q = 0; q < T; q++) {
      let sum = 0;
      for (let k = 0; k <= q; k++) sum += pattern[start + q * T + k] * dS[q * T + k];
      for (let k = 0; k < T; k++)
        dS[q * T + k] = k > q || clamped ? 0 : (pattern[start + q * T + k] * (dS[q * T + k] - sum)) / size;
    }
    product(this.dq, at, M, dS, 0, T, 1, this.k[l], at, M, 1, T, D, T, false, UPTO);
    product(this.dk, at, M, dS, 0, 1, T, this.q[l], at, M, 1, T, D, T, false, FROM);
  }

  /** @param {number} l */
  #smearBack(l) {
    const { M } = this.net;
    const { d_head: D, n_ctx: T } = this.net.settings;
    const [raw, alpha, dalpha] = [this.raw[l], this.net.of("smear", l), this.net.gradient("smear", l)];
    const { dk, dkeys } = this;
    dkeys.fill(0);
    for (let i = 0; i < dk.length; i++) {
      const head = Math.floor((i % M) / D);
      const own = sigmoid(alpha[head]);
      const before = i % (T * M) < M ? i : i - M;
      dkeys[i] += own * dk[i];
      dkeys[before] += (1 - own) * dk[i];
      dalpha[head] += dk[i] * (raw[i] - raw[before]) * own * (1 - own);
    }
  }
}

const sigmoid = (/** @type {number} */ x) => 1 / (1 + Math.exp(-x));

/** The rows of a pattern: scores up to the query become shares, what is later 0. @param {Numbers} all @param {number} start @param {number} T @param {number} scale */
function softmax(all, start, T, scale) {
  for (let q = 0; q < T; q++) {
    const at = start + q * T;
    let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
    for (let k = at; k <= at + q; k++) if (all[k] > most) most = all[k];
    for (let k = at; k <= at + q; k++) sum += all[k] = Math.exp((all[k] - most) * scale);
    for (let k = at; k <= at + q; k++) all[k] /= sum;
    for (let k = at + q + 1; k < at + T; k++) all[k] = 0;
  }
}

/** Logits become shares; gives the logarithm of their sum. @param {Numbers} all @param {number} start @param {number} n */
export function shares(all, start, n) {
  let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
  for (let i = start; i < start + n; i++) if (all[i] > most) most = all[i];
  for (let i = start; i < start + n; i++) sum += Math.exp(all[i] - most);
  const total = most + Math.log(sum);
  for (let i = start; i < start + n; i++) all[i] = Math.exp(all[i] - total);
  return total;
}
