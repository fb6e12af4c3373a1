// A map of features in the browser alone: no kernel, no network, no library.

// Outlines of matplotlib's markers, x and y in -1..1 with y down.
const star = Array.from({ length: 10 }, (_, i) => {
  const [angle, radius] = [(i * Math.PI) / 5 - Math.PI / 2, i % 2 ? 0.5 : 1.25];
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
});
const OUTLINES = {
  s: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  v: [[-1, -0.85], [1, -0.85], [0, 1]],
  "^": [[-1, 0.85], [1, 0.85], [0, -1]],
  "<": [[0.85, -1], [0.85, 1], [-1, 0]],
  ">": [[-0.85, -1], [-0.85, 1], [1, 0]],
  D: [[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]],
  P: [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1], [-0.35, 0.35],
    [-1, 0.35], [-1, -0.35], [-0.35, -0.35]],
  X: [[-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5],
    [-0.5, 0], [-1, -0.5]],
  "*": star,
  p: [0, 1, 2, 3, 4].map((i) => [1.05 * Math.sin((i * 2 * Math.PI) / 5), -1.05 * Math.cos((i * 2 * Math.PI) / 5)]),
};

function trace(context, marker, x, y, size) {
  context.beginPath();
  const outline = OUTLINES[marker];
  if (outline) outline.forEach(([dx, dy]) => context.lineTo(x + dx * size, y + dy * size));
  else context.arc(x, y, size, 0, 2 * Math.PI);
  context.closePath();
}

// Bytes arrive as a DataView at any offset; a copy starts at one that every number type can use.
const bytes = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
};

function sharp(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

function render({ model, el }) {
  const points = new Float32Array(bytes(model.get("points")));
  const labels = new Uint8Array(bytes(model.get("labels")));
  const [classes, colors, markers] = ["classes", "colors", "markers"].map((name) => model.get(name));
  const captions = model.get("captions");
  const count = labels.length;
  // Drawn class after class, the last one would hide the others: Knuth's multiplicative hash mixes them.
  const hash = (i) => (i * 2654435761) % 4294967296;
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const place = new Float32Array(points.length); // x and y on the screen
  let chosen = -1;

  const canvas = make("canvas", { "aria-hidden": "true" });
  const map = make("div", { class: "fer-map", role: "application", tabindex: "0", "aria-label": model.get("title") }, canvas);
  const told = make("p", { role: "status", "aria-live": "polite" });
  const how = "Point at a mark, or focus the map and press the arrow keys, to read what it is.";
  const help = make("p", { class: "fer-help" }, how);
  const boxes = make("fieldset", {}, make("legend", {}, "Show"));
  el.append(make("div", { class: "fer-explorer" }, boxes, map, told, help));

  const visible = (i) => model.get("shown")[labels[i]];

  function draw() {
    const width = map.clientWidth || 320;
    const height = Math.round(Math.min(0.72 * width, 480));
    canvas.style.height = `${height}px`;
    const context = sharp(canvas, width, height);
    const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
    points.forEach((value, i) => {
      low[i % 2] = Math.min(low[i % 2], value);
      high[i % 2] = Math.max(high[i % 2], value);
    });
    const margin = 14;
    for (let i = 0; i < count; i++) {
      place[2 * i] = margin + ((points[2 * i] - low[0]) / (high[0] - low[0] || 1)) * (width - 2 * margin);
      place[2 * i + 1] = height - margin - ((points[2 * i + 1] - low[1]) / (high[1] - low[1] || 1)) * (height - 2 * margin);
    }
    context.globalAlpha = 0.8;
    for (const i of order) {
      if (!visible(i)) continue;
      trace(context, markers[labels[i]], place[2 * i], place[2 * i + 1], 3.2);
      context.fillStyle = colors[labels[i]];
      context.fill();
    }
    if (chosen < 0) return;
    context.globalAlpha = 1;
    trace(context, "o", place[2 * chosen], place[2 * chosen + 1], 8);
    context.lineWidth = 2;
    context.strokeStyle = "#000";
    context.stroke();
  }

  function choose(i) {
    if (i === chosen) return;
    chosen = i;
    const extra = captions.length && i >= 0 ? `: ${captions[i]}` : "";
    told.textContent = i < 0 ? "" : `${classes[labels[i]]}${extra}`;
    draw();
  }

  // The visible point with the least cost; -1 if none has a finite one.
  function best(cost) {
    let [found, least] = [-1, Infinity];
    for (let i = 0; i < count; i++) {
      const value = visible(i) ? cost(i) : Infinity;
      if (value < least) [found, least] = [i, value];
    }
    return found;
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const reach = event.pointerType === "touch" ? 28 : 12;
    const far = (i) => Math.hypot(place[2 * i] - x, place[2 * i + 1] - y);
    choose(best((i) => (far(i) <= reach ? far(i) : Infinity)));
  }

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function press(event) {
    const step = STEPS[event.key];
    const middle = [map.clientWidth / 2, canvas.clientHeight / 2];
    if (event.key === "Escape") choose(-1);
    else if (!step) return;
    else if (chosen < 0) choose(best((i) => Math.hypot(place[2 * i] - middle[0], place[2 * i + 1] - middle[1])));
    else {
      // The next point that way: far ones and those off the axis cost more.
      const next = best((i) => {
        const [dx, dy] = [place[2 * i] - place[2 * chosen], place[2 * i + 1] - place[2 * chosen + 1]];
        const along = dx * step[0] + dy * step[1];
        const across = Math.abs(dx * step[1] - dy * step[0]);
        return i !== chosen && along > 0.5 && across <= 2 * along ? along + 2 * across : Infinity;
      });
      if (next >= 0) choose(next);
    }
    event.preventDefault();
  }

  classes.forEach((name, position) => {
    const box = make("input", { type: "checkbox" });
    const swatch = make("canvas", { "aria-hidden": "true", style: "width:14px;height:14px" });
    const context = sharp(swatch, 14, 14);
    trace(context, markers[position], 7, 7, 5);
    context.fillStyle = colors[position];
    context.fill();
    box.checked = model.get("shown")[position];
    box.addEventListener("change", () => {
      model.set("shown", model.get("shown").map((old, i) => (i === position ? box.checked : old)));
      model.save_changes();
    });
    boxes.append(make("label", {}, box, swatch, name));
  });

  const refresh = () => {
    boxes.querySelectorAll("input").forEach((box, i) => (box.checked = model.get("shown")[i]));
    if (chosen >= 0 && !visible(chosen)) choose(-1);
    draw();
  };
  model.on("change:shown", refresh);
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("keydown", press);
  const watcher = new ResizeObserver(draw);
  watcher.observe(map);
  draw();
  return () => {
    watcher.disconnect();
    model.off("change:shown", refresh);
  };
}

export default { render };
