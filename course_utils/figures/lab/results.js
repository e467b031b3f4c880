// What a run shows: losses, the tokens, one head's pattern, what comes after one token, and all heads in small.
import { announcer, code, make, percent, row, unseen } from "../kit.js";
import { called, headsView, kindOf, latest, paint, patternOf } from "./heads.js";
import { headsOf } from "./wish.js";

/** @typedef {import("./session.js").Shown} Shown */
const mean = (/** @type {number[]} */ numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const nats = (/** @type {number} */ x) => (Number.isFinite(x) ? x.toFixed(2) : "\u2013");
const headings = (/** @type {string[]} */ ...all) =>
  make("thead", {}, make("tr", {}, ...all.map((words) => make("th", { scope: "col" }, words))));

/** Means of the losses of all tokens, of pairs seen before, and of the rest. @param {Shown} shown */
function meansOf({ ids, whole, changed }) {
  const seen = new Set();
  /** @type {[number[], number[]]} */
  const places = [[], []];
  ids.forEach((id, i) => {
    const pair = `${ids[i - 1]} ${id}`;
    if (i > 1) places[seen.has(pair) ? 0 : 1].push(i); // the first token follows the start token alone
    seen.add(pair);
  });
  const cells = [places.flat(), ...places];
  const means = (/** @type {{ losses: number[] } | null} */ run) =>
    cells.map((at) => (run ? mean(at.map((i) => run.losses[i])) : Number.NaN));
  return { counts: cells.map((at) => at.length), before: means(whole), after: means(changed) };
}

/** What is to be said of a result. @param {Shown} shown */
export function verdict(shown) {
  const { text, model } = shown.wish;
  if (!text) return "The text is empty: the model sees its start token alone. Type something, or press a button above.";
  if (shown.over) return `The model reads ${model.context - 1} tokens and the text has more: it was cut there.`;
  if (shown.ids.length < 3) return "One token; a loss needs two.";
  const { before, after } = meansOf(shown);
  if (!shown.changed) return `Loss ${nats(before[0])} nats.`;
  return `Loss ${nats(after[0])} nats; with everything on ${nats(before[0])}.`;
}

/**
 * @param {import("./session.js").Session} session
 * @param {(change: Partial<import("./wish.js").Wish>) => void} choose
 * @param {string} favourite the head that is enlarged at first, where there is one of that name
 */
export function resultsView(session, choose, favourite) {
  const sums = make("table", { class: "lab-sums" });
  const strip = make("div", { class: "lab-strip" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const [across, title] = [make("div", { class: "lab-across" }), make("p", { class: "lab-title" })];
  const axis = make("p", { class: "lab-axis" }, "\u2193 token that looks \u2003 \u2192 token looked at");
  const nexts = make("table", { class: "lab-nexts" });
  const said = announcer();
  const panel = make(
    "div",
    { class: "lab-panel" },
    make("div", {}, title, make("div", { class: "lab-square" }, canvas, across), axis),
    make("div", {}, nexts, said.element),
  );
  const legend = make(
    "p",
    { class: "lab-axis" },
    make("span", {}, make("i", { class: "lab-looked" }), "where the enlarged head looks from the picked token"),
    make("span", {}, make("i", { class: "lab-lost" }), "loss: the longer, the less expected"),
  );
  const heads = headsView(session, choose, (head) => {
    enlarged = head;
    point();
  });
  const element = make("div", { class: "lab-results" }, sums, strip, legend, panel, ...heads.elements);
  /** @type {Shown} */
  let shown;
  /** @type {ReturnType<typeof row>} */
  let tokens;
  let enlarged = "";
  let picked = -1; // the last token

  const at = () => (picked < 0 ? shown.tokens.length - 1 : Math.min(picked, shown.tokens.length - 1));

  /** The picked token is in sight, whatever has changed. */
  const reveal = () => {
    const button = shown && tokens.buttons[at()];
    if (!button) return;
    const [top, bottom] = [button.offsetTop - 4, button.offsetTop + button.offsetHeight + 4];
    strip.scrollTop = Math.min(Math.max(strip.scrollTop, bottom - strip.clientHeight), top);
  };
  new ResizeObserver(reveal).observe(strip); // also when it was hidden

  function table() {
    const { counts, before, after } = meansOf(shown);
    const rows = ["all tokens", "pairs seen before", "the rest"].map((name, i) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, name),
        make("td", {}, String(counts[i])),
        make("td", {}, nats(before[i])),
        make("td", { class: "lab-new" }, nats(after[i])),
      ),
    );
    sums.replaceChildren(
      headings("Mean loss in nats", "tokens", "everything on", "switched"),
      make("tbody", {}, ...rows),
    );
  }

  /** Buttons for the tokens, a line of the text in a line. */
  function lay() {
    const contents = shown.tokens.map((token) => [code(token), unseen("")]);
    const onPick = (/** @type {number} */ i) => {
      picked = i;
      point();
    };
    tokens = row("Tokens", contents, { picked: at(), onPick });
    for (const [i, button] of tokens.buttons.entries()) {
      if (shown.tokens[i].includes("\u21b5")) button.after(make("span", { class: "lab-break" }));
    }
    strip.replaceChildren(tokens.element);
  }

  /** What depends on the token picked and the head enlarged. */
  function point() {
    const { model, off } = shown.wish;
    const all = headsOf(model);
    const head = [enlarged, favourite, ...all].find((each) => all.includes(each)) || "";
    const [here, n] = [at(), shown.tokens.length];
    const place = (/** @type {number} */ i) => [`${i}\u00a0`, code(shown.tokens[i])];
    tokens.pick(here);
    heads.mark(head);
    element.style.setProperty("--tint", `var(--ex-${kindOf(model, head)[2]})`);
    const looking = head ? [...patternOf(shown, head).subarray(here * n, here * n + here + 1)] : [];
    for (const [i, button] of tokens.buttons.entries()) {
      button.style.setProperty("--share", (looking[i] || 0).toFixed(3));
    }
    panel.classList.toggle("lab-alone", !head);
    if (head) {
      paint(canvas, shown, head, 1);
      across.style.cssText = `top:${(100 * here) / n}%;height:${100 / n}%;width:${(100 * (here + 1)) / n}%`;
      const [what, mark] = kindOf(model, head);
      const state = off.has(head) ? " \u2013 its output is off" : "";
      title.replaceChildren(make("b", {}, `Head ${called(model, head)}`), ` ${mark} ${what || "pattern"}${state}`);
    }
    expect(here, place);
    const [most] = [...looking.entries()].sort((a, b) => b[1] - a[1]);
    const loss = (/** @type {{ losses: number[] }} */ run) => nats(run.losses[here + 1]);
    const before = shown.changed ? `, with everything on ${loss(shown.whole)}. ` : ". ";
    said.say(
      ...(here + 1 < n
        ? ["Next comes ", ...place(here + 1), `: loss ${loss(latest(shown))}`, before]
        : ["Here the text ends. "]),
      ...(most ? [`Head ${called(model, head)} looks most at `, ...place(most[0]), `: ${percent(most[1])}.`] : []),
    );
    reveal();
  }

  /** What the model expects after a token. @param {number} here @param {(i: number) => (Node | string)[]} place */
  function expect(here, place) {
    const right = () => make("span", { class: "lab-right" }, "\u2713", unseen(" comes next"));
    const shares = new Map(shown.whole.top[here]);
    const rows = latest(shown).top[here].map(([token, share]) => {
      const before = shares.get(token);
      const was = shown.changed ? (before === undefined ? "less" : percent(before)) : "\u2013";
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.setProperty("--share", String(share));
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, code(token), ...(token === shown.tokens[here + 1] ? [" ", right()] : [])),
        make("td", {}, bar, make("span", {}, percent(share))),
        make("td", {}, was),
      );
    });
    nexts.replaceChildren(
      make("caption", {}, "After ", ...place(here), " the model expects"),
      headings("token", "probability", "everything on"),
      make("tbody", {}, ...rows),
    );
  }

  return {
    element,
    choices: heads.choices,
    /** Shows a result, or the same one in other colours. @param {Shown} fresh */
    show(fresh) {
      if (shown?.wish.model !== fresh.wish.model) enlarged = "";
      if (shown?.wish.text !== fresh.wish.text) picked = -1;
      const same = String(shown?.ids) === String(fresh.ids);
      shown = fresh;
      if (!same) lay();
      table();
      const { losses } = latest(shown);
      for (const [i, button] of tokens.buttons.entries()) {
        button.style.setProperty("--loss", String(Math.min(losses[i] / 12, 1)));
        /** @type {Element} */ (button.lastChild).textContent = i ? ` loss ${losses[i].toFixed(1)}` : "";
      }
      heads.show(shown);
      point();
    },
  };
}
