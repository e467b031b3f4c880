// The slides' one script of its own. `?showNotes=true` shows the teacher's notes beside each slide.
const settings = {
  width: 1280,
  height: 720,
  margin: 0.04,
  hash: true,
  controlsTutorial: false,
  slideNumber: "c/t",
  transition: "none",
  showNotes: new URLSearchParams(location.search).has("showNotes"),
};

Reveal.initialize(settings).then(() => {
  // The notes can be scrolled by keyboard, so they need a role and a name.
  const notes = document.querySelector(".speaker-notes");
  notes?.setAttribute("role", "region");
  notes?.setAttribute("aria-label", "Notes");
});
