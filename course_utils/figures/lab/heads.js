// The heads of a model: what they are called, their patterns in small, their switches, and the path that can be cut.
import { choice, controls, make, percent, toggle, unseen } from "../kit.js";
import { headsOf } from "./wish.js";

/** @typedef {import("./session.js").Shown} Shown */
/** @type {Record<string, [name: string, mark: string, colour: string]>} */
const KINDS = {
  induction: ["induction head", "\u21b7", "orange"],
  previous: ["previous-token head", "\u2190", "green"],
  "": ["", "", "blue"],
};

/** @param {import("./wish.js").About} model @param {string} head */
export const kindOf = ({ kinds }, head) => KINDS[kinds[head] || ""];
/** As the chapters call it. @param {import("./wish.js").About} model @param {string} head */
export const called = ({ layers }, head) => (layers > 1 ? head : head.slice(2));

/** A run's numbers: with the reader's switches, if there are any. @param {Shown} shown */
export const latest = ({ changed, whole }) => changed || whole;

/** A head's pattern, [query, key] in one row. @param {Shown} shown @param {string} head @param {{ pattern: Float32Array }} [run] */
export function patternOf(shown, head, run = latest(shown)) {
  const size = shown.tokens.length ** 2;
  const place = headsOf(shown.wish.model).indexOf(head);
  return run.pattern.subarray(place * size, (place + 1) * size);
}

/** How much of a head's attention went elsewhere, mean over the queries. @param {Shown} shown @param {string} head */
function moved(shown, head) {
  if (!shown.changed) return 0;
  const [before, after] = [patternOf(shown, head, shown.whole), patternOf(shown, head)];
  return before.reduce((sum, share, i) => sum + Math.abs(share - after[i]), 0) / 2 / shown.tokens.length;
}

/** One pixel for a query and a key. @param {HTMLCanvasElement} on @param {Shown} shown @param {string} head @param {number} power */
export function paint(on, shown, head, power) {
  const n = shown.tokens.length;
  const hex = getComputedStyle(on).getPropertyValue(`--ex-${kindOf(shown.wish.model, head)[2]}`);
  const colour = (hex.match(/[\da-f]{2}/gi) || []).map((part) => Number.parseInt(part, 16));
  on.width = on.height = n;
  const [image, shares] = [new ImageData(n, n), patternOf(shown, head)];
  for (let i = 0; i < shares.length; i++) {
    image.data.set(colour, 4 * i);
    image.data[4 * i + 3] = Math.round(255 * shares[i] ** power);
  }
  on.getContext("2d")?.putImageData(image, 0, 0);
}

/** Arrow keys, Home and End move within buttons that are one stop for Tab. @param {HTMLElement[]} buttons */
function rove(buttons) {
  const stop = (/** @type {HTMLElement} */ button) => {
    for (const each of buttons) each.tabIndex = each === button ? 0 : -1;
  };
  for (const [i, button] of buttons.entries()) {
    button.addEventListener("focus", () => stop(button));
    button.addEventListener("keydown", (event) => {
      const last = buttons.length - 1;
      /** @type {Record<string, number>} */
      const to = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: last };
      if (!(event.key in to)) return;
      event.preventDefault();
      buttons[Math.min(Math.max(to[event.key], 0), last)].focus();
    });
  }
  stop(buttons[0]);
}

/**
 * @param {import("./session.js").Session} session
 * @param {(change: Partial<import("./wish.js").Wish>) => void} choose the reader has used a switch
 * @param {(head: string) => void} enlarge
 */
