// What the lab is doing, and so what may be shown. It knows nothing of the page.

/**
 * @typedef {import("./wish.js").Wish} Wish
 * @typedef {import("./worker.js").Result & { wish: Wish, key: string }} Shown a result, and what was asked
 * @typedef {{ at: "unable" | "stopped" | "absent" | "loading" | "failed" | "ready" | "broken" | "reading" | "shown",
 *   why?: string, share?: number, busy?: boolean }} Stage
 * unable: no worker starts here; stopped: it started and died; absent, loading, failed, ready: the weights; broken: the
 * run failed; reading: nothing to show yet; shown: a result of this model, unless busy of this text and these switches
 */

/** What the worker is asked; the key of the same question is the same. @param {Wish} wish */
function question({ model, text, off, from, to, cut }) {
  const place = (/** @type {string} */ head) => head.split(".").map(Number);
  const asked = {
    name: model.name,
    text: text.slice(0, model.longest),
    off: { heads: [...off].sort().map(place), paths: cut ? [[place(from), place(to)]] : [] },
  };
  return { ...asked, key: JSON.stringify(asked) };
}

export class Session {
  /** @type {Shown | null} the last result that answered the question of its time */
  shown = null;
  /** @type {Worker | null} */
  #worker = null;
  #started = false;
  #lost = "";
  /** What the worker has of each model @type {Map<string, Stage & { load: number }>} */
  #weights = new Map();
  /** The question under way @type {{ number: number, wish: Wish, key: string } | null} */
  #run = null;
  /** The question whose run failed @type {{ key: string, why: string } | null} */
  #failed = null;
  #count = 0;
  #asked;

  /**
   * @param {Wish} wish
   * @param {{ hire: () => Worker, parts: (model: Wish["model"], again: boolean) => AsyncIterable<Uint8Array | string>,
   *   size: number, changed: () => void }} means size: of a part, in bytes; changed: hears of everything that happens
   */
  constructor(wish, means) {
    this.wish = wish;
    this.means = means;
    this.#asked = question(wish);
    this.#hire();
  }

  /** All that may be shown follows from it. @returns {Stage} */
  get stage() {
    const { model } = this.wish;
    if (!this.#worker) return { at: this.#started ? "stopped" : "unable", why: this.#lost };
    const weights = this.#weights.get(model.name);
    if (!weights) return { at: "absent" };
    if (weights.at !== "ready") return weights;
    if (this.#failed?.key === this.#asked.key) return { at: "broken", why: this.#failed.why };
    if (this.shown?.wish.model !== model) return { at: "reading" };
    return { at: "shown", busy: this.shown.key !== this.#asked.key };
  }

  /** The reader chooses; nothing is loaded for it. @param {Partial<Wish>} change */
  choose(change) {
    this.wish = { ...this.wish, ...change };
    this.#asked = question(this.wish);
    this.#next();
  }

  /** The reader asks for results: the model is loaded if it must be, and what failed is tried again. */
  go() {
    this.#failed = null;
    if (!this.#worker) this.#hire();
    const at = this.#weights.get(this.wish.model.name)?.at;
    if (this.#worker && (!at || at === "failed")) this.#load(at === "failed");
    this.#next();
  }

  end() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#weights.clear();
    this.#run = null;
  }

  #hire() {
    const mine = (/** @type {(event: any) => void} */ act) => (/** @type {Event} */ event) => {
      if (worker === this.#worker) act(event);
    };
    /** @type {Worker | null} */
    let worker = null;
    try {
      worker = this.means.hire();
      worker.addEventListener(
        "message",
        mine(({ data }) => this.#hear(data)),
      );
      worker.addEventListener(
        "error",
        mine(({ message }) => this.#lose(message)),
      );
    } catch (error) {
      this.#lost = String(error);
    }
    this.#worker = worker;
  }

  /** The worker died, with all that it held. @param {string} why */
  #lose(why) {
    this.end();
    this.#lost = why;
    this.means.changed();
  }

  /** @param {boolean} again */
  async #load(again) {
    const { name, bytes, sums } = this.wish.model;
    /** @type {Stage & { load: number }} */
    const weights = { at: "loading", share: 0, load: ++this.#count };
    this.#weights.set(name, weights);
    let number = 0;
    try {
      for await (const part of this.means.parts(this.wish.model, again)) {
        if (this.#weights.get(name) !== weights || weights.at !== "loading") return;
        const place = { number, of: sums.length, at: number * this.means.size, bytes, sum: sums[number] };
        this.#worker?.postMessage({ kind: "part", name, load: weights.load, part, ...place });
        weights.share = ++number / sums.length;
        this.means.changed();
      }
    } catch (error) {
      this.#hear({
        kind: "failed",
        doing: "part",
        name,
        load: weights.load,
        why: /** @type {Error} */ (error).message,
      });
    }
  }

  /** @param {any} data what the worker says: of an attempt or a question that is over, nothing is taken */
  #hear(data) {
    const { kind, doing, name, number, why } = data;
    const weights = this.#weights.get(name);
    const coming = weights?.load === data.load && weights?.at === "loading" ? weights : null;
    const run = this.#run?.number === number ? this.#run : null;
    if (doing === "start") return this.#lose(why);
    if (kind === "started") this.#started = true;
    else if (kind === "ready" && coming) coming.at = "ready";
    else if (doing === "part" && coming) Object.assign(coming, { at: "failed", why });
    else if ((kind === "result" || doing === "run") && run) {
      this.#run = null;
      if (doing) this.#failed = { key: run.key, why };
      else if (run.key === this.#asked.key) this.shown = { ...data, ...run };
    }
    this.#next();
  }

  /** Asks what is to be asked, one question at a time. */
  #next() {
    const { at, busy } = this.stage;
    if (!this.#run && (at === "reading" || busy)) {
      const { key, ...asked } = this.#asked;
      this.#run = { number: ++this.#count, wish: this.wish, key };
      this.#worker?.postMessage({ kind: "run", number: this.#run.number, ...asked });
    }
    this.means.changed();
  }
}
