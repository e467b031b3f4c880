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

  /** Ids of a text, without the start token; whose name, should somebody type it, is text like any other.
   * @param {string} text
   */
  encode(text) {
    const [first, ...rest] = text.split(START);
    const parts = [first, ...rest.flatMap((part) => [START.slice(0, 1), START.slice(1), part])];
    return parts.flatMap((part) => (part.match(PIECES) || []).flatMap((piece) => this.#piece(piece)));
  }

  /** Joins the pair that was learned first, until none is left that was learned. @param {string} piece */
  #piece(piece) {
    const known = this.known.get(piece);
    if (known) return known;
    const ids = [...new TextEncoder().encode(piece)].map((byte) => this.bytes[byte]);
    for (;;) {
      let [best, at] = [Number.POSITIVE_INFINITY, -1];
      for (let i = 0; i + 1 < ids.length; i++) {
        const id = this.merged.get(ids[i] * 65536 + ids[i + 1]);
        if (id !== undefined && id < best) [best, at] = [id, i];
      }
      if (at < 0) break;
      ids.splice(at, 2, best);
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
