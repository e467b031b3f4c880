// The opening: guess the next word of a line that repeats; the model answers, with and without one of its heads.
import { announcer, begin, code, draw, make, percent, row, toggle } from "./kit.js";

/**
 * @typedef {object} Step
 * @property {string[]} offered
 * @property {number} right
 * @property {[number[], number[]]} shares with all heads, and without the previous-token head
 * @property {[number, number]} look
 * @property {number} back
 */

const INVITES = "Choose; then the model does. The arcs are still those of the word found last.";

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {string[]} */
  const words = model.get("words");
  /** @type {Step[]} */
  const steps = model.get("steps");
  const [previous, induction] = model.get("heads");
  const [mean, without] = model.get("mean");
  // It opens with the first word found: both arcs are seen before anything is touched.
  let [at, guess, off] = [1, -1, 0];

  const boxes = [...words, ...words].map((word) => make("li", {}, code(word)));
  const svg = draw("svg", { "aria-hidden": "true" });
  const line = make("div", { class: "ex-line" }, make("ol", { role: "list" }, ...boxes), svg);
  const question = make("p", { class: "ex-question" });
  const place = make("div", { class: "ex-offered" });
  const said = announcer();
  const next = make("button", { type: "button" }, "Next word");
  const cut = toggle(`Take out the previous-token head ${previous}`, false, (on) => {
    off = Number(on);
    paint();
    tell();
  });
  next.addEventListener("click", () => {
    if (guess < 0) return;
    at = (at + 1) % steps.length;
    guess = -1;
    offer();
    paint();
    said.say(INVITES);
    /** @type {HTMLElement | null} */ (place.querySelector("[tabindex='0']"))?.focus();
  });

  /** The buttons of a step; each has a bar for the model's share. @type {HTMLButtonElement[]} */
  let buttons = [];
  const offer = () => {
    const { offered, right } = steps[at];
    const contents = offered.map((word) => [
      code(word),
      make("span", { class: "ex-bar" }),
      make("span", { class: "ex-share" }),
    ]);
    const made = row("What comes next?", contents, {
      picked: -1,
      onPick: (i) => {
        guess = i;
        made.buttons[right].dataset.right = "true";
        paint();
        tell();
      },
    });
    buttons = made.buttons;
    place.replaceChildren(made.element);
  };

  const tell = () => {
    if (guess < 0) return;
    const { offered, right, shares, look } = steps[at];
    const share = shares[off];
    const most = share.indexOf(Math.max(...share));
    said.say(
      guess === right ? "\u2713 Right. " : "\u2717 Not this one. ",
      "The model says ",
      code(offered[most]),
      ` (${percent(share[most])})`,
      most === right ? ". " : ", which is wrong. ",
      off
        ? `Without head ${previous} its share for the right word is ${percent(share[right])}: ` +
            `${induction} finds nothing to copy.`
        : `Head ${previous} has put into each place which word stood before it; ` +
            `${induction} looks for this one (${percent(look[0])}), and copies.`,
    );
  };

  /**
   * From the middle of one box to that of another: over them, or across to another line.
   * @param {number} from @param {number} to @param {string} name @param {number} weight
   */
  const arc = (from, to, name, weight) => {
    const [a, b] = [boxes[from], boxes[to]];
    const [x0, x1] = [a, b].map((box) => box.offsetLeft + box.offsetWidth / 2);
    const up = a.offsetTop === b.offsetTop ? Math.min(46, 14 + Math.abs(x1 - x0) / 6) : 0;
    const [y0, y1] = [a.offsetTop, up ? b.offsetTop : b.offsetTop + b.offsetHeight];
    const d = up ? `M${x0} ${y0}C${x0} ${y0 - up} ${x1} ${y1 - up} ${x1} ${y1}` : `M${x0} ${y0}L${x1} ${y1}`;
    svg.append(
      draw("path", { class: name, d, "stroke-width": 1 + 4 * weight }),
      draw("path", {
        class: `${name} ex-tip`,
        d: `M${x1 - 5} ${y1 + (up ? -8 : 8)}L${x1} ${y1}L${x1 + 5} ${y1 + (up ? -8 : 8)}`,
      }),
    );
  };

  const paint = () => {
    const { right, shares } = steps[at];
    const n = words.length;
    const answered = guess >= 0;
    for (const [i, box] of boxes.entries()) {
      box.dataset.state = i === n + at ? "now" : i > n + at && !(answered && i === n + at + 1) ? "hidden" : "";
      box.setAttribute("aria-hidden", String(box.dataset.state === "hidden"));
    }
    question.replaceChildren("After ", code(words[at]), ", what comes next?");
    for (const [i, button] of buttons.entries()) {
      const share = answered ? shares[off][i] : 0;
      button.style.setProperty("--share", String(share));
      button.querySelector(".ex-share")?.replaceChildren(answered ? percent(share) : "");
      button.toggleAttribute("data-done", answered);
    }
    buttons[right].toggleAttribute("data-right", answered);
    next.setAttribute("aria-disabled", String(!answered));
    svg.replaceChildren();
    const found = answered ? at : at - 1; // what was found last stays
    if (found < 0) return;
    const { look, back } = steps[found];
    if (!off) arc(found + 1, found, "ex-previous", back);
    if (look[off] > 0.05) arc(n + found, found + 1, "ex-induction", look[off]);
  };

  const frame = begin(
    el,
    line,
    question,
    place,
    make("div", { class: "ex-acts" }, next, cut),
    said.element,
    make(
      "p",
      { class: "ex-legend" },
      make("span", { class: "ex-induction" }, `induction head ${induction}`),
      " \u00b7 ",
      make("span", { class: "ex-previous" }, `previous-token head ${previous}`),
    ),
    make(
      "p",
      { class: "ex-legend" },
      `Shares are of the four words. This line is a clear one; over ${model.get("lines")} lines ` +
        `the right word gets ${percent(mean)}; without ${previous}: ${percent(without)}; by chance: 25\u00a0%.`,
    ),
  );
  offer();
  said.say(INVITES);
  paint();
  const resized = new ResizeObserver(paint);
  resized.observe(frame);
  return () => resized.disconnect();
}

export default { render };
