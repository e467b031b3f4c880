// Small additions to what the theme does. The pages can be read without them.
(() => {
  // How much code is seen: key, all or none of it. Exercises and their solutions are the reader's.
  const KEPT = "course-code";
  const choices = [...document.querySelectorAll(".course-code button")];
  const CELLS = ".bd-article div.cell:not(.tag_exercise, .tag_check, .tag_solution)";
  /** Puts an open cell's code into a fold; it is unfolded, and without a handle, unless no code is to be seen. */
  const fold = (input) => {
    const details = document.createElement("details");
    details.className = "admonition hide above-input course-key";
    details.innerHTML = '<summary><p class="admonition-title">How this was computed</p></summary>';
    input.replaceWith(details);
    details.append(input);
    return details;
  };
  const showCode = (much) => {
    document.documentElement.dataset.code = much;
    for (const button of choices) button.ariaPressed = String(button.dataset.code === much);
    for (const cell of document.querySelectorAll(CELLS)) {
      const open = cell.querySelector(":scope > .cell_input");
      if (open && much === "none") fold(open);
      for (const details of cell.querySelectorAll(":scope > details.hide"))
        details.open = much === "all" || (much === "key" && details.matches(".course-key"));
    }
  };
  const kept = () => {
    try {
      return localStorage.getItem(KEPT);
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  for (const button of choices)
    button.addEventListener("click", () => {
      const before = button.getBoundingClientRect().top;
      showCode(button.dataset.code);
      window.scrollBy(0, button.getBoundingClientRect().top - before);
      try {
        localStorage.setItem(KEPT, button.dataset.code);
      } catch {
        // the page still does what it was told
      }
    });
  if (choices.some((button) => button.dataset.code === kept()) && kept() !== "key") showCode(kept());

  // A link opens what it points to; paper the exercises, and numbers without their code.
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    let folded = target?.querySelector(":scope > .course-more:not([open])") ?? target?.closest("details:not([open])");
    if (!folded) return;
    for (; folded; folded = folded.parentElement.closest("details:not([open])")) folded.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", openTarget);
  openTarget();
  window.addEventListener("beforeprint", () => {
    const parts = ".course-more, .sd-dropdown, .ex-baseline details, .tag_hide-cell:not(.tag_solution) > .hide";
    for (const part of document.querySelectorAll(parts)) part.open = true;
  });

  // A head that the text names is lit in the nearest picture that names it, while it is pointed at or has the focus.
  const lit = "course-lit";
  const light = ({ dataset }, middle) => {
    const named = new RegExp(`(^|[^\\d.])${dataset.head.replace(".", "\\.")}(?!\\d)`);
    const names = (picture) => [...picture.querySelectorAll("text")].filter((text) => named.test(text.textContent));
    const far = (picture) => Math.abs(picture.getBoundingClientRect().top + picture.clientHeight / 2 - middle);
    const [nearest] = [...document.querySelectorAll(".bd-article .course-picture")]
      .filter((picture) => picture.checkVisibility({ visibilityProperty: true }) && names(picture).length)
      .sort((one, other) => far(one) - far(other));
    for (const text of nearest ? names(nearest) : []) {
      text.classList.add(lit);
      text.dataset.role = dataset.role;
    }
  };
  const darken = () => {
    for (const text of document.querySelectorAll(`text.${lit}`)) text.classList.remove(lit);
  };
  for (const head of document.querySelectorAll(".course-head")) {
    for (const begins of ["pointerenter", "focus"])
      head.addEventListener(begins, () => light(head, head.getBoundingClientRect().top));
    for (const ends of ["pointerleave", "blur"]) head.addEventListener(ends, darken);
  }

  // An arrow that unfolds a part of the contents has no words of its own.
  for (const arrow of document.querySelectorAll("nav summary:has(> .toctree-toggle)")) {
    arrow.ariaLabel = `Pages below ${arrow.closest("li").querySelector("a").textContent.trim()}`;
  }

  // The theme's buttons. Their handlers are taken out of the markup, where a site's policy may forbid them (README).
  for (const [what, act] of [
    ["toggleFullScreen()", () => window.toggleFullScreen()],
    ["window.print()", () => window.print()],
  ]) {
    for (const button of document.querySelectorAll(`[data-click="${what}"]`)) button.addEventListener("click", act);
  }

  // A page's source is for keeping. Opened from a folder, a browser would show a notebook's JSON: there the source comes
  // in a script beside it, and is handed out from memory.
  for (const link of document.querySelectorAll("a.btn-download-source-button")) {
    link.download = link.href.split("/").pop();
    link.removeAttribute("target");
    if (location.protocol !== "file:") continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      window.courseSource = (text) => {
        const copy = document.createElement("a");
        copy.href = URL.createObjectURL(new Blob([text]));
        copy.download = link.download;
        copy.click();
      };
      const script = document.createElement("script");
      script.src = `${link.href}.js`;
      document.head.append(script);
    });
  }

  // On a telephone a table that is cut becomes cards, though the build did not expect it (course_tables.py).
  let drawn = false; // before typefaces and formulas have come, widths mean nothing
  const asCards = () => {
    if (!drawn || !matchMedia("(max-width: 600px)").matches) return;
    for (const table of document.querySelectorAll(".bd-article table[role='table']"))
      if (table.scrollWidth > table.clientWidth + 1) table.classList.add("course-cards");
  };

  // What scrolls sideways must be reachable by keyboard; what does not must not be a stop on the way.
  const WIDE =
    "mjx-container[display], .bd-article table, .bd-article pre, div.math, .cell_output > .output, .course-drawn";
  // Printed lines with gaps between their words are a table: it is not broken.
  for (const pre of document.querySelectorAll(".bd-article .cell_output pre")) {
    const rows = pre.textContent.split("\n").filter((line) => /\S {2,}\S/.test(line));
    pre.classList.toggle("course-columns", rows.length > 1);
  }
  const markWide = () => {
    asCards();
    for (const element of document.querySelectorAll(WIDE)) {
      const scrolls =
        element.scrollWidth > element.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
      element.classList.toggle("course-scrolls", scrolls);
      if (scrolls) element.tabIndex = 0;
      else if (element.tabIndex === 0) element.removeAttribute("tabindex");
    }
    for (const [i, picture] of document.querySelectorAll(".course-drawn").entries()) {
      // What takes the keyboard has a name.
      for (const [name, value] of [
        ["role", "region"],
        ["aria-label", `Picture ${i + 1}`],
      ])
        if (picture.tabIndex === 0) picture.setAttribute(name, value);
        else picture.removeAttribute(name);
    }
  };
  let waiting = 0;
  const markSoon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(markWide);
  };
  window.addEventListener("load", () => {
    markSoon();
    Promise.all([document.fonts.ready, window.MathJax?.startup?.promise]).then(() => {
      drawn = true;
      markSoon();
    });
  });
  window.addEventListener("resize", markSoon);
  document.addEventListener("toggle", markSoon, true); // an unfolded cell has its width only now
})();