export function headsView(session, choose, enlarge) {
  const galleries = make("div");
  const paths = controls("A path");
  paths.classList.add("lab-paths");
  /** @type {Map<string, { picture: HTMLCanvasElement, look: HTMLElement, flip: HTMLElement, note: HTMLElement }>} */
  const cells = new Map();
  let furnished = "";

  /** @param {import("./wish.js").About} model @param {string} head */
  function cell(model, head) {
    const [what, mark, colour] = kindOf(model, head);
    const name = called(model, head);
    const picture = make("canvas", { "aria-hidden": "true", width: 1, height: 1 });
    const look = make("button", { type: "button", class: "lab-look", "aria-label": `Enlarge ${name}` }, picture);
    look.addEventListener("click", () => enlarge(head));
    const note = make("small");
    const flip = make(
      "button",
      { type: "button", class: "lab-switch", role: "switch" },
      unseen("Head "),
      make("b", {}, name),
      make("i", { "aria-hidden": "true" }, mark),
      unseen(what && ` ${what}`),
      note,
    );
    flip.addEventListener("click", () => {
      const off = new Set(session.wish.off);
      if (!off.delete(head)) off.add(head);
      choose({ off });
    });
    cells.set(head, { picture, look, flip, note });
    const element = make("div", { class: "lab-head" }, look, flip);
    element.style.setProperty("--tint", `var(--ex-${colour})`);
    return element;
  }

  /** A layer's heads: a picture each, which enlarges it, and a switch. @param {import("./wish.js").About} model @param {number} layer */
  function gallery(model, layer) {
    const heads = headsOf(model, layer, layer + 1);
    const elements = heads.map((head) => cell(model, head));
    for (const part of /** @type {const} */ (["look", "flip"])) {
      rove(heads.map((head) => /** @type {HTMLElement} */ (cells.get(head)?.[part])));
    }
    const words = model.layers > 1 ? `Layer ${layer}` : "Heads";
    const hint = make("span", {}, "picture: enlarge \u2003 name: switch off or on \u2003 ~ attention that moved");
    return make(
      "div",
      { class: "lab-layer", role: "group", "aria-label": words },
      make("p", { class: "lab-axis" }, make("b", {}, words), layer ? "" : hint),
      make("div", { class: "lab-heads" }, ...elements),
    );
  }

  /** @param {import("./wish.js").About} model */
  function furnish(model) {
    furnished = model.name;
    cells.clear();
    galleries.replaceChildren(...Array.from({ length: model.layers }, (_, layer) => gallery(model, layer)));
    paths.hidden = model.layers < 2;
    const { wish } = session;
    const list = (/** @type {string} */ words, /** @type {"from" | "to"} */ end, /** @type {string[]} */ heads) =>
      choice(
        words,
        heads.map((head) => [head, `${head} ${kindOf(model, head)[1]}`]),
        wish[end],
        (head) => choose({ [end]: head }),
      );
    const lists = [list("From head", "from", headsOf(model, 0, 1)), list("to the keys of", "to", headsOf(model, 1))];
    paths.replaceChildren(
      ...lists,
      toggle("Cut this path", wish.cut, (cut) => choose({ cut })),
    );
  }

  return {
    elements: [galleries, paths],
    /** What the reader has chosen. */
    choices() {
      const { model, off, from, to, cut } = session.wish;
      if (furnished !== model.name) return;
      for (const [head, { flip }] of cells) flip.setAttribute("aria-checked", String(!off.has(head)));
      for (const [i, list] of paths.querySelectorAll("select").entries()) list.value = [from, to][i];
      paths.lastElementChild?.setAttribute("aria-pressed", String(cut));
    },
    /** @param {Shown} shown */
    show(shown) {
      if (furnished !== shown.wish.model.name) furnish(shown.wish.model);
      for (const [head, { picture, flip, note }] of cells) {
        paint(picture, shown, head, 0.6); // so small, pale would be unseen
        const [share, off] = [moved(shown, head), shown.wish.off.has(head)];
        note.textContent = off ? " off" : share >= 0.01 ? ` ~${percent(share)}` : "";
        flip.parentElement?.classList.toggle("lab-off", off);
      }
    },
    /** @param {string} head the one that is enlarged */
    mark(head) {
      for (const [name, { look }] of cells) look.setAttribute("aria-pressed", String(name === head));
    },
  };
}
