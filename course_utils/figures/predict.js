// A prediction. Without a truth it asks; with one it veils the output that it stands in until the reader has guessed.
// A page keeps the guess on the reader's machine, a running notebook in its kernel.
import { button, guessing, keep, kept } from "./guessing.js";
import { announcer, begin, draw, make, row, slider, unseen, words } from "./kit.js";

/**
 * @typedef {object} Asks
 * @property {string} key
 * @property {string} question
 * @property {"choices" | "number" | "curve" | "cell"} kind
 * @property {string[]} choices
 * @property {[number, number]} span
 * @property {string} unit
 * @property {number} step
 * @property {[string, string]} names
 * @property {[number, number]} x
 * @property {[number, number]} y
 * @property {string[]} rows
 * @property {string[]} columns
 */
/** @typedef {string | number | number[][] | string[]} Value */
/** @typedef {Value | null | undefined} State undefined: nothing yet; null: asked to be shown */

const EVENT = "course-predict"; // { key, state }
const POINTS = 9; // of a drawn curve
// Of cells those that only print, and those that show nothing; what is text; and what its author has veiled too.
const WORDS = ".cell:not(:has(> .cell_input, .cell_output :is(img, table, .course-drawn, [data-figure])))";
const NOTHING = ".cell:not(:has(.cell_output)), .tag_claims";
const TEXT = "p, ul, ol, .math, .pst-scrollable-table-container";
const VEILED = ".tag_veiled, .veiled";
const [WIDE, HIGH, LEFT, FOOT, TOP] = [360, 220, 44, 24, 26]; // a chart and its margins

/** @param {number} x */
const shown = (x) => String(Number(x.toPrecision(3))).replace("-", "\u2212");

/** Whether a kept state still fits the question. @param {Asks} asks @param {any} state */
function fits(asks, state) {
  if (state === null) return true;
  if (asks.kind === "choices") return asks.choices.includes(state);
  if (asks.kind === "number") return Number.isFinite(state);
  if (!Array.isArray(state)) return false;
  if (asks.kind === "cell") return asks.rows.includes(state[0]) && asks.columns.includes(state[1]);
  return state.length === POINTS && state.flat().every(Number.isFinite);
}

/** @param {Asks} asks @param {Value} value @returns {(Node | string)[]} */
function told(asks, value) {
  if (asks.kind === "number") return [`${shown(/** @type {number} */ (value))} ${asks.unit}`.trim()];
  if (asks.kind === "cell") return words(/** @type {string[]} */ (value).join(", "));
  return words(String(value));
}

/** A curve's value over x, between its points. @param {number[][]} points @param {number} x */
function at(points, x) {
  const after = points.findIndex((point) => point[0] >= x);
  if (after <= 0) return points.at(after)?.[1] ?? 0;
  const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}

/** The guess beside the truth. @param {Asks} asks @param {any} truth @param {any} guess @returns {(Node | string)[]} */
function judged(asks, truth, guess) {
  const { kind } = asks;
  if (kind === "curve") {
    const [end, far] = [
      truth.at(-1),
      truth.map((/** @type {number[]} */ [x, y]) => Math.abs(y - at(guess || truth, x))),
    ];
    const mean = far.reduce((/** @type {number} */ sum, /** @type {number} */ each) => sum + each, 0) / far.length;
    const place = `At ${asks.names[0]} ${shown(end[0])}`;
    const is = make("b", {}, shown(end[1]));
    if (!guess) return [`${place} the ${asks.names[1]} is `, is, "."];
    return [
      `${place} you said ${shown(at(guess, end[0]))}; it is `,
      is,
      `. On average you were off by ${shown(mean)}.`,
    ];
  }
  const is = make("b", {}, ...told(asks, truth));
  if (guess == null) return ["It is ", is, "."];
  const right = String(guess) === String(truth);
  const verdict = kind === "number" ? "" : right ? "\u2713 " : "\u2717 ";
  const off =
    kind === "number" && !right ? `, ${guess < truth ? "more" : "less"} by ${shown(Math.abs(truth - guess))}` : "";
  return [verdict, "You said ", ...told(asks, guess), "; it is ", is, `${off}.`];
}

