// The model of course_utils/model.py in plain JavaScript: embed, let heads add to the residual stream, unembed.
// A matrix of rows is one typed array. Weights are 32-bit, what is computed from them 64-bit.

/**
 * @typedef {{ n_layers: number, n_heads: number, d_model: number, d_head: number, d_vocab: number, n_ctx: number }} Config
 * @typedef {[layer: number, head: number]} Head
 * @typedef {[earlier: Head, later: Head]} Path from a head's output to the keys of a later head
 * @typedef {{ heads: Head[], paths: Path[] }} Off what is switched off
 * @typedef {Float32Array | Float64Array} Numbers
 */

// --- weights ---

/** A 16-bit floating point number, from its bits. @param {number} bits */
export function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * The tensors of a .safetensors file: eight bytes for the length of a JSON header, which says where each begins.
 * @param {ArrayBuffer} buffer
 * @returns {Record<string, { shape: number[], data: Float32Array }>}
 */
export function tensors(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const values = Float32Array.from({ length: 65536 }, (_, bits) => half(bits)); // all there are
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        if (dtype !== "F16") throw new Error(`${name} is ${dtype}; 16-bit numbers are wanted`);
        const bits = new Uint16Array(buffer.slice(start + from, start + to));
        const data = new Float32Array(bits.length);
        for (let i = 0; i < bits.length; i++) data[i] = values[bits[i]];
        return [name, { shape, data }];
      },
    ),
  );
}

/** @param {Float32Array} matrix [rows, columns] @param {number} rows @param {number} columns */
function transposed(matrix, rows, columns) {
  const result = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) result[c * rows + r] = matrix[r * columns + c];
  return result;
}

/** Weights as `product` wants them: one row for each number that comes out, all heads of a layer in one matrix. */
export class Model {
  /** @param {ArrayBuffer} buffer a .safetensors file */
  constructor(buffer) {
    const { W_E, W_pos, W_Q, W_K, W_V, W_O, W_U } = tensors(buffer);
    const [L, H, M, D] = W_Q.shape;
    /** @type {Config} */
    this.cfg = { n_layers: L, n_heads: H, d_model: M, d_head: D, d_vocab: W_E.shape[0], n_ctx: W_pos.shape[0] };
    const size = H * M * D;
    const layer = (/** @type {Float32Array} */ data, /** @type {number} */ l) =>
      data.subarray(l * size, (l + 1) * size);
    const head = (/** @type {Float32Array} */ data, /** @type {number} */ h) =>
      data.subarray(h * M * D, (h + 1) * M * D);
    /** Each head's [M, D] turned to [D, M], one below the other: [H·D, M]. */
    const read = (/** @type {Float32Array} */ data) => {
      const rows = new Float32Array(size);
      for (let h = 0; h < H; h++) rows.set(transposed(head(data, h), M, D), h * M * D);
      return rows;
    };
    const layers = [...Array(L).keys()];
    this.W_E = W_E.data;
    this.W_pos = W_pos.data;
    this.W_Q = layers.map((l) => read(layer(W_Q.data, l)));
    this.W_K = layers.map((l) => read(layer(W_K.data, l)));
    this.W_V = layers.map((l) => read(layer(W_V.data, l)));
    this.W_O = layers.map((l) => transposed(layer(W_O.data, l), H * D, M)); // [M, H·D]
    this.W_U = transposed(W_U.data, M, W_U.shape[1]); // [d_vocab, M]
  }
}

// --- products ---

/**
 * out[p, n] = Σ x[p, m] W[n, m] for positions from … to − 1. This is where the time goes: four positions and two rows
 * of W at a time, so that a number that was read is used several times while it is at hand.
 * @param {Float64Array} x [pos, M]
 * @param {Float32Array} W [N, M], N even
 * @param {Float64Array} out [pos, N]; always of one type, or the engine's code for it is half as fast
 * @param {number} from
 * @param {number} to
 * @param {number} M
 */
