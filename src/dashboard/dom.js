// Elements, lists with keys, and values that are set only when they changed.

/** Makes an element. Texts are texts: nothing of the fleet is ever read as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

const texts = new WeakMap();

/** Sets an element's text, if it is another one. */
export function text(element, value) {
  const wanted = value === null || value === undefined ? '' : String(value);
  if (texts.get(element) === wanted) return;
  texts.set(element, wanted);
  element.textContent = wanted;
}

/** Sets or removes an attribute, if that changes anything. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const wanted = value === true ? '' : String(value);
    if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
  }
}

export const hidden = (element, is) => {
  if (element.hidden !== is) element.hidden = is;
};

/** Sets a part of an element's style, if it is another one. */
export function style(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

const lists = new WeakMap();

/**
 * Makes the children of `parent` those of `items`: elements stay with their key, move when the
 * order changes, and go with their item. `make(item)` gives `{ element, draw(item) }`.
 */
export function keyed(parent, items, key, make) {
  const before = lists.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const id = key(item);
    const part = before.get(id) ?? make(item);
    before.delete(id);
    part.draw(item);
    after.set(id, part);
  }
  for (const part of before.values()) part.element.remove();
  let place = parent.firstChild;
  for (const part of after.values()) {
    if (part.element === place) place = place.nextSibling;
    else parent.insertBefore(part.element, place);
  }
  lists.set(parent, after);
}