/** Axes of a chart. @param {Asks} asks */
function chart({ names, x, y }) {
  /** @param {number} value */
  const toX = (value) => LEFT + ((value - x[0]) / (x[1] - x[0])) * (WIDE - LEFT - 10);
  /** @param {number} value */
  const toY = (value) => HIGH - FOOT - ((value - y[0]) / (y[1] - y[0])) * (HIGH - FOOT - TOP);
  /** @param {number[][]} points */
  const path = (points) => points.map((point, i) => `${i ? "L" : "M"}${toX(point[0])} ${toY(point[1])}`).join("");
  const [left, right, bottom, top] = [LEFT, WIDE - 10, HIGH - FOOT, TOP];
  /** @param {number} px @param {number} py @param {string} anchor @param {string} text */
  const label = (px, py, anchor, text) => draw("text", { x: px, y: py, "text-anchor": anchor }, text);
  const svg = draw(
    "svg",
    { class: "ex-chart", viewBox: `0 0 ${WIDE} ${HIGH}` },
    draw("path", { class: "ex-axis", d: `M${left} ${top}V${bottom}H${right}` }),
    label(left, top - 9, "start", names[1]),
    label(left - 5, top + 9, "end", shown(y[1])),
    label(left - 5, bottom, "end", shown(y[0])),
    label(left, HIGH - 6, "start", shown(x[0])),
    label((left + right) / 2, HIGH - 6, "middle", names[0]),
    label(right, HIGH - 6, "end", shown(x[1])),
  );
  return { svg, toX, toY, path };
}

/** A table, its cells made by `cell`. @param {Asks} asks @param {(row: string, column: string) => Node} cell */
function grid({ rows, columns }, cell) {
  const head = columns.map((column) => make("span", { class: "ex-label ex-column" }, ...words(column)));
  const lines = rows.flatMap((name) => [
    make("span", { class: "ex-label" }, ...words(name)),
    ...columns.map((column) => cell(name, column)),
  ]);
  return [make("span", {}), ...head, ...lines];
}

/** The picture of guess and truth. @param {Asks} asks @param {any} truth @param {any} guess @returns {Node[]} */
function picture(asks, truth, guess) {
  if (asks.kind === "choices") return [];
  if (asks.kind === "curve") {
    const { svg, path } = chart(asks);
    if (guess) svg.append(draw("path", { class: "ex-guess", d: path(guess) }));
    svg.append(draw("path", { class: "ex-truth", d: path(truth) }));
    return [svg];
  }
  if (asks.kind === "cell") {
    const marks = grid(asks, (name, column) => {
      const [is, said] = [truth, guess].map((each) => each && each[0] === name && each[1] === column);
      return make(
        "span",
        { class: "ex-place", "data-truth": is, "data-guess": said },
        is ? "\u25cf" : said ? "\u25cb" : "",
      );
    });
    return [make("div", { class: "ex-grid", style: `--ex-columns: ${asks.columns.length}` }, ...marks)];
  }
  const [low, high] = asks.span;
  /** @param {number} value */
  const toX = (value) => 12 + ((value - low) / (high - low)) * (WIDE - 24);
  const svg = draw(
    "svg",
    { class: "ex-chart", viewBox: `0 0 ${WIDE} 48` },
    draw("path", { class: "ex-axis", d: `M12 16H${WIDE - 12}` }),
  );
  svg.append(
    draw("text", { x: 12, y: 42 }, shown(low)),
    draw("text", { x: WIDE - 12, y: 42, "text-anchor": "end" }, shown(high)),
  );
  svg.append(draw("circle", { class: "ex-truth", cx: toX(truth), cy: 16, r: 6 }));
  if (guess != null) svg.append(draw("circle", { class: "ex-guess", cx: toX(guess), cy: 16, r: 9 }));
  return [svg];
}

/**
 * What the reader sets, by the kind of question.
 * @param {Asks} asks @param {State} start @param {(value: Value) => void} onSet
 */
function field(asks, start, onSet) {
  if (asks.kind === "choices") {
    const picked = asks.choices.indexOf(/** @type {string} */ (start));
    return row("Answers", asks.choices.map(words), { picked, onPick: (i) => onSet(asks.choices[i]) }).element;
  }
  if (asks.kind === "number") {
    const [min, max] = asks.span;
    const value = typeof start === "number" ? start : (min + max) / 2;
    /** @param {number} each */
    const say = (each) => told(asks, each).join("");
    const element = slider("Your guess", { min, max, step: asks.step, value, say }, onSet);
    const input = element.querySelector("input");
    // Where it stands from the start is a guess as well, once it is touched.
    input?.addEventListener("click", () => onSet(Number(input.value)));
    return make("div", { class: "ex-number" }, element);
  }
  if (asks.kind === "cell") return cells(asks, start, onSet);
  return curve(asks, start, onSet);
}

