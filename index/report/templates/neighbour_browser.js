// The neighbour browser: an item is searched for or stepped to; its neighbours under ψ and φ stand side by side.
const MOST_OPTIONS = 50;
const map = content.map ? makeMap() : null;
const browser = content.shown && content.shown.length ? makeBrowser() : null;
if (browser) browser.choose(0);

function makeBrowser() {
  const wanted = byId("wanted"), list = byId("found"), group = byId("group");
  const texts = content.shown.map(entry => `${nameOf(entry.item)} ${["brand", "category", "item_id"].map(name => value(entry.item, name)).filter(present).join(" ")}`.toLowerCase());
  let options = [], pointed = -1, current = 0;

  wanted.addEventListener("input", () => open(matching()));
  wanted.addEventListener("click", () => { if (list.hidden) open(matching()); });
  wanted.addEventListener("blur", close);
  wanted.addEventListener("keydown", key);
  group.addEventListener("change", () => { const first = inGroup()[0]; if (first !== undefined) choose(first); });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  list.addEventListener("pointerdown", event => event.preventDefault());   // the text field keeps the focus
  let drawn = 0;   // the width it was drawn for: only another one is worth drawing again
  new ResizeObserver(() => { if (byId("picture").clientWidth !== drawn) showSurroundings(); }).observe(byId("picture"));

  function inGroup() { return content.shown.map((_, number) => number).filter(number => !group.value || content.shown[number].group === group.value); }

  function matching() {
    const typed = wanted.value.trim().toLowerCase(), words = typed.split(/\s+/).filter(Boolean);
    const rank = number => {
      const place = content.shown[number].item;
      return String(value(place, "item_id")).toLowerCase() === typed ? 0 : nameOf(place).toLowerCase().startsWith(typed) ? 1 : 2;
    };
    const numbers = inGroup().filter(number => words.every(word => texts[number].includes(word)));
    return typed ? numbers.map(number => [rank(number), number]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(pair => pair[1]) : numbers;
  }

  function open(numbers) {
    options = numbers.slice(0, MOST_OPTIONS);
    const rows = options.map((number, place) => {
      const {item, group} = content.shown[number];
      const row = make("li", {id: `option-${place}`, role: "option"}, make("span", {class: "name"}, nameOf(item)),
        make("span", {class: "facts"}, ...isolated([group, ...factsOf(item)])));
      row.addEventListener("click", () => { choose(number); close(); });
      return row;
    });
    const more = numbers.length - options.length;
    const note = make("li", {class: "note", role: "presentation"}, options.length ? `and ${count(more)} more: type more of the name` : "no item of this page matches");
    list.replaceChildren(...rows, ...(more || !options.length ? [note] : []));
    list.hidden = false;
    wanted.setAttribute("aria-expanded", "true");
    point(options.length ? 0 : -1);
  }

  function close() {
    list.hidden = true;
    wanted.setAttribute("aria-expanded", "false");
    wanted.removeAttribute("aria-activedescendant");
  }

  function point(place) {
    pointed = place;
    [...list.querySelectorAll("[role=option]")].forEach((row, number) => row.setAttribute("aria-selected", String(number === place)));
    if (place < 0) { wanted.removeAttribute("aria-activedescendant"); return; }
    wanted.setAttribute("aria-activedescendant", `option-${place}`);
    const row = byId(`option-${place}`);   // scrollIntoView would move the page, too
    if (row.offsetTop < list.scrollTop) list.scrollTop = row.offsetTop;
    else if (row.offsetTop + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = row.offsetTop + row.offsetHeight - list.clientHeight;
  }

  function key(event) {
    if (event.key === "Escape") { if (list.hidden) wanted.value = ""; close(); return; }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open(matching());
      else if (options.length) point((pointed + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length);
    }
    if (event.key === "Enter" && !list.hidden && pointed >= 0) { event.preventDefault(); choose(options[pointed]); close(); }
  }

  function step(by) {
    const numbers = inGroup(), place = numbers.indexOf(current);
    choose(numbers[place < 0 ? 0 : (place + by + numbers.length) % numbers.length]);
  }

  function choose(number) {
    current = number;
    const entry = content.shown[number];
    const agreed = entry.psi.filter(([place]) => entry.phi.some(([other]) => other === place)).length;
    const verdict = entry.psi.length ? `${agreed} of its ${entry.phi.length} nearest items are the same under ψ and φ.` : "It has no ψ: only φ can find its neighbours.";
    byId("item").replaceChildren(...described(entry.item), make("span", {}, `${entry.group} · ${verdict}`));
    showSide("psi", entry.psi, entry.phi, "φ");
    showSide("phi", entry.phi, entry.psi, "ψ");
    showSurroundings();
    if (map) map.choose(entry.item);
  }

  function showSurroundings() {
    drawn = byId("picture").clientWidth;
    drawSurroundings(content.shown[current]);
  }

  function showSide(side, near, others, other) {
    const rows = near.map(([place, cosine], rank) => {
      const shown = entryOf.get(place), named = make(shown === undefined ? "b" : "button", {class: "name"}, nameOf(place));
      if (shown !== undefined) {
        named.type = "button";
        named.title = "Show its neighbours";
        named.addEventListener("click", () => { choose(shown); byId("wanted").focus({preventScroll: true}); });
      }
      const shared = others.findIndex(([one]) => one === place);
      const agreement = shared >= 0 ? `● agreed: no. ${shared + 1} under ${other}` : others.length ? `○ not among the ${others.length} under ${other}` : "○ ψ says nothing";
      return make("li", shared >= 0 ? {class: "shared"} : {},
        make("div", {class: "row"}, make("span", {}, `${rank + 1}.`), named, make("span", {class: "cosine"}, `cos ${number(cosine, 2)}`)),
        make("span", {class: "facts"}, ...isolated(factsOf(place))), make("span", {class: "facts agreement"}, agreement));
    });
    byId(side).replaceChildren(...(rows.length ? rows : [make("li", {}, "None: this item has no ψ.")]));
  }

  return {choose};
}
