// A logit as a sum: the embedding and every head, one step each, at the position and for the token chosen.
import { announcer, begin, choice, code, controls, make, row, signed, toggle, unpack } from "./kit.js";

/** @param {number} share */
const per = (share) => `${(100 * share).toFixed(3)}%`;

/** @param {number} p */
const chanceOf = (p) => (p < 0.0005 ? "under 0.1\u00a0%" : `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}\u00a0%`);

/** @param {HTMLElement} element @param {Record<string, string>} values */
function style(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(name, value);
  return element;
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {string[]} */
  const words = model.get("words");
  /** @type {number[]} */
  const tokens = model.get("tokens");
  /** @type {string[]} */
  const parts = model.get("parts");
  /** @type {number[]} */
  const layers = model.get("layers");
  /** @type {number[][]} */
  const candidates = model.get("candidates");
  /** @type {number[][]} */
  const chance = model.get("chance");
  const first = model.get("first");
  const guesses = model.get("guesses");
  const values = unpack(model.get("values"));
  const n = parts.length;
  const perPlace = candidates[0].length;
  let at = model.get("at");
  let which = 0; // of the candidates: 0 comes next, then the guesses, then what is offered
  let sorted = false;

  const strip = row(
    "Position",
    tokens.slice(0, -1).map((token) => [code(words[token])]),
    { picked: at, onShow: show, onPick: (i) => model.set("at", i) },
  );
  strip.element.classList.add("ex-strip");

  const chosen = choice("Logit of", [], "", (value) => {
    which = Number(value);
    show(at);
  });
  const select = /** @type {HTMLSelectElement} */ (chosen.querySelector("select"));
  function fillSelect() {
    const name = (/** @type {number} */ c) => `${words[candidates[at][c]]} (${chanceOf(chance[at][c])})`;
    const label = (/** @type {number} */ c) =>
      c === 0 ? `comes next: ${name(c)}` : c <= guesses ? `guess ${c}: ${name(c)}` : name(c);
    select.replaceChildren(...candidates[at].map((_, c) => make("option", { value: c }, label(c))));
    select.value = String(which);
  }

  const said = announcer();
  const axis = make("div", { class: "ex-ticks", "aria-hidden": "true" });
  const list = make("ol", { class: "ex-sum", role: "list" });
  const rows = Array.from({ length: n + 1 }, () => {
    const [name, bar, value] = [make("span"), make("i"), make("span", { class: "ex-number" })];
    const line = make("i", { class: "ex-run" });
    const track = make("span", { class: "ex-track", "aria-hidden": "true" }, line, bar);
    const item = make("li", {}, name, track, value);
    list.append(item);
    return { item, name, bar, line, value };
  });

  /** @param {number} i */
  function show(i) {
    at = i;
    fillSelect();
    const start = (at * perPlace + which) * n;
    const own = values.subarray(start, start + n);
    const order = parts.map((_, p) => p);
    if (sorted) order.sort((a, b) => Math.abs(own[b]) - Math.abs(own[a]));
    let sum = 0;
    const sums = order.map((p) => {
      sum += own[p];
      return sum;
    });
    const [low, high] = [Math.min(0, ...sums), Math.max(0, ...sums)];
    const size = high - low || 1;
    /** @param {number} x */
    const place = (x) => (x - low) / size;
    style(list, { "--zero": per(place(0)) });
    sums.forEach((to, k) => {
      const p = order[k];
      draw(rows[k], parts[p], own[p], to - own[p], to, place);
      rows[k].item.classList.toggle("is-new", !sorted && k > 0 && layers[p] !== layers[order[k - 1]]);
    });
    draw(rows[n], "the logit", sum, 0, sum, place);
    rows[n].item.className = "ex-whole";
    drawAxis(low, high, place);
    const groups = layers.reduce(
      (found, layer, p) => {
        found[layer] = (found[layer] || 0) + own[p];
        return found;
      },
      /** @type {number[]} */ ([]),
    );
    said.say(
      `At ${first + at} `,
      code(words[tokens[at]]),
      ", logit of ",
      code(words[candidates[at][which]]),
      `: ${signed(sum)} = embedding ${signed(groups[0])}`,
      ...groups.slice(1).map((value, layer) => `, layer ${layer} ${signed(value)}`),
      `. Probability ${chanceOf(chance[at][which])}.`,
    );
  }

  /**
   * @param {typeof rows[0]} each @param {string} name @param {number} value @param {number} from @param {number} to
   * @param {(x: number) => number} place
   */
  function draw({ name: words, bar, line, value: number }, name, value, from, to, place) {
    words.textContent = name;
    number.textContent = signed(value);
    bar.className = value < 0 ? "ex-minus" : "ex-plus";
    const [left, right] = [place(Math.min(from, to)), place(Math.max(from, to))];
    style(bar, { "--from": per(left), "--size": per(right - left) });
    style(line, { "--from": per(place(to)) });
  }

  /** @param {number} low @param {number} high @param {(x: number) => number} place */
  function drawAxis(low, high, place) {
    const step = [1, 2, 5, 10, 20, 50].find((size) => (high - low) / size <= 6) || 100;
    const ticks = [];
    for (let x = Math.ceil(low / step) * step; x <= high; x += step) {
      ticks.push(style(make("span", {}, x ? signed(x, 0) : "0"), { "--from": per(place(x)) }));
    }
    axis.replaceChildren(...ticks);
  }

  begin(
    el,
    strip.element,
    controls(
      "What is shown",
      chosen,
      toggle("Largest first", sorted, (on) => {
        sorted = on;
        show(at);
      }),
    ),
    said.element,
    make("div", {}, axis, list),
    make(
      "p",
      { class: "ex-key" },
      make("i", { class: "ex-plus" }),
      " raises, ",
      make("i", { class: "ex-minus" }),
      " lowers the logit. Logits are less their mean over the vocabulary. Each bar begins where the last one ended.",
    ),
  );
  show(at);
}

export default { render };
