// The induction lab: a text, a model that runs in a worker, and switches for its heads.
import { announcer, begin, choice, code, controls, make, percent, row, unseen } from "./kit.js";

/**
 * @typedef {{ name: string, bytes: number, parts: number, layers: number, heads: number, context: number,
 *   kinds: Record<string, string> }} About a model
 * @typedef {import("./lab/worker.js").Result} Result
 * @typedef {import("./lab/worker.js").Shown} Shown
 */
const WAIT = 40; // milliseconds without a key before a text is run
const LONGEST = 9000; // characters; the longest token has 40
/** @type {Record<string, [name: string, mark: string, colour: string]>} */
const KINDS = {
  induction: ["induction head", "\u21b7", "orange"],
  previous: ["previous-token head", "\u2190", "green"],
  "": ["", "", "blue"],
};

const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
const mean = (/** @type {number[]} */ numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const nats = (/** @type {number} */ x) => (Number.isFinite(x) ? x.toFixed(2) : "\u2013");

/** Arrow keys, Home and End move within buttons that are one stop for Tab. @param {HTMLElement[]} buttons */
function rove(buttons) {
  const stop = (/** @type {HTMLElement} */ button) => {
    for (const each of buttons) each.tabIndex = each === button ? 0 : -1;
  };
  for (const [i, button] of buttons.entries()) {
    button.addEventListener("focus", () => stop(button));
    button.addEventListener("keydown", (event) => {
      const last = buttons.length - 1;
      /** @type {Record<string, number>} */
      const to = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: last };
      if (!(event.key in to)) return;
      event.preventDefault();
      buttons[Math.min(Math.max(to[event.key], 0), last)].focus();
    });
  }
  if (buttons.length) stop(buttons[0]);
}

