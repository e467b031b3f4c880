// Small additions to what the theme does. The pages can be read without them.
(() => {
  // A folded solution is called what it is.
  for (const summary of document.querySelectorAll(".tag_solution details.hide > summary")) {
    summary.querySelector(".collapsed").textContent = "Show a solution";
    summary.querySelector(".expanded").textContent = "Hide the solution";
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

  // What scrolls sideways must be reachable by keyboard; what does not must not be a stop on the way.
  const WIDE =
    "mjx-container[display], .bd-article table, .bd-article pre, div.math, .cell_output > .output, .course-wide";
  const markWide = () => {
    for (const element of document.querySelectorAll(WIDE)) {
      const scrolls =
        element.scrollWidth > element.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
      if (scrolls) element.tabIndex = 0;
      else if (element.tabIndex === 0) element.removeAttribute("tabindex");
    }
  };
  let waiting = 0;
  const markSoon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(markWide);
  };
  window.addEventListener("load", () => {
    // On a telephone a wide picture keeps a legible size and scrolls (course.css).
    for (const image of document.querySelectorAll(".bd-article :is(figure, .cell_output) > img")) {
      if (image.naturalWidth <= 1.6 * image.naturalHeight) continue;
      if (!image.parentElement.matches("figure")) {
        const figure = document.createElement("figure"); // what scrolls and has a stop for the keyboard is a thing
        image.replaceWith(figure);
        figure.append(image);
      }
      image.parentElement.classList.add("course-wide");
    }
    markSoon();
    window.MathJax?.startup?.promise?.then(markSoon);
  });
  window.addEventListener("resize", markSoon);
  document.addEventListener("toggle", markSoon, true); // an unfolded cell has its width only now
})();
