// The next tokens after the token chosen: two bars each, by the weights and by the counts.
import { announcer, begin, choice, code, controls, make, row, unpack, unseen } from "./kit.js";

/** @param {number} share */
const per = (share) => `${(100 * share).toFixed(2)}%`;

/** @param {number} share */
const shown = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

/** @param {string} typed as tokens are shown: · for a space, ↵ for a line's end */
const asShown = (typed) => typed.replaceAll(" ", "\u00b7").replaceAll("\\n", "\u21b5");

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {string[]} */
  const words = model.get("words");
  /** @type {number[]} */
  const sources = model.get("sources");
  /** @type {number[]} */
  const seen = model.get("seen");
  const starred = model.get("interesting");
  const after = unpack(model.get("after")).map(Math.round);
  const share = unpack(model.get("share"));
  const nRows = after.length / sources.length;
  let now = 0; // of the sources
  let by = 0; // sorted by the weights or by the counts

  const buttons = row(
    "Tokens to begin with",
    sources.slice(0, starred).map((token) => [code(words[token])]),
    { onPick: (i) => go(i) },
  );
  const listed = make("datalist", {}, ...sources.map((token) => make("option", { value: words[token] })));
  // The name must be its own on a page with several figures.
  listed.id = `tokens-${document.querySelectorAll("datalist").length}`;
  const field = make("input", {
    type: "text",
    list: listed.id,
    maxlength: 40,
    size: 12,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const form = make(
    "form",
    { class: "ex-ask" },
    make("label", {}, "Another token", field),
    make("button", { type: "submit" }, "Show"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(field.value);
  });
  const sort = choice(
    "Sorted by",
    [
      ["0", "the weights"],
      ["1", "the counts"],
    ],
    "0",
    (value) => {
      by = Number(value);
      drawRows();
    },
  );
  const said = announcer();
  const head = make("p", { class: "ex-head" });
  const list = make("ol", { class: "ex-next", role: "list" });

  /** @param {string} typed */
  function ask(typed) {
    const text = asShown(typed);
    if (!text) return said.say("Type a token: a \u00b7 or a space before a word that follows a space.");
    for (const form of [text, `\u00b7${text}`]) {
      const i = sources.findIndex((token) => words[token] === form);
      if (i >= 0) return go(i);
    }
    if (words.includes(text) || words.includes(`\u00b7${text}`)) return rare(text);
    said.say(code(text), " is not one token: the vocabulary has no such piece. Try a shorter one.");
  }

  /** @param {string} text */
  function rare(text) {
    const which = `is a token, but not one of the ${sources.length} that this figure carries.`;
    said.say(code(text), ` ${which} The playground has them all.`);
  }

  /** @param {number} token */
  function follow(token) {
    const i = sources.indexOf(token);
    if (i >= 0) go(i);
    else rare(words[token]);
  }

  /** @param {number} i */
  function go(i) {
    now = i;
    model.set("token", sources[i]);
    buttons.pick(i < starred ? i : -1);
    said.say("After ", code(words[sources[now]]), `, which the text has ${seen[now].toLocaleString("en")} times:`);
    drawRows();
  }

  const items = Array.from({ length: nRows + 1 }, (_, k) => {
    const name = make(k < nRows ? "button" : "span", k < nRows ? { type: "button" } : {});
    const bars = [0, 1].map((which) => make("i", { class: which ? "ex-counts" : "ex-weights" }));
    const numbers = [0, 1].map(() => make("span"));
    const both = numbers.map((number, which) =>
      make(
        "span",
        { class: "ex-pair" },
        make("span", { class: "ex-bar" }, bars[which]),
        number,
        unseen(which ? " by the counts" : " by the weights,"),
      ),
    );
    const item = make("li", {}, name, make("span", {}, ...both));
    list.append(item);
    return { name, bars, numbers };
  });

  function drawRows() {
    const start = now * nRows;
    /** @param {number} k @param {number} which */
    const of = (k, which) => share[2 * (start + k) + which];
    const order = Array.from({ length: nRows }, (_, k) => k).sort((a, b) => of(b, by) - of(a, by));
    const most = Math.max(...share.subarray(2 * start, 2 * (start + nRows)));
    const rest = [1, 1];
    order.forEach((k, place) => {
      items[place].name.replaceChildren(code(words[after[start + k]]));
      items[place].name.onclick = () => follow(after[start + k]);
      for (const which of [0, 1]) {
        rest[which] -= of(k, which);
        fill(place, which, of(k, which), most);
      }
    });
    items[nRows].name.replaceChildren("all others");
    for (const which of [0, 1]) fill(nRows, which, Math.max(rest[which], 0), 0);
  }

  /** @param {number} place @param {number} which @param {number} value @param {number} most */
  function fill(place, which, value, most) {
    items[place].numbers[which].textContent = shown(value);
    items[place].bars[which].style.width = most ? per(value / most) : "0";
  }

  head.append(
    make("i", { class: "ex-weights" }),
    " by the weights, W_E W_U ",
    make("i", { class: "ex-counts" }),
    " by the counts of the text. Choose a next token to go on from it.",
  );
  begin(el, buttons.element, controls("Choose", form, sort), said.element, head, list, listed);
  go(0);
}

export default { render };
