// A quiz: each answer gets its reason at once. Nothing is stored or sent.
import { announcer, begin, make, unseen, words } from "./kit.js";

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
      "li",
      {},
      make("p", { class: "ex-question" }, ...words(question)),
      make("ul", { class: "ex-answers", role: "list" }, ...buttons),
      reason.element,
    );
  });
  tell();
  begin(el, make("ol", { class: "ex-quiz" }, ...blocks), score.element);
}

export default { render };