/** @param {Asks} asks @param {State} start @param {(value: Value) => void} onSet */
function cells(asks, start, onSet) {
  const places = asks.rows.flatMap((name) => asks.columns.map((column) => [name, column]));
  const picked = places.findIndex((place) => String(place) === String(start));
  const contents = places.map(([name, column]) => [unseen(`${name}, ${column}`)]);
  const settings = { picked, columns: asks.columns.length, onPick: (/** @type {number} */ i) => onSet(places[i]) };
  const { element, buttons } = row(`${asks.rows.length} by ${asks.columns.length}`, contents, settings);
  const left = [...buttons];
  element.classList.add("ex-grid");
  element.style.setProperty("--ex-columns", String(asks.columns.length));
  element.replaceChildren(...grid(asks, () => /** @type {Node} */ (left.shift())));
  return element;
}

/**
 * Draws with the pointer, or point by point with arrow keys.
 * @param {Asks} asks @param {State} start @param {(value: Value) => void} onSet
 */
function curve(asks, start, onSet) {
  const { svg, toX, toY, path } = chart(asks);
  const [{ x, y, names }, middle] = [asks, (asks.y[0] + asks.y[1]) / 2];
  const points = Array.isArray(start)
    ? /** @type {number[][]} */ (start.map((point) => [.../** @type {any} */ (point)]))
    : Array.from({ length: POINTS }, (_, i) => [x[0] + ((x[1] - x[0]) * i) / (POINTS - 1), middle]);
  const line = draw("path", { class: "ex-guess" });
  const dots = points.map(([px], i) =>
    draw("circle", {
      class: "ex-dot",
      r: 6,
      cx: toX(px),
      role: "slider",
      tabindex: i ? -1 : 0,
      "aria-orientation": "vertical",
      "aria-label": `${names[1]} at ${names[0]} ${shown(px)}`,
      "aria-valuemin": y[0],
      "aria-valuemax": y[1],
    }),
  );
  const paint = () => {
    line.setAttribute("d", path(points));
    for (const [i, dot] of dots.entries()) {
      dot.setAttribute("cy", String(toY(points[i][1])));
      dot.setAttribute("aria-valuenow", String(points[i][1]));
      dot.setAttribute("aria-valuetext", shown(points[i][1]));
    }
  };
  /** @param {number} i @param {number} value */
  const set = (i, value) => {
    points[i][1] = Number(Math.min(y[1], Math.max(y[0], value)).toPrecision(4));
  };
  const done = () => {
    paint();
    onSet(points.map((point) => [...point]));
  };
  /** @type {[number, number] | null} the last place of the pointer, while it draws */
  let last = null;
  /** @param {PointerEvent} event */
  const draws = (event) => {
    const box = svg.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * WIDE;
    const py = ((event.clientY - box.top) / box.height) * HIGH;
    const near = ((px - toX(x[0])) / (toX(x[1]) - toX(x[0]))) * (POINTS - 1);
    const value = y[0] + ((toY(y[0]) - py) / (toY(y[0]) - toY(y[1]))) * (y[1] - y[0]);
    const [from, before] = last || [near, value];
    for (const [i] of points.entries()) {
      // All points that the pointer has passed; and the nearest one.
      const passed = (i - from) * (i - near) <= 0 && from !== near;
      if (passed) set(i, before + ((value - before) * (i - from)) / (near - from));
      else if (i === Math.round(near)) set(i, value);
    }
    last = [near, value];
    done();
  };
  svg.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    draws(event);
  });
  svg.addEventListener("pointermove", (event) => last && draws(event));
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => {
      last = null;
    });
  svg.addEventListener("keydown", (event) => {
    const i = dots.indexOf(/** @type {SVGCircleElement} */ (event.target));
    /** @type {Record<string, number>} */
    const rises = { ArrowUp: 0.05, ArrowDown: -0.05, PageUp: 0.2, PageDown: -0.2 };
    /** @type {Record<string, number>} */
    const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: POINTS - 1 };
    if (!(event.key in rises) && !(event.key in to)) return;
    event.preventDefault();
    if (event.key in to) {
      const next = dots[to[event.key]];
      if (!next) return;
      for (const dot of dots) dot.setAttribute("tabindex", dot === next ? "0" : "-1");
      next.focus();
    } else {
      set(i, points[i][1] + rises[event.key] * (y[1] - y[0]));
      done();
    }
  });
  svg.append(line, ...dots);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `${names[1]} over ${names[0]}: draw, or set each point with the arrow keys`);
  paint();
  return svg;
}

/** @param {string} key @param {State} state */
const tell = (key, state) => document.dispatchEvent(new CustomEvent(EVENT, { detail: { key, state } }));

/**
 * Has `hear` called with each new state of a key; gives the function that ends it.
 * @param {string} key @param {(state: State) => void} hear
 */
function listen(key, hear) {
  /** @param {Event} event */
  const heard = (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (detail.key === key) hear(detail.state);
  };
  document.addEventListener(EVENT, heard);
  return () => document.removeEventListener(EVENT, heard);
}

