// The slides' one script of its own. `?showNotes=true` shows the teacher's notes below each slide.
Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0.04,
  hash: true,
  controlsTutorial: false,
  slideNumber: "c/t",
  transition: "none",
  showNotes: new URLSearchParams(location.search).has("showNotes"),
});
