// A face drawn from action units, and what methods say of it: computed in the page, or by a kernel where there is one.

const SILENCE = 10000; // milliseconds after which a kernel counts as silent
const UNANSWERED =
  "no answer for 10 seconds; the kernel is busy or was restarted, or there is none. Wait, or run the cell again, and move a slider.";

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
};

// Bytes arrive as a DataView at any offset; a copy starts at one that every number type can use.
const bytes = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
const floats = (view) => new Float32Array(bytes(view));

// --- the graphs in the page

// Sphinx names the book's root on every page; elsewhere (JupyterLab) there are no files beside the page.
function folder() {
  const root = document.documentElement.dataset.content_root;
  return root === undefined ? null : new URL(`${root}_static/live/`, document.baseURI).href;
}

// Pages opened as files may neither fetch nor import their neighbours, but scripts they may load: each leaves its
// content, compressed and in base64, under its name.
async function content(name) {
  const kept = (window.ferLive ??= {});
  if (!(name in kept)) {
    await new Promise((resolve, reject) => {
      const script = make("script", { src: `${folder()}${name}.js` });
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(`${name}.js is not beside this page`)));
      document.head.append(script);
    });
  }
  const packed = Uint8Array.from(atob(kept[name]), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function inPage(graphs, say) {
  say("loading the runtime …");
  const source = new Blob([await content("runtime")], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(source));
  ort.env.wasm.wasmBinary = await content("wasm");
  ort.env.wasm.numThreads = 1;
  const sessions = {};
  for (const name of graphs) {
    say(`loading ${name} …`);
    sessions[name] = await ort.InferenceSession.create(await content(name), { executionProviders: ["wasm"] });
  }
  const tensor = (values) => new ort.Tensor("float32", values, [1, values.length]);
  return async ({ units, person, view }) => {
    const { image } = await sessions.drawing.run({ units: tensor(units), person: tensor(person), view: tensor(view) });
    const seen = await sessions.seen.run({ image });
    const found = { image: image.data, probabilities: { seen: seen.probabilities.data }, fits: seen.fits.data, place: seen.place.data };
    for (const name of graphs.slice(2)) found.probabilities[name] = (await sessions[name].run({ image })).probabilities.data;
    return found;
  };
}

// --- a kernel

function byKernel(model, say) {
  // Views of one widget hear each other's answers, so each counts from a place of its own.
  let number = Math.floor(Math.random() * 2 ** 40);
  let [answer, silent] = [null, true];
  model.on("msg:custom", (told, buffers) => {
    if (told.request !== number) return; // another view's, or one that is no longer waited for
    silent = false;
    if (told.error) return answer.reject(new Error(told.error));
    const [image, fits, place, ...rest] = buffers.map(floats);
    const probabilities = Object.fromEntries(told.graphs.map((name, at) => [name, rest[at]]));
    answer.resolve({ image, fits, place, probabilities });
  });
  return async ({ units, person, view }) => {
    if (silent) say("asking the kernel …"); // else the answer is there at once
    number += 1;
    let silence = 0;
    try {
      return await new Promise((resolve, reject) => {
        answer = { resolve, reject };
        silence = setTimeout(() => {
          [number, silent] = [number + 1, true];
          reject(new Error(UNANSWERED));
        }, SILENCE);
        model.send({ request: number, units: [...units], person: [...person], view: [...view] });
      });
    } finally {
      clearTimeout(silence);
    }
  };
}

// --- the controls

// A value between two steps counts as it is until the slider is moved; only the thumb stands at a step.
function slider(name, [low, high, start], changed) {
  const input = make("input", { type: "range", min: low, max: high, step: 0.05, "aria-label": name });
  const shown = make("output", { "aria-hidden": "true" });
  const made = { row: make("label", { class: "fer-row" }, make("span", {}, name), input, shown), value: 0 };
  const show = () => (shown.textContent = made.value.toFixed(2));
  made.set = (value) => {
    [made.value, input.value] = [value, value];
    show();
  };
  input.addEventListener("input", () => {
    made.value = +input.value;
    show();
    changed();
  });
  made.set(start);
  return made;
}

function render({ model, el }) {
  const [units, people, view, expressions] = ["units", "people", "view", "expressions"].map((name) => model.get(name));
  const [classes, colors, methods, graphs] = ["classes", "colors", "methods", "graphs"].map((name) => model.get(name));
  const persons = floats(model.get("persons"));
  const presets = floats(model.get("presets"));
  const [points, labels] = [floats(model.get("points")), new Uint8Array(bytes(model.get("labels")))];
  const wide = persons.length / people.length;

  let [answer, busy, waiting] = [null, false, false];
  const request = () => void update();

  const face = make("canvas", { width: 64, height: 64, role: "img", "aria-label": "the drawn face" });
  const status = make("p", { role: "status", "aria-live": "polite" });
  const person = make("select", { "aria-label": "person" }, ...people.map((name) => make("option", {}, name)));
  const unitSliders = units.map(({ code, name }) => slider(`${code} ${name}`, [0, 1, 0], request));
  const viewSliders = view.map(({ name, range }) => slider(name, range, request));
  const buttons = expressions.map((name, at) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      unitSliders.forEach(({ set }, place) => set(presets[at * units.length + place]));
      request();
    });
    return button;
  });
  person.addEventListener("change", request);

  const regions = [...new Set(units.map(({ region }) => region))];
  const groups = regions.map((region, at) => {
    const rows = unitSliders.filter((_, place) => units[place].region === region).map(({ row }) => row);
    const group = make("details", {}, make("summary", {}, region), ...rows);
    group.open = at === 0;
    return group;
  });
  groups.push(make("details", {}, make("summary", {}, "view and light"), ...viewSliders.map(({ row }) => row)));

  const cells = classes.map(() => methods.map(() => make("td")));
  const table = make(
    "table", {}, make("caption", {}, "What methods say"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "expression"), ...methods.map(({ name }) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...classes.map((name, at) => make("tr", {}, make("th", { scope: "row" }, name), ...cells[at]))),
  );
  const phrases = make("ol");
  const map = make("canvas", { role: "img", "aria-label": model.get("title") });
  const left = make("div", { class: "fer-left" }, face, make("label", {}, "person ", person), status, map);
  const right = make(
    "div", { class: "fer-right" }, make("div", { class: "fer-buttons", role: "group", "aria-label": "expressions" }, ...buttons), table,
    make("p", {}, "Action units whose phrases fit better than they usually do (standard deviations):"), phrases,
  );
  // JupyterLab's keys would change its cells.
  const looks = { class: "fer-studio", "data-lm-suppress-shortcuts": "true" };
  el.append(make("div", looks, left, right, make("div", { class: "fer-sliders" }, ...groups)));

  let here; // the present face's place in the map
  function draw({ image, probabilities, fits, place }) {
    const side = Math.round(Math.sqrt(image.length / 3));
    const pixels = new ImageData(side, side);
    for (let at = 0; at < side * side; at++) {
      for (let color = 0; color < 3; color++) pixels.data[4 * at + color] = 255 * image[color * side * side + at] + 0.5;
      pixels.data[4 * at + 3] = 255;
    }
    [face.width, face.height] = [side, side];
    face.getContext("2d").putImageData(pixels, 0, 0);
    methods.forEach(({ graph, row }, column) => {
      const told = probabilities[graph].slice(row * classes.length, (row + 1) * classes.length);
      const first = told.indexOf(Math.max(...told));
      told.forEach((value, at) => {
        const cell = cells[at][column];
        cell.textContent = value.toFixed(2);
        cell.className = at === first ? "fer-first" : "";
        cell.style.background = `linear-gradient(to right, ${colors[at]}40 ${100 * value}%, transparent ${100 * value}%)`;
      });
    });
    const best = [...fits.keys()].sort((a, b) => fits[b] - fits[a]).slice(0, 5);
    phrases.replaceChildren(...best.map((at) => make("li", {}, `${units[at].phrase} (${fits[at] > 0 ? "+" : ""}${fits[at].toFixed(1)})`)));
    landscape((here = place));
  }

  function landscape([x, y]) {
    const [width, height, ratio] = [map.clientWidth || 240, 200, window.devicePixelRatio || 1];
    [map.width, map.height] = [width * ratio, height * ratio];
    const context = map.getContext("2d");
    context.scale(ratio, ratio);
    const inside = (value) => Math.max(-1.1, Math.min(1.1, value)); // a face beyond all others is shown at the edge
    const at = (a, b) => [(0.5 + 0.42 * inside(a)) * width, (0.5 - 0.42 * inside(b)) * height];
    labels.forEach((label, place) => {
      context.fillStyle = `${colors[label]}b0`;
      context.fillRect(...at(points[2 * place], points[2 * place + 1]), 3, 3);
    });
    // Names beside colours: not everybody tells those apart.
    [context.font, context.textAlign, context.lineWidth, context.strokeStyle, context.fillStyle] = ["600 11px system-ui, sans-serif", "center", 3, "#fff", "#111"];
    classes.forEach((name, label) => {
      const own = [...labels.keys()].filter((each) => labels[each] === label);
      if (!own.length) return;
      const [a, b] = [0, 1].map((axis) => own.reduce((sum, each) => sum + points[2 * each + axis], 0) / own.length);
      context.strokeText(name, ...at(a, b));
      context.fillText(name, ...at(a, b));
    });
    context.beginPath();
    context.arc(...at(x, y), 7, 0, 2 * Math.PI);
    [context.lineWidth, context.strokeStyle] = [3, "#000"];
    context.stroke();
  }

  async function update() {
    if (busy) {
      waiting = true;
      return;
    }
    busy = true;
    try {
      const say = (line) => (status.textContent = line);
      answer ??= folder() === null ? byKernel(model, say) : await inPage(graphs, say);
      do {
        waiting = false;
        const start = performance.now();
        const chosen = {
          units: Float32Array.from(unitSliders, ({ value }) => value),
          person: persons.slice(person.selectedIndex * wide, (person.selectedIndex + 1) * wide),
          view: Float32Array.from(viewSliders, ({ value }) => value),
        };
        const found = await answer(chosen);
        draw(found);
        // For tests of parity, and for those who want the numbers.
        el.ferStudio = { chosen, found, milliseconds: performance.now() - start };
        const said = methods.map(({ name }, column) => `${name}: ${classes[cells.findIndex((row) => row[column].className)]}`);
        status.textContent = `${said.join(", ")} (${Math.round(el.ferStudio.milliseconds)} ms)`;
      } while (waiting);
    } catch (error) {
      status.textContent = `The studio cannot run here: ${error.message}`;
    } finally {
      busy = false;
    }
  }

  const first = model.get("first").map(floats);
  const [image, fits, place, ...rest] = first;
  draw({ image, fits, place, probabilities: Object.fromEntries(graphs.slice(1).map((name, at) => [name, rest[at]])) });
  status.textContent = "Move a slider, or choose an expression: the models are loaded then.";
  new ResizeObserver(() => landscape(here)).observe(map);
  el.ferReady = true;
}

export default { render };
