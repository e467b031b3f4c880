// Every head over a text: where it looks, who looks at a token, and what that does.
import {
  announcer,
  begin,
  choice,
  code,
  controls,
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
 * @typedef {{ name: string, kind: string, scores: [number, number] }} Head
 * @typedef {import("./kit.js").Packed} Packed
 * @typedef {{ name: string, tokens: string[], token: number, attention: Packed, length: Packed,
 *   effect: Packed[] }} Text
 * @typedef {(query: number, key: number) => number} Values
 */
/** @type {[mode: string, name: string][]} */
const MODES = [
  ["attention", "Attention"],
  ["value", "Value-weighted"],
  ["effect", "Effect on the next token"],
];
const UNITS = { attention: "attention", value: "attention \u00d7 length", effect: "added to the logit" };

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Head[]} */
  const heads = model.get("heads");
  /** @type {Text[]} */
  const texts = model.get("texts");
  /** @type {Map<number, (head: number, mode: string) => Values>} */
  const opened = new Map();
  /** @type {{ head?: number, token?: number, key?: number }} what the pointer or the focus is on */
  let seen = {};
  let drawn = "";
  const text = () => texts[model.get("text")];
  const pick = setter(model);
  const present = () => Math.min(model.get("token"), text().tokens.length - 1);
  const hover = (/** @type {typeof seen} */ change) => {
    seen = { ...seen, ...change };
    show();
  };

  /** What a mode says of a head, for a query and a key; a text is unpacked when it is first shown. */
  function values(/** @type {number} */ head, mode = model.get("mode")) {
    const number = model.get("text");
    let open = opened.get(number);
    if (!open) {
      const { tokens, attention, length, effect } = texts[number];
      const [n, pattern, lengths] = [tokens.length, unpack(attention), unpack(length)];
      const added = effect.map(unpack);
      open = (h, what) => (query, key) => {
        const at = (query * (query + 1)) / 2 + key;
        if (what === "effect") return query < n - 1 ? added[h][at] : 0;
        return pattern[(h * n * (n + 1)) / 2 + at] * (what === "value" ? lengths[h * n + key] : 1);
      };
      opened.set(number, open);
    }
    return open(head, mode);
  }

  function largest(/** @type {Values} */ value) {
    let most = 0;
    for (let q = 0; q < text().tokens.length; q++)
      for (let k = 0; k <= q; k++) most = Math.max(most, Math.abs(value(q, k)));
    return most || 1;
  }

  const tint = (/** @type {number} */ head) => (model.get("mode") === "effect" ? "red" : ROLES[heads[head].kind][2]);

  /** One pixel for a query and a key, query downwards. */
  function paint(/** @type {HTMLCanvasElement} */ canvas, /** @type {number} */ head, power = 1) {
    const n = text().tokens.length;
    const style = getComputedStyle(frame);
    const rgb = (/** @type {string} */ name) =>
      (style.getPropertyValue(`--ex-${name}`).match(/[\da-f]{2}/gi) || []).map((part) => parseInt(part, 16));
    const [more, less] = [rgb(tint(head)), rgb("blue")];
    const value = values(head);
    const most = largest(value);
    canvas.width = canvas.height = n;
    const image = new ImageData(n, n);
    for (let q = 0; q < n; q++) {
      for (let k = 0; k <= q; k++) {
        const x = value(q, k) / most;
        image.data.set([...(x < 0 ? less : more), Math.round(255 * Math.abs(x) ** power)], 4 * (q * n + k));
      }
    }
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    return most;
  }

  // --- the elements ---

  const small = heads.map(() => make("canvas", { "aria-hidden": "true" }));
  const gallery = row(
    "Heads",
    heads.map(({ name, kind }, i) => [
      small[i],
      make("span", {}, name, make("i", { "aria-hidden": "true" }, ` ${ROLES[kind][1]}`), unseen(` ${ROLES[kind][0]}`)),
    ]),
    { picked: model.get("head"), onShow: (head) => hover({ head }), onPick: (head) => pick("head", head) },
  );
  gallery.element.classList.add("ex-heads");
  gallery.element.style.setProperty("--columns", model.get("columns"));
  for (const [i, { kind }] of heads.entries()) {
    gallery.buttons[i].style.setProperty("--tint", `var(--ex-${ROLES[kind][2]})`);
  }

  const modes = row(
    "What is shown",
    MODES.map(([, name]) => [name]),
    { onPick: (i) => pick("mode", MODES[i][0]) },
  );
  /** @type {[string, string][]} */
  const names = texts.map(({ name }, i) => [String(i), name]);
  const chosen = choice("Text", names, String(model.get("text")), (i) => {
    model.set("token", texts[Number(i)].token);
    pick("text", Number(i));
  });

  const big = make("canvas", { "aria-hidden": "true" });
  const [across, down] = [make("div", { class: "ex-across" }), make("div", { class: "ex-down" })];
  const title = make("div", { class: "ex-title" });
  const square = make("div", { class: "ex-square" }, big, across, down, title);
  const pattern = make(
    "div",
    { class: "ex-pattern" },
    square,
    make("p", { class: "ex-axis" }, "\u2193 token that looks \u2003 \u2192 token looked at"),
  );
  const strip = make("div", { class: "ex-strip" });
  const said = announcer();
  const legend = Object.entries(ROLES).filter(([kind]) => kind && heads.some((head) => head.kind === kind));
  const frame = begin(
    el,
    controls("Text and picture", chosen, modes.element),
    gallery.element,
    make("p", { class: "ex-axis" }, legend.map(([, [name, mark]]) => `${mark} ${name}`).join(" \u2003 ")),
    make("div", { class: "ex-panel" }, pattern, make("div", { class: "ex-reading" }, strip, said.element)),
  );
  frame.classList.add("ex-attention");
  /** @type {ReturnType<typeof row>} */
  let tokens;

  /** @param {PointerEvent} event */
  const cell = ({ clientX, clientY }) => {
    const { left, top, width } = square.getBoundingClientRect();
    const [k, q] = [clientX - left, clientY - top].map((x) => Math.floor((x / width) * text().tokens.length));
    return k <= q && k >= 0 && q < text().tokens.length ? { token: q, key: k } : { token: undefined, key: undefined };
  };
  square.addEventListener("pointermove", (event) => hover(cell(event)));
  square.addEventListener("pointerleave", () => hover({ token: undefined, key: undefined }));
  square.addEventListener("click", (event) => {
    const { token } = cell(/** @type {PointerEvent} */ (event));
    if (token !== undefined) pick("token", token);
  });

  // --- drawing ---

  function lay() {
    tokens = row(
      "Tokens",
      text().tokens.map((token) => [code(token)]),
      {
        picked: present(),
        onShow: (token) => hover({ token, key: undefined }),
        onPick: (token) => pick("token", token),
      },
    );
    tokens.buttons.forEach((button, i) => {
      if (/\u21b5/.test(text().tokens[i])) button.after(make("span", { class: "ex-break" }));
    });
    strip.replaceChildren(tokens.element);
  }

  /** A number in the unit of the mode. */
  const words = (/** @type {number} */ x) =>
    ({ attention: percent(x), value: x.toFixed(1) })[/** @type {string} */ (model.get("mode"))] || signed(x, 1);

  /** The three largest of some, in words. @param {[position: number, value: number][]} these */
  function ranked(these, most = 0) {
    const sorted = these.filter(([, x]) => Math.abs(x) > most / 50).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    return sorted.slice(0, 3).flatMap(([i, x], j) => [j ? ", " : "", ...place(i), `\u00a0${words(x)}`]);
  }
  const place = (/** @type {number} */ i) => [`${i}\u00a0`, code(text().tokens[i])];

  function show() {
    const { token = present(), key, head = model.get("head") } = seen;
    const [n, value, effect] = [text().tokens.length, values(head), model.get("mode") === "effect"];
    const { name, kind, scores } = heads[head];
    const most = paint(big, head);
    frame.style.setProperty("--tint", `var(--ex-${tint(head)})`);
    title.replaceChildren(
      make("b", {}, `Head ${name} `, make("i", {}, ROLES[kind][1])),
      make("span", {}, ROLES[kind][0]),
      make("span", {}, `prefix matching ${scores[0].toFixed(2)}`),
      make("span", {}, `previous token ${scores[1].toFixed(2)}`),
      make("small", {}, UNITS[/** @type {keyof UNITS} */ (model.get("mode"))]),
      make("i", { class: effect ? "ex-scale ex-signed" : "ex-scale" }),
      make("small", { class: "ex-ends" }, ...[effect ? -most : 0, most].map((x) => make("span", {}, words(x)))),
    );
    const share = (/** @type {number} */ x) => `${(100 * x) / n}%`;
    across.style.cssText = `top:${share(token)};width:${share(token + 1)};height:${share(1)}`;
    const column = key ?? token;
    down.style.cssText = `left:${share(column)};top:${share(column)};height:${share(n - column)};width:${share(1)}`;

    /** @type {[number, number][]} */
    const from = Array.from({ length: token + 1 }, (_, k) => [k, value(token, k)]);
    /** @type {[number, number][]} */
    const by = Array.from({ length: n - 1 - token }, (_, i) => [token + 1 + i, value(token + 1 + i, token)]);
    tokens.buttons.forEach((button, i) => {
      const x = i <= token ? from[i][1] : by[i - token - 1][1];
      button.classList.toggle("ex-by", i > token);
      button.classList.toggle("ex-less", x < -most / 25);
      button.classList.toggle("ex-now", i === token);
      button.classList.toggle("ex-key", i === key);
      button.style.setProperty("--share", String(Math.min(Math.abs(x) / most, 1).toFixed(3)));
    });

    const next = token < n - 1 ? place(token + 1) : ["\u2013"];
    const sum = from.reduce((total, [, x]) => total + x, 0);
    const looks = ranked(key === undefined ? from : [[key, value(token, key)]]);
    const looked = ranked(by, most);
    said.say(
      make(
        "span",
        {},
        make("b", {}, ...place(token)),
        ...(effect ? [" \u2192 ", ...next] : []),
        ` \u00b7 head ${name}`,
      ),
      make(
        "span",
        {},
        effect ? "adds to what comes next: " : "looks at: ",
        ...looks,
        effect ? `; in all ${words(sum)}` : "",
      ),
      make("span", {}, effect ? "read from here, at: " : "is looked at by: ", ...(looked.length ? looked : ["\u2013"])),
    );
  }

  function update() {
    const now = `${model.get("text")} ${model.get("mode")}`;
    if (!drawn || drawn.split(" ")[0] !== now.split(" ")[0]) lay();
    if (drawn !== now) repaint();
    drawn = now;
    seen = {};
    tokens.pick(present());
    gallery.pick(model.get("head"));
    modes.pick(MODES.findIndex(([mode]) => mode === model.get("mode")));
    show();
  }
  function repaint() {
    for (const [head, canvas] of small.entries()) paint(canvas, head, 0.6); // so small, pale would be unseen
  }

  return keepDrawn(model, ["text", "head", "mode", "token"], update, () => {
    repaint();
    show();
  });
}

export default { render };
