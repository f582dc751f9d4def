// Requests that were picked because two systems differ on them: the ranking model's list and both systems', side by side.
const KINDS = {
  theirs: (other, base) => `${other} orders the clicks better than ${base}`,
  ours: (other, base) => `${base} orders the clicks better than ${other}`,
  apart: () => "their first items differ most",
};
const [EXPOSED, CLICKED, ORDERED] = [1, 2, 4];

const pairOf = other => (at(details.requests, "pairs") || []).find(
  pair => (pair.a === other && pair.b === chosen.baseline) || (pair.b === other && pair.a === chosen.baseline));

function fillRequestControls() {
  for (const id of ["other", "kind"]) byId(id).addEventListener("change", showRequests);
}

function showRequests() {
  const others = content.systems.filter(system => pairOf(system) !== undefined);
  const [other, kind] = ["other", "kind"].map(id => byId(id));
  byId("requests-controls").hidden = !others.length;
  if (!others.length) {
    byId("requests-note").textContent = `No lists to compare with ${chosen.baseline}: it takes the predictions of two systems on the same rows.`;
    byId("requests").replaceChildren();
    return;
  }
  fill(other, others, others.includes(other.value) ? other.value : others[0]);
  fill(kind, Object.entries(KINDS).map(([key, words]) => [key, words(other.value, chosen.baseline)]), kind.value in KINDS ? kind.value : "theirs");
  const pair = pairOf(other.value), first = details.requests.first, swapped = pair.a === chosen.baseline;
  const name = kind.value === "apart" ? "apart" : (kind.value === "theirs") !== swapped ? "a_better" : "b_better";
  byId("requests-note").textContent = `Picked from ${details.requests.split} because the systems differ there, so they show how, not which one is better. ` +
    (kind.value === "apart" ? `Fewest items in common among the first ${first}, the longest lists first.`
      : "Largest share in the difference of GAUC: impressions times the difference of the request's click AUC.") +
    " “Ranking model” is the order of the model that the pre-ranker feeds. Ranks count all candidates; = marks a tie.";
  const picks = pair.picks[name];
  byId("requests").replaceChildren(...(picks.length ? picks.map(pick => requestOf(pick, pair, other.value))
    : [make("p", {class: "note"}, "There is no such request.")]));
}

function requestOf(pick, pair, other) {
  const request = details.requests.requests[pick.request], base = chosen.baseline;
  const auc = system => pick.auc[system === pair.a ? 0 : 1];
  const facts = [`${count(request.candidates)} candidates`, `${request.happened[0]} clicked`, `${request.happened[1]} ordered`,
    `${pick.common} of the first ${details.requests.first} in common`];
  if (auc(base) !== null) facts.push(`click AUC ${number(auc(other), DECIMALS)} by ${other}, ${number(auc(base), DECIMALS)} by ${base}`);
  const lists = [listOf(request, base, [other]), listOf(request, other, [base])];
  if (request.ranked) lists.unshift(listOf(request, null, [base, other]));
  return make("article", {class: "request"}, make("h3", {}, "“", make("bdi", {}, request.query || "no query"), "”"),
    make("p", {class: "note"}, "Request ", ...isolated([request.request_id, ...facts])), make("div", {class: "lists"}, ...lists));
}

// The first rows by a system's score, or by the ranking model where system is null; clicked rows further down follow.
function listOf(request, system, others) {
  const ranks = system === null ? request.rows.map(row => row[1]) : request.ranks[system];
  const order = request.rows.map((row, place) => place).filter(place => ranks[place] !== null).sort((a, b) => ranks[a] - ranks[b] || a - b);
  const first = order.slice(0, details.requests.first), further = order.slice(details.requests.first).filter(place => request.rows[place][2] & (CLICKED | ORDERED));
  const list = make("ol", {class: "ranks"}, ...first.map(place => entryOf(request, place, system, ranks, others)));
  const column = make("div", {class: "list"}, make("h4", {}, system === null ? "Ranking model" : system), list);
  if (further.length) column.append(make("p", {class: "note"}, "Clicked, further down"), make("ol", {class: "ranks"}, ...further.map(place => entryOf(request, place, system, ranks, others))));
  return column;
}

function entryOf(request, place, system, ranks, others) {
  const [item, position, marks, price] = request.rows[place], [title, ...about] = details.requests.items[item];
  const tied = system !== null && ranks.filter(rank => rank === ranks[place]).length > 1;
  const happened = marks & ORDERED ? "◆ ordered" : marks & CLICKED ? "● clicked" : marks & EXPOSED ? "" : "not shown";
  const elsewhere = others.map(name => `${name} ${request.ranks[name][place]}`);
  if (system !== null && request.ranked) elsewhere.unshift(position === null ? "not ranked" : `ranking model ${position}`);
  return make("li", marks & (CLICKED | ORDERED) ? {class: "hit"} : {},
    make("span", {class: "rank"}, `${tied ? "=" : ""}${ranks[place]}`),
    make("div", {}, make("span", {class: "name"}, title), happened ? make("span", {class: "mark"}, happened) : "",
      make("span", {class: "facts"}, ...isolated([...about, price === null ? "" : `price ${count(price)}`])),
      make("span", {class: "facts"}, ...isolated(elsewhere))));
}
