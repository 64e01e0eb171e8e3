// Elements made of data, without markup: what a reader wrote is text, whatever it looks like.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

// An element with attributes and children; null, undefined and false among them are left out.
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Changes `old` into `next` where they differ, so that focus, selection, scrolling and open details stay as they are.
export function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) {
    old.replaceWith(next);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
  } else {
    morphAttributes(old, next);
    morphChildren(old, [...next.childNodes]);
  }
}

function morphAttributes(old, next) {
  const kept = old.nodeName === "DETAILS" ? "open" : "";
  for (const { name } of [...old.attributes]) if (name !== kept && !next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes)
    if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
}

// Shows `children` in `parent`; they must hold no listeners of their own (see `delegate`).
export function morphChildren(parent, children) {
  const before = [...parent.childNodes];
  children.forEach((child, at) => (at < before.length ? morph(before[at], child) : parent.append(child)));
  before.slice(children.length).forEach((child) => child.remove());
}

// One listener for all elements with `data-do`, those of later renderings included.
export function delegate(root, type, actions) {
  root.addEventListener(type, (event) => {
    const element = event.target.closest("[data-do]");
    const action = element && root.contains(element) && actions[element.dataset.do];
    if (action) action(element, event);
  });
}

let toastTimer = 0;

// Says something briefly, also to screen readers.
export function toast(text) {
  $("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").textContent = ""), 6000);
}
