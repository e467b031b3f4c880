// An induction head at work, step by step.
import { aloud, begin, code, draw, make, percent, setter, unseen } from "./kit.js";
import { player } from "./player.js";

/**
 * @typedef {object} Step
 * @property {number} at position of the present token
 * @property {[number, number][]} look keys that the induction head looks at, and their weights
 * @property {[number, number, number][]} carried position, that whose token its key has, weight
 * @property {number[]} same earlier positions that hold the present token
 * @property {string} copied the token whose logit rose most
 * @property {boolean} right whether that is the next token
 * @property {string} caption
 */
const SPEEDS = [
  ["slow", 5000],
  ["normal", 3000],
  ["fast", 1200],
]; // milliseconds a step
const CORNER = 5; // pixels

/**
 * A path through points, with round corners.
 * @param {[number, number][]} points
 */
function rounded(points) {
  const [first, ...rest] = points;
  let path = `M${first}`;
  rest.forEach((corner, i) => {
    const [before, after] = [points[i], rest[i + 1]];
    if (!after) {
      path += `L${corner}`;
      return;
    }
    const toward = (/** @type {[number, number]} */ [x, y]) => {
      const [dx, dy] = [x - corner[0], y - corner[1]];
      const length = Math.hypot(dx, dy) || 1;
      const share = Math.min(CORNER, length / 2) / length;
      return [corner[0] + dx * share, corner[1] + dy * share];
    };
    path += `L${toward(before)}Q${corner} ${toward(after)}`;
  });
  return path;
}

/**
 * What a step says in words; also the place that it needs.
 * @param {Step} step
 * @param {number} number
 * @param {number} of
 * @param {string[]} tokens
 */
