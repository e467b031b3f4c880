// What the figures share. The host puts this text before a figure's own, in place of its import.

/**
 * @typedef {object} Model anywidget's: values by name, and events "change:NAME"
 * @property {(key: string) => any} get
 * @property {(key: string, value: any) => void} set
 * @property {(event: string, listener: () => void) => void} on
 * @property {(event: string, listener: () => void) => void} off
 * @property {() => void} save_changes
 */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Attributes */
/** @typedef {{ bits: 8 | 16, low: number, high: number, shape: number[], data: string }} Packed */

/** What a head is, and its mark and colour wherever heads are shown. @type {Record<string, string[]>} */
export const ROLES = {
  induction: ["induction head", "\u21b7", "orange"],
  previous: ["previous-token head", "\u2190", "green"],
  "": ["", "", "blue"],
};
const SVG = "http://www.w3.org/2000/svg";
const QUIET = 500; // milliseconds without a change, after which words are read aloud
/** In a figure's live region: what has changed and waits to be read. @type {WeakMap<Element, Set<HTMLElement>>} */
const waiting = new WeakMap();

/**
 * @param {Element} element
 * @param {Attributes} attributes true stands for an empty value; null, undefined and false leave it out
 * @param {(Node | string)[]} children strings become text, never markup
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * An HTML element with attributes and children.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  return /** @type {any} */ (fill(document.createElement(tag), attributes, children));
}

/**
 * An SVG element with attributes and children.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function draw(tag, attributes = {}, ...children) {
  return /** @type {any} */ (fill(document.createElementNS(SVG, tag), attributes, children));
}

/** @param {string} text */
export const code = (text) => make("code", {}, text);

/** Text in which `backticks` mark code. @param {string} text */
export const words = (text) => text.split("`").map((part, i) => (i % 2 ? code(part) : part));

/** Words for those who hear the page. @param {string} text */
export const unseen = (text) => make("span", { class: "ex-hidden" }, text);

/** @param {number} share */
export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/** A number with its sign and a true minus. @param {number} x @param {number} [digits] */
export function signed(x, digits = 2) {
  const size = Math.abs(x).toFixed(digits);
  return (Number(size) === 0 ? "" : x < 0 ? "\u2212" : "+") + size;
}

