// How a view lives inside a Streamlit component: made once, told of every change, ended when its node has left the page.

const held = new WeakMap();

/**
 * Turn `create(host, data, tell) -> {update(data), destroy()}` into the function that Streamlit calls at each change;
 * `tell(name, value)` calls the page's own `on_name_change`.
 *
 * Streamlit also runs the clean-up of a call that a newer one overtook; only a node that is no longer in the
 * document was really unmounted.
 */
export function mountable(create) {
  return (component) => {
    const { data, parentElement } = component;
    let entry = held.get(parentElement);
    if (!entry) {
      const host = document.createElement("div");
      host.className = "ps-root";
      parentElement.append(host);
      entry = { host, component };
      entry.view = create(host, data, (name, value) => entry.component.setTriggerValue(name, value));
      held.set(parentElement, entry);
    }
    entry.component = component;
    entry.view.update(data);
    return () => setTimeout(() => end(parentElement, entry), 0);
  };
}

function end(parentElement, entry) {
  if (entry.host.isConnected || held.get(parentElement) !== entry) return;
  held.delete(parentElement);
  entry.view.destroy();
}

/** Make an element: `element("span", {class: "x", title: "y"}, "text", child, …)`. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Write a node's text only where it differs, so that nothing is laid out again in vain. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Put children into this order, moving only those that stand elsewhere: a chart that stays is never detached. */
export function arrange(parent, children) {
  let next = null;
  for (const child of [...children].reverse()) {
    if (child.parentNode !== parent || child.nextSibling !== next) parent.insertBefore(child, next);
    next = child;
  }
}
