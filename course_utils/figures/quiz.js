// A quiz, one question at a time: each answer gets its reason at once. Nothing is stored or sent.
import { aloud, announcer, begin, controls, make, unseen, words } from "./kit.js";

/**
 * @typedef {{ text: string, right: boolean, because: string }} Answer
 * @typedef {{ question: string, answers: Answer[] }} Question
 */

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Question[]} */
  const questions = model.get("questions");
  const solved = new Set();
  const score = announcer();
  const tell = () => score.say(`${solved.size} of ${questions.length} answered rightly.`);
  /** @param {number} number */
  const placeOf = (number) => `Question ${number + 1} of ${questions.length}`;

  const blocks = questions.map(({ question, answers }, number) => {
    const reason = announcer();
    reason.say("\u00a0");
    const buttons = answers.map((answer) => {
      const mark = make("span", { class: "ex-verdict", "aria-hidden": "true" });
      const verdict = unseen("");
      const button = make(
        "button",
        { type: "button", "aria-pressed": "false" },
        mark,
        make("span", {}, verdict, ...words(answer.text)),
      );
      button.addEventListener("click", () => {
        mark.textContent = answer.right ? "\u2713" : "\u2717";
        button.dataset.right = String(answer.right);
        button.setAttribute("aria-pressed", "true");
        verdict.textContent = answer.right ? "Right: " : "Not this one: ";
        reason.say(make("b", {}, answer.right ? "Right. " : "Not this one. "), ...words(answer.because));
        if (answer.right) solved.add(number);
        tell();
      });
      return make("li", {}, button);
    });
    return make(
      "div",
      { role: "group", "aria-label": placeOf(number) },
      make("p", { class: "ex-question" }, ...words(question)),
      make("ul", { class: "ex-answers", role: "list" }, ...buttons),
      reason.element,
    );
  });

  let at = 0;
  const place = announcer(make("span", { class: "ex-value" }));
  /** Shows the question that stands so many places further. @param {number} by */
  const go = (by) => {
    at = Math.min(Math.max(at + by, 0), blocks.length - 1);
    for (const [number, block] of blocks.entries()) block.toggleAttribute("data-away", number !== at);
    back.setAttribute("aria-disabled", String(at === 0));
    next.setAttribute("aria-disabled", String(at === blocks.length - 1));
    place.say(placeOf(at));
    aloud(/** @type {HTMLElement} */ (blocks[at].firstElementChild));
  };
  /** @param {string} name @param {number} by */
  const mover = (name, by) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => go(by));
    return button;
  };
  const [back, next] = [mover("Back", -1), mover("Next", 1)];
  go(0);
  tell();
  const turn = controls("Questions", back, place.element, next);
  begin(el, make("div", { class: "ex-quiz" }, ...blocks), turn, score.element);
}

export default { render };