/** The numbers that Python packed, in one row. @param {Packed} packed */
export function unpack({ bits, low, high, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  // Twenty times as fast as `from`.
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const steps = bits === 8 ? bytes : new Uint16Array(bytes.buffer);
  const values = new Float32Array(steps.length);
  for (let i = 0; i < values.length; i++) values[i] = low + ((high - low) * steps[i]) / (2 ** bits - 1);
  return values;
}

/**
 * The element in which a figure is drawn, with its children: on a page `el` itself, in a widget one that has its style.
 * Keys do not leave it: a page may turn on arrow keys, and JupyterLab takes most keys for itself.
 * @param {HTMLElement} el
 * @param {...Node} children
 */
export function begin(el, ...children) {
  let frame = el;
  if (!el.closest(".course-explorable")) {
    frame = make("div", { class: "ex-figure" });
    el.replaceChildren(make("div", { class: "course-explorable", "data-explorable": "widget" }, frame));
  }
  frame.replaceChildren(...children);
  frame.addEventListener("keydown", (event) => {
    if (!event.altKey && !event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
  // The one place of a figure that is read aloud. It comes later: what stands there from the start is no news.
  setTimeout(() => frame.append(make("div", { class: "ex-hidden", "aria-live": "polite", "aria-atomic": "true" })));
  return frame;
}

/** Has what an element says read aloud, with all else that changes meanwhile. @param {HTMLElement} element */
export function aloud(element) {
  const live = /** @type {HTMLElement | null | undefined} */ (
    element.closest(".ex-figure")?.querySelector(":scope > [aria-live]")
  );
  if (!live) return;
  const changed = (waiting.get(live) || new Set()).add(element);
  waiting.set(live, changed);
  clearTimeout(Number(live.dataset.timer));
  const read = () => {
    live.replaceChildren(...[...changed].map((each) => make("p", {}, each.innerText)));
    changed.clear();
  };
  live.dataset.timer = String(window.setTimeout(read, QUIET));
}

/** A place for words that are read aloud when they change. @param {HTMLElement} [element] */
export function announcer(element = make("p", { class: "ex-said" })) {
  /** @param {...(Node | string)} words */
  const say = (...words) => {
    element.replaceChildren(...words);
    aloud(element);
  };
  return { element, say };
}

/** @param {string} name @param {...Node} children */
export const controls = (name, ...children) =>
  make("div", { class: "ex-controls", role: "group", "aria-label": name }, ...children);

/**
 * A labelled list to choose from.
 * @param {string} name
 * @param {[value: string, shown: string][]} options
 * @param {string} value
 * @param {(value: string) => void} onChange
 */
export function choice(name, options, value, onChange) {
  const select = make("select", {}, ...options.map(([key, shown]) => make("option", { value: key }, shown)));
  select.value = value;
  select.addEventListener("change", () => onChange(select.value));
  return make("label", {}, name, select);
}

/**
 * A button that is on or off.
 * @param {string} name
 * @param {boolean} on
 * @param {(on: boolean) => void} onChange
 */
export function toggle(name, on, onChange) {
  const button = make("button", { type: "button", "aria-pressed": String(on) }, name);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    onChange(now);
  });
  return button;
}

/**
 * A labelled slider; `say` puts its value into words, which also stand beside it.
 * @param {string} name
 * @param {{ min: number, max: number, step: number, value: number, say?: (value: number) => string }} range
 * @param {(value: number) => void} onChange
 */
export function slider(name, { min, max, step, value, say = String }, onChange) {
  const input = make("input", { type: "range", min, max, step, value });
  const words = make("span", { class: "ex-value", "aria-hidden": "true" });
  const tell = () => {
    words.textContent = say(Number(input.value));
    input.setAttribute("aria-valuetext", words.textContent);
  };
  input.addEventListener("input", () => {
    tell();
    onChange(Number(input.value));
  });
  tell();
  return make("label", { class: "ex-wide" }, name, input, words);
}

/** What sets one of the model's values. @param {Model} model */
export const setter = (model) => (/** @type {string} */ name, /** @type {string | number | null} */ value) => {
  model.set(name, value);
  model.save_changes();
};

/**
 * Draws now, when one of the model's values changes, and, by `repaint`, when the page's colours do. Gives the function
 * that ends it.
 * @param {{ on: (name: string, heard: () => void) => void, off: (name: string, heard: () => void) => void }} model
 * @param {string[]} names of values
 * @param {() => void} update
 * @param {() => void} repaint
 */
export function keepDrawn(model, names, update, repaint) {
  const theme = new MutationObserver(repaint);
  for (const part of [document.documentElement, document.body])
    theme.observe(part, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
  for (const name of names) model.on(`change:${name}`, update);
  update();
  return () => {
    theme.disconnect();
    for (const name of names) model.off(`change:${name}`, update);
  };
}

/**
 * Buttons in a row, one stop for the Tab key: arrow keys, Home and End move within. One of them is picked, or none: -1.
 * In a table of so many `columns` the upper and the lower arrow move by a line.
 * `onShow` hears of the button under pointer or focus and, when both have left, of the picked one;
 * `onPick` of a click, Enter or Space.
 * @param {string} name
 * @param {(Node | string)[][]} contents what stands on each button
 * @param {{ picked?: number, columns?: number, onShow?: (i: number) => void, onPick?: (i: number) => void }} [settings]
 */
export function row(name, contents, { picked = 0, columns = 1, onShow = () => {}, onPick = () => {} } = {}) {
  const buttons = contents.map((content) => make("button", { type: "button" }, ...content));
  const element = make("div", { class: "ex-row", role: "group", "aria-label": name }, ...buttons);
  /** @param {number} i */
  const pick = (i) => {
    picked = i;
    for (const [j, button] of buttons.entries()) button.setAttribute("aria-pressed", String(j === i));
    stop();
  };
  /** The Tab key stops at the button in focus, else at the picked one. */
  const stop = () => {
    const focused = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const at = focused < 0 ? Math.max(picked, 0) : focused;
    for (const [j, button] of buttons.entries()) button.tabIndex = j === at ? 0 : -1;
  };
  /** @param {Event} event */
  const at = ({ target }) => buttons.findIndex((button) => button.contains(/** @type {Node} */ (target)));
  element.addEventListener("pointerover", (event) => at(event) >= 0 && onShow(at(event)));
  element.addEventListener("pointerleave", () => onShow(picked));
  element.addEventListener("focusin", (event) => {
    stop();
    if (at(event) >= 0) onShow(at(event));
  });
  element.addEventListener("focusout", () => {
    setTimeout(stop); // when the focus has arrived where it goes
    onShow(picked);
  });
  element.addEventListener("click", (event) => {
    const i = at(event);
    if (i < 0) return;
    pick(i);
    onPick(i);
    onShow(i);
  });
  element.addEventListener("keydown", (event) => {
    const [i, last] = [at(event), buttons.length - 1];
    /** @type {Record<string, number>} */
    const to = {
      ArrowLeft: i - 1,
      ArrowUp: i - columns,
      ArrowRight: i + 1,
      ArrowDown: i + columns,
      Home: 0,
      End: last,
    };
    if (i < 0 || !(event.key in to)) return;
    event.preventDefault();
    buttons[to[event.key]]?.focus();
  });
  pick(picked);
  return { element, buttons, pick };
}