/** @param {import("./kit.js").Model} model @param {HTMLElement} el @param {boolean} page */
function ask(model, el, page) {
  /** @type {Asks} */
  const asks = model.get("asks");
  const { key } = asks;
  const go = button("Go to the result", () => {
    const result = document.querySelector(`[data-reveals="${CSS.escape(key)}"]`);
    result?.scrollIntoView({ block: "center" });
    /** @type {HTMLElement | null} */ (result)?.focus({ preventScroll: true });
  });
  /** @param {State} state @returns {(Node | string)[]} */
  const says = (state) => {
    if (state === undefined)
      return ["What do you expect?", page ? " The result below opens when you have guessed." : ""];
    if (state === null) return ["The result is open."];
    if (asks.kind === "curve") return ["Your curve is kept. The result is open."];
    return ["Your guess is kept: ", ...told(asks, state), ". The result is open."];
  };
  const before = page ? kept(key) : (model.get("value") ?? undefined);
  const { place, buttons, said, paint } = guessing({
    name: "Your guess",
    start: fits(asks, before) ? before : undefined,
    field: (state, set) => field(asks, state, set),
    says,
    waits: "Not kept yet. Commit it, and the result opens.",
    settled: (state) => {
      if (page) keep(key, state);
      else {
        model.set("value", state ?? null);
        model.save_changes();
      }
      tell(key, state);
    },
    next: page ? go : null,
  });
  const frame = begin(el, make("p", { class: "ex-question" }, ...words(asks.question)), place, buttons, said.element);
  frame.classList.add("ex-predict");
  frame.dataset.asks = key;
  return listen(key, paint);
}

/** What stands below a result and says it again: text and what folded cells print, up to the next open cell, picture,
 * box or heading; with those that their author veils. @param {Element | null | undefined} cell @returns {Element[]} */
function saidBelow(cell) {
  /** @type {Element[]} */
  const found = [];
  for (
    let next = cell?.nextElementSibling;
    next?.matches(`${NOTHING}, ${WORDS}, ${TEXT}, ${VEILED}`);
    next = next.nextElementSibling
  )
    found.push(...(next.matches(".cell") ? next.querySelectorAll(".cell_output") : [next]));
  return found;
}

/** @param {import("./kit.js").Model} model @param {HTMLElement} el @param {boolean} page */
function answer(model, el, page) {
  /** @type {Asks} */
  const asks = model.get("asks");
  const { key } = asks;
  const truth = model.get("truth");
  const said = announcer();
  const place = make("div", { class: "ex-field" });
  const legend = make("p", { class: "ex-legend", "aria-hidden": "true" });
  const frame = begin(el, said.element, place, ...(asks.kind === "choices" ? [] : [legend]));
  frame.classList.add("ex-predict");
  frame.dataset.reveals = key;
  frame.tabIndex = -1;
  // On a page without cells the output is a div of its author, whose class is written with a hyphen.
  const output = page ? /** @type {HTMLElement | null} */ (frame.closest(".cell_output, .cell-output")) : null;
  const veil = make(
    "div",
    { class: "ex-veil", role: "group", "aria-label": "Veiled result" },
    make("p", {}, "The result is veiled until you have made your guess above."),
    button("Show me", () => {
      keep(key, null);
      tell(key, null);
      frame.focus({ preventScroll: true });
    }),
  );
  const shut = () => {
    const closed = output?.dataset.veil === "closed";
    for (const each of output?.children ?? []) if (each !== veil) each.toggleAttribute("inert", closed);
    for (const each of saidBelow(output?.closest(".cell"))) {
      each.toggleAttribute("inert", closed);
      each.classList.toggle("ex-below-veil", closed);
    }
  };
  /** @param {State} state */
  const paint = (state) => {
    const closed = state === undefined && output !== null;
    if (output) output.dataset.veil = closed ? "closed" : "open";
    shut();
    if (closed) output?.prepend(veil);
    else veil.remove();
    said.say(...judged(asks, truth, closed ? null : state));
    place.replaceChildren(...picture(asks, truth, closed ? null : state));
    const both = state != null;
    legend.replaceChildren(
      make("span", { class: "ex-truth" }, "the result"),
      ...(both ? [" \u00b7 ", make("span", { class: "ex-guess" }, "your guess")] : []),
    );
  };
  const first = page ? kept(key) : (model.get("value") ?? null);
  paint(fits(asks, first) ? first : undefined);
  // What of the output comes after this script is veiled by the style, and inert when the page is whole.
  window.addEventListener("DOMContentLoaded", shut);
  return listen(key, (state) => paint(state));
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  const page = el.closest(".course-explorable") !== null;
  return (model.get("truth") == null ? ask : answer)(model, el, page);
}

export default { render };
