// Induction heads as they form: loss, scores and a head's pattern, at one moment of training after another.
import {
  aloud,
  begin,
  choice,
  code,
  controls,
  draw,
  make,
  percent,
  row,
  setter,
  slider,
  toggle,
  unpack,
} from "./kit.js";
import { player } from "./player.js";

/**
 * Numbers over time: at `measured` and, of patterns, at `moments`, both in million tokens seen.
 * @typedef {{ name: string, previous: number[], prefix: number[], goal: string, pattern: any }} Head
 * @typedef {{ name: string, tokens: string[], measured: number[], loss: number[], inContext: number[], heads: Head[],
 *   best: number, moments: number[], steps: number[], successors: [number, number][] }} Run
 */
const [WIDTH, HEIGHT, LEFT, BASE] = [340, 72, 34, 64]; // of a chart; pixels
const LEVELS = 24; // shades of a pattern
// Milliseconds a moment; the second where motion is to be reduced.
const [PACE, CALM] = [450, 1500];

const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
const HELP = ["row: the token that it looks from", "column: the token that it looks at", "blue: how much"];

/** @param {number} value @param {number} digits */
const shown = (value, digits) => value.toFixed(digits).replace("-", "\u2212");

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {Run[]} */
  const runs = model.get("runs");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let run = runs[0];
  let head = run.heads[run.best];
  let [log, goals, query] = [true, true, 0];
  const set = setter(model);
  /** @type {Map<Head, Float32Array>} */
  const unpacked = new Map();
  const moment = () => Math.min(Math.max(Number(model.get("moment")) || 0, 0), run.moments.length - 1);
  const nearest = () => {
    const distances = run.measured.map((at) => Math.abs(at - run.moments[moment()]));
    return distances.indexOf(Math.min(...distances));
  };
  /** The chosen head's attention at this moment. @param {number} j @param {number} i */
  const attention = (j, i) => {
    const values = unpacked.get(head) || unpack(head.pattern);
    unpacked.set(head, values);
    const size = (run.tokens.length * (run.tokens.length + 1)) / 2;
    return values[moment() * size + (j * (j + 1)) / 2 + i];
  };

  // --- the elements ---

  /** @type {[title: string, kind: string, of: (run: Run, head: Head) => number[]][]} */
  const QUANTITIES = [
    ["loss (nats)", "", (run) => run.loss],
    ["previous-token score", "ex-previous", (_, head) => head.previous],
    ["prefix matching", "ex-induction", (_, head) => head.prefix],
    ["in-context score (nats)", "", (run) => run.inContext],
  ];
  const charts = QUANTITIES.map(([title, kind, of]) => {
    const value = make("strong");
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
    const element = make("div", { class: `ex-chart ${kind}` }, make("p", {}, make("span", {}, title), value), svg);
    return { of, value, svg, element, unit: kind !== "", now: draw("g") };
  });
  const axis = draw("svg", { viewBox: `0 0 ${WIDTH} 34`, "aria-hidden": "true" });
  const pattern = draw("svg", { class: "ex-pattern", "aria-hidden": "true" });
  const share = make("p", { class: "ex-share" });
  const strip = make("div", { class: "ex-strip" });
  const looks = make("p", { class: "ex-looks" });
  const said = make("p", { class: "ex-said" });
  const heads = make("span", { class: "ex-heads" });
  const play = player({
    at: moment,
    last: () => run.moments.length - 1,
    go: (i) => set("moment", i),
    pace: () => (still.matches ? CALM : PACE),
  });
  const time = make("span", { class: "ex-time" });

  const pickRun = choice(
    "Run",
    runs.map((each, i) => [String(i), each.name]),
    "0",
    (value) => set("run", Number(value)),
  );
  const top = controls(
    "What is shown",
    pickRun,
    heads,
    toggle("Log axis", log, (on) => {
      log = on;
      drawCharts();
    }),
    toggle("Where it should look", goals, (on) => {
      goals = on;
      drawPattern();
    }),
  );
  top.classList.add("ex-top");
  /** @type {HTMLInputElement | null} */
  let input = null;
  const bar = controls("Moment of training", play.button, time);
  const frame = begin(
    el,
    top,
    make(
      "div",
      { class: "ex-both" },
      make("div", {}, ...charts.map(({ element }) => element), axis),
      make("div", {}, pattern, share),
    ),
    bar,
    said,
    make("p", { class: "ex-hint" }, "Pick a token: where does the head look from there?"),
    strip,
    looks,
  );
  /** @type {ReturnType<typeof row>} */
  let tokens;

  // --- drawing ---

  /** @param {number} million */
  function x(million) {
    const [first, last] = [run.measured[1] / 2, run.measured[run.measured.length - 1]];
    const way = log ? Math.log(Math.max(million, first) / first) / Math.log(last / first) : million / last;
    return LEFT + 4 + way * (WIDTH - LEFT - 14);
  }

  /** A chart's range: 0 to 1 for scores, else what there is. @param {number[]} values @param {boolean} unit */
  function scale(values, unit) {
    const [low, high] = unit ? [0, 1] : [Math.min(0, ...values), Math.max(...values)];
    const [from, to] = unit || low < 0 ? [low, high] : [Math.floor(Math.min(...values)), Math.ceil(high)];
    const y = (/** @type {number} */ value) => BASE - ((value - from) / (to - from || 1)) * (BASE - 8);
    return { y, from, to };
  }

  function drawCharts() {
    for (const chart of charts) {
      const values = chart.of(run, head);
      const { y, from, to } = scale(values, chart.unit);
      const path = (/** @type {number[]} */ numbers) =>
        `M${numbers.map((value, i) => `${x(run.measured[i]).toFixed(1)},${y(value).toFixed(1)}`).join("L")}`;
      const end = (/** @type {Head} */ each) => chart.of(run, each).at(-1) ?? 0;
      const leader = chart.unit && run.heads.reduce((best, each) => (end(each) > end(best) ? each : best));
      const others = chart.unit ? run.heads.filter((other) => other !== head && other !== leader) : [];
      const zero = Math.max(from, Math.min(0, to));
      chart.svg.replaceChildren(
        draw("path", { class: "ex-base", d: `M${LEFT},${y(zero)}H${WIDTH - 6}` }),
        ...(zero > from ? [from, zero] : [from, to]).map((value) =>
          draw("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, shown(value, zero > from ? 1 : 0)),
        ),
        ...others.map((other) => draw("path", { class: "ex-other", d: path(chart.of(run, other)) })),
        draw("path", { class: "ex-line", d: path(values) }),
        ...(leader
          ? [
              draw("path", { class: "ex-leader", d: path(chart.of(run, leader)) }),
              draw(
                "text",
                {
                  class: "ex-name",
                  x: WIDTH - 6,
                  y: y(end(leader)) + (end(leader) > 0.8 ? 13 : -7),
                  "text-anchor": "end",
                },
                `head ${leader.name}`,
              ),
            ]
          : []),
        chart.now,
      );
    }
    const last = run.measured[run.measured.length - 1];
    const by = TICKS.find((tick) => last / tick <= 6) || last;
    const at = log
      ? [0, ...TICKS.filter((tick) => tick >= run.measured[1] && tick <= last)]
      : Array.from({ length: Math.floor(last / by) + 1 }, (_, i) => Number((i * by).toFixed(2)));
    axis.replaceChildren(
      ...at.map((value) => draw("text", { x: x(value), y: 12, "text-anchor": "middle" }, String(value))),
      draw("text", { x: WIDTH - 6, y: 28, "text-anchor": "end" }, "million tokens seen"),
    );
    drawNow();
  }

  function drawNow() {
    const at = nearest();
    for (const { of, value, now, unit } of charts) {
      const values = of(run, head);
      const { y } = scale(values, unit);
      const mark = x(run.moments[moment()]);
      now.replaceChildren(
        draw("path", { class: "ex-now", d: `M${mark},4V${BASE}` }),
        draw("circle", { cx: x(run.measured[at]), cy: y(values[at]), r: 4 }),
      );
      value.textContent = shown(values[at], 2);
    }
  }

  const cells = () =>
    head.goal === "successor" ? run.successors : run.tokens.slice(1).map((_, i) => /** @type {const} */ ([i + 1, i]));

  function drawPattern() {
    const n = run.tokens.length;
    pattern.setAttribute("viewBox", `-0.5 -0.5 ${n + 1} ${n + 1}`);
    const shades = Array.from({ length: LEVELS + 1 }, () => "");
    for (let j = 0; j < n; j++) {
      for (let i = 0; i <= j; i++) shades[Math.round(attention(j, i) * LEVELS)] += `M${i},${j}h1v1h-1z`;
    }
    pattern.replaceChildren(
      ...HELP.map((text, i) => draw("text", { x: n, y: 3 + 2.4 * i, "text-anchor": "end" }, text)),
      draw("path", { class: "ex-ground", d: `M0,0V${n}H${n}z` }),
      ...shades
        .map((d, level) => draw("path", { class: "ex-cell", d, "fill-opacity": (level / LEVELS).toFixed(2) }))
        .slice(1),
      draw("path", {
        class: "ex-goal",
        d: goals
          ? cells()
              .map(([j, i]) => `M${i + 0.1},${j + 0.1}h.8v.8h-.8z`)
              .join("")
          : "",
      }),
      draw("path", { class: "ex-query", d: `M-.3,${query}H${query + 1.3}v1H-.3z` }),
    );
    const rows = new Set(cells().map(([j]) => j)).size;
    const sum = cells().reduce((total, [j, i]) => total + attention(j, i), 0);
    const where = head.goal === "successor" ? "at what followed this token before" : "at the token before";
    share.replaceChildren(
      `Head ${head.name} should look ${where}: `,
      make("strong", {}, percent(sum / (rows || 1))),
      " of its attention does.",
    );
  }

  function drawQuery() {
    tokens.buttons.forEach((button, i) => {
      const weight = i <= query ? attention(query, i) : 0;
      button.style.setProperty("--ex-weight", `${Math.round(100 * weight)}`);
      button.classList.toggle("is-later", i > query);
    });
    const most = Array.from({ length: query + 1 }, (_, i) => i)
      .sort((a, b) => attention(query, b) - attention(query, a))
      .slice(0, 3);
    looks.replaceChildren(`From ${query} `, code(run.tokens[query]), " it looks most at ");
    most.forEach((i, place) => {
      looks.append(place ? ", " : "", `${i} `, code(run.tokens[i]), ` ${percent(attention(query, i))}`);
    });
    if (!play.playing()) aloud(looks); // a voice could not keep up
  }

  function show() {
    drawNow();
    drawPattern();
    const at = moment();
    if (input) {
      input.value = String(at);
      time.textContent = `${shown(run.moments[at], 2)} M tokens`;
      input.setAttribute("aria-valuetext", time.textContent);
      const [loss, previous, prefix, context] = charts.map(({ value }) => value.textContent);
      said.replaceChildren(
        `Step ${run.steps[at]}: loss ${loss}, previous-token ${previous}, prefix matching ${prefix}, ` +
          `in-context ${context}`,
        ` (measured at ${shown(run.measured[nearest()], 2)}\u00a0M).`,
      );
      if (!play.playing()) aloud(said);
    }
    drawQuery();
  }

  // --- choosing ---

  function takeHead() {
    drawCharts();
    show();
  }

  function takeRun() {
    play.pause();
    run = runs[Math.min(Math.max(Number(model.get("run")) || 0, 0), runs.length - 1)];
    head = run.heads[run.best];
    unpacked.clear();
    query = Math.max(0, ...run.successors.map(([j]) => j));
    /** @type {HTMLSelectElement} */ (pickRun.querySelector("select")).value = String(runs.indexOf(run));
    heads.replaceChildren(
      choice(
        "Head",
        run.heads.map(({ name }, i) => [String(i), i === run.best ? `${name} (best)` : name]),
        String(run.best),
        (value) => {
          head = run.heads[Number(value)];
          takeHead();
        },
      ),
    );
    const label = slider("Moment", { min: 0, max: run.moments.length - 1, step: 1, value: moment() }, play.byHand);
    label.querySelector(".ex-value")?.remove();
    input = label.querySelector("input");
    bar.replaceChildren(play.button, label, time);
    tokens = row(
      "Tokens of the text",
      run.tokens.map((token) => [code(token)]),
      {
        picked: query,
        onPick: (i) => {
          query = i;
          drawPattern();
          drawQuery();
        },
      },
    );
    strip.replaceChildren(tokens.element);
    takeHead();
  }

  frame.addEventListener("keydown", play.keys);
  model.on("change:moment", show);
  model.on("change:run", takeRun);
  takeRun();
  return () => {
    play.pause();
    model.off("change:moment", show);
    model.off("change:run", takeRun);
  };
}

export default { render };
