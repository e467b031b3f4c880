// The graph of heads: lines for pairs that compose, and what a cut of each path did.
import { announcer, begin, choice, controls, draw, make, row, slider, toggle, unseen } from "./kit.js";

/**
 * @typedef {"Q" | "K" | "V"} Kind
 * @typedef {Record<Kind, number[][]>} Tables a number for each [earlier head, later head]
 * @typedef {{ kind: Kind, i: number, j: number, above: number, effect: number }} Edge
 */
/** @type {Kind[]} */
const KINDS = ["Q", "K", "V"];
const READS = { Q: "queries", K: "keys", V: "values" };
const SIDE = { Q: -0.14, K: 0, V: 0.14 }; // lines of one pair run side by side
const STEP = 0.005;
const REACH = 14; // pixels from a line in which the pointer finds it

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  const [baseline, spread] = [model.get("baseline"), model.get("spread")];
  /** @type {Tables} */
  const measure = model.get("measure");
  /** @type {Tables} */
  const effects = model.get("effect");
  const [below, over] = [measure.Q.length, measure.Q[0].length];
  const wide = Math.max(below, over);

  /** @type {Edge[]} */
  const all = KINDS.flatMap((kind) =>
    measure[kind].flatMap((values, i) =>
      values.map((value, j) => ({ kind, i, j, above: value - baseline, effect: effects[kind][i][j] })),
    ),
  ).sort((a, b) => b.above - a.above);
  const largest = all[0].above;
  const most = {
    Q: Math.max(...effects.Q.flat(), ...effects.K.flat()), // both in nats
    K: 0,
    V: Math.max(...effects.V.flat()),
  };
  most.K = most.Q;

  const on = new Set(KINDS);
  let least = model.get("least");
  let wideBy = "measure";
  /** @type {[layer: number, head: number] | null} */
  let only = null; // the head whose lines alone are shown
  /** @type {Edge[]} */
  let shown = [];
  /** @type {Edge | undefined} */
  let picked;
  /** @type {SVGLineElement[]} */
  let lines = [];
  let pickLine = (/** @type {number} */ _) => {};

  // --- words ---

  const name = (/** @type {Edge} */ { i, j }) => `0.${i} \u2192 1.${j}`;
  const did = (/** @type {Edge} */ { kind, effect }) =>
    kind === "V" ? `${Math.round(100 * effect)}\u00a0% of its output` : `${effect.toFixed(3)} nats`;
  /** @param {Edge} edge @param {"above" | "effect"} by */
  const rank = (edge, by) => {
    const alike = all.filter(({ kind }) => kind === edge.kind);
    return `rank ${1 + alike.filter((other) => other[by] > edge[by]).length} of ${alike.length}`;
  };
  const bar = (/** @type {number} */ share) => {
    const element = make("i", { "aria-hidden": "true" });
    element.style.setProperty("--share", `${100 * Math.max(0, share)}%`);
    return element;
  };
  const { element: panel, say } = announcer(make("div", { class: "ex-edge" }));

  /** @param {Edge | undefined} edge */
  function tell(edge) {
    for (const [at, line] of lines.entries()) line.classList.toggle("is-shown", shown[at] === edge);
    if (!edge) {
      say(make("p", {}, "No line here: lower the threshold, or switch a kind on."));
      return;
    }
    const { kind, above } = edge;
    const moved = kind === "V" ? "It changes" : "The pattern moves by";
    panel.dataset.kind = kind;
    say(
      make("p", {}, make("b", {}, name(edge)), ` by its ${READS[kind]} (${kind}-composition)`),
      make("p", {}, make("span", {}, "The measure"), bar(above / largest)),
      make(
        "p",
        { class: "ex-small" },
        `${(above + baseline).toFixed(3)}, that is ${above.toFixed(3)} above random heads, `,
        `${baseline.toFixed(4)} \u00b1 ${spread.toFixed(4)}; ${rank(edge, "above")}`,
      ),
      make("p", {}, make("span", {}, "The cut"), bar(edge.effect / most[kind])),
      make("p", { class: "ex-small" }, `${moved} ${did(edge)}; ${rank(edge, "effect")}`),
    );
  }

  // --- the graph: heads are buttons, and lines run between their rows ---

  const svg = draw("svg", { "aria-hidden": "true", viewBox: `0 0 ${wide} 1`, preserveAspectRatio: "none" });
  const shift = (/** @type {number} */ layer) => 0.5 + (wide - [below, over][layer]) / 2;
  const ends = (/** @type {Edge} */ { kind, i, j }) => [i + shift(0) + SIDE[kind], j + shift(1) + SIDE[kind]];

  /** @param {number} layer */
  function heads(layer) {
    const touches = (/** @type {Edge} */ edge, /** @type {number} */ head) =>
      head < 0 || [edge.i, edge.j][layer] === head;
    const names = Array.from({ length: [below, over][layer] }, (_, head) => [unseen("head "), `${layer}.${head}`]);
    const made = row(`Heads of layer ${layer}: lines of one alone`, names, {
      picked: -1,
      onShow: (head) => {
        for (const [at, line] of lines.entries()) line.classList.toggle("is-aside", !touches(shown[at], head));
      },
      onPick: (head) => {
        const again = only?.[0] === layer && only[1] === head;
        clear();
        if (again) only = null;
        else {
          only = [layer, head];
          made.pick(head);
        }
        update();
      },
    });
    made.element.classList.add("ex-heads");
    made.element.style.setProperty("--heads", String(made.buttons.length));
    made.element.style.setProperty("--wide", String(wide));
    return made;
  }
  const rows = [heads(0), heads(1)];
  function clear() {
    for (const { pick } of rows) pick(-1);
  }

  // --- the list of lines ---

  const list = make("div", { class: "ex-list" });
  const count = announcer();

  function update() {
    shown = all.filter(
      (edge) => edge.above > least && on.has(edge.kind) && (!only || [edge.i, edge.j][only[0]] === only[1]),
    );
    lines = shown.map((edge) => {
      const [x1, x2] = ends(edge);
      const share = wideBy === "measure" ? edge.above / largest : edge.effect / most[edge.kind];
      const line = draw("line", { class: `ex-${edge.kind}`, x1, y1: 1, x2, y2: 0 });
      line.style.strokeWidth = `${0.5 + 6.5 * share}px`;
      return line;
    });
    svg.replaceChildren(...lines.toReversed());
    if (!picked || !shown.includes(picked)) picked = shown[0];
    const at = picked ? shown.indexOf(picked) : 0;
    const names = shown.map((edge) => [make("span", { class: `ex-tag ex-${edge.kind}` }, edge.kind), ` ${name(edge)}`]);
    const buttons = row("Lines, the strongest first", names, {
      picked: at,
      onShow: (i) => tell(shown[i]),
      onPick: (i) => {
        picked = shown[i];
      },
    });
    pickLine = buttons.pick;
    list.replaceChildren(buttons.element);
    const kinds = KINDS.map((kind) => `${shown.filter((edge) => edge.kind === kind).length} ${kind}`);
    const whose = only ? ` of head ${only.join(".")}` : "";
    const word = shown.length === 1 ? "line" : "lines";
    count.say(`${shown.length} ${word}${whose} more than ${least.toFixed(3)} above random heads: ${kinds.join(", ")}`);
    tell(picked);
  }

  /** The line nearest to the pointer, if it is near. @param {PointerEvent | MouseEvent} event */
  function nearest({ clientX, clientY }) {
    const { left, top, width, height } = svg.getBoundingClientRect();
    let [best, reach] = [-1, REACH];
    shown.forEach((edge, at) => {
      const [x1, x2] = ends(edge).map((x) => (x * width) / wide);
      const across = Math.abs(x1 + (x2 - x1) * (1 - (clientY - top) / height) - (clientX - left));
      const distance = (across * height) / Math.hypot(height, x2 - x1);
      if (distance < reach) [best, reach] = [at, distance];
    });
    return best;
  }
  svg.addEventListener("pointermove", (event) => {
    const at = nearest(event);
    tell(at < 0 ? picked : shown[at]);
  });
  svg.addEventListener("pointerleave", () => tell(picked));
  svg.addEventListener("click", (event) => {
    const at = nearest(event);
    if (at < 0) return;
    picked = shown[at];
    pickLine(at);
    tell(picked);
  });

  // --- the controls ---

  const kinds = KINDS.map((kind) => {
    const button = toggle(`${kind} ${READS[kind]}`, true, (now) => {
      if (now) on.add(kind);
      else on.delete(kind);
      update();
    });
    const sample = draw("svg", { "aria-hidden": "true", viewBox: "0 0 26 6" });
    sample.append(draw("line", { class: `ex-${kind}`, x1: 0, y1: 3, x2: 26, y2: 3, "stroke-width": 3 }));
    button.prepend(sample);
    return button;
  });
  const ways = /** @type {[string, string][]} */ ([
    ["measure", "the measure"],
    ["effect", "what the cut did"],
  ]);
  const width = choice("Width of a line", ways, wideBy, (way) => {
    wideBy = way;
    update();
  });
  const max = Math.floor(largest / STEP) * STEP;
  const written = (/** @type {number} */ value) => `+${value.toFixed(3)}`;
  const threshold = slider("Threshold", { min: 0, max, step: STEP, value: least, say: written }, (value) => {
    least = value;
    update();
  });

  const graph = make("div", { class: "ex-graph" }, rows[1].element, svg, rows[0].element);
  begin(el, graph, controls("What is drawn", ...kinds, width, threshold), count.element, list, panel);
  update();
}

export default { render };
