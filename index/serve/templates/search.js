// Titles, attributes and names are untrusted: they only ever become text nodes or attributes.
const WAIT_MS = 150;

const title = item => item.attributes.title || `item ${item.item_id}`;

function facts(item) {
  const shown = Object.entries(item.attributes).filter(([name]) => name !== "title" && name !== "listed_at");
  const seen = item.impressions === null ? [] : [`seen ${count(item.impressions)}`];
  const id = item.attributes.title ? [`id ${item.item_id}`] : [];
  return isolated([...id, ...shown.map(([name, value]) => `${name} ${value}`), ...seen]);
}

async function ask(endpoint, asked) {
  const answer = await fetch(`/api/${endpoint}?${new URLSearchParams(asked)}`);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

// Only the newest question of a kind is answered: a slow early answer must not replace a later one.
const newest = {items: 0, neighbours: 0};
const clear = {
  items: () => byId("found").replaceChildren(),
  neighbours: () => { byId("lists").replaceChildren(); byId("agreement").textContent = ""; },
};
let chosen = null;

async function only(kind, question, show) {
  const turn = ++newest[kind];
  byId("state").textContent = "searching …";
  try {
    const content = await question();
    if (turn === newest[kind]) { byId("state").textContent = ""; show(content); }
  } catch (error) {
    if (turn !== newest[kind]) return;
    byId("state").textContent = error.message;
    clear[kind]();  // an older answer would look like one to this question
  }
}

function showMatches({items}) {
  const rows = items.map(item => {
    const button = make("button", {type: "button"}, title(item), make("span", {class: "facts"}, ...facts(item)));
    button.addEventListener("click", () => choose(item, button));
    return make("li", {}, button);
  });
  byId("found").replaceChildren(...(rows.length ? rows : [make("li", {class: "none"}, "no item matches")]));
  byId("state").textContent = items.length ? `${count(items.length)} matches shown, the most seen first` : "no item matches";
}

function choose(item, button) {
  chosen = item;
  for (const other of byId("found").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
  findNeighbours();
}

function showNeighbours({item, lists, agreement, among}) {
  byId("item").replaceChildren(make("b", {}, title(item)), make("span", {class: "facts"}, ...facts(item)));
  byId("agreement").textContent = agreement === null ? lists.length < 2 ? "One embedding: compared with nothing." : ""
    : `${agreement.common} of ${agreement.of} neighbours are the same${among === "all" ? "; each side searched all that it holds" : ""}`;
  byId("lists").replaceChildren(...lists.map(list => {
    const rows = list.neighbours.map(near => {
      const shared = near.rank_in_other !== null;
      return make("li", shared ? {class: "shared"} : {},
        make("span", {class: "cosine"}, number(near.cosine, 3)), make("span", {class: "name"}, title(near)),
        ...(shared ? [make("span", {class: "rank"}, `● ${near.rank_in_other}`)] : []), make("span", {class: "facts"}, ...facts(near)));
    });
    const why = list.holds_item ? "no neighbours" : `none: this item has no ${list.embedding}`;
    const content = rows.length ? make("ol", {}, ...rows) : make("p", {class: "none"}, why);
    return make("section", {"aria-label": list.embedding}, make("h3", {}, list.embedding, make("span", {class: "facts"}, `${count(list.searched)} of its ${count(list.items)} items searched`)), content);
  }));
}

const findItems = () => only("items", () => ask("items", {run: byId("run").value, q: byId("wanted").value}), showMatches);

function findNeighbours() {
  if (!chosen || !byId("a").value) return;
  if (byId("a").value === byId("b").value) byId("b").value = "";
  const asked = {run: byId("run").value, item: chosen.item_id, a: byId("a").value, k: byId("k").value || 10, among: byId("among").value};
  if (byId("b").value) asked.b = byId("b").value;
  only("neighbours", () => ask("neighbours", asked), showNeighbours);
}

async function chooseRun() {
  chosen = null;
  for (const each of Object.values(clear)) each();
  byId("item").textContent = "Choose an item: type above, then go down the list by the arrow keys.";
  try {
    const {embeddings, reason} = await ask("embeddings", {run: byId("run").value});
    fill(byId("a"), embeddings, embeddings.includes("psi") ? "psi" : embeddings[0]);
    // One embedding alone is compared with nothing: with itself it would agree on everything.
    fill(byId("b"), [["", "nothing"], ...embeddings], embeddings.find(name => name === "phi:grace") || embeddings.find(name => name !== "psi" && name !== byId("a").value) || "");
    byId("state").textContent = reason ?? (embeddings.length > 1 ? "" : `this run has ${embeddings[0]} only: there is nothing to compare it with`);
  } catch (error) {
    byId("state").textContent = error.message;
    return;
  }
  if (byId("wanted").value.trim()) findItems();
}

let waiting = null;
byId("wanted").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => byId("wanted").value.trim() ? findItems() : byId("found").replaceChildren(), WAIT_MS);
});

function step(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const buttons = [...byId("found").querySelectorAll("button")];
  const next = buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  event.preventDefault();
  if (next < 0) byId("wanted").focus();
  else if (buttons[next]) { buttons[next].focus(); buttons[next].click(); }
}

byId("wanted").addEventListener("keydown", step);
byId("found").addEventListener("keydown", step);
byId("controls").addEventListener("submit", () => { if (byId("wanted").value.trim()) findItems(); });
byId("run").addEventListener("change", chooseRun);
for (const id of ["a", "b", "k", "among"]) byId(id).addEventListener("change", findNeighbours);

(async () => {
  try {
    const {runs} = await ask("runs", {});
    const wanted = new URLSearchParams(location.search).get("run");
    const names = runs.map(run => run.run);
    fill(byId("run"), names, names.includes(wanted) ? wanted : names[0]);
    if (runs.length) await chooseRun();
    else byId("state").textContent = "there are no runs yet";
  } catch (error) {
    byId("state").textContent = error.message;
  }
})();
