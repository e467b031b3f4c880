// The loss as it goes down term by term; each step opens to what is inside.
import { announcer, begin, choice, controls, make, row, signed, toggle } from "./kit.js";

const STEPS = ["direct path", "single heads", "virtual heads"];
const MOST = 7; // virtual heads in the list

/** @param {Record<string, string>} values @param {HTMLElement} element */
function style(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(name, value);
  return element;
}

/** As the paper writes it. @param {number} x */
const exact = (x) => (Number.isInteger(x) ? x.toFixed(1) : String(x));

/** @param {number} share */
const per = (share) => `${(100 * share).toFixed(2)}%`;

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {number[]} */
  const losses = model.get("losses");
  /** @type {number[]} */
  const other = [losses[0], ...model.get("other")];
  /** @type {{ falls: number[], alone: number[], beside: number[] }} */
  const paper = model.get("paper");
  /** @type {{ alone: number[], beside: number[] }} */
  const layers = model.get("layers");
  /** @type {{ direct: number[][], real: number[][] }} */
  const heads = model.get("heads");
  /** @type {number[][]} */
  const virtual = model.get("virtual");
  /** @type {boolean[][]} */
  const constant = model.get("constant");
  const n = virtual.length;
  const counts = [1, 2 * n, n * n];
  const longest = Math.max(...losses, ...other);
  let beside = "";

  // --- the steps ---

  /** @param {string} kind @param {number} from @param {number} to */
  const bar = (kind, from, to) => {
    const [low, high] = [Math.max(0, Math.min(from, to)), Math.max(from, to)];
    const place = { "--from": per(low / longest), "--size": per((high - low) / longest) };
    return style(make("i", { class: kind }), place);
  };
  /** @param {number} k */
  const compared = (k) => {
    if (beside === "paper") return { from: losses[k], to: losses[k] - paper.falls[k], says: "the paper" };
    return { from: other[k], to: other[k + 1], says: "other patterns" };
  };
  const tracks = STEPS.map(() => make("span", { class: "ex-track" }));
  const numbers = STEPS.map(() => make("span", { class: "ex-fall" }));
  const steps = row(
    "Steps of the loss: open one",
    STEPS.map((name, k) => [
      make("span", {}, make("b", {}, name), ` ${counts[k]} ${counts[k] === 1 ? "term" : "terms"}`),
      tracks[k],
      numbers[k],
    ]),
    { picked: 1, onPick: open },
  );
  steps.element.classList.add("ex-steps");
  const axis = make("div", { class: "ex-axis", "aria-hidden": "true" });
  for (let at = 0; at <= longest; at += 2) {
    axis.append(style(make("span", {}, at ? `${at}` : "0 nats"), { "--from": per(at / longest) }));
  }

  function drawSteps() {
    STEPS.forEach((_, k) => {
      const marks = [bar("ex-left", 0, losses[k + 1]), bar("ex-gain", losses[k + 1], losses[k])];
      const says = [`${losses[k].toFixed(2)} \u2192 ${losses[k + 1].toFixed(2)}, `];
      says.push(signed(losses[k + 1] - losses[k]));
      if (beside) {
        const { from, to, says: whose } = compared(k);
        marks.push(bar("ex-beside", to, from));
        says.push(`; ${whose} ${signed(to - from, beside === "paper" ? 1 : 2)}`);
      }
      tracks[k].replaceChildren(...marks);
      numbers[k].textContent = says.join("");
    });
  }

  // --- inside the direct path ---

  const direct = make(
    "div",
    {},
    make("p", {}, "One term, without any head: what the present token, by itself, says of the next one."),
    make(
      "p",
      {},
      `It takes the loss from ${losses[0].toFixed(2)} nats, a uniform guess, to ${losses[1].toFixed(2)}. `,
      "There is nothing more inside.",
    ),
  );

  // --- inside the single heads ---

  const cells = [0, 1].map((layer) => ({ alone: make("td"), beside: make("td"), layer }));
  const perLayer = make(
    "table",
    {},
    make("caption", {}, "Fall of the loss by the direct terms of a layer, in nats"),
    make(
      "thead",
      {},
      make("tr", {}, ...["layer", "alone", "beside the other"].map((name) => make("th", { scope: "col" }, name))),
    ),
    make(
      "tbody",
      {},
      ...cells.map((cell) =>
        make("tr", {}, make("th", { scope: "row" }, `layer ${cell.layer}`), cell.alone, cell.beside),
      ),
    ),
  );
  function drawLayers() {
    for (const { layer, ...ways } of cells) {
      for (const way of /** @type {const} */ (["alone", "beside"])) {
        const theirs = beside === "paper" ? ` (paper ${exact(paper[way][layer])})` : "";
        ways[way].textContent = `${layers[way][layer].toFixed(2)}${theirs}`;
      }
    }
  }
  const values = [...heads.direct.flat(), ...heads.real.flat(), 0];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  /** @param {string} kind @param {number} value */
  const rise = (kind, value) =>
    style(make("i", { class: kind }), {
      "--from": per((Math.min(value, 0) - least) / (most - least)),
      "--size": per(Math.abs(value) / (most - least)),
    });
  const order = [1, 0].flatMap((layer) => virtual.map((_, head) => /** @type {const} */ ([layer, head])));
  const missed = order.map(([layer, head]) => heads.real[layer][head]);
  const words = announcer();
  /** @param {number} at */
  const tellHead = (at) => {
    const [layer, head] = order[at];
    const [without, really] = [heads.direct[layer][head], heads.real[layer][head]];
    words.say(
      make("b", {}, `Head ${layer}.${head}`),
      `: without its direct term the loss moves by ${signed(without, 3)} nats; `,
      `with the head really taken out, by ${signed(really, 3)}.`,
    );
  };
  const best = missed.indexOf(Math.max(...missed));
  const columns = row(
    "Heads",
    order.map(([layer, head]) => [
      make(
        "span",
        { class: "ex-bars", "aria-hidden": "true" },
        rise("ex-direct", heads.direct[layer][head]),
        rise("ex-real", heads.real[layer][head]),
      ),
      `${layer}.${head}`,
    ]),
    { picked: best, onShow: tellHead },
  );
  columns.element.classList.add("ex-columns");
  style(columns.element, { "--heads": String(n), "--zero": per(-least / (most - least)) });
  tellHead(best);
  const single = make(
    "div",
    {},
    perLayer,
    make(
      "p",
      { class: "ex-key" },
      "Rise of the loss: ",
      make("i", { class: "ex-direct" }),
      " direct term left out, patterns frozen; ",
      make("i", { class: "ex-real" }),
      " head really taken out",
    ),
    columns.element,
    words.element,
  );

  // --- inside the virtual heads ---

  const pairs = virtual
    .flatMap((values, i) => values.map((value, j) => ({ i, j, value, same: constant[i][j] })))
    .sort((a, b) => b.value - a.value);
  const same = pairs.filter((pair) => pair.same).length;
  const [together, rest] = model.get("apart");
  const list = make("ol", { class: "ex-pairs", role: "list" });
  /** @param {boolean} all */
  function drawPairs(all) {
    const shown = pairs.filter((pair) => all || !pair.same).slice(0, MOST);
    const size = Math.max(shown[0]?.value ?? 0, 1e-9);
    list.replaceChildren(
      ...shown.map(({ i, j, value, same }) =>
        make(
          "li",
          {},
          make("span", {}, `0.${i} \u2192 1.${j}`),
          style(make("i", { class: same ? "ex-same" : "ex-gain" }), { "--size": per(Math.max(0, value) / size) }),
          make("span", {}, `${signed(value, 3)}${same ? ", constant" : ""}`),
        ),
      ),
    );
  }
  drawPairs(true);
  const pairsInside = make(
    "div",
    {},
    make(
      "p",
      {},
      `${same} of ${pairs.length} write the same vector at every place of every text. Added first, these constants `,
      `gain ${together.toFixed(2)} nats together, the other ${pairs.length - same} then ${rest.toFixed(2)}.`,
    ),
    controls(
      "Virtual heads",
      toggle("Leave the constants out", false, (out) => drawPairs(!out)),
    ),
    make("p", { class: "ex-key" }, "Rise of the loss when one is left out last, in nats; the strongest:"),
    list,
  );

  // --- together ---

  const inside = [direct, single, pairsInside];
  const said = announcer();
  /** @param {number} k */
  function open(k) {
    inside.forEach((panel, at) => {
      panel.classList.toggle("is-shut", at !== k);
    });
    said.say(`Inside: ${STEPS[k]}, ${signed(losses[k + 1] - losses[k])} nats`);
  }
  const options = /** @type {[string, string][]} */ ([
    ["", "nothing"],
    ["paper", "the paper\u2019s falls"],
    ["other", "patterns of another text"],
  ]);
  const choose = choice("Beside", options, "", (value) => {
    beside = value;
    drawSteps();
    drawLayers();
  });
  drawSteps();
  drawLayers();
  open(1);
  begin(
    el,
    make("div", { class: "ex-loss" }, steps.element, axis),
    controls("Compare", choose),
    said.element,
    make("div", { class: "ex-inside" }, ...inside),
  );
}

export default { render };
