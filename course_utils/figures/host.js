// Starts the figure in whose output this script stands, as soon as the page reaches it.
// The host puts the figure's module before this text, in place of the import.
import { render } from "./quiz.js";

/** @typedef {HTMLElement & { started?: boolean }} Root */
/** @type {Root | null | undefined} */
const here = document.currentScript?.closest("[data-explorable]");
const root =
  here ||
  [.../** @type {NodeListOf<Root>} */ (document.querySelectorAll('[data-figure="FIGURE"]'))].find(
    (other) => !other.started,
  );
if (root && !root.started) {
  root.started = true;
  const name = root.dataset.explorable;
  const place = [...document.querySelectorAll(`[data-explorable="${name}"]`)].indexOf(root);
  root.id = `${name}${place > 0 ? `-${place + 1}` : ""}`;

  const data = root.querySelector('script[type="application/json"]')?.textContent || "";
  /** Ends the figure that is there. @type {unknown} */
  let end;
  const run = () => {
    if (typeof end === "function") end();
    const values = JSON.parse(data);
    const target = new EventTarget();
    const model = {
      get: (/** @type {string} */ key) => values[key],
      set: (/** @type {string} */ key, /** @type {unknown} */ value) => {
        values[key] = value;
        target.dispatchEvent(new Event(`change:${key}`));
      },
      on: target.addEventListener.bind(target),
      off: target.removeEventListener.bind(target),
      save_changes: () => {},
    };
    const el = document.createElement("div");
    el.className = "ex-figure";
    // The one before; and in a page that a browser saved, the figure was saved too.
    for (const old of root.querySelectorAll(":scope > .ex-figure")) old.remove();
    const frame = root.querySelector(":scope > .ex-frame");
    if (frame) frame.after(el);
    else root.prepend(el);
    root.dataset.state = "ready"; // the style hides the plain version
    try {
      end = render({ model, el });
    } catch (error) {
      el.remove();
      delete root.dataset.state; // the plain version shows again
      console.error(error);
    }
  };
  run();
  /** @type {HTMLButtonElement | null} */
  const reset = root.querySelector(":scope > .ex-frame > button");
  if (reset) {
    reset.hidden = root.dataset.state !== "ready";
    reset.addEventListener("click", run);
  }
}
