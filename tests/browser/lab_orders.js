// The lab's state machine alone, in random orders: the worker and the network answer late, fail and die as chance has
// it. `ordersOf` gives, for each seed, where the session came to rest and what was wrong on the way.
const models = ["two", "one", "zero"].map((name, i) => ({
  name,
  bytes: 4,
  sums: [0, 0],
  layers: 2 - i,
  heads: 2,
  longest: 9,
}));
const plain = { off: new Set(), from: "0.0", to: "1.0", cut: false };
const seen = ({ stage, shown }) => JSON.stringify([stage, stage.at === "shown" && shown.said]);

/** What a session runs in. `tick` lets one thing happen; with `trouble`, some of it fails. */
function world(draw) {
  const its = { acts: 0, again: "", waiting: [], trouble: false, die: () => {} };
  let asked = "";
  let inbox = [];
  function hire() {
    const worker = new EventTarget();
    const mine = [];
    const [loads, ready] = [{}, new Set()];
    worker.postMessage = (message) => {
      mine.push(message);
      if (message.kind !== "run") return;
      const { number: _, ...question } = message;
      const now = JSON.stringify([its.acts, question]);
      if (now === asked) its.again = now; // nobody has done anything since it was asked
      asked = now;
    };
    worker.terminate = () => mine.splice(0);
    worker.answer = ({ kind, name, load, number, of, text, off }) => {
      if (kind === "start") return { kind: "started" };
      if (its.trouble && draw() < 0.25) return { kind: "failed", doing: kind, name, load, number, why: "made to fail" };
      if (kind === "part") {
        if (number === 0) loads[name] = load;
        if (number + 1 < of || loads[name] !== load) return {};
        ready.add(name);
        return { kind: "ready", name, load };
      }
      if (!ready.has(name)) throw new Error(`${name} was asked and is not there`);
      return { kind: "result", number, said: JSON.stringify({ name, text, off }) };
    };
    its.step = () => {
      if (mine.length) worker.dispatchEvent(new MessageEvent("message", { data: worker.answer(mine.shift()) }));
    };
    its.die = () => worker.dispatchEvent(new ErrorEvent("error", { message: "made to die" }));
    inbox = mine;
    worker.postMessage({ kind: "start" });
    return worker;
  }
  async function* parts({ sums }) {
    for (let i = 0; i < sums.length; i++) {
      await new Promise((go, stop) => {
        its.waiting.push(() => (its.trouble && draw() < 0.15 ? stop(new Error("made to fail")) : go()));
      });
      yield "part";
    }
  }
  its.means = { hire, parts, size: 2, changed: () => {} };
  its.tick = async () => {
    if (its.waiting.length && draw() < 0.5) its.waiting.splice(Math.floor(draw() * its.waiting.length), 1)[0]();
    else its.step();
    await null;
    await null;
  };
  its.rest = async () => {
    its.trouble = false;
    for (let quiet = 0, ticks = 0; quiet < 20; ticks++) {
      if (ticks > 2000) throw new Error("it never comes to rest");
      quiet = inbox.length || its.waiting.length ? 0 : quiet + 1;
      await its.tick();
    }
  };
  return its;
}

async function order(Session, seed, steps) {
  let now = seed * 7919 + 1;
  const draw = () => {
    now = (now * 48271) % 2147483647;
    return now / 2147483647;
  };
  const any = (list) => list[Math.floor(draw() * list.length)];
  const its = world(draw);
  const session = new Session({ model: models[0], text: "a", ...plain }, its.means);
  const wrong = [];
  const check = (where) => {
    const { stage, shown, wish } = session;
    if (stage.at !== "shown") return;
    const { name, text, off } = JSON.parse(shown.said);
    const asked = [wish.model.name, wish.text, ...wish.off].join(" ");
    const told = [name, text, ...off.heads.map((head) => head.join("."))].join(" ");
    if (name !== wish.model.name || (!stage.busy && asked !== told)) wrong.push(`${where}: ${asked}, but ${told} is shown`);
  };
  for (let step = 0; step < steps; step++) {
    const dice = draw();
    its.trouble = draw() < 0.5;
    if (dice < 0.57) its.acts++;
    if (dice < 0.15) session.choose({ model: any(models), ...plain });
    else if (dice < 0.3) session.choose({ text: any(["a", "b", "c"]) });
    else if (dice < 0.4) session.choose({ off: new Set(draw() < 0.5 ? ["0.1"] : []) });
    else if (dice < 0.55) session.go();
    else if (dice < 0.57) its.die();
    else await its.tick();
    check(`step ${step}`);
  }
  await its.rest();
  check("at rest");
  const { at, busy, why } = session.stage;
  const over = { absent: true, failed: why, broken: why, stopped: why, unable: why, shown: !busy };
  if (!over[at]) wrong.push(`stuck at ${at}`);
  its.acts++;
  session.go();
  await its.rest();
  const other = world(draw);
  const fresh = new Session(session.wish, other.means);
  fresh.go();
  await other.rest();
  if (fresh.stage.at !== "shown" || seen(fresh) !== seen(session)) wrong.push(`${seen(session)}, but fresh ${seen(fresh)}`);
  if (its.again) wrong.push(`asked again: ${its.again}`);
  return [at, wrong];
}

window.ordersOf = (Session, seeds, steps) => Promise.all(seeds.map((seed) => order(Session, seed, steps)));
