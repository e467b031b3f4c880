// A quiz, one question at a time: each is answered as a prediction is made, and then every answer has its reason.
import { guessing, keep, kept } from "./guessing.js";
import { aloud, announcer, begin, controls, make, row, unseen, words } from "./kit.js";

/**
 * @typedef {{ text: string, right: boolean, because: string }} Answer
 * @typedef {{ question: string, answers: Answer[] }} Question
 */

/**
 * One question; `changed` is called when its answer does.
 * @param {Question} asked @param {string} key @param {string} name
 * @param {boolean} page @param {() => void} changed
 */
function ask({ question, answers }, key, name, page, changed) {
  const right = answers.findIndex((answer) => answer.right);
  /** @param {unknown} state */
  const placeOf = (state) => answers.findIndex(({ text }) => text === state);
  /** @param {number} i @returns {(Node | string)[]} */
  const reason = (i) => [
    make("b", {}, answers[i].right ? "Right. " : "Not this one. "),
    ...words(answers[i].because),
    ...(answers[i].right ? [] : [unseen(` The right one is: ${answers[right].text}`)]),
  ];
  const before = page ? kept(key) : undefined;
  let now = before === null || placeOf(before) >= 0 ? before : undefined;
  const act = guessing({
    name: "Your answer",
    start: now,
    field: (state, set) => {
      const settled = state !== undefined;
      /** @param {number} i */
      const onPick = (i) => {
        if (!settled) return set(answers[i].text);
        mark(i);
        act.said.say(...reason(i));
      };
      const contents = answers.map(({ text }) => [
        make("span", { class: "ex-verdict", "aria-hidden": "true" }),
        make("span", {}, unseen(""), ...words(text)),
      ]);
      const picked = state === null ? right : placeOf(state);
      const { element, buttons } = row("Answers", contents, { picked, onPick });
      /** @param {number} i */
      const mark = (i) => {
        const [verdict, text] = buttons[i].children;
        verdict.textContent = answers[i].right ? "\u2713" : "\u2717";
        buttons[i].dataset.right = String(answers[i].right);
        /** @type {Element} */ (text.firstElementChild).textContent = answers[i].right ? "Right: " : "Not this one: ";
      };
      element.classList.add("ex-answers");
      if (settled) for (const i of new Set([picked, right])) mark(i);
      return element;
    },
    says: (state) => (state === undefined ? ["\u00a0"] : reason(state === null ? right : placeOf(state))),
    waits: "Not kept yet. Commit it, and its reason is told.",
    settled: (state) => {
      now = state;
      if (page) keep(key, state);
      changed();
    },
    open: true, // each answer tells its reason then
  });
  const asked = make("p", { class: "ex-question" }, ...words(question));
  const parts = [asked, act.place, act.buttons, act.said.element];
  const element = make("div", { role: "group", "aria-label": name }, ...parts);
  return { element, asked, solved: () => placeOf(now) === right };
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Question[]} */
  const questions = model.get("questions");
  const page = el.closest(".course-explorable") !== null;
  const score = announcer();
  const tell = () =>
    score.say(`${blocks.filter((block) => block.solved()).length} of ${questions.length} answered rightly.`);
  /** @param {number} number */
  const placeOf = (number) => `Question ${number + 1} of ${questions.length}`;
  const blocks = questions.map((question, number) =>
    ask(question, `${model.get("chapter")}.quiz.${number + 1}`, placeOf(number), page, () => tell()),
  );

  let at = 0;
  const place = announcer(make("span", { class: "ex-value" }));
  /** Shows the question that stands so many places further. @param {number} by */
  const go = (by) => {
    at = Math.min(Math.max(at + by, 0), blocks.length - 1);
    for (const [number, block] of blocks.entries()) block.element.toggleAttribute("data-away", number !== at);
    back.setAttribute("aria-disabled", String(at === 0));
    next.setAttribute("aria-disabled", String(at === blocks.length - 1));
    place.say(placeOf(at));
    aloud(blocks[at].asked);
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
  const all = make("div", { class: "ex-quiz" }, ...blocks.map((block) => block.element));
  begin(el, turn, all, score.element);
}

export default { render };
