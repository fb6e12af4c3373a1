// Pictures of one's own: this page has the files and the camera, the kernel has the model.

const KINDS = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff"; // phones turn others into these
const LONGEST = 720; // pixels of a camera's picture; a face in it is still larger than what models see
const PATIENCE = 2000; // milliseconds until a page without an answer says that it needs a kernel
const SILENCE = 10000; // milliseconds after which a picture counts as unanswered

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
};

const button = (text, press) => {
  const made = make("button", { type: "button" }, text);
  made.addEventListener("click", press);
  return made;
};

const WHY = {
  NotAllowedError: "The camera was refused. Allow it in the browser's settings for this site, or choose a photo.",
  NotFoundError: "No camera was found. Choose a photo instead.",
  NotReadableError: "The camera is in use by another program. Close that, or choose a photo.",
};

const needed = () => make(
  "div", { class: "fer-need", role: "note" },
  make("p", {}, make("strong", {}, "This needs a kernel. "), "Your picture would go to a model in Python, and this page has none. Two ways to get one:"),
  make(
    "ul", {},
    make("li", {}, "open this chapter's notebook in JupyterLab (", make("code", {}, "make lab"), ") or in Colab, and run its cells;"),
    make("li", {}, "or ask in a terminal: ", make("code", {}, "fer-core predict photo.jpg")),
  ),
);

// What was cut out of a picture, over the picture: black and white lines, as one of them is seen on any ground.
function overlay() {
  const holder = make("div");
  const line = (name) => `<polygon class="${name}"></polygon>`;
  holder.innerHTML = `<svg aria-hidden="true" preserveAspectRatio="none">${line("fer-dark")}${line("fer-light")}</svg>`;
  const svg = holder.firstChild;
  const draw = (size, outline) => {
    svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    [...svg.children].forEach((each) => each.setAttribute("points", outline.map((corner) => corner.join()).join(" ")));
  };
  return { svg, draw, clear: () => draw([1, 1], []) };
}

// --- what came out

function results(classes, colors, side) {
  const [video, image] = [make("video", { autoplay: "", playsinline: "", "aria-label": "the camera" }), make("img", { alt: "your picture" })];
  video.muted = true;
  const outline = overlay();
  const stage = make(
    "figure", { class: "fer-stage" }, make("div", { class: "fer-frame" }, video, image, outline.svg),
    make("figcaption", {}, "Your picture; the frame is what was cut out."),
  );
  const crop = make("img", { alt: "the part of your picture that was cut out for the model" });
  const cells = classes.map(() => make("td"));
  const rows = classes.map((name, at) => make("tr", {}, make("th", { scope: "row" }, name), cells[at]));
  const timing = make("p", { class: "fer-help" });
  const answer = make(
    "div", { class: "fer-answer" },
    make("figure", {}, crop, make("figcaption", {}, `What was cut out. The model sees it at ${side} × ${side} pixels.`)),
    make("div", {}, make("table", {}, make("caption", {}, "What the model says"), make("tbody", {}, ...rows)), timing),
  );
  image.addEventListener("error", () => (stage.hidden = true)); // a kind of file that the browser does not know

  const put = (where, blob) => {
    URL.revokeObjectURL(where.src);
    where.src = URL.createObjectURL(blob);
  };
  const clear = () => {
    outline.clear();
    answer.style.visibility = "hidden"; // its place stays, so that a face that was lost for a moment moves nothing
  };

  function live(on) {
    [stage.hidden, answer.hidden, video.hidden, image.hidden] = [!on, true, !on, on];
    clear();
  }

  function picture(blob) {
    live(false);
    stage.hidden = false;
    put(image, blob);
  }

  // Shows an answer and gives the likeliest class.
  function show(told, bytes) {
    [answer.hidden, answer.style.visibility] = [false, "visible"];
    outline.draw(told.size, told.outline);
    put(crop, new Blob([bytes], { type: "image/png" }));
    const first = told.probabilities.indexOf(Math.max(...told.probabilities));
    told.probabilities.forEach((value, at) => {
      cells[at].textContent = value.toFixed(2);
      cells[at].className = at === first ? "fer-first" : "";
      cells[at].style.background = `linear-gradient(to right, ${colors[at]}40 ${100 * value}%, transparent ${100 * value}%)`;
    });
    timing.textContent = `${Math.round(told.milliseconds)} ms in the kernel`;
    return first;
  }

  live(false);
  const forget = () => [image, crop].forEach((each) => URL.revokeObjectURL(each.src));
  return { stage, answer, video, live, picture, show, clear, forget };
}