/** @param {{ model: import("./kit.js").Model, el: HTMLElement }} context */
export function render({ model, el }) {
  /** @type {About[]} */
  const models = model.get("models");
  const about = (/** @type {string} */ name) => /** @type {About} */ (models.find((each) => each.name === name));
  const [first, second] = model.get("path");

  // --- what the reader has chosen ---

  const state = {
    model: models[0].name,
    text: /** @type {string} */ (model.get("text")),
    off: /** @type {Set<string>} */ (new Set()), // heads, "layer.head"
    from: /** @type {string} */ (first),
    to: /** @type {string} */ (second),
    cut: false,
    head: /** @type {string} */ (second), // the one enlarged
    token: -1, // the one picked; -1: the last
  };
  const now = () => about(state.model);
  /** Heads of some layers, "layer.head". @param {number} [from] @param {number} [to] */
  const heads = (from = 0, to = now().layers) =>
    Array.from({ length: Math.max(to - from, 0) * now().heads }, (_, i) => {
      return `${from + Math.floor(i / now().heads)}.${i % now().heads}`;
    });
  const called = (/** @type {string} */ head) => (now().layers > 1 ? head : head.slice(2)); // as the chapters call it
  const kind = (/** @type {string} */ head) => KINDS[now().kinds[head] || ""];
  const cuts = () => state.cut && now().layers > 1;

  /** The text and the switches, for a link. */
  function written() {
    const words = new URLSearchParams({ model: state.model, text: state.text });
    if (state.off.size) words.set("off", [...state.off].join(" "));
    if (cuts()) words.set("cut", `${state.from} ${state.to}`);
    return `#${words}`;
  }

  /** Takes over what a link carries, as far as it makes sense; whether it carries a text. */
  function read() {
    const words = new URLSearchParams(location.hash.slice(1));
    const text = words.get("text");
    if (text === null) return false;
    state.text = text;
    state.model = about(words.get("model") || "")?.name || models[0].name;
    state.off = new Set((words.get("off") || "").split(" ").filter((head) => heads().includes(head)));
    const [from, to] = (words.get("cut") || "").split(" ");
    state.cut = heads(0, now().layers - 1).includes(from) && heads(1).includes(to) && Number(from[0]) < Number(to[0]);
    if (state.cut) [state.from, state.to] = [from, to];
    return true;
  }

  // --- the worker ---

  /** @type {Map<string, "loading" | "ready" | "failed">} */
  const loaded = new Map();
  /** @type {Result | null} */
  let result = null;
  let [asked, busy, timer] = [0, false, 0];
  /** @type {Worker | null} */
  let worker = null;

  function hire() {
    try {
      const address = URL.createObjectURL(new Blob([model.get("worker")], { type: "text/javascript" }));
      worker = new Worker(address);
      worker.addEventListener("message", hear);
      worker.addEventListener("error", () => broken());
      worker.postMessage({ kind: "start", tokenizer: model.get("tokenizer") });
    } catch {
      worker = null;
    }
  }

  function broken() {
    worker = null;
    stage(
      "This browser runs no scripts beside the page (web workers), and the model needs one. A recent Chromium, " +
        "Firefox or Safari has them.",
    );
  }

  /** Weights come when asked for: one file from a server, scripts from the disk, where nothing can be fetched. */
  async function load() {
    const { name, bytes, parts } = now();
    if (!worker) return broken();
    if (loaded.get(name) === "loading" || loaded.get(name) === "ready") return ask();
    loaded.set(name, "loading");
    stage();
    const folder = new URL(`${model.get("files")}/`, document.baseURI);
    if (location.protocol !== "file:") {
      worker.postMessage({ kind: "load", name, bytes, address: new URL(`${name}.safetensors`, folder).href });
      return;
    }
    Object.assign(window, {
      courseLab: (/** @type {string} */ whose, /** @type {number} */ number, /** @type {string} */ text) =>
        worker?.postMessage({ kind: "part", name: whose, number, text, bytes, of: parts }),
    });
    for (let number = 0; number < parts; number++) {
      const script = make("script", { src: new URL(`${name}-${number}.js`, folder).href });
      const arrived = await new Promise((done) => {
        script.addEventListener("load", () => done(true));
        script.addEventListener("error", () => done(false));
        document.head.append(script);
      });
      script.remove();
      if (!arrived) return failed(name, `part ${number + 1} of ${parts} is missing`);
    }
  }

  /** @param {string} name @param {string} why */
  function failed(name, why) {
    loaded.set(name, "failed");
    if (name === state.model) stage(`The weights did not arrive (${why}).`);
  }

  /** Runs what is chosen; while a run is under way only the last wish is kept. */
  function ask() {
    asked++;
    if (!busy) send();
  }

  function send() {
    if (loaded.get(state.model) !== "ready" || !worker) return;
    busy = true;
    const place = (/** @type {string} */ head) => head.split(".").map(Number);
    worker.postMessage({
      kind: "run",
      number: asked,
      name: state.model,
      text: state.text.slice(0, LONGEST),
      off: { heads: [...state.off].map(place), paths: cuts() ? [[place(state.from), place(state.to)]] : [] },
    });
  }

  /** @param {MessageEvent} event */
  function hear({ data }) {
    if (data.kind === "progress" && data.name === state.model) progress.value = data.share;
    if (data.kind === "failed" && data.doing !== "run") failed(data.name, data.why);
    if (data.kind === "ready") {
      loaded.set(data.name, "ready");
      if (data.name === state.model) ask();
    }
    if (data.kind === "result" || data.doing === "run") {
      busy = false;
      if (data.number !== asked)
        send(); // stale
      else if (data.kind === "result") show(data);
      else tell.say(`The run failed: ${data.why}`);
    }
  }

  // --- the elements ---

  const area = make("textarea", { rows: 4, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  area.value = state.text;
  area.addEventListener("input", () => write(area.value, WAIT));
  /** @param {string} text @param {number} [wait] */
  function write(text, wait = 0) {
    state.text = text;
    state.token = -1;
    clearTimeout(timer);
    timer = window.setTimeout(load, wait);
  }
  /** @param {string} name @param {() => string} text */
  const sample = (name, text) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      area.value = text();
      write(area.value);
    });
    return button;
  };
  /** @param {string[]} words twenty of them in any order, twice */
  const repeats = (words) => {
    const some = words.map((word) => /** @type {const} */ ([Math.random(), word])).sort((a, b) => a[0] - b[0]);
    return ` ${some
      .slice(0, 20)
      .map(([, word]) => word)
      .join(" ")}`.repeat(2);
  };
  const which = choice(
    "Model",
    models.map(({ name, bytes }) => [name, `${name} (${megabytes(bytes)})`]),
    state.model,
    (name) => {
      Object.assign(state, { model: name, off: new Set(), cut: false });
      furnish();
      load();
    },
  );
  const link = make("button", { type: "button" }, "Link to this");
  link.addEventListener("click", async () => {
    history.replaceState(null, "", written());
    const copied = await Promise.resolve(navigator.clipboard?.writeText(location.href)).then(
      () => Boolean(navigator.clipboard),
      () => false,
    );
    tell.say(`The address of the page now carries the text and the switches${copied ? "; it is copied" : ""}.`);
  });

  const tell = announcer();
  tell.element.classList.add("lab-tell");
  const begun = make("button", { type: "button" });
  begun.addEventListener("click", () => load());
  const progress = make("progress", { max: 1, value: 0, "aria-label": "Loading the weights" });
  const notice = make("p", { role: "status" });
  const door = make("div", { class: "lab-door" }, notice, begun, progress);

  const sums = make("table", { class: "lab-sums" });
  const strip = make("div", { class: "lab-strip" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const [across, title] = [make("div", { class: "lab-across" }), make("p", { class: "lab-title" })];
  const axis = make("p", { class: "lab-axis" }, "\u2193 token that looks \u2003 \u2192 token looked at");
  const nexts = make("table", { class: "lab-nexts" });
  const said = announcer();
  const galleries = make("div");
  const paths = controls("A path");
  paths.classList.add("lab-paths");
  const legend = make(
    "p",
    { class: "lab-axis" },
    make("span", {}, make("i", { class: "lab-looked" }), "where the enlarged head looks from the picked token"),
    make("span", {}, make("i", { class: "lab-lost" }), "loss: the longer, the less expected"),
  );
  const results = make(
    "div",
    { class: "lab-results" },
    sums,
    strip,
    legend,
    make(
      "div",
      { class: "lab-panel" },
      make("div", {}, title, make("div", { class: "lab-square" }, canvas, across), axis),
      make("div", {}, nexts, said.element),
    ),
    galleries,
    paths,
  );
  const bench = controls(
    "Model and text",
    which,
    sample("Random repeats", () => repeats(model.get("words"))),
    ...Object.entries(model.get("samples")).map(([name, text]) => sample(name, () => /** @type {string} */ (text))),
    link,
  );
  const frame = begin(
    el,
    bench,
    make("label", { class: "lab-text" }, unseen("Text"), area),
    tell.element,
    door,
    results,
  );
  frame.classList.add("lab");

  /** The heads, the switches and the paths of a model. */
  function furnish() {
    pictures.clear();
    switches.clear();
    looks.clear();
    const layers = Array.from({ length: now().layers }, (_, layer) => heads(layer, layer + 1));
    if (!heads().includes(state.head)) state.head = heads()[0] || "";
    galleries.replaceChildren(...layers.map((names, layer) => gallery(names, layer)));
    paths.replaceChildren();
    paths.hidden = layers.length < 2;
    if (paths.hidden) return;
    /** @param {string} words @param {string[]} names @param {"from" | "to"} end */
    const list = (words, names, end) => {
      return choice(
        words,
        names.map((name) => [name, `${name} ${kind(name)[1]}`]),
        state[end],
        (head) => {
          state[end] = head;
          if (state.cut) load();
        },
      );
    };
    const knife = make("button", { type: "button", "aria-pressed": String(state.cut) }, "Cut this path");
    knife.addEventListener("click", () => {
      state.cut = !state.cut;
      knife.setAttribute("aria-pressed", String(state.cut));
      load();
    });
    paths.append(list("From head", heads(0, 1), "from"), list("to the keys of", heads(1), "to"), knife);
  }

  /** @type {Map<string, HTMLCanvasElement>} */
  const pictures = new Map();
  /** @type {Map<string, HTMLButtonElement>} */
  const switches = new Map();
  /** @type {Map<string, HTMLButtonElement>} */
  const looks = new Map();

  /** A layer's heads: a picture each, which enlarges it, and a switch. @param {string[]} names @param {number} layer */
  function gallery(names, layer) {
    const cells = names.map((head) => {
      const [what, mark, colour] = kind(head);
      const picture = make("canvas", { "aria-hidden": "true", width: 1, height: 1 });
      const look = make(
        "button",
        { type: "button", class: "lab-look", "aria-label": `Enlarge ${called(head)}` },
        picture,
      );
      look.addEventListener("click", () => {
        state.head = head;
        point();
      });
      const flip = make(
        "button",
        { type: "button", class: "lab-switch", role: "switch", "aria-checked": String(!state.off.has(head)) },
        unseen("Head "),
        make("b", {}, called(head)),
        make("i", { "aria-hidden": "true" }, mark),
        unseen(what && ` ${what}`),
        make("small"),
      );
      flip.addEventListener("click", () => {
        if (!state.off.delete(head)) state.off.add(head);
        flip.setAttribute("aria-checked", String(!state.off.has(head)));
        load();
      });
      pictures.set(head, picture);
      switches.set(head, flip);
      looks.set(head, look);
      const cell = make("div", { class: "lab-head" }, look, flip);
      cell.style.setProperty("--tint", `var(--ex-${colour})`);
      return cell;
    });
    rove(names.map((head) => /** @type {HTMLElement} */ (looks.get(head))));
    rove(names.map((head) => /** @type {HTMLElement} */ (switches.get(head))));
    const words = now().layers > 1 ? `Layer ${layer}` : "Heads";
    const hint = make("span", {}, "picture: enlarge \u2003 name: switch off or on \u2003 ~ attention that moved");
    return make(
      "div",
      { class: "lab-layer", role: "group", "aria-label": words },
      make("p", { class: "lab-axis" }, make("b", {}, words), layer ? "" : hint),
      make("div", { class: "lab-heads" }, ...cells),
    );
  }

  /** The door before the results: open when the model is there. @param {string} [trouble] */
  function stage(trouble = "") {
    const { name, bytes, layers } = now();
    const at = loaded.get(name);
    const size = megabytes(bytes);
    door.hidden = at === "ready" && !trouble;
    results.hidden = !door.hidden;
    if (at) frame.classList.add("lab-open"); // keeps the place for the results
    begun.hidden = at === "loading" || (Boolean(trouble) && at !== "failed");
    progress.hidden = at !== "loading" || Boolean(trouble);
    if (begun.hidden === false) progress.value = 0;
    begun.textContent = at === "failed" ? "Try again" : `Load the model (${size})`;
    const count = ["no layer", "one layer", "two layers"][layers];
    notice.textContent =
      trouble ||
      (at === "loading"
        ? `Loading the weights of the ${name} model, ${size} \u2026`
        : `The model with ${count} runs on this page, over the text above. Nothing that you type leaves your machine.`);
  }

  // --- drawing ---

  const latest = () => /** @type {Shown} */ (result?.changed || result?.whole);
  const picked = () => {
    const last = (result?.tokens.length || 1) - 1;
    return state.token < 0 ? last : Math.min(state.token, last);
  };
  /** A head's pattern in a run, [query, key] in one row. @param {Shown} of @param {string} head */
  const grid = ({ pattern }, head) => {
    const size = (result?.tokens.length || 0) ** 2;
    const place = heads().indexOf(head);
    return pattern.subarray(place * size, (place + 1) * size);
  };

  /** One pixel for a query and a key. @param {HTMLCanvasElement} on @param {string} head @param {number} power */
  function paint(on, head, power) {
    const n = result?.tokens.length || 0;
    const hex = getComputedStyle(frame).getPropertyValue(`--ex-${kind(head)[2]}`);
    const colour = (hex.match(/[\da-f]{2}/gi) || []).map((part) => Number.parseInt(part, 16));
    on.width = on.height = n;
    const [image, shares] = [new ImageData(n, n), grid(latest(), head)];
    for (let i = 0; i < shares.length; i++) {
      image.data.set(colour, 4 * i);
      image.data[4 * i + 3] = Math.round(255 * shares[i] ** power);
    }
    on.getContext("2d")?.putImageData(image, 0, 0);
  }

  /** How much of a head's attention went elsewhere, mean over the queries. @param {string} head */
  function moved(head) {
    if (!result?.changed) return 0;
    const [before, after] = [grid(result.whole, head), grid(result.changed, head)];
    return before.reduce((sum, share, i) => sum + Math.abs(share - after[i]), 0) / 2 / result.tokens.length;
  }

  /** @type {ReturnType<typeof row>} */
  let tokens;
  let laid = "";

  /** @param {Result} fresh */
  function show(fresh) {
    result = fresh;
    stage();
    const over = fresh.over + (state.text.length > LONGEST ? 1 : 0);
    const [loss, before] = sum(fresh);
    tell.say(
      !state.text
        ? "The text is empty: the model sees its start token alone. Type something, or press a button above."
        : over
          ? `The model reads ${now().context - 1} tokens and the text has more: it was cut there.`
          : fresh.ids.length < 3
            ? "One token; a loss needs two."
            : `Loss ${nats(loss)} nats${fresh.changed ? `; with everything on ${nats(before)}` : ""}.`,
    );
    const key = String(fresh.ids);
    if (key !== laid) lay(fresh);
    laid = key;
    const losses = latest().losses;
    for (const [i, button] of tokens.buttons.entries()) {
      button.style.setProperty("--loss", String(Math.min(losses[i] / 12, 1)));
      /** @type {Element} */ (button.lastChild).textContent = i ? ` loss ${losses[i].toFixed(1)}` : "";
    }
    for (const [head, canvas] of pictures) paint(canvas, head, 0.6); // so small, pale would be unseen
    for (const [head, flip] of switches) {
      const share = moved(head);
      const off = state.off.has(head);
      /** @type {Element} */ (flip.lastChild).textContent = off ? " off" : share >= 0.01 ? ` ~${percent(share)}` : "";
      flip.closest(".lab-head")?.classList.toggle("lab-off", off);
    }
    point();
  }

  /** The table of losses; returns the mean now and with everything on. @param {Result} fresh */
  function sum({ ids, whole, changed }) {
    const seen = new Set();
    /** @type {[number[], number[]]} */
    const places = [[], []];
    ids.forEach((id, i) => {
      const pair = `${ids[i - 1]} ${id}`;
      if (i > 1) places[seen.has(pair) ? 0 : 1].push(i); // the first token follows the start token alone
      seen.add(pair);
    });
    const rows = /** @type {[string, number[]][]} */ ([
      ["all tokens", [...places[0], ...places[1]]],
      ["pairs seen before", places[0]],
      ["the rest", places[1]],
    ]);
    const cell = (/** @type {Shown | null} */ run, /** @type {number[]} */ at) =>
      run ? mean(at.map((i) => run.losses[i])) : Number.NaN;
    const head = ["Mean loss in nats", "tokens", "everything on", "switched"];
    sums.replaceChildren(
      make("thead", {}, make("tr", {}, ...head.map((words) => make("th", { scope: "col" }, words)))),
      make(
        "tbody",
        {},
        ...rows.map(([name, at]) =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, name),
            make("td", {}, String(at.length)),
            make("td", {}, nats(cell(whole, at))),
            make("td", { class: "lab-new" }, nats(cell(changed, at))),
          ),
        ),
      ),
    );
    return [cell(changed || whole, rows[0][1]), cell(whole, rows[0][1])];
  }

  /** Buttons for the tokens, a line of the text in a line. @param {Result} fresh */
  function lay(fresh) {
    tokens = row(
      "Tokens",
      fresh.tokens.map((token) => [code(token), unseen("")]),
      {
        picked: picked(),
        onPick: (i) => {
          state.token = i;
          point();
        },
      },
    );
    for (const [i, button] of tokens.buttons.entries()) {
      if (fresh.tokens[i].includes("\u21b5")) button.after(make("span", { class: "lab-break" }));
    }
    strip.replaceChildren(tokens.element);
  }

  /** What depends on the token picked and the head enlarged. */
  function point() {
    if (!result) return;
    const [at, n, head] = [picked(), result.tokens.length, state.head];
    const place = (/** @type {number} */ i) => [`${i}\u00a0`, code(result?.tokens[i] || "")];
    tokens.pick(at);
    frame.style.setProperty("--tint", `var(--ex-${kind(head)[2]})`);
    for (const [name, look] of looks) look.setAttribute("aria-pressed", String(name === head));
    const looking = head ? [...grid(latest(), head).subarray(at * n, at * n + at + 1)] : [];
    for (const [i, button] of tokens.buttons.entries()) {
      button.style.setProperty("--share", (looking[i] || 0).toFixed(3));
    }
    const panel = /** @type {HTMLElement} */ (canvas.closest(".lab-panel"));
    panel.classList.toggle("lab-alone", !head);
    if (head) {
      paint(canvas, head, 1);
      across.style.cssText = `top:${(100 * at) / n}%;height:${100 / n}%;width:${(100 * (at + 1)) / n}%`;
      const words = kind(head)[0] + (state.off.has(head) ? " \u2013 its output is off" : "");
      title.replaceChildren(make("b", {}, `Head ${called(head)}`), ` ${kind(head)[1]} ${words}`);
    }

    const next = result.tokens[at + 1];
    const right = () => make("span", { class: "lab-right" }, "\u2713", unseen(" comes next"));
    const shares = new Map(result.whole.top[at]);
    const rows = latest().top[at].map(([token, share]) => {
      const before = shares.get(token);
      const was = result?.changed ? (before === undefined ? "less" : percent(before)) : "\u2013";
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.setProperty("--share", String(share));
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, code(token), ...(token === next ? [" ", right()] : [])),
        make("td", {}, bar, make("span", {}, percent(share))),
        make("td", {}, was),
      );
    });
    nexts.replaceChildren(
      make("caption", {}, "After ", ...place(at), " the model expects"),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ...["token", "probability", "everything on"].map((words) => make("th", { scope: "col" }, words)),
        ),
      ),
      make("tbody", {}, ...rows),
    );
    const [most] = [...looking.entries()].sort((a, b) => b[1] - a[1]);
    const loss = (/** @type {Shown} */ run) => `${nats(run.losses[at + 1])}`;
    said.say(
      ...(at + 1 < n
        ? [
            "Next comes ",
            ...place(at + 1),
            `: loss ${loss(latest())}`,
            result?.changed ? `, with everything on ${loss(result.whole)}. ` : ". ",
          ]
        : ["Here the text ends. "]),
      ...(most ? [`Head ${called(head)} looks most at `, ...place(most[0]), `: ${percent(most[1])}.`] : []),
    );
  }

  // --- beginning ---

  const follow = () => {
    if (!read()) return;
    area.value = state.text;
    /** @type {HTMLSelectElement} */ (which.querySelector("select")).value = state.model;
    furnish();
    load();
  };
  addEventListener("hashchange", follow);
  const theme = new MutationObserver(() => result && show(result));
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  hire();
  furnish();
  stage();
  if (worker) follow();
  else broken();
  return () => {
    theme.disconnect();
    removeEventListener("hashchange", follow);
    worker?.terminate();
  };
}

export default { render };
