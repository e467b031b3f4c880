// The induction lab: a text, a model that runs in a worker, and switches for its heads.
import { announcer, begin, choice, code, controls, make, percent, unseen } from "./kit.js";
import { resultsView, verdict } from "./lab/results.js";
import { Session } from "./lab/session.js";
import { partsOf } from "./lab/weights.js";
import { found, keep, linked } from "./lab/wish.js";

/** @typedef {import("./lab/wish.js").About} About */
const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)}\u00a0MB`;

/** Twenty words in any order, twice. @param {string[]} words */
function repeats(words) {
  const some = words.map((word) => /** @type {const} */ ([Math.random(), word])).sort((a, b) => a[0] - b[0]);
  return ` ${some
    .slice(0, 20)
    .map(([, word]) => word)
    .join(" ")}`.repeat(2);
}

/** What is to be seen in the first text, before anything is loaded. @param {import("./kit.js").Model} model */
function stillView(model) {
  const { tokens, here, looks, right } = model.get("still");
  const [previous, induction] = model.get("path");
  const words = tokens.map((/** @type {string} */ token, /** @type {number} */ i) => {
    const word = make("span", i === here ? { class: "lab-here" } : {}, code(token));
    word.style.setProperty("--share", looks[i]);
    return word;
  });
  const most = looks.indexOf(Math.max(...looks));
  const [on, off] = right.map((/** @type {number} */ share) => `${(100 * share).toFixed(1)}\u00a0%`);
  return make(
    "div",
    { class: "lab-still" },
    make("p", { class: "lab-words" }, ...words),
    make(
      "p",
      {},
      ...["At the framed ", code(tokens[here]), `, head ${induction} looks at `, code(tokens[most])],
      ` (${percent(looks[most])}): what followed the first time. The model gives it ${on}. `,
      `Take head ${previous} out, and ${off} are left.`,
    ),
  );
}

/** Before the results: what is under way, what failed, and the button for it. @param {() => void} go */
function doorView(go) {
  const notice = make("p", { role: "status" });
  const button = make("button", { type: "button" });
  button.addEventListener("click", go);
  const progress = make("progress", { max: 1, value: 0, "aria-label": "Loading the weights" });
  const element = make("div", { class: "lab-door" }, notice, button, progress);
  /** @param {import("./lab/session.js").Stage} stage @param {About} model */
  const show = ({ at, why, share = 0 }, { name, bytes, layers }) => {
    const size = megabytes(bytes);
    const count = ["no layer", "one layer", "two layers"][layers];
    const words = {
      unable:
        "The lab’s script beside the page did not start: it needs web workers. " +
        "A recent Chromium, Firefox or Safari has them.",
      stopped:
        `The lab’s script beside the page has stopped (${why || "the browser does not say why"}). ` +
        "Your text is still here.",
      absent:
        `The model with ${count} runs on this page, over the text above. ` +
        "Nothing that you type leaves your machine.",
      loading: `Loading the weights of the ${name} model, ${size} \u2026`,
      failed: `The weights did not arrive (${why}).`,
      broken: `The run failed (${why}).`,
      reading: `The ${name} model reads the text \u2026`,
    };
    const acts = {
      stopped: "Start again",
      absent: `Load the model (${size})`,
      failed: "Try again",
      broken: "Try again",
    };
    element.hidden = at === "shown";
    element.classList.toggle("lab-soon", at === "reading");
    notice.textContent = words[/** @type {keyof words} */ (at)] ?? "";
    button.textContent = acts[/** @type {keyof acts} */ (at)] ?? "";
    button.hidden = !button.textContent;
    progress.hidden = at !== "loading";
    progress.value = share;
  };
  return { element, show };
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {About[]} */
  const models = model.get("models");
  const size = model.get("part");
  const [from, to] = model.get("path");
  const plain = () => ({ off: new Set(), from, to, cut: false });
  const folder = new URL(`${model.get("files")}/`, document.baseURI).href;

  const session = new Session(
    { model: models[0], text: model.get("text"), ...plain() },
    {
      size,
      parts: (its, again) => partsOf(its, folder, size, again),
      hire() {
        const source = new Blob([model.get("worker")], { type: "text/javascript" });
        const worker = new Worker(URL.createObjectURL(source));
        worker.postMessage({ kind: "start", tokenizer: model.get("tokenizer") });
        return worker;
      },
      changed: () => draw(),
    },
  );
  /** @param {Partial<import("./lab/wish.js").Wish>} change by the reader */
  const choose = (change) => {
    session.choose(change);
    keep(session.wish);
  };

  const area = make("textarea", { rows: 4, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  area.addEventListener("input", () => choose({ text: area.value }));
  /** @param {string} name @param {() => string} text */
  const sample = (name, text) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      area.value = text();
      choose({ text: area.value });
    });
    return button;
  };
  const which = choice(
    "Model",
    models.map(({ name, bytes }) => [name, `${name} (${megabytes(bytes)})`]),
    models[0].name,
    (name) => {
      choose({ model: models.find((each) => each.name === name), ...plain() });
      session.go();
    },
  );
  const link = make("button", { type: "button" }, "Link to this");
  link.addEventListener("click", async () => {
    const { wish, stage, shown } = session;
    const read = stage.at === "shown" && !stage.busy && shown ? shown.end : wish.model.longest;
    const text = wish.text.slice(0, read);
    if (!keep(wish, linked({ ...wish, text }))) {
      tell.say("The browser takes no address of this length. A shorter text can be linked to.");
      return;
    }
    const copied = await Promise.resolve(navigator.clipboard?.writeText(location.href)).then(
      () => Boolean(navigator.clipboard),
      () => false,
    );
    const what = text === wish.text ? "the text" : `the ${text.length} characters that the model reads`;
    tell.say(`The address of the page now carries ${what} and the switches${copied ? "; it is copied" : ""}.`);
  });

  const tell = announcer();
  tell.element.classList.add("lab-tell");
  const wait = make("p", { class: "lab-wait lab-soon" }, "computing \u2026");
  const still = stillView(model);
  const door = doorView(() => session.go());
  const results = resultsView(session, choose, to);
  const bench = controls(
    "Model and text",
    which,
    sample("Random repeats", () => repeats(model.get("words"))),
    ...Object.entries(model.get("samples")).map(([name, text]) => sample(name, () => /** @type {string} */ (text))),
    link,
  );
  const text = make("label", { class: "lab-text" }, unseen("Text"), area);
  const frame = begin(
    el,
    bench,
    text,
    make("div", { class: "lab-line" }, tell.element, wait),
    still,
    door.element,
    results.element,
  );
  frame.classList.add("lab");

  /** @type {import("./lab/session.js").Shown | null} */
  let drawn = null;
  function draw() {
    const { stage, wish, shown } = session;
    /** @type {HTMLSelectElement} */ (which.querySelector("select")).value = wish.model.name;
    door.show(stage, wish.model);
    still.hidden = stage.at !== "absent" || wish.model !== models[0] || wish.text !== model.get("text");
    wait.hidden = !stage.busy;
    results.element.hidden = stage.at !== "shown";
    results.element.setAttribute("aria-busy", String(Boolean(stage.busy)));
    frame.classList.toggle("lab-busy", Boolean(stage.busy));
    // Keeps the place for the results.
    if (stage.at !== "absent" && stage.at !== "unable") frame.classList.add("lab-open");
    if (stage.at !== "shown") tell.say();
    else if (shown && shown !== drawn) {
      results.show(shown);
      tell.say(verdict(shown));
    }
    drawn = stage.at === "shown" ? shown : null;
    results.choices();
  }

  /** @param {boolean} visit whether the reader has just come */
  function follow(visit) {
    const { link, wish } = found(models, visit);
    if (wish) session.choose({ ...plain(), ...wish });
    if (wish || visit) area.value = session.wish.text;
    if (area.value !== session.wish.text) session.choose({ text: area.value }); // other ends of lines
    if (link) session.go();
  }
  const back = () => follow(false);
  addEventListener("popstate", back);
  addEventListener("hashchange", back);
  const theme = new MutationObserver(() => drawn && results.show(drawn));
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  follow(true);
  draw();
  return () => {
    theme.disconnect();
    removeEventListener("popstate", back);
    removeEventListener("hashchange", back);
    session.end();
  };
}

export default { render };
