// What the reader has chosen, in words: for a link, and for this browser's memory.

/**
 * @typedef {{ name: string, bytes: number, sums: number[], layers: number, heads: number, context: number,
 *   longest: number, kinds: Record<string, string> }} About a model; sums: of its parts; longest: characters it could read
 * @typedef {{ model: About, text: string, off: Set<string>, from: string, to: string, cut: boolean }} Wish
 * off: heads, "layer.head"; cut: whether the path is, from a head to the keys of a later one
 */

/** Heads of some layers, "layer.head". @param {About} model @param {number} [from] @param {number} [to] */
export const headsOf = ({ layers, heads }, from = 0, to = layers) =>
  Array.from({ length: Math.max(to - from, 0) * heads }, (_, i) => `${from + Math.floor(i / heads)}.${i % heads}`);

/** @param {Wish} wish @returns {Record<string, string>} */
const written = ({ model, text, off, from, to, cut }) => ({
  model: model.name,
  text,
  ...(off.size && { off: [...off].join(" ") }),
  ...(cut && { cut: `${from} ${to}` }),
});

/**
 * What words ask for, as far as it makes sense; null where they carry no text.
 * @param {Record<string, unknown>} words @param {About[]} models @returns {Partial<Wish> | null}
 */
function understood({ model: name, text, off = "", cut = "" }, models) {
  if (typeof text !== "string") return null;
  const model = models.find((each) => each.name === name) || models[0];
  const [from, to] = String(cut).split(" ");
  const [earlier, later] = [headsOf(model, 0, model.layers - 1), headsOf(model, 1)];
  const path = earlier.includes(from) && later.includes(to) && Number(from[0]) < Number(to[0]);
  const heads = String(off).split(" ");
  return {
    model,
    text,
    off: new Set(heads.filter((head) => headsOf(model).includes(head))),
    cut: path,
    ...(path && { from, to }),
  };
}

/** @param {Wish} wish as a link carries it */
export const linked = (wish) => `#${new URLSearchParams(written(wish))}`;

const address = () => new URLSearchParams(location.hash.slice(1));
const KEY = "course-induction-lab";
/** The name of the reader's text: each entry of the history that it was seen at has it. */
let place = "";

/** @param {() => void} act what a browser may refuse @returns whether it did it */
function allowed(act) {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

/** Names the reader's text in this entry of the history. @param {string} hash */
const stamp = (hash) =>
  allowed(() => history.replaceState({ ...history.state, lab: place }, "", location.pathname + location.search + hash));

/**
 * Keeps a wish for Back and reload, and for the next visit, on this machine alone. A link in the address that is no
 * longer true is taken away.
 * @param {Wish} wish @param {string} [link] to put into the address @returns whether it is there
 */
export function keep(wish, link = "") {
  place = history.state?.lab || String(Math.random());
  const stale = address().has("text");
  const done = link || stale || !history.state?.lab ? stamp(link || (stale ? "" : location.hash)) : true;
  const words = JSON.stringify(written(wish));
  allowed(() => sessionStorage.setItem(`${KEY} ${place}`, words));
  allowed(() => localStorage.setItem(KEY, words));
  return done;
}

/**
 * What this entry of the history is about: what was kept of it, or a link; for a new visit, what was kept of the last.
 * @param {About[]} models @param {boolean} visit
 */
export function found(models, visit) {
  /** @param {() => Storage} store @param {string} key */
  const kept = (store, key) => {
    try {
      return understood(JSON.parse(store().getItem(key) || "{}"), models);
    } catch {
      return null; // the browser keeps nothing, or something else
    }
  };
  const name = history.state?.lab;
  const old = name && kept(() => sessionStorage, `${KEY} ${name}`);
  const link = !old && understood(Object.fromEntries(address()), models);
  if (old) place = name;
  else if (link) place = "";
  else if (place) stamp(location.hash);
  return { link: Boolean(link), wish: old || link || (visit ? kept(() => localStorage, KEY) : null) };
}
