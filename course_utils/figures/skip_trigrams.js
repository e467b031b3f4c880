// One source: who looks at it, what it raises; two pairs, and the two that these force.
import { announcer, begin, choice, code, controls, make, unseen } from "./kit.js";

/**
 * @typedef {[i: number, j: number]} Cell
 * @typedef {{ source: string, destinations: string[], look: number[], outs: string[], rise: number[],
 *   counts: number[][], pairs: [Cell, Cell] }} Grid
 */

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {{ head: string, sources: Grid[] }[]} */
  const heads = model.get("heads");
  let head = heads[0];
  let grid = head.sources[0];
  /** @type {Cell[]} the older first */
  let pairs = [];

  const value = (/** @type {Cell} */ [i, j]) => grid.look[i] * grid.rise[j];
  const times = (/** @type {number} */ n) => (n ? `${n.toLocaleString("en")}\u00a0×` : "never");
  const bar = (/** @type {number} */ share) => {
    const element = make("i", { "aria-hidden": "true" });
    element.style.setProperty("--share", `${Math.round(100 * share)}%`);
    return element;
  };
  const place = make("div", { class: "ex-grid" });
  const { element: panel, say } = announcer(make("div", { class: "ex-forced" }));
  const sources = make("span", { class: "ex-pick" });

  /** @type {Map<HTMLButtonElement, Cell>} */
  let cells = new Map();

  function mark() {
    const [[i, j], [k, m]] = pairs;
    const square = i !== k && j !== m;
    for (const [button, [row, column]] of cells) {
      const at = pairs.findIndex(([r, c]) => r === row && c === column);
      const forced = square && ((row === i && column === m) || (row === k && column === j));
      button.setAttribute("aria-pressed", String(at >= 0));
      button.classList.toggle("is-forced", forced);
      const said = /** @type {HTMLElement} */ (button.lastElementChild);
      said.textContent = forced ? ", raised as well" : "";
    }
    tell(square);
  }

  /** @param {boolean} square */
  function tell(square) {
    const [p, q] = pairs;
    if (!square) {
      const what = "These two share a destination or an output: choose two that share neither.";
      say(make("p", {}, what));
      return;
    }
    /** @type {[Cell, Cell]} */
    const crossed = [
      [p[0], q[1]],
      [q[0], p[1]],
    ];
    const one = (/** @type {Cell} */ cell) => {
      const [i, j] = cell;
      const [f1, f2] = [grid.look[i].toFixed(1), grid.rise[j].toFixed(1)];
      const words = ` ${f1} × ${f2} = ${value(cell).toFixed(0)}; in the text ${times(grid.counts[i][j])}`;
      return make("li", {}, code(grid.destinations[i]), " \u2192 ", code(grid.outs[j]), words);
    };
    const occurs = (/** @type {Cell} */ [i, j]) => grid.counts[i][j] > 0;
    const none = crossed.filter((cell) => !occurs(cell)).length;
    const end = pairs.every(occurs)
      ? [
          "The text has these too, so no harm is done. Try others.",
          "One of these never occurs in the text: the head can\u2019t help it.",
          "Neither of these ever occurs in the text: a bug.",
        ][none]
      : "Not every pair that you raise occurs in the text itself. Try others.";
    say(
      make("p", {}, "You raise"),
      make("ul", {}, one(p), one(q)),
      make("p", {}, "Of the same four factors, so raised as well"),
      make("ul", { class: "is-forced" }, ...crossed.map(one)),
      make("p", { class: "ex-outcome" }, end),
    );
  }

  function update() {
    const { source, destinations, look, outs, rise, counts } = grid;
    pairs = [...grid.pairs];
    cells = new Map();
    const most = look[0] * rise[0];
    const top = make("tr", {}, make("th", { scope: "col", class: "ex-corner" }, "after \u2193 raised \u2192"));
    outs.forEach((out, j) => {
      const size = make("small", {}, rise[j].toFixed(1));
      top.append(make("th", { scope: "col" }, code(out), size, bar(rise[j] / rise[0])));
    });
    const body = destinations.map((destination, i) => {
      const size = make("small", {}, look[i].toFixed(1));
      const line = make("tr", {}, make("th", { scope: "row" }, code(destination), size, bar(look[i] / look[0])));
      outs.forEach((out, j) => {
        const button = make(
          "button",
          { type: "button", tabindex: -1, "data-never": !counts[i][j] },
          unseen(`${destination} \u2192 ${out}, value `),
          value([i, j]).toFixed(0),
          make("small", {}, times(counts[i][j])),
          unseen(""),
        );
        button.style.setProperty("--share", `${Math.round(45 * (value([i, j]) / most))}%`);
        cells.set(button, [i, j]);
        line.append(make("td", {}, button));
      });
      return line;
    });
    const caption = make("caption", {}, "Source ", code(source), `, head ${head.head}. In a cell: the value, and `);
    caption.append("how often this pair stands in the training text.");
    const table = make("table", {}, caption, make("thead", {}, top), make("tbody", {}, ...body));
    place.replaceChildren(table);
    for (const [button, [i, j]] of cells) if (i === pairs[0][0] && j === pairs[0][1]) button.tabIndex = 0;
    mark();
  }

  place.addEventListener("click", ({ target }) => {
    const button = /** @type {Element} */ (target).closest("button");
    const cell = button && cells.get(button);
    if (!cell || pairs.some(([i, j]) => i === cell[0] && j === cell[1])) return;
    pairs = [pairs[1], cell];
    mark();
  });
  place.addEventListener("focusin", ({ target }) => {
    for (const button of cells.keys()) button.tabIndex = button === target ? 0 : -1;
  });
  place.addEventListener("keydown", (event) => {
    const at = cells.get(/** @type {HTMLButtonElement} */ (event.target));
    /** @type {Record<string, Cell>} */
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const step = steps[event.key];
    if (!at || !step) return;
    event.preventDefault();
    for (const [button, [i, j]] of cells) if (i === at[0] + step[0] && j === at[1] + step[1]) button.focus();
  });

  function listSources() {
    grid = head.sources[0];
    const names = /** @type {[string, string][]} */ (head.sources.map(({ source }, i) => [String(i), source]));
    sources.replaceChildren(
      choice("Source", names, "0", (i) => {
        grid = head.sources[Number(i)];
        update();
      }),
    );
    update();
  }
  const names = /** @type {[string, string][]} */ (heads.map(({ head: h }, i) => [String(i), `head ${h}`]));
  const chooseHead = choice("Head", names, "0", (i) => {
    head = heads[Number(i)];
    listSources();
  });
  begin(el, controls("What is shown", chooseHead, sources), make("div", { class: "ex-two" }, place, panel));
  listSources();
}

export default { render };
