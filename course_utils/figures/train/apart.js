// What was trained, in the views of the lab: its patterns, what it expects, heads off, a path cut. No weights travel: the
// worker that trained it is asked.
import { make } from "../kit.js";
import { resultsView } from "../lab/results.js";
import { headsOf } from "../lab/wish.js";

export const LETTERS = "\u25b7abcdefghijklmnopqrstuvwxyz"; // of tokens; the first is the start token
const placeOf = (/** @type {string} */ head) => head.split(".").map(Number);
const best = (/** @type {string[]} */ heads, /** @type {Map<string, number>} */ scores) =>
  heads.reduce((one, other) => ((scores.get(other) ?? 0) > (scores.get(one) ?? 0) ? other : one), heads[0]);

/**
 * @param {Record<string, number>} roles a role, and the score from which on a head has it
 * @param {(question: { tokens: number[], off: import("./engine.js").Off, cut: boolean, number: number }) => void} ask
 */
export function apartView(roles, ask) {
  const element = make("div", { class: "lab", hidden: true });
  let number = 0; // of the last question
  /** @type {import("../lab/wish.js").Wish} */
  let wish;
  /** @type {ReturnType<typeof resultsView>} */
  let results;

  /** @param {Partial<import("../lab/wish.js").Wish>} change */
  function choose(change) {
    wish = { ...wish, ...change };
    const { text, off, cut, from, to } = wish;
    const paths = cut ? [[placeOf(from)[1], placeOf(to)[1]]] : [];
    const tokens = [0, ...[...text].map((letter) => LETTERS.indexOf(letter))];
    const heads = [...off].map(placeOf);
    ask({
      tokens,
      off: /** @type {import("./engine.js").Off} */ ({ heads, paths }),
      cut: heads.length + paths.length > 0,
      number: ++number,
    });
  }

  return {
    element,
    close() {
      element.hidden = true;
      element.replaceChildren();
      number++;
    },
    /**
     * @param {import("./task.js").Settings} settings @param {import("./worker.js").Moment} now
     * @param {number[]} tokens a sequence to begin with
     */
    open({ n_layers: layers, n_heads: heads, n_ctx: context, d_vocab }, now, tokens) {
      const model = {
        ...{ name: `step ${now.step}`, layers, heads, context, longest: context - 1, bytes: 0, sums: [] },
        kinds: /** @type {Record<string, string>} */ ({}),
      };
      const all = headsOf(model);
      const [previous, prefix] = [now.previous, now.prefix].map(
        (list) => new Map(all.map((head, i) => [head, list[i]])),
      );
      for (const head of all) {
        if ((prefix.get(head) ?? 0) >= roles.induction) model.kinds[head] = "induction";
        else if ((previous.get(head) ?? 0) >= roles.previous) model.kinds[head] = "previous";
      }
      const [from, to] = [best(headsOf(model, 0, 1), previous), best(headsOf(model, layers - 1), prefix)];
      const text = tokens
        .slice(1)
        .map((token) => LETTERS[token])
        .join("");
      wish = { model, text, off: new Set(), from, to, cut: false };
      const known = LETTERS.slice(1, d_vocab);
      const area = make("input", { type: "text", value: text, spellcheck: "false", autocomplete: "off" });
      area.addEventListener("input", () => {
        const letters = [...area.value.toLowerCase()].filter((letter) => known.includes(letter));
        area.value = letters.slice(0, context - 1).join("");
        choose({ text: area.value });
      });
      results = resultsView(
        /** @type {any} */ ({
          get wish() {
            return wish;
          },
        }),
        choose,
        to,
      );
      element.replaceChildren(
        make("label", { class: "tr-text" }, `Letters (a to ${known.at(-1)}, ${context - 1} at most)`, area),
        results.element,
      );
      element.hidden = false;
      choose({});
    },
    /**
     * @param {any} answer the worker's
     * @returns whether it answers the last question, and something is cut
     */
    show({ number: its, tokens, whole, changed }) {
      if (its !== number || element.hidden) return false;
      const letters = (/** @type {any} */ run) =>
        run && {
          ...run,
          top: run.top.map((/** @type {[number, number][]} */ next) => next.map(([id, share]) => [LETTERS[id], share])),
        };
      results.show(
        /** @type {any} */ ({
          ...{ wish, ids: tokens, tokens: tokens.map((/** @type {number} */ id) => LETTERS[id]) },
          ...{ whole: letters(whole), changed: letters(changed) },
        }),
      );
      results.choices();
      return changed !== null;
    },
  };
}
