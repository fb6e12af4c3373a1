// Makes widgets work with the files beside this one, in place of a content delivery network.
// Loaded after require.js and before embed-amd.js.
(() => {
  const here = (path) => new URL(path, document.currentScript.src).href;
  window.__jupyter_widgets_assets_path__ = here("vendor/widgets/");
  window.require.config({ paths: { anywidget: here("vendor/anywidget/index") } });

  // Widgets typeset their labels through MathJax 2's queue, which MathJax 3 does not have. MathJax replaces the global
  // object while it loads, so each one that is put there gets the queue.
  const withQueue = (mathjax) => {
    const typeset = ([, , element]) => mathjax.typesetPromise?.([element]);
    return Object.assign(mathjax, { Hub: { Queue: typeset } });
  };
  let current = withQueue(window.MathJax ?? {});
  Object.defineProperty(window, "MathJax", {
    get: () => current,
    set: (replacement) => (current = withQueue(replacement)),
  });
})();
