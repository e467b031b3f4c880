// Starts the figure in whose output this script stands; run as soon as the page reaches it.
(() => {
  const name = "EXPLORABLE";
  /** @typedef {HTMLElement & { started?: boolean }} Root */
  /** @type {NodeListOf<Root>} */
  const all = document.querySelectorAll(`[data-explorable="${name}"]`);
  const shown = [...all];
  /** @type {Root | null | undefined} */
  const here = document.currentScript?.closest("[data-explorable]");
  const root = here || shown.find((other) => !other.started);
  if (!root || root.started) return;
  root.started = true;
  root.id = shown.indexOf(root) > 0 ? `${name}-${shown.indexOf(root) + 1}` : name;
  // In a page that a browser saved, the figure was saved too.
  for (const old of root.querySelectorAll(":scope > .ex-figure")) old.remove();
  root.dataset.state = "starting"; // the style keeps the figure's place free

  /** @param {string} type */
  const read = (type) => root.querySelector(`script[type="${type}"]`)?.textContent || "";
  const values = JSON.parse(read("application/json"));
  const target = new EventTarget();
  const model = {
    get: (/** @type {string} */ key) => values[key],
    set: (/** @type {string} */ key, /** @type {unknown} */ value) => {
      values[key] = value;
      target.dispatchEvent(new Event(`change:${key}`));
    },
    on: target.addEventListener.bind(target),
    off: target.removeEventListener.bind(target),
    save_changes: () => {},
  };

  const address = URL.createObjectURL(new Blob([read("text/plain")], { type: "text/javascript" }));
  const el = document.createElement("div");
  el.className = "ex-figure";
  import(address)
    .then(({ render }) => {
      root.prepend(el);
      root.dataset.state = "ready";
      return render({ model, el });
    })
    .catch((error) => {
      el.remove();
      delete root.dataset.state; // the plain version shows again
      console.error(error);
    })
    .finally(() => URL.revokeObjectURL(address));
})();
