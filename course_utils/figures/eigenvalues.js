// Complex planes of all heads, one of them large; an eigenvalue shows the tokens that its eigenvector moves.
import { announcer, begin, choice, code, controls, draw, make, row, signed, unseen } from "./kit.js";

/**
 * @typedef {[real: number, imaginary: number, tokens: number[]]} Value tokens: token, weight, angle; and again
 * @typedef {{ positivity: number, values: Value[] }} Kind
 * @typedef {{ head: string, trained: Kind, random: Kind }} Head
 */
const DECADES = 4; // what is smaller lies in the centre
const REACH = 0.35; // in decades, how far from a point the pointer finds it

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Head[]} */
  const heads = model.get("heads");
  /** @type {string[]} */
  const names = model.get("names");
  const largest = Math.max(...heads.flatMap(({ trained }) => trained.values.map(([x, y]) => Math.hypot(x, y))));
  const WORDS = { trained: "trained weights", random: "random weights" };
  /** @type {"trained" | "random"} */
  let kind = "trained";
  let at = model.get("first");
  let picked = 0;
  let shown = 0;

  /** Where an eigenvalue is drawn: its direction, and its size on a log scale. @param {Value} value */
  function place([x, y]) {
    const size = Math.hypot(x, y);
    const far = Math.max(0, Math.log10(size / largest + 1e-30) + DECADES) / (size || 1);
    return [x * far, -y * far];
  }
  /** Points of a value: one, or two of a pair. @param {Value} value @param {number} r @param {string} cls */
  function points(value, r, cls) {
    const [cx, cy] = place(value);
    const made = (/** @type {number} */ y) => draw("circle", { cx, cy: y, r, class: cls });
    return value[1] ? [made(cy), made(-cy)] : [made(cy)];
  }
  /** @param {Head} head @param {number} r */
  function cloud(head, r) {
    const other = kind === "trained" ? "random" : "trained";
    const behind = head[other].values.flatMap((value) => points(value, 0.6 * r, "ex-behind"));
    return [...behind, ...head[kind].values.flatMap((value) => points(value, r, `ex-${kind}`))];
  }
  function axes(circles = [DECADES]) {
    const e = DECADES + 0.3;
    return [
      ...circles.map((r) => draw("circle", { r, class: "ex-ring" })),
      draw("path", { d: `M${-e} 0H${e}M0 ${-e}V${e}`, class: "ex-ring" }),
    ];
  }

  // --- all heads, small ---

  const small = heads.map(() => draw("svg", { viewBox: "-4.6 -4.6 9.2 9.2", "aria-hidden": "true" }));
  const ratios = heads.map(() => make("small", {}));
  const all = row(
    "Head to enlarge",
    heads.map(({ head }, i) => [make("span", {}, unseen("head "), head), small[i], unseen("positivity "), ratios[i]]),
    {
      picked: at,
      onPick: (i) => {
        at = i;
        enlarge();
      },
    },
  );
  all.element.classList.add("ex-planes");

  // --- one of them, large ---

  const plane = draw("svg", { viewBox: "-5 -5 10 10", class: "ex-plane", "aria-hidden": "true" });
  const ring = draw("g");
  const list = make("div", { class: "ex-list" });
  const { element: panel, say } = announcer(make("div", { class: "ex-vector" }));
  let pick = (/** @type {number} */ _) => {};
  const current = () => heads[at][kind].values;

  /** @param {Value} value */
  function number([x, y]) {
    const digits = Math.hypot(x, y) >= 10 ? 0 : 2;
    return y ? `${signed(x, digits)} \u00b1 ${y.toFixed(digits)}\u00a0i` : signed(x, digits);
  }
  /** @param {number} i */
  function show(i) {
    shown = i;
    const value = current()[i];
    ring.replaceChildren(...points(value, 0.3, "ex-here"));
    const [x, y, tokens] = value;
    const angle = Math.round((180 / Math.PI) * Math.atan2(y, x));
    const what = y
      ? `a pair: each look turns this mix by ${angle}\u00b0`
      : x > 0
        ? "positive: the mix raises itself"
        : "negative: the mix lowers itself";
    const lines = [];
    for (let t = 0; t < tokens.length; t += 3) {
      const [token, weight, turn] = tokens.slice(t, t + 3);
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.setProperty("--share", `${weight}%`);
      const needle = make("span", { class: "ex-needle", "aria-hidden": "true" }, "\u2192");
      needle.style.transform = `rotate(${-turn}deg)`;
      const end = y ? `${turn}\u00b0`.replace("-", "\u2212") : turn ? "other end" : "one end";
      lines.push(make("li", {}, code(names[token]), bar, needle, make("small", {}, end)));
    }
    say(
      make("p", {}, make("b", {}, `\u03bb = ${number(value)}`)),
      make("p", { class: "ex-what" }, what),
      make("ol", {}, ...lines),
    );
  }

  function enlarge() {
    const head = heads[at];
    const label = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ text) =>
      draw("text", { x, y }, text);
    plane.replaceChildren(
      ...axes([1, 2, 3, 4]),
      label(4.7, -0.2, "+"),
      label(-4.7, -0.2, "\u2212"),
      label(0.25, -4.5, "i"),
      label(0.35, 4.85, "\u2212i"),
      ...[0, 1, 2].map((d) => label(0.72 * (DECADES - d), 0.72 * (DECADES - d) + 0.3, size(d))),
      ...cloud(head, 0.13),
      ring,
    );
    picked = 0;
    const chips = row(
      `Eigenvalues of head ${head.head}, the largest first`,
      current().map((value) => [number(value)]),
      {
        onShow: show,
        onPick: (i) => {
          picked = i;
        },
      },
    );
    pick = chips.pick;
    list.replaceChildren(chips.element);
    show(0);
  }
  const size = (/** @type {number} */ decade) => String(Math.round(largest / 10 ** decade));

  /** The entry nearest to the pointer, if it is near. @param {MouseEvent} event */
  function nearest({ clientX, clientY }) {
    const { left, top, width } = plane.getBoundingClientRect();
    const [x, y] = [(10 * (clientX - left)) / width - 5, (10 * (clientY - top)) / width - 5];
    let [best, least] = [-1, REACH];
    current().forEach((value, i) => {
      const [a, b] = place(value);
      const distance = Math.min(
        Math.hypot(a - x, b - y),
        value[1] ? Math.hypot(a - x, -b - y) : Number.POSITIVE_INFINITY,
      );
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  }
  plane.addEventListener("pointermove", (event) => {
    const i = nearest(event);
    if ((i < 0 ? picked : i) !== shown) show(i < 0 ? picked : i);
  });
  plane.addEventListener("pointerleave", () => show(picked));
  plane.addEventListener("click", (event) => {
    const i = nearest(event);
    if (i < 0) return;
    picked = i;
    pick(i);
    show(i);
  });

  function update() {
    heads.forEach((head, i) => {
      small[i].replaceChildren(...axes(), ...cloud(head, 0.34));
      ratios[i].textContent = signed(head[kind].positivity);
    });
    enlarge();
  }
  const kinds = /** @type {[string, string][]} */ (Object.entries(WORDS));
  const weights = choice("In front", kinds, kind, (chosen) => {
    kind = chosen === "random" ? "random" : "trained";
    update();
  });
  const key = make(
    "span",
    { class: "ex-key" },
    make("span", { class: "ex-dot" }),
    "trained ",
    make("span", { class: "ex-dot ex-open" }),
    "random",
  );
  begin(el, all.element, controls("Weights", weights, key), make("div", { class: "ex-two" }, plane, panel), list);
  update();
}

export default { render };