export function product(x, W, out, from, to, M) {
  const N = W.length / M;
  let p = from;
  for (; p + 4 <= to; p += 4) {
    const [a, b, c, d] = [p * M, (p + 1) * M, (p + 2) * M, (p + 3) * M];
    for (let n = 0; n < N; n += 2) {
      const [i, j] = [n * M, (n + 1) * M];
      let ai = 0,
        aj = 0,
        bi = 0,
        bj = 0,
        ci = 0,
        cj = 0,
        di = 0,
        dj = 0;
      for (let m = 0; m < M; m++) {
        const wi = W[i + m],
          wj = W[j + m];
        const xa = x[a + m],
          xb = x[b + m],
          xc = x[c + m],
          xd = x[d + m];
        ai += xa * wi;
        aj += xa * wj;
        bi += xb * wi;
        bj += xb * wj;
        ci += xc * wi;
        cj += xc * wj;
        di += xd * wi;
        dj += xd * wj;
      }
      const at = p * N + n;
      out[at] = ai;
      out[at + 1] = aj;
      out[at + N] = bi;
      out[at + N + 1] = bj;
      out[at + 2 * N] = ci;
      out[at + 2 * N + 1] = cj;
      out[at + 3 * N] = di;
      out[at + 3 * N + 1] = dj;
    }
  }
  for (; p < to; p++) {
    for (let n = 0; n < N; n += 2) {
      const [a, i, j] = [p * M, n * M, (n + 1) * M];
      let ai = 0,
        aj = 0;
      for (let m = 0; m < M; m++) {
        ai += x[a + m] * W[i + m];
        aj += x[a + m] * W[j + m];
      }
      out[p * N + n] = ai;
      out[p * N + n + 1] = aj;
    }
  }
}

/** @param {Numbers} row the first `n` numbers become shares that sum to 1 @param {number} n */
function softmax(row, n) {
  let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
  for (let i = 0; i < n; i++) most = Math.max(most, row[i]);
  for (let i = 0; i < n; i++) sum += row[i] = Math.exp(row[i] - most);
  for (let i = 0; i < n; i++) row[i] /= sum;
}

// --- a run ---

/**
 * A text in the model, with everything on the way. `forward` computes only what has changed since the last time:
 * attention looks back alone, so what stands before an edit stays; and a switch changes nothing below it.
 */
export class Run {
  /** @param {Model} model */
  constructor(model) {
    const { n_layers: L, n_heads: H, d_model: M, d_head: D, d_vocab, n_ctx: P } = model.cfg;
    const each = (/** @type {number} */ size) => Array.from({ length: L }, () => new Float64Array(P * size));
    this.model = model;
    /** @type {number[]} */
    this.tokens = [];
    /** @type {Off} */
    this.off = { heads: [], paths: [] };
    this.x = [new Float64Array(P * M), ...each(M)]; // the stream before layer 0, after layer 0, …
    this.q = each(H * D);
    this.k = each(H * D);
    this.v = each(H * D);
    this.z = each(H * D); // values, averaged by the pattern
    this.pattern = each(H * P); // [query, head, key]
    this.logits = new Float64Array(P * d_vocab);
    this.at = new Float64Array(P * M); // these three are used for a moment
    this.written = new Float64Array(P * M);
    this.kept = new Float64Array(P * H * D);
    /** How many positions each step has up to date @type {Record<string, number>} */
    this.done = {};
    /** How many positions each step computed the last time @type {Record<string, number>} */
    this.work = {};
  }

  /** Takes over all of another run of the same model. @param {Run} other */
  copy(other) {
    const arrays = (/** @type {Run} */ run) => [...run.x, ...run.q, ...run.k, ...run.v, ...run.z, ...run.pattern];
    const from = arrays(other);
    for (const [i, array] of arrays(this).entries()) array.set(from[i]);
    this.logits.set(other.logits);
    [this.tokens, this.off, this.done] = [other.tokens, other.off, { ...other.done }];
  }

