// The act of guessing, of a prediction as of a quiz's question: choose, commit, or ask to be shown. A guess is kept on
// the reader's machine, and nowhere else.
import { announcer, controls, make } from "./kit.js";

/** @typedef {any} State what was guessed; undefined: nothing yet; null: the reader asked to be shown */

const STORE = "course-predict";

/** What a page has kept. @param {string} key @returns {State} */
export function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(`${STORE}:${key}`) || "") ?? null;
  } catch {
    return undefined;
  }
}

/** @param {string} key @param {State} state */
export function keep(key, state) {
  try {
    if (state === undefined) localStorage.removeItem(`${STORE}:${key}`);
    else localStorage.setItem(`${STORE}:${key}`, JSON.stringify(state));
  } catch {
    // a browser that keeps nothing: the page still answers
  }
}

/** @param {string} name @param {() => void} act */
export function button(name, act) {
  const element = make("button", { type: "button" }, name);
  element.addEventListener("click", act);
  return element;
}

/**
 * A place in which to guess, its buttons, and what is said of it; `paint` shows another state.
 * `field` makes what is set, and when it is settled shows it: then it is inert, unless it stays `open`.
 * `settled` hears of each state that the reader brings about. `next`: where the reader goes on from there.
 * @param {object} act
 * @param {string} act.name
 * @param {State} act.start
 * @param {(state: State, set: (value: any) => void) => Node} act.field
 * @param {(state: State) => (Node | string)[]} act.says
 * @param {string} act.waits said of a guess that is not committed yet
 * @param {(state: State) => void} act.settled
 * @param {HTMLButtonElement | null} [act.next]
 * @param {boolean} [act.open]
 */
export function guessing({ name, start, field, says, waits, settled, next = null, open = false }) {
  /** @type {State} */
  let guess = null;
  const said = announcer();
  const place = make("div", { class: "ex-field" });
  /** @param {State} state */
  const settle = (state) => {
    paint(state);
    settled(state);
    // The button that was pressed is gone: the focus goes to what comes next.
    /** @type {HTMLElement | null} */
    const first = place.querySelector("[tabindex='0'], input");
    (state === undefined ? first : next || again)?.focus();
  };
  const commit = button("Commit", () => guess !== null && settle(guess));
  const show = button("Show me", () => settle(null));
  const again = button("Start over", () => settle(undefined));
  /** @param {any} value */
  const set = (value) => {
    guess = value;
    commit.setAttribute("aria-disabled", "false");
    said.say(waits);
  };
  /** @param {State} state */
  const paint = (state) => {
    const done = state !== undefined;
    guess = state ?? null;
    place.replaceChildren(field(state, set));
    place.inert = done && !open;
    commit.setAttribute("aria-disabled", String(guess === null));
    for (const each of [commit, show]) each.hidden = done;
    for (const each of [again, next]) each?.toggleAttribute("hidden", !done);
    said.say(...says(state));
  };
  paint(start);
  const buttons = controls(name, commit, show, ...(next ? [next] : []), again);
  return { place, buttons, said, paint };
}
