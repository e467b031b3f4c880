// What moves in a population of small models when an assumption is put back: a dot a seed, by one headline at a time.
import { announcer, begin, controls, keepDrawn, make, row, setter, unseen } from "./kit.js";

/**
 * Of a kind: a value a seed, null where it has none; mean and interval of the others.
 * @typedef {{ seeds: (number | null)[], mean: number | null, low: number | null, high: number | null }} Row
 * @typedef {{ name: string, colour: string, kinds: Row[] }} Mark
 * @typedef {{ name: string, meaning: string, marks: Mark[], low: number, high: number, ticks: number[], log: boolean,
 *   line: number | null, counted: string, never: string, digits: [one: number, mean: number] }} Headline
 */
const ROOM = 0.86; // of an axis on which seeds without a value have a place of their own, behind

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {{ name: string, optimiser: string }[]} */
  const kinds = model.get("kinds");
  /** @type {Headline[]} */
  const headlines = model.get("headlines");
  const base = kinds.findIndex(({ name }) => name === "plain");
  let shown = headlines[0];
  let drawn = -1;
  const pick = setter(model);

  // --- places and shapes ---

  /** From 0 to 1 along the axis. @param {number | null} value @param {number} [j] the mark's number */
  function along(value, j = 0) {
    const { low, high, log, never, marks } = shown;
    if (value === null) return (1 + ROOM) / 2 + 0.04 * (j + (1 - marks.length) / 2) + 0.02;
    const way = log ? Math.log(value / low) / Math.log(high / low || 1) : (value - low) / (high - low || 1);
    return Math.min(Math.max(way, 0), 1) * (never ? ROOM : 1);
  }
  /** @param {string} kind @param {number} at @param {number} [lane] */
  function sign(kind, at, lane) {
    const element = make("i", { class: kind });
    element.style.left = `${(100 * at).toFixed(2)}%`;
    if (lane !== undefined) element.style.setProperty("--lane", String(lane));
    return element;
  }
  /** @param {number} j @param {string} optimiser */
  const dot = (j, optimiser) => {
    const shape = shown.marks.length > 1 ? ["triangle", "ring"][j] : optimiser === "adamw" ? "diamond" : "disc";
    return `ex-dot ex-${shape} ex-${shown.marks[j].colour}`;
  };

  // --- the elements ---

  const choose = row(
    "Headlines",
    headlines.map(({ name }) => [name]),
    { onPick: (i) => pick("headline", i) },
  );
  const meaning = announcer(make("p", { class: "ex-meaning" }));
  const tracks = kinds.map(() => make("span", { class: "ex-track", "aria-hidden": "true" }));
  const rows = row(
    "Kinds of model",
    kinds.map(({ name }, k) => [make("span", {}, name), tracks[k]]),
    { onShow: (k) => tell(k), onPick: (k) => pick("kind", k) },
  );
  const lanes = Math.max(...shown.marks[0].kinds.map(({ seeds }) => seeds.length));
  rows.element.classList.add("ex-kinds");
  rows.element.style.setProperty("--lanes", String(lanes + 2));
  rows.buttons[kinds.findIndex(({ optimiser }) => optimiser === "adamw")]?.classList.add("ex-apart");
  const axis = make("p", { class: "ex-axis", "aria-hidden": "true" });
  const key = make("p", { class: "ex-key" });
  const said = announcer(make("div", { class: "ex-said" }));
  begin(
    el,
    controls("What is shown", choose.element),
    meaning.element,
    rows.element,
    axis,
    key,
    said.element,
  ).classList.add("ex-population");

  // --- drawing ---

  /** @param {number} k */
  function drawTrack(k) {
    const { marks, ticks, line, never } = shown;
    const signs = ticks.map((tick) => sign("ex-tick", along(tick)));
    if (never) signs.push(sign("ex-end", ROOM + 0.03));
    if (line !== null) signs.push(sign("ex-line", along(line)));
    for (const { kinds: of } of marks) {
      const mean = of[base]?.mean ?? null;
      if (mean !== null) signs.push(sign("ex-plain", along(mean)));
    }
    for (const [j, { kinds: of, colour }] of marks.entries()) {
      const { seeds, mean, low, high } = of[k];
      const lane = lanes + 0.5 + 0.9 * j;
      if (low !== null && high !== null) {
        const bar = sign(`ex-bar ex-${colour}`, along(low), lane);
        bar.style.width = `${(100 * (along(high) - along(low))).toFixed(2)}%`;
        signs.push(bar);
      }
      if (mean !== null) signs.push(sign(`ex-mean ex-${colour}`, along(mean), lane));
      for (const [seed, value] of seeds.entries()) signs.push(sign(dot(j, kinds[k].optimiser), along(value, j), seed));
    }
    tracks[k].replaceChildren(...signs);
  }

  function drawAll() {
    const { name, meaning: words, ticks, never, line, marks } = shown;
    meaning.say(make("b", {}, `${name[0].toUpperCase()}${name.slice(1)}.`), ` ${words}`);
    for (const k of kinds.keys()) drawTrack(k);
    const labels = ticks.map((tick) => {
      const label = sign("ex-label", along(tick));
      label.append(String(tick).replace("-", "\u2212"));
      return label;
    });
    if (never) {
      labels.push(sign("ex-label", along(null, (marks.length - 1) / 2)));
      labels[labels.length - 1].append(never);
    }
    axis.replaceChildren(...labels);
    const one = marks.length === 1;
    const samples = marks.flatMap(({ name: what }, j) =>
      [...new Set(kinds.map(({ optimiser }) => dot(j, optimiser)))].map((look) => [
        look,
        one ? `${what}, ${look.includes("diamond") ? "AdamW" : "Muon"}` : what,
      ]),
    );
    samples.push(["ex-sample", "mean and its 95\u00a0% interval"]);
    if (base >= 0) samples.push(["ex-plain", "mean of plain"]);
    if (line !== null) samples.push(["ex-line", `from ${line} on`]);
    key.replaceChildren(
      ...samples.map(([look, what]) => make("span", {}, make("i", { class: look, "aria-hidden": "true" }), what)),
    );
  }

  // --- words ---

  /** @param {number | null} value @param {number} digits */
  const written = (value, digits) => (value === null ? shown.never : value.toFixed(digits).replace("-", "\u2212"));

  /** @param {number} k */
  function tell(k) {
    const { name, marks, digits, counted, line } = shown;
    const parts = marks.flatMap(({ name: what, kinds: of }, j) => {
      const { seeds, mean, low, high } = of[k];
      const least = line ?? Number.NEGATIVE_INFINITY;
      const some = seeds.filter((value) => value !== null && value >= least).length;
      const words = [counted && `${some} of ${seeds.length} seeds ${counted}`];
      if (mean !== null) words.push(`mean\u00a0${written(mean, digits[1])}`);
      if (low !== null) words.push(`95\u00a0% interval ${written(low, digits[1])} to ${written(high, digits[1])}`);
      const sample = make("i", { class: dot(j, kinds[k].optimiser), "aria-hidden": "true" });
      const before = marks.length > 1 ? [sample, `${what}: `] : [];
      const each = seeds.map((value, seed) => make("li", {}, unseen(`seed ${seed}: `), written(value, digits[0])));
      return [make("p", {}, ...before, words.filter(Boolean).join(", ")), make("ul", {}, ...each)];
    });
    said.say(make("p", {}, make("b", {}, kinds[k].name), `: ${name}`), ...parts);
  }

  function update() {
    shown = headlines[model.get("headline")];
    choose.pick(model.get("headline"));
    rows.pick(model.get("kind"));
    if (drawn !== model.get("headline")) drawAll();
    drawn = model.get("headline");
    tell(model.get("kind"));
  }
  return keepDrawn(model, ["headline", "kind"], update, () => {});
}

export default { render };