  /** Logits of the next token at every position. @param {number[]} tokens the start token first @param {Off} off */
  forward(tokens, off = { heads: [], paths: [] }) {
    this.#forget(tokens, off);
    const { W_E, W_pos, W_Q, W_K, W_V, W_U, cfg } = this.model;
    const { n_layers, n_heads: H, d_model: M, d_head: D } = cfg;
    const { x, q, k, v, at } = this;
    this.#step("embed", (from, to) => {
      for (let p = from; p < to; p++) x[0].set(W_E.subarray(tokens[p] * M, (tokens[p] + 1) * M), p * M);
    });
    for (let layer = 0; layer < n_layers; layer++) {
      this.#step(`read ${layer}`, (from, to) => {
        for (let i = from * M; i < to * M; i++) at[i] = x[layer][i] + W_pos[i]; // queries and keys read positions
        product(at, W_Q[layer], q[layer], from, to, M);
        product(at, W_K[layer], k[layer], from, to, M);
        product(x[layer], W_V[layer], v[layer], from, to, M); // values don't
      });
      this.#step(`look ${layer}`, (from, to) => {
        const keys = this.#keys(layer, to);
        for (let p = from; p < to; p++) for (let h = 0; h < H; h++) this.#look(layer, p, h, keys, H, D);
      });
      this.#step(`write ${layer}`, (from, to) => this.#write(layer, from, to));
    }
    this.#step("unembed", (from, to) => product(x[n_layers], W_U, this.logits, from, to, M));
    return this.logits.subarray(0, tokens.length * cfg.d_vocab);
  }

  /** Scores of a query against all keys that it may see, their softmax, and the values averaged by it.
   * @param {number} layer @param {number} p @param {number} h @param {Float64Array} keys @param {number} H @param {number} D
   */
  #look(layer, p, h, keys, H, D) {
    const [query, value, z] = [this.q[layer], this.v[layer], this.z[layer]];
    const row = this.attention(layer, h, p);
    const [at, size] = [p * H * D + h * D, Math.sqrt(D)];
    for (let key = 0; key <= p; key++) {
      let score = 0;
      for (let d = 0, i = key * H * D + h * D; d < D; d++) score += query[at + d] * keys[i + d];
      row[key] = score / size;
    }
    softmax(row, p + 1);
    z.fill(0, at, at + D);
    for (let key = 0; key <= p; key++) {
      for (let d = 0, i = key * H * D + h * D; d < D; d++) z[at + d] += row[key] * value[i + d];
    }
  }

  /** One query's row of a pattern; numbers after the query mean nothing. @param {number} layer @param {number} head @param {number} query */
  attention(layer, head, query) {
    const { n_heads, n_ctx } = this.model.cfg;
    const start = (query * n_heads + head) * n_ctx;
    return this.pattern[layer].subarray(start, start + query + 1);
  }

  /** What heads average, less those switched off. @param {number} layer @param {number} from @param {number} to */
  #kept(layer, from, to) {
    const { n_heads: H, d_head: D } = this.model.cfg;
    const kept = this.kept;
    kept.set(this.z[layer].subarray(from * H * D, to * H * D), from * H * D);
    for (const [l, h] of this.off.heads) {
      if (l === layer) for (let p = from; p < to; p++) kept.fill(0, p * H * D + h * D, p * H * D + (h + 1) * D);
    }
    return kept;
  }

  /** Every head adds to the stream. @param {number} layer @param {number} from @param {number} to */
  #write(layer, from, to) {
    const { n_heads: H, d_model: M, d_head: D } = this.model.cfg;
    const { x, written } = this;
    product(this.#kept(layer, from, to), this.model.W_O[layer], written, from, to, H * D);
    for (let i = from * M; i < to * M; i++) x[layer + 1][i] = x[layer][i] + written[i];
  }

  /** A layer's keys, less what came by paths that are cut. @param {number} layer @param {number} to */
  #keys(layer, to) {
    const { n_heads: H, d_model: M, d_head: D } = this.model.cfg;
    const cut = this.off.paths.filter(([, later]) => later[0] === layer);
    if (!cut.length) return this.k[layer];
    const keys = this.k[layer].slice();
    const [own, part] = [new Float64Array(to * H * D), new Float64Array(to * D)];
    for (const [[l, earlier], [, later]] of cut) {
      own.fill(0); // what the earlier head alone writes, and what the later one's keys read of it
      const kept = this.#kept(l, 0, to);
      for (let p = 0; p < to; p++) {
        const start = p * H * D + earlier * D;
        own.set(kept.subarray(start, start + D), start);
      }
      product(own, this.model.W_O[l], this.written, 0, to, H * D);
      product(this.written, this.model.W_K[layer].subarray(later * D * M, (later + 1) * D * M), part, 0, to, M);
      for (let p = 0; p < to; p++) for (let d = 0; d < D; d++) keys[p * H * D + later * D + d] -= part[p * D + d];
    }
    return keys;
  }

  /** Does a step for the positions that it lacks. @param {string} name @param {(from: number, to: number) => void} compute */
  #step(name, compute) {
    const [from, to] = [this.done[name] ?? 0, this.tokens.length];
    this.work[name] = to - from;
    if (from < to) compute(from, to);
    this.done[name] = to;
  }

  /** Which results no longer hold. @param {number[]} tokens @param {Off} off */
  #forget(tokens, off) {
    let same = 0;
    while (same < tokens.length && tokens[same] === this.tokens[same]) same++;
    const steps = ["embed"];
    for (let layer = 0; layer < this.model.cfg.n_layers; layer++) {
      steps.push(`read ${layer}`, `look ${layer}`, `write ${layer}`);
    }
    steps.push("unembed");
    let first = steps.length;
    const changed = (/** @type {string} */ step) => {
      first = Math.min(first, steps.indexOf(step));
    };
    for (const [layer] of different(off.heads, this.off.heads)) {
      changed(`write ${layer}`);
      // A path from a head that is off has nothing to take away.
      for (const [earlier, [later]] of [...off.paths, ...this.off.paths])
        if (earlier[0] === layer) changed(`look ${later}`);
    }
    for (const [, [layer]] of different(off.paths, this.off.paths)) changed(`look ${layer}`);
    for (const [i, step] of steps.entries()) this.done[step] = i < first ? Math.min(this.done[step] ?? 0, same) : 0;
    this.tokens = [...tokens];
    this.off = off;
  }
}

