"""A widget in an empty page, as a page of the book holds it: no kernel, nothing but its state, script and style."""

import base64

PAGE = """async ([state, packed]) => {
  const listeners = [];
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; listeners.forEach(([on, act]) => on === `change:${name}` && act()); },
    save_changes: () => {}, on: (name, act) => listeners.push([name, act]), off: () => {},
  };
  const view = (text) => {  // at an offset that no float may start at
    const held = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const shifted = new Uint8Array(held.length + 1);
    shifted.set(held, 1);
    return new DataView(shifted.buffer, 1);
  };
  for (const [name, text] of Object.entries(packed)) state[name] = view(text);
  document.head.append(Object.assign(document.createElement("style"), { textContent: state._css }));
  const code = await import(URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" })));
  code.default.render({ model: window.model, el: document.body });
}"""


def show(page, widget, style=""):
    """Renders a widget in a page, where its model is called ``model``.

    Args:
        page: Of Playwright; its content is replaced.
        widget: An ``AnyWidget``.
        style: CSS of the page, before the widget's own.

    Returns:
        A list to which errors of the page, and what it asks the network for, are added as they come.
    """
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith("blob:") or wrong.append(request.url))
    page.set_content(f"<!doctype html><html lang=en><head><style>{style}</style></head><body></body></html>")
    state = widget.get_state()
    packed = {name: base64.b64encode(value).decode() for name, value in state.items() if isinstance(value, bytes)}
    page.evaluate(PAGE, [{name: value for name, value in state.items() if name not in packed}, packed])
    return wrong


def reached_by_jupyterlab(page):
    """What may have the focus while a press of a key still reaches JupyterLab's cells, as HTML.

    JupyterLab's keys stop at the first of an element and those around it with this attribute.
    """
    focusable = ":is(button, input, select, textarea, [tabindex])"
    found = (
        f"[...document.querySelectorAll('{focusable}')].filter(each => !each.closest('[data-lm-suppress-shortcuts]'))"
    )
    return page.evaluate(f"{found}.map(each => each.outerHTML.slice(0, 80))")