function panel(step, number, of, tokens) {
  const verdict = step.right ? "\u2713 right" : "\u2717 not what comes next";
  return [
    make(
      "p",
      { class: "ex-step" },
      `Step ${number + 1} of ${of}. At ${step.at} `,
      code(tokens[step.at]),
      " the logit of ",
      code(step.copied),
      ` rises most: ${verdict}.`,
    ),
    make("p", { class: "ex-caption" }, step.caption),
  ];
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {string[]} */
  const tokens = model.get("tokens");
  /** @type {Step[]} */
  const steps = model.get("steps");
  const last = steps.length - 1;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const set = setter(model);
  const present = () => Math.min(Math.max(Number(model.get("step")) || 0, 0), last);

  // --- the elements ---

  const boxes = tokens.map((token) => make("li", {}, code(token)));
  const svg = draw("svg", { "aria-hidden": "true" });
  const list = make("ol", { class: "ex-tokens", role: "list" }, ...boxes);
  const stage = make(
    "div",
    {
      class: "ex-stage",
      role: "group",
      tabindex: "-1", // a click brings the arrow keys here
      "aria-label": "Tokens of the text. Left and right arrow keys step.",
    },
    list,
    svg,
  );

  const play = player({
    at: present,
    last: () => last,
    go: (i) => {
      stage.classList.toggle("is-moving", !still.matches);
      set("step", i);
    },
    pace: () => Number(speed.value),
  });
  const back = make("button", { type: "button" }, "Back");
  const forward = make("button", { type: "button" }, "Forward");
  const slider = make("input", { type: "range", min: 1, max: steps.length, step: 1 });
  const speed = make("select");
  for (const [name, time] of SPEEDS) {
    speed.append(make("option", { value: String(time) }, String(name)));
  }
  speed.value = String(SPEEDS[1][1]);
  const controls = make(
    "div",
    { class: "ex-controls", role: "group", "aria-label": "Steps" },
    play.button,
    back,
    forward,
    make("label", { class: "ex-wide" }, "Step", slider),
    make("label", {}, "Speed", speed),
  );

  const words = make("div", { class: "ex-now" });
  const places = steps.map((step, i) =>
    make("div", { "aria-hidden": "true" }, ...panel(step, i, steps.length, tokens)),
  );
  const legend = make("ul", { class: "ex-legend" });
  for (const [mark, text] of [
    ["is-present", "now: the present token"],
    ["is-same", "the same token, earlier"],
    ["ex-look", "the induction head looks here, with this weight"],
    ["ex-carried", "\u2190 n: the previous-token head has put token n here, with this weight"],
    ["is-copied", "copied: its logit rises most"],
  ])
    legend.append(make("li", {}, make("i", { class: mark }), make("span", {}, text)));
  const frame = begin(el, stage, controls, make("div", { class: "ex-panels" }, words, ...places), legend);

  // --- drawing ---

  function drawMarks() {
    const step = steps[present()];
    const looked = new Map(step.look);
    boxes.forEach((box, i) => {
      const later = i > step.at;
      const place = looked.has(i) || (step.right && i === step.at + 1);
      const copied = place && tokens[i] === step.copied;
      const same = step.same.includes(i);
      box.className = Object.entries({
        "is-present": i === step.at,
        "is-same": same,
        "is-later": later,
        "is-copied": copied,
      })
        .filter(([, holds]) => holds)
        .map(([name]) => name)
        .join(" ");
      const said = { [step.at]: " now", [step.at + 1]: unseen(" next") }[i] || (same ? unseen(" same") : "");
      const marks = make("span", { class: "ex-marks" }, make("span", { class: "ex-index" }, String(i), said));
      const weight = looked.get(i);
      if (weight !== undefined) {
        const shown = percent(weight);
        marks.append(make("span", { class: "ex-mark ex-look" }, unseen("looked at: "), shown));
      }
      for (const [position, from, share] of step.carried) {
        if (position === i) {
          marks.append(
            make(
              "span",
              { class: "ex-mark ex-carried" },
              unseen("carries token "),
              `\u2190\u2009${from} ${percent(share)}`,
            ),
          );
        }
      }
      box.replaceChildren(box.firstChild || "", marks);
    });
  }

  /** Lines run in the gaps between the boxes, and are drawn anew when these move. */
  function drawLines() {
    const step = steps[present()];
    svg.replaceChildren();
    const gap = parseFloat(getComputedStyle(list).columnGap) || 10;
    const of = (/** @type {number} */ i) => {
      const { offsetLeft: left, offsetTop: top, offsetWidth: width } = boxes[i];
      const height = boxes[i].offsetHeight;
      return { left, top, right: left + width, bottom: top + height, x: left + width / 2 };
    };
    /**
     * @param {string} name
     * @param {[number, number][]} points
     * @param {number} weight
     */
    const line = (name, points, weight) => {
      const [[, y], [x, end]] = [points[points.length - 2], points[points.length - 1]];
      const size = y < end ? -6 : 6;
      const head = `M${x},${end}l-4,${size}h8z`;
      points[points.length - 1] = [x, end + size / 2];
      for (const [path, kind] of [
        [rounded(points), ""],
        [head, " ex-head"],
      ]) {
        svg.append(draw("path", { class: name + kind, d: path, "stroke-width": 1 + 2.5 * weight }));
      }
    };
    step.carried.forEach(([position, from, weight], i) => {
      if (position === from) return;
      const [start, end, y] = [of(from), of(position), 8 + (i % 2) * 2];
      const side = end.left - gap / 2;
      const [leave, arrive] = [start.bottom + y, end.bottom + y];
      const around =
        start.top === end.top
          ? []
          : [
              [side, leave],
              [side, arrive],
            ];
      line(
        "ex-carried",
        /** @type {[number, number][]} */ ([
          [start.x + 6, start.bottom],
          [start.x + 6, leave],
          ...around,
          [end.x - 6, arrive],
          [end.x - 6, end.bottom],
        ]),
        weight,
      );
    });
    step.look.forEach(([key, weight], i) => {
      if (key === step.at) return;
      const [start, end, y] = [of(step.at), of(key), 9 + (i % 3) * 2.5];
      const side = start.x > end.x ? end.right + gap / 2 : end.left - gap / 2;
      const around =
        start.top === end.top
          ? []
          : [
              [side, start.top - y],
              [side, end.top - y],
            ];
      const x = start.x - 4 * (i % 3);
      line(
        "ex-look",
        /** @type {[number, number][]} */ ([
          [x, start.top],
          [x, start.top - y],
          ...around,
          [end.x, end.top - y],
          [end.x, end.top],
        ]),
        weight,
      );
    });
  }

  function show() {
    const i = present();
    words.replaceChildren(...panel(steps[i], i, steps.length, tokens));
    if (!play.playing()) aloud(words); // a voice that reads would never catch up
    slider.value = String(i + 1);
    const said = `${i + 1} of ${steps.length}: ${steps[i].at} ${tokens[steps[i].at]}`;
    slider.setAttribute("aria-valuetext", said);
    back.setAttribute("aria-disabled", String(i === 0));
    forward.setAttribute("aria-disabled", String(i === last));
    drawMarks();
    drawLines();
  }

  speed.addEventListener("change", play.hurry);
  back.addEventListener("click", () => play.byHand(present() - 1));
  forward.addEventListener("click", () => play.byHand(present() + 1));
  slider.addEventListener("input", () => play.byHand(Number(slider.value) - 1));
  frame.addEventListener("keydown", play.keys);

  model.on("change:step", show);
  const watch = new ResizeObserver(() => {
    stage.classList.remove("is-moving");
    drawLines();
  });
  watch.observe(stage);
  show();
  return () => {
    play.pause();
    watch.disconnect();
    model.off("change:step", show);
  };
}

export default { render };
