// A person's clips and their adaptation, pass by pass, in the browser alone: no kernel, no network, no library.

// The parser knows the namespace of SVG; spelled out here it would look like an address to load from.
const holder = document.createElement("template");
holder.innerHTML = "<svg></svg>";
const SVG = holder.content.firstChild.namespaceURI;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const mark = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Bytes arrive as a DataView at any offset; a copy starts at one that every number type can use.
const numbers = (Kind, view) => new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const range = (count) => [...Array(count).keys()];
const percent = (share) => `${(100 * share).toFixed(2)} %`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const entropy = (row) => -row.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0);

const [BEFORE, NOW, CHOSEN] = ["#666666", "#0072b2", "#b34700"];
const STYLES = [["solid", ""], ["dashed", "6 3"], ["dotted", "2 3"]]; // of lines, beside their colours: as CSS and as SVG name them
const EDGE = { left: 52, right: 12, top: 14, bottom: 22 };

// An empty chart: a frame, the ends of its upright axis, and ticks below; `x` and `y` place numbers in it.
function chart(svg, height, [left, right], [low, high], ticks) {
  const width = svg.parentElement.clientWidth || 320;
  const x = (value) => EDGE.left + ((value - left) / (right - left || 1)) * (width - EDGE.left - EDGE.right);
  const y = (value) => height - EDGE.bottom - ((value - low) / (high - low)) * (height - EDGE.top - EDGE.bottom);
  const digits = Math.min(6, Math.max(1, 1 - Math.floor(Math.log10(high - low))));
  fill(svg, { width, height, viewBox: `0 0 ${width} ${height}` }, []).replaceChildren(
    mark("path", { class: "fer-axis", d: `M${EDGE.left},${y(high)}V${y(low)}H${width - EDGE.right}` }),
    ...[low, high].map((value) => mark("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, value ? value.toFixed(digits) : "0")),
    ...ticks.map(([value, text]) => mark("text", { x: x(value), y: height - 6, "text-anchor": "middle" }, text)),
  );
  const line = (points, color, dash = "") => {
    const places = points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
    svg.append(mark("polyline", { points: places, fill: "none", stroke: color, "stroke-width": 2, "stroke-dasharray": dash }));
  };
  const upright = (value) => svg.append(mark("line", { class: "fer-now", x1: x(value), x2: x(value), y1: y(low), y2: y(high) }));
  return { x, y, line, upright };
}

// Room above and below, also where all values are the same.
function around(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = 0.08 * (high - low) || 0.01;
  return [low - room, high + room];
}

// At most twelve ticks, at whole numbers.
const some = (count) => range(count).filter((at) => at % Math.ceil(count / 12) === 0);

function render({ model, el }) {
  const [names, truths, classes, colors, phrases, apex] =
    ["names", "truths", "classes", "colors", "phrases", "apex"].map((name) => model.get(name));
  const [passes, length, size, tile] = ["passes", "length", "window", "tile"].map((name) => model.get(name));
  const windows = length - size + 1;
  const [entropies, probabilities, likeness] =
    ["entropies", "probabilities", "likeness"].map((name) => numbers(Float32Array, model.get(name)));
  const picks = numbers(Uint16Array, model.get("chosen"));
  // What an array of rows, one a pass and clip, has for the clip that is shown.
  const row = (values, wide, step) => {
    const place = (step * names.length + model.get("clip")) * wide;
    return [...values.subarray(place, place + wide)];
  };
  const shares = (step) => row(probabilities, classes.length, step);
  const fits = (step) => row(likeness, phrases.length, step);
  const unsure = (step) => row(entropies, windows, step);
  const pick = (step) => row(picks, 1, step)[0];
  const likeliest = (step) => shares(step).indexOf(Math.max(...shares(step)));

  const sheet = new Image();
  sheet.src = URL.createObjectURL(new Blob([numbers(Uint8Array, model.get("tiles"))], { type: "image/jpeg" }));

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // A slider of one of the model's numbers, and a button that moves it on by itself.
  const stops = [];
  function steered(name, label, what, count, every, loops) {
    const input = make("input", { type: "range", min: 0, max: count - 1, step: 1, "aria-label": label });
    const button = make("button", { type: "button" }, `Play ${what}`);
    const output = make("output", { "aria-hidden": "true" });
    let timer = 0;
    const stop = () => {
      if (!timer) return;
      clearInterval(timer);
      [timer, button.textContent] = [0, `Play ${what}`];
      model.save_changes(); // a kernel need not hear of every picture on the way
    };
    const advance = () => {
      const next = model.get(name) + 1;
      model.set(name, next % count);
      if (!loops && next >= count - 1) stop();
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      [timer, button.textContent] = [setInterval(advance, every), `Pause ${what}`];
      if (!loops && model.get(name) >= count - 1) model.set(name, 0);
    });
    input.addEventListener("input", () => {
      stop();
      set(name, Number(input.value));
    });
    stops.push(stop);
    const show = (text) => {
      input.value = model.get(name);
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    };
    return { row: make("div", { class: "fer-row" }, button, input, output), show };
  }

  const select = make("select", {}, ...names.map((name, at) => make("option", {}, `${name}, shows ${classes[truths[at]]}`)));
  select.addEventListener("change", () => set("clip", select.selectedIndex));
  const frames = steered("frame", "frame", "clip", length, 160, true);
  const steps = steered("step", "pass", "passes", passes, 900, false);
  const status = make("p", { role: "status", "aria-live": "polite" });
  const face = make("canvas", { width: 3 * tile, height: 3 * tile, role: "img" });
  // The status and the tables say what charts show: a screen reader needs no more than their captions.
  const drawing = (caption, keys) => {
    const svg = mark("svg", { role: "img", "aria-label": caption });
    const legend = make("div", { class: "fer-keys" }, ...keys.map(([style, text]) => make("span", {}, make("i", style), text)));
    return { svg, chart: make("div", { class: "fer-chart" }, make("p", {}, caption), make("div", {}, svg), legend) };
  };
  const stroke = (color, style) => ({ style: `border-top: 3px ${style} ${color}` });
  const time = drawing(`Entropy of each window of ${size} frames, nats, at its middle`, [
    [stroke(NOW, "solid"), "now"], [stroke(BEFORE, "dashed"), "before adaptation"], [{ class: "fer-chosen" }, "chosen window"],
    [{ class: "fer-apex" }, "true apex"], [{ class: "fer-moment" }, "this frame"],
  ]);
  const sure = drawing("Entropy of the prediction, nats, over the passes", []);
  const says = drawing("Probability of each class over the passes", classes.map((name, at) => [stroke(colors[at], STYLES[at % 3][0]), name]));
  const tables = ["fer-said", "fer-fits", "fer-changed"].map((name) => make("table", { class: name }));

  el.append(make(
    // JupyterLab's keys would change its cells.
    "div", { class: "fer-player", role: "group", "aria-label": model.get("title"), "data-lm-suppress-shortcuts": "true" },
    make("div", { class: "fer-top" }, make("label", {}, "clip ", select), steps.row), status,
    make("div", { class: "fer-columns" }, make("div", { class: "fer-face" }, face, frames.row), time.chart),
    tables[0], make("div", { class: "fer-halves" }, sure.chart, says.chart),
    make("div", { class: "fer-halves fer-phrases" }, tables[1], tables[2]),
    make(
      "p", { class: "fer-help" },
      "Numbers of phrases are 5 times the cosine of the chosen window and the phrase with its tuned contexts: what the classifier reads.",
    ),
  ));

  function table(element, caption, heads, rows) {
    element.replaceChildren(
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map((head) => (head ? make("th", { scope: "col" }, head) : make("td"))))),
      make("tbody", {}, ...rows.map(([head, ...cells]) =>
        make("tr", {}, make("th", { scope: "row" }, head), ...cells.map((cell) => (cell instanceof Element ? cell : make("td", {}, cell)))))),
    );
  }

  function showFrame() {
    const [clip, frame, first] = [model.get("clip"), model.get("frame"), pick(model.get("step"))];
    const inside = frame >= first && frame < first + size;
    const place = clip * length + frame;
    const across = Math.round(sheet.naturalWidth / tile) || 1;
    const context = face.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(sheet, tile * (place % across), tile * Math.floor(place / across), tile, tile, 0, 0, face.width, face.height);
    face.setAttribute("aria-label", `${names[clip]}, frame ${frame + 1}`);
    face.className = inside ? "fer-inside" : "";
    frames.show(`frame ${frame + 1} of ${length}, ${inside ? "in" : "outside"} the chosen window`);
    timeline(first);
  }

  function timeline(first) {
    const now = unsure(model.get("step"));
    const bounds = around(range(passes).flatMap(unsure));
    const { x, y, line, upright } = chart(time.svg, 190, [0, length], bounds, some(length).map((at) => [at + 0.5, at + 1]));
    const [begin, end] = apex[model.get("clip")].map(x);
    if (end) time.svg.prepend(mark("rect", { x: begin, width: end - begin, y: EDGE.top, height: y(bounds[0]) - EDGE.top, fill: "#fde3c8" }));
    const middle = (values) => values.map((value, at) => [at + size / 2, value]);
    line(middle(unsure(0)), BEFORE, "4 3");
    line(middle(now), NOW);
    for (const [at, value] of middle(now)) time.svg.append(mark("circle", { cx: x(at), cy: y(value), r: 3.5, fill: NOW }));
    const [level, from, to] = [y(now[first]), x(first), x(first + size)];
    time.svg.append(
      mark("path", { d: `M${from},${level - 6}v12M${from},${level}H${to}m0,-6v12`, stroke: CHOSEN, "stroke-width": 3, fill: "none" }),
      mark("rect", { x: x(first + size / 2) - 6, y: level - 6, width: 12, height: 12, fill: CHOSEN }),
    );
    upright(model.get("frame") + 0.5);
  }

  function overPasses() {
    const step = model.get("step");
    const ticks = some(passes).map((at) => [at, at]);
    const all = range(passes).map((at) => [at, entropy(shares(at))]);
    const high = Math.max(...all.map(([, value]) => value));
    const first = chart(sure.svg, 130, [0, passes - 1], [0, 1.08 * high || 0.01], ticks);
    first.line(all, NOW);
    first.upright(step);
    sure.svg.append(mark("circle", { cx: first.x(step), cy: first.y(all[step][1]), r: 4.5, fill: NOW }));
    const second = chart(says.svg, 130, [0, passes - 1], [0, 1], ticks);
    classes.forEach((_, at) => second.line(range(passes).map((each) => [each, shares(each)[at]]), colors[at], STYLES[at % 3][1]));
    second.upright(step);
  }

  function showPass() {
    const [clip, step] = [model.get("clip"), model.get("step")];
    const [before, now, said] = [shares(0), shares(step), likeliest(step)];
    const first = pick(step);
    const told = (at, values) => `${classes[at]} ${percent(values[at])}`;
    const change = step ? `pass ${step} of ${passes - 1}: says ${told(said, now)}, was` : "before adaptation: says";
    const words =
      `clip ${clip + 1} of ${names.length} shows ${classes[truths[clip]]}; ${change} ${told(likeliest(0), before)}; ` +
      `window of frames ${first + 1} to ${first + size}, entropy ${unsure(step)[first].toFixed(3)}`;
    if (status.textContent !== words) status.textContent = words; // said once, not with each change of the page's width
    select.selectedIndex = clip;
    steps.show(step ? `pass ${step} of ${passes - 1}` : "before adaptation");
    const bars = classes.map((name, at) => {
      const bar = make("b", { style: `width:${100 * now[at]}%;background:${colors[at]}` });
      const old = make("i", { style: `left:${100 * before[at]}%` });
      const likely = make("td", { class: at === said ? "fer-first" : "" }, percent(now[at]));
      return [name + (at === truths[clip] ? " (true)" : ""), make("td", {}, make("div", { class: "fer-bar" }, bar, old)), percent(before[at]), likely];
    });
    table(tables[0], "What CLIP-AUTT says of the clip; an upright line marks the probability before adaptation", ["class", "", "before", "now"], bars);
    const [old, fit] = [fits(0), fits(step)];
    const best = (cost) => range(phrases.length).sort((a, b) => cost(b) - cost(a)).slice(0, 5);
    table(tables[1], "Phrases that fit best now", ["phrase", "before", "now"],
      best((at) => fit[at]).map((at) => [phrases[at], signed(old[at]), signed(fit[at])]));
    table(tables[2], "Phrases that changed most", ["phrase", "change", "now"],
      step ? best((at) => Math.abs(fit[at] - old[at])).map((at) => [phrases[at], signed(fit[at] - old[at]), signed(fit[at])])
        : [["none yet: no pass has been made", "", ""]]);
    overPasses();
    showFrame();
  }

  const changes = { clip: showPass, step: showPass, frame: showFrame };
  for (const [name, act] of Object.entries(changes)) model.on(`change:${name}`, act);
  sheet.addEventListener("load", showFrame);
  let width = 0;
  const watcher = new ResizeObserver(() => {
    if (el.clientWidth === width) return; // what is drawn may change the height
    width = el.clientWidth;
    showPass();
  });
  watcher.observe(el);
  showPass();
  return () => {
    watcher.disconnect();
    stops.forEach((stop) => stop());
    URL.revokeObjectURL(sheet.src);
    for (const [name, act] of Object.entries(changes)) model.off(`change:${name}`, act);
  };
}

export default { render };
