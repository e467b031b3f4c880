// A figure that goes on by itself.
import { make } from "./kit.js";

/**
 * A button by which a figure goes on by itself, place by place, to the last; there it begins anew. `keys` hears the
 * arrow keys, which move by hand, but in what answers them itself.
 * @param {{ at: () => number, last: () => number, go: (i: number) => void, pace: () => number }} moves pace: in ms
 */
export function player({ at, last, go, pace }) {
  let timer = 0;
  const button = make("button", { type: "button" }, "Play");
  /** @param {number} i */
  const move = (i) => {
    if (i >= 0 && i <= last() && i !== at()) go(i);
  };
  const pause = () => {
    clearTimeout(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const wait = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (!button.isConnected) return;
      move(at() + 1);
      if (at() === last()) pause();
      else wait();
    }, pace());
  };
  /** @param {number} i */
  const byHand = (i) => {
    pause();
    move(i);
  };
  /** @param {KeyboardEvent} event */
  const keys = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const own = /** @type {Element} */ (event.target).matches("select, input");
    if (!by || own || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey)
      return;
    byHand(at() + by);
    event.preventDefault();
  };
  button.addEventListener("click", () => {
    if (timer) return pause();
    if (!last()) return;
    button.textContent = "Pause";
    wait();
    if (at() === last()) go(0);
  });
  return { button, pause, byHand, keys, hurry: () => timer && wait(), playing: () => timer > 0 };
}