function render({ model, el }) {
  const [classes, most] = ["classes", "most"].map((name) => model.get(name));
  const shown = results(classes, model.get("colors"), model.get("side"));
  const status = make("p", { role: "status", "aria-live": "polite" });
  const need = needed();
  const canvas = make("canvas");

  // Views of one widget hear each other's answers, so each counts from a place of its own.
  let number = Math.floor(Math.random() * 2 ** 40);
  let [waiting, silence, stream, session] = [false, 0, null, 0];

  const say = (line) => {
    if (status.textContent !== line) status.textContent = line; // said again, it would be read aloud again
  };

  // --- to the kernel and back

  function send(blob, name) {
    const own = (number += 1);
    waiting = true;
    clearTimeout(silence);
    silence = setTimeout(unanswered, SILENCE);
    const failed = (error) => own === number && refuse(`The picture cannot be read: ${error.message}`);
    blob.arrayBuffer().then((content) => own === number && model.send({ picture: own, name }, undefined, [content]), failed);
  }

  // What is under way is no longer wanted.
  function abandon() {
    clearTimeout(silence);
    [number, waiting] = [number + 1, false];
  }

  function unanswered() {
    close();
    refuse("No answer for 10 seconds: the kernel is busy, or was restarted. Wait, or run the cell again.");
  }

  function refuse(line) {
    clearTimeout(silence);
    waiting = false;
    shown.clear();
    say(line);
  }

  function heard(told, buffers) {
    if (told.ready) return ready();
    if (told.picture !== number) return; // of a picture before the latest one
    if (told.error) refuse(`No answer for this picture: ${told.error}`);
    else {
      clearTimeout(silence);
      waiting = false;
      const first = shown.show(told, buffers[0]);
      say(stream ? classes[first] : `${classes[first]}: ${told.probabilities[first].toFixed(2)}`);
    }
    next();
  }

  // --- files

  function take(files) {
    const file = [...files][0];
    if (!file) return say("Expected the file of a picture, got none: save the picture first, and choose its file.");
    close();
    if (file.size > most) {
      abandon();
      return refuse(`Expected a file of at most ${most / 2 ** 20} MB, got ${(file.size / 2 ** 20).toFixed(1)} MB: save the picture smaller.`);
    }
    say("looking …");
    shown.picture(file);
    send(file, file.name);
  }

  const input = make("input", { type: "file", accept: KINDS, "aria-label": "photo" });
  input.hidden = true;
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  const drop = make(
    "div", { class: "fer-drop", tabindex: "0", role: "group", "aria-label": "a photo: choose it, drop it here, or paste it" },
    button("Choose a photo", () => input.click()), input, make("span", {}, "or drop one here, or click here and paste it"),
  );
  ["dragenter", "dragover", "dragleave", "drop"].forEach((kind) =>
    drop.addEventListener(kind, (event) => {
      event.preventDefault(); // else the browser opens the file
      event.stopPropagation();
      drop.classList.toggle("fer-over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    }),
  );

  // --- the camera

  const group = `fer-mode-${number}`;
  const [once, on] = ["one picture", "keep looking"].map((text) => {
    const radio = make("input", { type: "radio", name: group });
    radio.addEventListener("change", () => {
      refresh();
      next();
    });
    return { radio, label: make("label", {}, radio, text) };
  });
  once.radio.checked = true;
  const use = button("Use the camera", open);
  const shutter = button("Take the picture", () => void shoot());
  const stop = button("Stop the camera", () => {
    close();
    say("The camera is off.");
  });
  const buttons = [shutter, stop, use];

  function refresh() {
    const held = buttons.find((each) => each === document.activeElement);
    [use.hidden, stop.hidden, shutter.hidden] = [!!stream, !stream, !stream || on.radio.checked];
    if (held?.hidden) buttons.find((each) => !each.hidden).focus();
  }

  async function open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      return say("This page may not use a camera: browsers allow it on https and on localhost only. Choose a photo instead.");
    }
    const own = (session += 1);
    say("asking for the camera …");
    try {
      const opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
      if (own !== session) return opened.getTracks().forEach((track) => track.stop()); // it is no longer wanted
      stream = opened;
    } catch (error) {
      return own === session && say(WHY[error.name] ?? `The camera cannot be opened: ${error.message}`);
    }
    abandon();
    stream.getVideoTracks().forEach((track) => track.addEventListener("ended", close));
    shown.video.srcObject = stream;
    shown.live(true);
    say("The camera is on.");
    refresh();
  }

  function close() {
    session += 1;
    if (!stream) return;
    stream.getTracks().forEach((track) => track.stop());
    [stream, shown.video.srcObject] = [null, null];
    abandon();
    shown.live(false);
    refresh();
  }

  // Frames are asked for one by one; a page that nobody sees asks for none.
  const next = () => requestAnimationFrame(() => void (on.radio.checked && shoot()));

  async function shoot() {
    const { videoWidth: width, videoHeight: height } = shown.video;
    if (waiting || !stream || !width) return;
    waiting = true;
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    [canvas.width, canvas.height] = [Math.round(scale * width), Math.round(scale * height)];
    canvas.getContext("2d").drawImage(shown.video, 0, 0, canvas.width, canvas.height);
    const own = session;
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    if (own !== session) return;
    if (once.radio.checked) {
      close();
      say("looking …");
      shown.picture(blob);
    }
    send(blob, "camera.jpg");
  }
  shown.video.addEventListener("loadeddata", next);

  // --- together

  const controls = make(
    "div", { class: "fer-controls" }, drop,
    make("fieldset", {}, make("legend", {}, "Camera"), once.label, on.label, use, shutter, stop),
  );
  const root = make(
    // JupyterLab's keys, Ctrl+V among them, would change its cells.
    "div", { class: "fer-camera", "data-lm-suppress-shortcuts": "true" },
    make("p", {}, "Model: ", make("strong", {}, model.get("title"))), need, controls, status, make("div", { class: "fer-result" }, shown.stage, shown.answer),
  );
  if (!model.get("placed")) {
    root.append(make("p", { class: "fer-help" }, "Faces are not looked for here: the model gets the centre square of a picture, which a face should fill."));
  }
  root.append(
    make(
      "p", { class: "fer-help" },
      "A movement of a face is not a feeling, and these models often err. Pictures go to the kernel of this notebook and to " +
        "nobody else (in Colab that is a machine of Google's); nothing is stored, there or here.",
    ),
  );
  root.addEventListener("paste", (event) => {
    event.preventDefault();
    event.stopPropagation();
    take(event.clipboardData.files);
  });
  el.append(root);
  refresh();

  // Sphinx names the book's root on every page: there no kernel is to be waited for.
  const rendered = document.documentElement.dataset.content_root !== undefined;
  [need.hidden, controls.hidden] = [true, true];
  say("looking for the kernel …");
  const patience = setTimeout(() => {
    need.hidden = false;
    say(rendered ? "" : "No kernel has answered.");
  }, rendered ? 0 : PATIENCE);
  function ready() {
    clearTimeout(patience);
    if (!controls.hidden) return;
    [need.hidden, controls.hidden] = [true, false];
    say("Choose a photo, or use the camera.");
  }
  model.on("msg:custom", heard);
  model.send({});
  return () => {
    model.off("msg:custom", heard);
    close();
    [patience, silence].forEach(clearTimeout);
    shown.forget();
  };
}

export default { render };
