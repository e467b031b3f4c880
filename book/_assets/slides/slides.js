// The slides' one script of its own. The key S opens the teacher's notes in a window of their own.
const settings = {
  width: 1280,
  height: 720,
  margin: 0.04,
  hash: true,
  controlsTutorial: false,
  slideNumber: "c/t",
  transition: "none",
  plugins: [RevealNotes],
};

// An address that ends in ?showNotes=true would show the answers to the room.
Reveal.initialize(settings).then(() => Reveal.configure({ showNotes: false }));
