// Byte-level byte-pair encoding: course_utils.load_tokenizer in the page.

const START = "<|start|>";
const LETTERS = "\\p{L}";
const NUMBERS = "\\p{N}";
const SPACE = "\\p{White_Space}"; // JavaScript's \s takes U+FEFF for a space, and U+0085 for none
const PIECES = new RegExp(
  `'(?:s|t|re|ve|m|ll|d)| ?${LETTERS}+| ?${NUMBERS}+| ?[^${SPACE}${LETTERS}${NUMBERS}]+` +
    `|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  "gu",
);

/** What is tokenised by itself, in order, all of the text. @param {string} text */
function* pieces(text) {
  const parts = text.split(START).flatMap((part, i) => (i ? [START.slice(0, 1), START.slice(1), part] : [part]));
  for (const part of parts) for (const [piece] of part.matchAll(PIECES)) yield piece;
}

export class Tokenizer {
  /** @param {{ bytes: number[], merges: number[][] }} data ids of the 256 bytes; pairs of ids, the first merge first */
  constructor({ bytes, merges }) {
    this.start = 0;
    this.bytes = bytes;
    /** What a pair becomes: a lower id was learned earlier, and comes first @type {Map<number, number>} */
    this.merged = new Map();
    /** The bytes of each token @type {number[][]} */
    this.spelled = [[...new TextEncoder().encode(START)]];
    for (const [byte, id] of bytes.entries()) this.spelled[id] = [byte];
    for (const [left, right] of merges) {
      this.merged.set(left * 65536 + right, this.spelled.length);
      this.spelled.push([...this.spelled[left], ...this.spelled[right]]);
    }
    /** @type {Map<string, number[]>} */
    this.known = new Map();
  }

  /**
   * Ids of a text, without the start token; whose name, should somebody type it, is text like any other.
   * No more of the text is looked at than `most` ids take: `end` says how far that is.
   * @param {string} text @param {number} [most]
   */
  encode(text, most = Number.POSITIVE_INFINITY) {
    const ids = /** @type {number[]} */ ([]);
    let end = 0;
    for (const piece of pieces(text)) {
      if (ids.length >= most) break;
      ids.push(...this.#piece(piece));
      end += piece.length;
    }
    return { ids, end };
  }

  /** Joins the pair that was learned first, until none is left that was learned. @param {string} piece */
  #piece(piece) {
    const known = this.known.get(piece);
    if (known) return known;
    let ids = [...new TextEncoder().encode(piece)].map((byte) => this.bytes[byte]);
    const pair = (/** @type {number} */ i) => this.merged.get(ids[i] * 65536 + ids[i + 1]) ?? Number.POSITIVE_INFINITY;
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < ids.length; i++) best = Math.min(best, pair(i));
      if (best === Number.POSITIVE_INFINITY) break;
      // Everywhere at once, or a long piece takes the square of its length: what this makes possible was learned later.
      const joined = [];
      for (let i = 0; i < ids.length; i++) {
        const here = pair(i) === best;
        joined.push(here ? best : ids[i]);
        if (here) i++;
      }
      ids = joined;
    }
    if (this.known.size > 10000) this.known.clear();
    this.known.set(piece, ids);
    return ids;
  }

  /** @param {number[]} ids */
  decode(ids) {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(ids.flatMap((id) => this.spelled[id])));
  }

  /** One token made visible, as Python's `show` and `visible` do. @param {number} id */
  show(id) {
    return this.decode([id]).replace(/[\p{C}\p{Z}\x7f]/gu, (c) => {
      const code = /** @type {number} */ (c.codePointAt(0));
      /** @type {Record<string, string>} */
      const named = { " ": "\u00b7", "\n": "\u21b5", "\t": "\u21e5", "\x7f": "\u2421" };
      if (c in named) return named[c];
      return code < 32 ? String.fromCodePoint(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
    });
  }
}
