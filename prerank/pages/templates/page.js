"use strict";
// What all pages share. Texts come from logs, plans and folders: they only ever become text nodes or attributes.
// A page that asks its server holds no content of its own.
const content = JSON.parse(document.getElementById("content")?.textContent ?? "null");
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

// Names such as grace_no_hash_id may be broken after an underscore, and nowhere else while there is room.
const breakable = name => name.split(/(?<=_)/).flatMap((part, place) => (place ? [make("wbr"), part] : [part]));

const count = value => value.toLocaleString("en-US");

// A form cannot be used on paper, but what it is set to has to stand there, and so has what is folded away.
const PAPER_WIDTH = 700;
const forPaper = {printing: false, added: [], opened: []};
const drawingWidth = plot => forPaper.printing ? PAPER_WIDTH : Math.max(320, plot.clientWidth || 900);
function setting(label) {
  const select = label.querySelector("select"), input = label.querySelector("input");
  if (select) return `${label.firstChild.textContent.trim()}: ${select.selectedOptions[0]?.textContent ?? "nothing"}`;
  return input.type !== "checkbox" ? `${label.firstChild.textContent.trim()}: ${input.value}` : input.checked ? label.textContent.trim() : "";
}
window.addEventListener("beforeprint", () => {
  forPaper.printing = true;
  for (const form of document.querySelectorAll("form:not([hidden])")) {
    const words = [...form.querySelectorAll("label")].map(setting).filter(Boolean).join(" · ");
    const line = make("p", {class: "note"}, `Shown: ${words}`);
    form.after(line);
    forPaper.added.push(line);
  }
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    forPaper.opened.push(folded);
  }
});
window.addEventListener("afterprint", () => {
  forPaper.printing = false;
  for (const line of forPaper.added.splice(0)) line.remove();
  for (const folded of forPaper.opened.splice(0)) folded.open = false;
});

// About `most` round numbers from low to high, and the decimals that tell them apart.
function ticksBetween(low, high, most) {
  const step = [1, 2, 2.5, 5, 10].map(part => part * 10 ** Math.floor(Math.log10((high - low) / most)))
    .find(part => (high - low) / part <= most);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(tick);
  const quarter = step.toString().includes("25") ? 1 : 0;
  return {ticks, decimals: Math.max(0, Math.min(5, Math.ceil(-Math.log10(step) - 1e-9) + quarter))};
}