/** What is in one list and not in the other. @template T @param {T[]} a @param {T[]} b @returns {T[]} */
function different(a, b) {
  const has = (/** @type {T[]} */ list, /** @type {T} */ item) => list.some((other) => String(other) === String(item));
  return [...a.filter((item) => !has(b, item)), ...b.filter((item) => !has(a, item))];
}

/** @param {Run} run @param {number} position @param {number} count @returns what comes next, likeliest first, and −log p of a token */
export function predictions(run, position, count) {
  const { d_vocab } = run.model.cfg;
  const logits = run.logits.subarray(position * d_vocab, (position + 1) * d_vocab);
  /** @type {number[]} */
  const best = [];
  let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
  for (let i = 0; i < d_vocab; i++) {
    if (best.length === count && logits[i] <= logits[best[count - 1]]) continue;
    let place = best.length;
    while (place > 0 && logits[i] > logits[best[place - 1]]) place--;
    best.splice(place, 0, i);
    if (best.length > count) best.pop();
  }
  most = logits[best[0]];
  for (let i = 0; i < d_vocab; i++) sum += Math.exp(logits[i] - most);
  const total = most + Math.log(sum);
  return {
    top: best.map((token) => /** @type {[number, number]} */ ([token, Math.exp(logits[token] - total)])),
    loss: (/** @type {number} */ token) => total - logits[token],
  };
}
