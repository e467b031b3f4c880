// A small model that trains in the page, in a worker: losses, scores and patterns as they change; and what it has
// become, in the views of the lab.
import { announcer, begin, choice, controls, draw, make, percent, slider, toggle } from "./kit.js";
import { apartView, LETTERS } from "./train/apart.js";

/**
 * @typedef {import("./train/task.js").Settings} Settings
 * @typedef {import("./train/worker.js").Moment} Moment
 */
const [WIDTH, HEIGHT, LEFT, BASE] = [240, 104, 30, 86]; // of a chart; pixels
const MOST = 400; // moments that are kept
const ROOM = 400; // steps that the charts have room for at first
const ENOUGH = 1500; // steps after which it pauses by itself
const CALM = 2000; // milliseconds between pictures where motion is to be reduced
/** @type {Record<string, [steps: number, wait: number]>} steps between two pictures, and milliseconds that it waits */
const PACES = { full: [10, 0], slow: [5, 300], slower: [1, 500] };

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Settings} */
  const usual = model.get("settings");
  /** @type {[name: string, change: Partial<Settings>][]} */
  const presets = model.get("presets");
  const threshold = model.get("turned");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let settings = { ...usual };
  /** @type {Worker | null} */
  let worker = null;
  let [number, pace, playing, asked, timer, drawn] = [0, "full", false, false, 0, 0];
  /** @type {Moment[]} */
  let history = [];
  /** @type {Moment | undefined} */
  let turned;
  let shown = 0; // which of them
  let given = ""; // the settings that are not the usual ones, as Python has them
  let sequence = { tokens: /** @type {number[]} */ ([]), length: 1 };
  // --- choosing ---

  const said = announcer();
  /** @param {Partial<Settings>} change */
  function choose(change) {
    settings = { ...settings, ...change };
    furnish();
    start();
    say(`${inWords()} It has not begun to learn.`);
  }
  const preset = choice(
    "Story",
    [...presets.map(([name], i) => /** @type {[string, string]} */ ([String(i), name])), ["own", "Your own"]],
    "0",
    (value) => {
      if (value === "own") before.open = true;
      else choose({ ...usual, seed: settings.seed, ...presets[Number(value)][1] });
    },
  );
  const seed = make("input", { type: "number", min: 0, max: 9999, step: 1, value: 0 });
  seed.addEventListener("change", () => {
    const value = Math.min(Math.max(Math.round(Number(seed.value)) || 0, 0), 9999);
    choose({ seed: value });
  });
  /**
   * @type {[name: string, options: [string, string][], get: (s: Settings) => string,
   *   set: (value: string) => Partial<Settings>][]}
   */
  const QUESTIONS = [
    [
      "Layers",
      [
        ["1", "1"],
        ["2", "2"],
      ],
      (s) => `${s.n_layers}`,
      (v) => ({ n_layers: Number(v) }),
    ],
    [
      "Heads",
      [
        ["1", "1"],
        ["2", "2"],
        ["4", "4"],
      ],
      (s) => `${s.n_heads}`,
      (v) => ({ n_heads: Number(v), d_head: (usual.n_heads * usual.d_head) / Number(v) }),
    ],
    [
      "Positions",
      [
        ["read", "on queries and keys"],
        ["stream", "in the stream"],
        ["none", "none"],
      ],
      (s) => s.positions,
      (v) => ({ positions: /** @type {Settings["positions"]} */ (v) }),
    ],
    [
      "Repeats of",
      [
        ["5-15", "5 to 15 letters"],
        ["5-8", "5 to 8 letters"],
        ["8-8", "always 8 letters"],
      ],
      (s) => `${s.shortest}-${s.longest}`,
      (v) => ({ shortest: Number(v.split("-")[0]), longest: Number(v.split("-")[1]) }),
    ],
    [
      "Optimiser",
      [
        ["adamw", "AdamW"],
        ["sgd", "gradient descent"],
      ],
      (s) => s.optimiser,
      (v) => ({ optimiser: /** @type {Settings["optimiser"]} */ (v) }),
    ],
    [
      "Rate",
      ["0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "1"].map((rate) => [rate, rate]),
      (s) => `${s.lr}`,
      (v) => ({ lr: Number(v) }),
    ],
  ];
  const questions = QUESTIONS.map(([name, options, get, set]) => ({
    get,
    label: choice(name, options, get(settings), (value) => choose(set(value))),
  }));
  const smeared = toggle("Smeared keys", false, (on) => choose({ smeared_keys: on }));
  const clamped = toggle("Give it a previous-token head", false, (on) => choose({ clamped: on }));
  const before = make(
    "details",
    { class: "tr-before" },
    make("summary", {}, "Change the model, its letters, or how it learns"),
    controls("What it has", ...questions.map(({ label }) => label), smeared, clamped),
  );

  /** Every control shows the settings. */
  function furnish() {
    const own = (/** @type {Partial<Settings>} */ change) =>
      JSON.stringify({ ...usual, ...change, seed: 0 }) === JSON.stringify({ ...settings, seed: 0 });
    const which = presets.findIndex(([, change]) => own(change));
    const select = (/** @type {Element} */ label) => /** @type {HTMLSelectElement} */ (label.querySelector("select"));
    select(preset).value = which < 0 ? "own" : String(which);
    for (const { get, label } of questions) select(label).value = get(settings);
    smeared.setAttribute("aria-pressed", String(settings.smeared_keys));
    clamped.setAttribute("aria-pressed", String(settings.clamped));
    seed.value = String(settings.seed);
    const changed = Object.entries(settings).filter(
      ([key, value]) => value !== usual[/** @type {keyof Settings} */ (key)],
    );
    given = changed
      .map(([key, value]) => {
        const words = value === true ? "True" : value === false ? "False" : JSON.stringify(value);
        return `${key}=${words}`;
      })
      .join(", ");
    python.textContent = inPython(ROOM);
  }
  const inPython = (/** @type {number} */ steps) => `train_on_repeats(RepeatsConfig(${given}), steps=${steps})`;

  function inWords() {
    const { n_layers, n_heads, smeared_keys, clamped, shortest, longest } = settings;
    return (
      `${n_layers === 1 ? "One layer" : "Two layers"} of ${n_heads} head${n_heads > 1 ? "s" : ""}` +
      `${smeared_keys ? ", keys smeared" : ""}${clamped ? `, head ${nameOf(0)} looks at the letter before` : ""}; ` +
      `${shortest === longest ? `always ${shortest}` : `${shortest} to ${longest}`} letters repeat.`
    );
  }

  // --- the elements ---

  const play = make("button", { type: "button", class: "tr-play" }, "Train");
  const step = make("button", { type: "button" }, "Step");
  const again = make("button", { type: "button" }, "Restart");
  const time = make("span", { class: "tr-time" });
  const moments = slider("Moment", { min: 0, max: 0, step: 1, value: 0 }, (value) => {
    shown = value;
    paint();
  });
  moments.querySelector(".ex-value")?.remove();
  const input = /** @type {HTMLInputElement} */ (moments.querySelector("input"));
  const bar = controls(
    "Training",
    preset,
    play,
    step,
    again,
    make("label", {}, "Seed", seed),
    choice(
      "Speed",
      [
        ["full", "full"],
        ["slow", "slow"],
        ["slower", "step by step"],
      ],
      pace,
      (value) => {
        pace = value;
      },
    ),
    moments,
    time,
  );

  /** @type {[title: string, lines: (m: Moment) => number[], unit: boolean][]} */
  const QUANTITIES = [
    ["Loss", (m) => [m.first, m.later], false],
    ["Looking one back, each head", (m) => m.previous, true],
    ["Prefix matching, each head", (m) => m.prefix, true],
  ];
  const charts = QUANTITIES.map(([title, lines, unit]) => {
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
    const value = make("strong");
    const element = make("div", { class: "tr-chart" }, make("p", {}, make("span", {}, title), value), svg);
    return { lines, unit, svg, value, element };
  });
  const heads = make("div", { class: "tr-heads" });
  const words = make("p", { class: "tr-sequence" });
  const composed = make("div", { class: "tr-composed" });
  const told = make("p", { class: "tr-told" });
  const python = make("code");
  const open = make("button", { type: "button" }, "Take it apart");
  const lab = apartView(model.get("roles"), (question) =>
    worker?.postMessage({ kind: "apart", run: number, ...question }),
  );
  const key = make(
    "p",
    { class: "tr-key" },
    make("span", { class: "tr-low" }, make("i"), "layer 0"),
    make("span", { class: "tr-high" }, make("i"), "layer 1"),
    make("span", {}, "a row: the letter that looks; strong: where it looks"),
    make("span", {}, "\u2190 looks one back"),
    make("span", {}, "\u21b7 matches"),
  );
  const frame = begin(
    el,
    bar,
    before,
    said.element,
    make("div", { class: "tr-charts" }, ...charts.map(({ element }) => element)),
    told,
    words,
    key,
    heads,
    composed,
    controls("Afterwards", open),
    lab.element,
    make("p", { class: "tr-python" }, "The same in Python: ", python),
  );
  frame.classList.add("tr");
  const root = /** @type {HTMLElement} */ (frame.closest(".course-explorable"));
  root.dataset.figure = "train_in_page";

  /** @type {{ canvas: HTMLCanvasElement, caption: HTMLElement }[]} */
  let cells = [];
  /** As the chapters and the lab call it. @param {number} i */
  const nameOf = (i) =>
    settings.n_layers > 1 ? `${Math.floor(i / settings.n_heads)}.${i % settings.n_heads}` : String(i);

  /** Places for this model's heads. */
  function furnishHeads() {
    const all = settings.n_layers * settings.n_heads;
    cells = Array.from({ length: all }, () => {
      const [canvas, caption] = [make("canvas", { role: "img" }), make("small")];
      return { canvas, caption };
    });
    heads.style.setProperty("--heads", String(settings.n_heads));
    heads.replaceChildren(
      ...cells.map(({ canvas, caption }) => make("figure", {}, canvas, make("figcaption", {}, caption))),
    );
  }

  // --- training ---

  /** @param {string} state @param {...string} more */
  function enter(state, ...more) {
    root.dataset.state = state;
    play.textContent = state === "running" ? "Pause" : "Train";
    if (more.length) say(...more);
  }
  const say = (/** @type {string[]} */ ...text) => said.say(text.join(" "));

  function hire() {
    const source = new Blob([model.get("worker")], { type: "text/javascript" });
    const address = URL.createObjectURL(source);
    const mine = new Worker(address);
    mine.addEventListener("message", () => URL.revokeObjectURL(address), { once: true }); // it has been read
    mine.addEventListener("message", ({ data }) => worker === mine && data.run === number && hear(data));
    mine.addEventListener("error", ({ message }) => worker === mine && fail(message));
    return mine;
  }

  /** @param {string} why */
  function fail(why) {
    worker?.terminate();
    worker = null;
    playing = false;
    asked = false;
    enter(
      "failed",
      `What trains beside the page has stopped (${why || "the browser does not say why"}).`,
      "Restart begins anew.",
    );
  }

  /** From random weights. */
  function start() {
    clearTimeout(timer);
    [playing, asked, shown, history, turned] = [false, true, 0, [], undefined];
    number++;
    lab.close();
    furnishHeads();
    enter("ready");
    try {
      worker ??= hire();
      worker.postMessage({ kind: "start", run: number, settings });
    } catch (error) {
      fail(String(error));
    }
  }

  /** @param {number} steps */
  function train(steps) {
    if (asked || !worker) return;
    lab.close();
    asked = true;
    worker.postMessage({ kind: "train", run: number, steps });
  }

  /** @param {string} [why] */
  function pause(why) {
    clearTimeout(timer);
    playing = false;
    enter("paused", why ?? `Paused at step ${history.at(-1)?.step ?? 0}.`);
    paint();
  }

  function go() {
    if (root.dataset.state === "failed" || root.dataset.state === "diverged") start();
    playing = true;
    enter("running", `${inWords()} It trains.`);
    shown = Math.max(history.length - 1, 0);
    train(PACES[pace][0]);
  }

  /** @param {any} data */
  function hear({ kind, run: _, tokens, length, ...found }) {
    if (kind === "apart") return lab.show({ tokens, ...found }) && tellCut(found);
    asked = false;
    if (tokens) sequence = { tokens, length };
    const follows = shown >= history.length - 1;
    /** @type {Moment} */
    const now = found;
    history.push(now);
    if (history.length > MOST) {
      const last = history.length - 1;
      history = history.filter((each, i) => i % 2 === 0 || each === turned || i === last);
    }
    shown = follows || playing ? history.length - 1 : Math.min(shown, history.length - 1);
    const best = Math.max(...now.prefix);
    Object.assign(root.dataset, { step: now.step, loss: now.loss.toFixed(4), prefix: best.toFixed(4) });
    if (!(now.loss < 5 * Math.log(settings.d_vocab))) {
      playing = false;
      enter(
        "diverged",
        `At step ${now.step} the loss ran away: the rate is too high. Choose a lower one, or press Restart.`,
      );
    } else if (!turned && best >= threshold) {
      turned = now;
      const which = nameOf(now.prefix.indexOf(best));
      say(
        `Step ${now.step}: it has turned. Head ${which} finds what followed its letter before, ` +
          `with ${percent(best)} of its attention. Pause, and take it apart.`,
      );
    }
    if (playing && now.step % ENOUGH === 0 && now.step > 0) {
      pause(`${now.step} steps: ${turned ? `it turned at step ${turned.step}` : "it has not turned"}. Train goes on.`);
    } else if (playing) timer = window.setTimeout(() => playing && train(PACES[pace][0]), PACES[pace][1]);
    if (!playing || !still.matches || performance.now() - drawn > CALM) paint();
  }
  open.addEventListener("click", () => {
    const now = history.at(-1);
    if (!now) return;
    if (playing) pause();
    shown = history.length - 1;
    paint();
    lab.open(settings, now, sequence.tokens);
    lab.element.querySelector("input")?.focus();
  });

  /** @param {{ first: number, later: number, prefix: number[] }} cut */
  function tellCut(cut) {
    const now = history[history.length - 1];
    const [was, is] = [Math.max(...now.prefix), Math.max(...cut.prefix)];
    said.say(
      `Cut like this: loss on later copies ${cut.later.toFixed(2)} (whole: ${now.whole[1].toFixed(2)}), on the first ` +
        `${cut.first.toFixed(2)} (${now.whole[0].toFixed(2)}); ` +
        `best prefix matching ${is.toFixed(2)} (${was.toFixed(2)}).`,
    );
  }

  // --- drawing ---

  const kindOf = (/** @type {boolean} */ unit, /** @type {number} */ i) =>
    unit ? (i < settings.n_heads ? "tr-low" : "tr-high") : i ? "tr-later" : "tr-first";

  function paint() {
    drawn = performance.now();
    const now = history[shown];
    if (!now) return;
    input.max = String(history.length - 1);
    input.value = String(shown);
    time.textContent = `step ${now.step}`;
    input.setAttribute("aria-valuetext", time.textContent);
    const end = Math.max(ROOM, history[history.length - 1].step);
    python.textContent = inPython(end);
    const x = (/** @type {number} */ at) => LEFT + 4 + (at / end) * (WIDTH - LEFT - 12);
    for (const { lines, unit, svg, value } of charts) {
      const most = unit ? 1 : Math.ceil(Math.log(settings.d_vocab) + 0.3);
      const y = (/** @type {number} */ v) => BASE - (Math.min(v, most) / most) * (BASE - 8);
      const current = lines(now);
      const marks = turned ? [draw("path", { class: "tr-turned", d: `M${x(turned.step)},4V${BASE}` })] : [];
      svg.replaceChildren(
        draw("path", { class: "tr-base", d: `M${LEFT},${BASE}H${WIDTH - 6}` }),
        draw("text", { x: LEFT - 4, y: BASE + 4, "text-anchor": "end" }, "0"),
        draw("text", { x: LEFT - 4, y: 14, "text-anchor": "end" }, String(most)),
        draw("text", { x: WIDTH - 6, y: BASE + 15, "text-anchor": "end" }, `${end} steps`),
        ...marks,
        ...current.map((_, i) =>
          draw("path", {
            class: `tr-line ${kindOf(unit, i)}`,
            d: `M${history.map((each) => `${x(each.step).toFixed(1)},${y(lines(each)[i]).toFixed(1)}`).join("L")}`,
          }),
        ),
        ...current.map((v, i) =>
          draw("circle", { class: `tr-dot ${kindOf(unit, i)}`, cx: x(now.step), cy: y(v), r: 2.5 }),
        ),
        draw("path", { class: "tr-now", d: `M${x(now.step)},4V${BASE}` }),
      );
      const best = current.indexOf(Math.max(...current));
      if (unit) value.textContent = `${nameOf(best)}: ${current[best].toFixed(2)}`;
      else
        value.replaceChildren(
          make("span", { class: "tr-first" }, `first copy ${current[0].toFixed(2)}`),
          ", ",
          make("span", { class: "tr-later" }, `later ${current[1].toFixed(2)}`),
        );
    }
    paintHeads(now);
    paintComposition(now);
    told.textContent =
      settings.shortest === settings.longest
        ? `On sequences of its one length the best prefix matching is ${Math.max(...now.own).toFixed(2)}, ` +
          `on fresh ones of any length ${Math.max(...now.prefix).toFixed(2)}.`
        : "";
  }

  /** @param {Moment} now */
  function paintHeads(now) {
    const n = settings.n_ctx;
    const { tokens, length } = sequence;
    const letters = tokens.map((token) => LETTERS[token] ?? "?");
    words.replaceChildren(
      "On the sequence ",
      make("code", {}, letters.slice(0, 1 + length).join(" ")),
      " | ",
      make("code", {}, letters.slice(1 + length).join(" ")),
      ":",
    );
    const { patterns, previous, prefix } = now;
    const style = getComputedStyle(root);
    for (const [i, { canvas, caption }] of cells.entries()) {
      const hex = style.getPropertyValue(i < settings.n_heads ? "--ex-blue" : "--ex-purple");
      const colour = (hex.match(/[\da-f]{2}/gi) || []).map((part) => Number.parseInt(part, 16));
      canvas.width = canvas.height = n;
      const image = new ImageData(n, n);
      for (let j = 0; j < n * n; j++) {
        image.data.set(colour, 4 * j);
        image.data[4 * j + 3] = Math.round(255 * (patterns[i * n * n + j] / 255) ** 0.6);
      }
      canvas.getContext("2d")?.putImageData(image, 0, 0);
      const scores = `one back ${previous[i].toFixed(2)}, matches ${prefix[i].toFixed(2)}`;
      canvas.setAttribute("aria-label", `Pattern of head ${nameOf(i)}: ${scores}`);
      caption.replaceChildren(
        make("b", {}, nameOf(i)),
        ` \u2190${previous[i].toFixed(2)} \u21b7${prefix[i].toFixed(2)}`,
      );
    }
  }

  /** @param {Moment} now */
  function paintComposition(now) {
    const H = settings.n_heads;
    if (settings.n_layers < 2) {
      composed.replaceChildren(make("p", {}, "One layer: no head can read what another wrote."));
      return;
    }
    const chance = (usual.n_heads * usual.d_head) ** -0.5;
    const names = (/** @type {number} */ layer) => Array.from({ length: H }, (_, h) => `${layer}.${h}`);
    const head = make(
      "tr",
      {},
      make("th", { scope: "col" }, "from \\ to"),
      ...names(1).map((name) => make("th", { scope: "col" }, name)),
    );
    const rows = names(0).map((name, a) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, name),
        ...names(1).map((_, b) => {
          const score = now.composition[a * H + b];
          const share = Math.max(0, Math.min(1, (score - chance) / 0.5));
          return make("td", { style: `--share: ${share.toFixed(2)}` }, score.toFixed(2));
        }),
      ),
    );
    const caption = make(
      "caption",
      {},
      `K-composition: keys of layer 1 and what layer 0 writes (strangers: about ${chance.toFixed(2)})`,
    );
    composed.replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  // --- buttons ---

  play.addEventListener("click", () => (playing ? pause() : go()));
  step.addEventListener("click", () => {
    if (playing) pause();
    if (root.dataset.state === "failed" || root.dataset.state === "diverged") return start();
    enter("paused");
    shown = Math.max(history.length - 1, 0);
    train(1);
  });
  again.addEventListener("click", () => {
    start();
    say("Random weights again.");
  });
  const hide = () => document.hidden && playing && pause("Paused, since the page is hidden.");
  document.addEventListener("visibilitychange", hide);
  const theme = new MutationObserver(paint);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  furnish();
  start();
  said.element.textContent = `${inWords()} It has not begun to learn: press Train.`;
  return () => {
    clearTimeout(timer);
    worker?.terminate();
    worker = null;
    theme.disconnect();
    document.removeEventListener("visibilitychange", hide);
  };
}

export default { render };
