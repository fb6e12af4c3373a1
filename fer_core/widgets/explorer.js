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

// Whether a place lies inside a polygon: how often a ray to the right crosses its edges.
function inside(x, y, polygon) {
  let odd = false;
  polygon.forEach(([ax, ay], at) => {
    const [bx, by] = polygon[(at + 1) % polygon.length];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
  });
  return odd;
}

// Each map fills the unit square, y up.
function spread(points) {
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  points.forEach((value, i) => {
    low[i % 2] = Math.min(low[i % 2], value);
    high[i % 2] = Math.max(high[i % 2], value);
  });
  return points.map((value, i) => (value - low[i % 2]) / (high[i % 2] - low[i % 2] || 1));
}

function render({ model, el }) {
  const views = model.get("views");
  const labels = new Uint8Array(bytes(model.get("labels")));
  const [classes, colors, markers] = ["classes", "colors", "markers"].map((name) => model.get(name));
  const captions = model.get("captions");
  const count = labels.length;
  const points = new Float32Array(bytes(model.get("points")));
  const maps = views.map((_, view) => spread(points.slice(2 * count * view, 2 * count * (view + 1))));
  const said = new Uint8Array(bytes(model.get("said")));
  const near = new Uint16Array(bytes(model.get("near")));
  const reach = count ? near.length / (views.length * count) : 0;
  const [tile, tiles] = [model.get("tile"), new Image()];
  if (tile) tiles.src = URL.createObjectURL(new Blob([bytes(model.get("tiles"))], { type: "image/jpeg" }));

  // Drawn class after class, the last one would hide the others: Knuth's multiplicative hash mixes them.
  const hash = (i) => (i * 2654435761) % 4294967296;
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const place = new Float32Array(2 * count); // x and y on the screen
  let now = maps[model.get("view")]; // x and y in the unit square, on the way from one map to the next
  let [chosen, path, frame] = [-1, [], 0];
  const picked = new Set();

  const canvas = make("canvas", { "aria-hidden": "true" });
  const map = make("div", { class: "fer-map", role: "application", tabindex: "0", "aria-label": model.get("title") }, canvas);
  const told = make("p", { role: "status", "aria-live": "polite" });
  const faces = make("div", { class: "fer-faces" });
  const table = make("div", { class: "fer-picked" });
  const help = make(
    "p", { class: "fer-help" },
    "Point at a mark, or focus the map and press the arrow keys, to read what it is. Draw around marks, or press Enter to add " +
      "the one you read and its neighbours, for a table of them; Escape lets go.",
  );
  const boxes = make("fieldset", {}, make("legend", {}, "Show"));
  // JupyterLab's keys would change its cells.
  const root = make("div", { class: "fer-explorer", "data-lm-suppress-shortcuts": "true" });
  el.append(root);

  const visible = (i) => model.get("shown")[labels[i]];
  const says = (i) => (said.length ? said[model.get("view") * count + i] : -1);
  const neighbours = (i) => [...near.subarray(reach * (model.get("view") * count + i), reach * (model.get("view") * count + i + 1))];

  function draw() {
    const width = map.clientWidth || 320;
    const height = Math.round(Math.min(0.72 * width, 480));
    canvas.style.height = `${height}px`;
    const context = sharp(canvas, width, height);
    const margin = 14;
    for (let i = 0; i < count; i++) {
      place[2 * i] = margin + now[2 * i] * (width - 2 * margin);
      place[2 * i + 1] = height - margin - now[2 * i + 1] * (height - 2 * margin);
    }
    for (const i of order) {
      if (!visible(i)) continue;
      context.globalAlpha = picked.size && !picked.has(i) ? 0.3 : 0.8;
      trace(context, markers[labels[i]], place[2 * i], place[2 * i + 1], 3.2);
      context.fillStyle = colors[labels[i]];
      context.fill();
    }
    context.globalAlpha = 1;
    [context.lineWidth, context.strokeStyle] = [2, "#000"];
    const ring = (i, size) => {
      trace(context, "o", place[2 * i], place[2 * i + 1], size);
      context.stroke();
    };
    if (path.length > 1) {
      context.beginPath();
      path.forEach(([x, y]) => context.lineTo(x, y));
      context.stroke();
    }
    if (chosen < 0) return;
    ring(chosen, 8);
    context.lineWidth = 1;
    neighbours(chosen).forEach((i) => visible(i) && ring(i, 6));
  }

  // Faces by their names, the chosen one first.
  function show() {
    const shown = tile && chosen >= 0 ? [chosen, ...neighbours(chosen)] : [];
    faces.replaceChildren(
      ...shown.map((i, at) => {
        const side = at ? 48 : 72;
        const picture = make("canvas", { "aria-hidden": "true", style: `width:${side}px;height:${side}px;border-color:${colors[labels[i]]}` });
        const across = Math.round(tiles.naturalWidth / tile) || 1;
        const context = sharp(picture, side, side);
        context.drawImage(tiles, tile * (i % across), tile * Math.floor(i / across), tile, tile, 0, 0, side, side);
        return make("figure", {}, picture, make("figcaption", {}, classes[labels[i]]));
      }),
    );
  }

  function choose(i) {
    if (i === chosen) return;
    chosen = i;
    const other = i >= 0 && says(i) >= 0 ? `; ${views[model.get("view")]} says ${classes[says(i)]}` : "";
    const extra = captions.length && i >= 0 ? `: ${captions[i]}` : "";
    told.textContent = i < 0 ? "" : `${classes[labels[i]]}${other}${extra}`;
    show();
    draw();
  }

  // What is picked, by class; where a method has said something, against what it said.
  function tally() {
    table.replaceChildren();
    if (!picked.size) return draw();
    const some = [...picked];
    const own = [...new Set(some.map((i) => labels[i]))].sort((a, b) => a - b);
    const name = views[model.get("view")];
    const columns = said.length ? [...new Set(some.map(says))].sort((a, b) => a - b) : [];
    const cell = (row, column) => some.filter((i) => labels[i] === row && (column < 0 || says(i) === column)).length;
    const heads = columns.length ? columns.map((at) => classes[at]) : ["faces"];
    const words = `${some.length} faces` + (columns.length ? `: in rows what they show, in columns what ${name} says` : "");
    table.append(
      make(
        "table", {}, make("caption", {}, words),
        make("thead", {}, make("tr", {}, make("td"), ...heads.map((head) => make("th", { scope: "col" }, head)))),
        make("tbody", {}, ...own.map((row) =>
          make("tr", {}, make("th", { scope: "row" }, classes[row]),
            ...(columns.length ? columns : [-1]).map((column) => make("td", { class: column === row ? "fer-right" : "" }, `${cell(row, column)}`))))),
      ),
    );
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

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function point(event) {
    const [x, y] = where(event);
    if (path.length) {
      path.push([x, y]);
      return draw();
    }
    const distance = event.pointerType === "touch" ? 28 : 12;
    const far = (i) => Math.hypot(place[2 * i] - x, place[2 * i + 1] - y);
    choose(best((i) => (far(i) <= distance ? far(i) : Infinity)));
  }

  function grasp(event) {
    point(event);
    if (event.pointerType !== "mouse" || event.button) return; // a finger scrolls the page
    path = [where(event)];
    map.setPointerCapture(event.pointerId);
  }

  function release() {
    const [drawn, wide] = [path, (axis) => Math.max(...path.map((at) => at[axis])) - Math.min(...path.map((at) => at[axis]))];
    const meant = drawn.length > 2 && (wide(0) > 8 || wide(1) > 8); // a trembling click draws nothing
    path = [];
    if (!meant) return draw();
    picked.clear();
    for (let i = 0; i < count; i++) if (visible(i) && inside(place[2 * i], place[2 * i + 1], drawn)) picked.add(i);
    tally();
  }

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser's own keys
    const step = STEPS[event.key];
    const middle = [map.clientWidth / 2, canvas.clientHeight / 2];
    if (event.key === "Escape") {
      picked.clear();
      choose(-1);
      tally();
    } else if (event.key === "Enter" && chosen >= 0) {
      [chosen, ...neighbours(chosen).filter(visible)].forEach((i) => picked.add(i));
      tally();
    } else if (!step) return;
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

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  classes.forEach((name, position) => {
    const box = make("input", { type: "checkbox" });
    const swatch = make("canvas", { "aria-hidden": "true", style: "width:14px;height:14px" });
    const context = sharp(swatch, 14, 14);
    trace(context, markers[position], 7, 7, 5);
    context.fillStyle = colors[position];
    context.fill();
    box.checked = model.get("shown")[position];
    box.addEventListener("change", () => change("shown", model.get("shown").map((old, i) => (i === position ? box.checked : old))));
    boxes.append(make("label", {}, box, swatch, name));
  });
  const pairs = model.get("pairs");
  const pair = make("select", { "aria-label": "which classes" }, ...["all classes", ...pairs.map((both) => both.join(", "))].map((text) => make("option", {}, text)));
  pair.addEventListener("change", () => {
    const both = pairs[pair.selectedIndex - 1];
    change("shown", classes.map((name) => !both || both.includes(name)));
  });
  if (pairs.length) boxes.append(pair);
  // The list says what is shown; where that is neither all nor a pair, choosing any of them is a change.
  const tell = () => {
    const same = (both) => classes.every((name, at) => model.get("shown")[at] === (!both || both.includes(name)));
    pair.selectedIndex = [null, ...pairs].findIndex(same);
  };
  tell();
  root.append(boxes);
  const choices = make("fieldset", {}, make("legend", {}, "Features of"));
  const group = `fer-view-${Math.random().toString(36).slice(2)}`;
  const radios = views.map((name, view) => {
    const radio = make("input", { type: "radio", name: group });
    radio.checked = view === model.get("view");
    radio.addEventListener("change", () => change("view", view));
    choices.append(make("label", {}, radio, name));
    return radio;
  });
  if (views.length > 1) root.append(choices);
  root.append(map, told, faces, table, help);

  const refresh = () => {
    boxes.querySelectorAll("input").forEach((box, i) => (box.checked = model.get("shown")[i]));
    tell();
    if (chosen >= 0 && !visible(chosen)) choose(-1);
    [...picked].forEach((i) => visible(i) || picked.delete(i));
    tally();
  };

  function move() {
    const [from, to, start] = [now, maps[model.get("view")], performance.now()];
    radios.forEach((radio, view) => (radio.checked = view === model.get("view")));
    const was = chosen;
    choose(-1);
    choose(was); // another method says something else, and has other neighbours
    tally();
    cancelAnimationFrame(frame);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (time) => {
      const share = still ? 1 : Math.min(1, Math.max(0, (time - start) / 600));
      const eased = share * share * (3 - 2 * share);
      now = share === 1 ? to : to.map((value, i) => from[i] + eased * (value - from[i]));
      draw();
      if (share < 1) frame = requestAnimationFrame(step);
    };
    step(start);
  }

  model.on("change:shown", refresh);
  model.on("change:view", move);
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", grasp);
  map.addEventListener("pointerup", release);
  map.addEventListener("pointercancel", () => {
    path = [];
    draw();
  });
  map.addEventListener("keydown", press);
  tiles.addEventListener("load", show);
  const watcher = new ResizeObserver(draw);
  watcher.observe(map);
  draw();
  return () => {
    watcher.disconnect();
    cancelAnimationFrame(frame);
    URL.revokeObjectURL(tiles.src);
    model.off("change:shown", refresh);
    model.off("change:view", move);
  };
}

export default { render };
