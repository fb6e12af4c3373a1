// Mends what the theme and docutils get wrong for screen readers, as axe-core finds it; loaded when the page is parsed.
(() => {
  const each = (selector, change) => document.querySelectorAll(selector).forEach(change);
  // The button's own text, with its keys, is its name; a label beside it is another one.
  each(".search-button-field", (button) => button.removeAttribute("aria-label"));
  // The icons of one button have names of their own beside the button's. Where they are drawn as SVG already, the name
  // is an element that they point to; where not yet, drawing keeps what is said here.
  each(".theme-switch", (icon) => {
    for (const name of ["title", "role", "aria-labelledby"]) icon.removeAttribute(name);
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  });
  // What opens the pages below another one in the side bar is drawn as an arrow alone.
  each(".has-children > details > summary", (opener) => {
    opener.setAttribute("aria-label", `pages of ${opener.parentElement.previousElementSibling.textContent}`);
  });
  // A signature on several lines is laid out as a list of definitions, of which it has none.
  each(".sig dl, .sig dd", (line) => line.setAttribute("role", "none"));
  // The entries of a list of citations carry a role that a list may not hold, and that has been withdrawn since.
  each(".citation-list > .citation", (entry) => entry.setAttribute("role", "listitem"));
})();
