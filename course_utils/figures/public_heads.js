// Every head of a public model on one map: what it is, where it looks in a sentence, what the loss is without it.
import {
  announcer,
  begin,
  code,
  controls,
  draw,
  keepDrawn,
  make,
  percent,
  ROLES,
  row,
  setter,
  signed,
  unpack,
  unseen,
} from "./kit.js";

/**
 * @typedef {"match" | "previous" | "first" | "rise"} Mode
 * @typedef {{ name: string, kind: string } & Record<Mode, number>} Head
 */
/** What a square of the map stands for. @type {[mode: Mode, name: string, colour: string, words: string][]} */
const MODES = [
  [
    "match",
    "Prefix matching",
    "orange",
    "attention to what followed the same token before, on random tokens read twice",
  ],
  ["previous", "Previous token", "green", "attention to the token before, on text"],
  ["first", "First token", "blue", "attention to the first token, on text"],
  ["rise", "Effect of zeroing", "purple", "rise of the loss, in nats, on random tokens read twice"],
];
const SAMPLES = [0.1, 0.5, 1]; // the last fills its place: all attention, or one nat

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Head[]} */
  const heads = model.get("heads");
  /** @type {string[]} */
  const tokens = model.get("tokens");
  const [n, columns, loss] = [tokens.length, model.get("columns"), model.get("loss")];
  const pattern = unpack(model.get("pattern"));
  const layers = heads.length / columns;
  /** @type {{ head?: number, token?: number }} what the pointer or the focus is on */
  let seen = {};
  let drawn = -1; // the mode of the map
  const pick = setter(model);
  const hover = (/** @type {typeof seen} */ change) => {
    seen = { ...seen, ...change };
    show();
  };
  const tint = (/** @type {number} */ head) => `--ex-${ROLES[heads[head].kind][2]}`;
  const looks = (/** @type {number} */ head, /** @type {number} */ query) =>
    pattern.subarray((head * n * (n + 1)) / 2 + (query * (query + 1)) / 2).subarray(0, query + 1);
  /** Heads by name on the map, the last layer on top: place on the map ↔ place in the data. */
  const turned = (/** @type {number} */ i) => (layers - 1 - Math.floor(i / columns)) * columns + (i % columns);
  const rank = (/** @type {Mode} */ mode, /** @type {number} */ head) =>
    `rank\u00a0${1 + heads.filter((other) => other[mode] > heads[head][mode]).length}`;

  // --- the elements ---

  const modes = row(
    "What a square stands for",
    MODES.map(([, name]) => [name]),
    { onPick: (i) => pick("mode", i) },
  );
  const meant = announcer(make("p", { class: "ex-meant" }));

  const map = row(
    "Heads",
    heads.map((_, i) => {
      const { name, kind } = heads[turned(i)];
      const mark = make("b", { "aria-hidden": "true" }, ROLES[kind][1]);
      return [make("i", { "aria-hidden": "true" }), mark, unseen(`${name} ${ROLES[kind][0]}`)];
    }),
    {
      picked: turned(model.get("head")),
      columns,
      onShow: (i) => hover({ head: turned(i) }),
      onPick: (i) => pick("head", turned(i)),
    },
  );
  // Heads that share a key head stand on one ground, with a gap between it and the next.
  const perKey = columns / model.get("keyHeads");
  for (const [i, button] of map.buttons.entries()) {
    const head = i % columns;
    button.style.gridArea = `${2 + Math.floor(i / columns)} / ${2 + head + Math.floor(head / perKey)}`;
    button.style.setProperty("--tint", `var(${tint(turned(i))})`);
  }
  const keyHeads = Array.from({ length: model.get("keyHeads") }, (_, i) => {
    const ground = make("span", { class: "ex-ground", "aria-hidden": "true" }, `key head ${i}`);
    ground.style.gridArea = `1 / ${2 + i * (perKey + 1)} / span ${layers + 1} / span ${perKey}`;
    return ground;
  });
  const labels = ["layer", ...Array.from({ length: layers }, (_, i) => String(layers - 1 - i))].map((text, i) => {
    const label = make("span", { class: "ex-label", "aria-hidden": "true" }, text);
    label.style.gridArea = `${1 + i} / 1`;
    return label;
  });
  const cells = `repeat(${perKey}, minmax(24px, 1fr))`;
  map.element.style.gridTemplateColumns = `1.7rem ${Array(keyHeads.length).fill(cells).join(" 6px ")}`;
  map.element.classList.add("ex-map");
  map.element.prepend(...keyHeads, ...labels);
  const legend = make(
    "p",
    { class: "ex-key" },
    ...Object.entries(ROLES)
      .filter(([kind]) => kind)
      .flatMap(([, [name, mark, colour]]) => {
        const shown = make("b", { "aria-hidden": "true" }, mark);
        shown.style.color = `var(--ex-${colour})`;
        return [make("span", {}, shown, ` ${name}`)];
      }),
  );
  const scale = make("p", { class: "ex-key ex-samples" });

  const canvas = make("canvas", { "aria-hidden": "true", width: n, height: n });
  const across = make("div", { class: "ex-across" });
  const goals = draw("svg", { "aria-hidden": "true", viewBox: `0 0 ${n} ${n}` });
  for (const [query, key] of model.get("successors"))
    goals.append(draw("rect", { class: "ex-goal", x: key + 0.06, y: query + 0.06, width: 0.88, height: 0.88 }));
  const square = make("div", { class: "ex-square" }, canvas, goals, across);
  const title = make("div", { class: "ex-title" });
  const axis = make("p", { class: "ex-axis" }, "\u2193 token that looks \u2003 \u2192 token looked at");
  axis.append(make("br"), "\u25a1 what followed the same token before");
  const strip = row(
    "Tokens",
    tokens.map((token) => [code(token)]),
    {
      picked: model.get("token"),
      onShow: (token) => hover({ token }),
      onPick: (token) => pick("token", token),
    },
  );
  strip.element.classList.add("ex-text");
  const said = announcer();
  const frame = begin(
    el,
    controls("Map", modes.element),
    meant.element,
    make(
      "div",
      { class: "ex-panel" },
      make("div", { class: "ex-left" }, map.element, legend, scale),
      make("div", { class: "ex-lens" }, square, title),
      make("div", { class: "ex-reading" }, axis, strip.element, said.element),
    ),
  );
  frame.classList.add("ex-public-heads");

  /** @param {PointerEvent} event */
  const queryAt = ({ clientY }) => {
    const { top, height } = square.getBoundingClientRect();
    return Math.min(Math.max(Math.floor(((clientY - top) / height) * n), 0), n - 1);
  };
  square.addEventListener("pointermove", (event) => hover({ token: queryAt(event) }));
  square.addEventListener("pointerleave", () => hover({ token: undefined }));
  square.addEventListener("click", (event) => pick("token", queryAt(/** @type {PointerEvent} */ (event))));

  // --- drawing ---

  /** One pixel for a query and a key, query downwards. @param {number} head */
  function paint(head) {
    const hex = getComputedStyle(frame).getPropertyValue(tint(head));
    const rgb = (hex.match(/[\da-f]{2}/gi) || []).map((part) => Number.parseInt(part, 16));
    const image = new ImageData(n, n);
    for (let query = 0; query < n; query++)
      for (const [key, x] of looks(head, query).entries())
        image.data.set([...rgb, Math.round(255 * x)], 4 * (query * n + key));
    canvas.getContext("2d")?.putImageData(image, 0, 0);
  }

  /** A square whose area is the value; below zero it is hollow. @param {HTMLElement} element @param {number} value */
  function size(element, value) {
    element.style.setProperty("--side", Math.sqrt(Math.min(Math.abs(value), 1)).toFixed(3));
    element.classList.toggle("ex-less", value < 0);
  }

  function fillMap() {
    if (drawn === model.get("mode")) return;
    drawn = model.get("mode");
    const [mode, name, colour, words] = MODES[drawn];
    map.element.style.setProperty("--amount", `var(--ex-${colour})`);
    scale.style.setProperty("--amount", `var(--ex-${colour})`);
    for (const [i, button] of map.buttons.entries())
      size(/** @type {HTMLElement} */ (button.firstChild), heads[turned(i)][mode]);
    const rises = mode === "rise";
    const samples = (rises ? [...SAMPLES, -0.5] : SAMPLES).map((value) => {
      const sample = make("i", { "aria-hidden": "true" });
      size(sample, value);
      const words = rises ? `${signed(value, 1)}${value === 1 ? " or more" : ""}` : percent(value);
      return make("span", {}, sample, ` ${words}`);
    });
    scale.replaceChildren(...samples);
    meant.say(make("b", {}, name), `: ${words}.`);
  }

  function show() {
    const { head = model.get("head"), token = model.get("token") } = seen;
    const { name, kind, match, previous, first, rise } = heads[head];
    paint(head);
    frame.style.setProperty("--tint", `var(${tint(head)})`);
    const [role, mark] = ROLES[kind];
    title.replaceChildren(
      make("b", {}, `Head ${name} `, make("i", {}, mark)),
      make("span", {}, role),
      ...MODES.map(([mode, what]) => {
        const value = mode === "rise" ? signed(rise) : percent(heads[head][mode]);
        return make("span", {}, `${what} `, make("b", {}, value));
      }),
    );
    const row = looks(head, token);
    across.style.cssText = `top:${(100 * token) / n}%;width:${(100 * (token + 1)) / n}%;height:${100 / n}%`;
    for (const [i, button] of strip.buttons.entries()) {
      button.classList.toggle("ex-now", i === token);
      button.style.setProperty("--share", (row[i] || 0).toFixed(3));
    }
    const place = (/** @type {number} */ i) => [`${i}\u00a0`, code(tokens[i])];
    const ranked = [...row.entries()].sort((a, b) => b[1] - a[1]).filter(([, x], i) => i < 3 && x >= 0.02);
    said.say(
      make(
        "span",
        {},
        make("b", {}, `Head ${name}`),
        `${role ? `, ${role}` : ""}. On random tokens read twice ${percent(match)} of its attention goes to `,
        `what followed the same token before (${rank("match", head)} of ${heads.length}); zeroed, the loss there `,
        `${rise < 0 ? "falls" : "rises"} by ${Math.abs(rise).toFixed(2)} nats from ${loss.toFixed(2)} `,
        `(${rank("rise", head)}). `,
        `On text ${percent(previous)} goes to the token before (${rank("previous", head)}), `,
        `${percent(first)} to the first token (${rank("first", head)}).`,
      ),
      make(
        "span",
        {},
        make("b", {}, ...place(token)),
        " looks at: ",
        ...ranked.flatMap(([i, x], j) => [j ? ", " : "", ...place(i), `\u00a0${percent(x)}`]),
      ),
    );
  }

  function update() {
    seen = {};
    modes.pick(model.get("mode"));
    map.pick(turned(model.get("head")));
    strip.pick(model.get("token"));
    fillMap();
    show();
  }
  return keepDrawn(model, ["mode", "head", "token"], update, show);
}

export default { render };
