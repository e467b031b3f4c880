// The margin: the circuit lights what the section is about, and a term's definition stands beside it while it is asked
// for. Both are in the page already (course_margin.py); without scripts the glossary is one link away.
(() => {
  const circuit = document.querySelector(".course-circuit");
  if (circuit) {
    const states = [...circuit.querySelectorAll("li")];
    const parts = [...circuit.querySelectorAll("[data-part]")];
    const light = (state) => {
      const lit = new Set(state.dataset.lit.split(" "));
      for (const each of states) each.removeAttribute("aria-current");
      state.setAttribute("aria-current", "true");
      for (const part of parts)
        part.classList.toggle(
          "course-on",
          part.dataset.part.split(" ").some((name) => lit.has(name)),
        );
    };
    const begun = (id) => document.getElementById(id)?.getBoundingClientRect().top < innerHeight * 0.4;
    let waiting = 0;
    const follow = () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => {
        light(states.findLast(({ dataset }) => begun(dataset.section)) ?? states[0]);
        circuit.classList.toggle("course-over", begun("exercises") ?? false); // they are about more than one section
      });
    };
    addEventListener("scroll", follow, { passive: true });
    addEventListener("resize", follow);
    light(states[0]);
    follow();
  }

  const kept = document.querySelector("template.course-definitions");
  if (!kept) return;
  const note = document.createElement("div");
  note.className = "course-definition";
  note.id = "course-definition";
  note.role = "tooltip";
  note.hidden = true;
  document.body.append(note);
  let asked = null;
  let leaving = 0;

  const place = (link) => {
    const term = link.getClientRects()[0];
    const margin = document.querySelector(".bd-sidebar-secondary")?.getBoundingClientRect();
    const beside = margin?.width && matchMedia("(min-width: 1200px)").matches;
    note.style.width = beside ? `${margin.width - 24}px` : "";
    const most = document.documentElement.clientWidth - note.offsetWidth - 12;
    note.style.left = `${scrollX + (beside ? margin.left + 8 : Math.max(12, Math.min(term.left, most)))}px`;
    note.style.top = `${scrollY + (beside ? term.top - 6 : term.bottom + 6)}px`;
  };
  const hide = () => {
    clearTimeout(leaving);
    note.hidden = true;
    asked?.removeAttribute("aria-describedby");
    asked = null;
  };
  const leave = () => {
    clearTimeout(leaving);
    leaving = setTimeout(hide, 250); // time to come over to the definition
  };
  const show = (link, definition) => {
    hide();
    asked = link;
    note.replaceChildren(...definition.cloneNode(true).childNodes);
    note.hidden = false;
    link.setAttribute("aria-describedby", note.id);
    place(link);
    window.MathJax?.typesetPromise?.([note]);
  };
  note.addEventListener("pointerenter", () => clearTimeout(leaving));
  note.addEventListener("pointerleave", leave);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  for (const link of document.querySelectorAll('.bd-article a[href*="glossary.html#term-"]')) {
    const definition = kept.content.querySelector(`[data-term="${CSS.escape(link.hash.slice(1))}"]`);
    if (!definition) continue;
    for (const begins of ["pointerenter", "focus"]) link.addEventListener(begins, () => show(link, definition));
    for (const ends of ["pointerleave", "blur"]) link.addEventListener(ends, leave);
  }
})();
