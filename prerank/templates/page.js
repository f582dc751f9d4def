"use strict";
// What all pages share. Texts come from logs, plans and folders: they only ever become text nodes or attributes.
const content = JSON.parse(document.getElementById("content").textContent);
const at = (object, ...keys) => keys.reduce(
  (found, key) => (found !== undefined && found !== null && Object.hasOwn(found, key) ? found[key] : undefined), object);

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function draw(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

const count = value => value.toLocaleString("en-US");
