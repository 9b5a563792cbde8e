"use strict";
// Shows one film of a board at a time: what each method answered, and how far off it is.

(() => {
  const data = window.caseData;
  const root = document.getElementById("case-browser");
  if (!data || !root) return;
  const MISSING = -32768;
  const [picker, order, copy] = ["case-pick", "case-order", "case-link"].map((id) => document.getElementById(id));
  const [panels, errors, status, names] = ["case-panels", "case-errors", "case-status", "case-methods"].map((id) => document.getElementById(id));
  const shown = new Set(data.rows.flatMap((row, place) => (row.shown ? [place] : [])));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const onDark = JSON.parse(document.body.dataset.onDark);
  const colourOf = (row) => (dark.matches && onDark[row.colour]) || row.colour;
  let sequence = data.cases.map((_, place) => place);
  let current = 0;

  function unpack(text) {
    if (!text) return null;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 }, (_, place) => {
      const pair = [numbers.getInt16(4 * place, true), numbers.getInt16(4 * place + 2, true)];
      return pair.includes(MISSING) ? null : pair.map((value) => value * data.step);
    });
  }

  const middle = (values) => { const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1; return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2; };

  function reference(film, answers) { // the truth, or the median of all methods where labels are not published
    const truth = unpack(film.truth);
    if (truth) return truth;
    return data.landmarks.map((_, place) => {
      const known = answers.flatMap((points) => (points && points[place] ? [points[place]] : []));
      return known.length ? [0, 1].map((axis) => middle(known.map((point) => point[axis]))) : null;
    });
  }

  function view(film, all) {
    if (film.size) return [0, 0, ...film.size];
    const known = all.flat().filter(Boolean);
    const ends = [0, 1].map((axis) => [Math.min(...known.map((p) => p[axis])), Math.max(...known.map((p) => p[axis]))]);
    const pad = 0.06 * Math.max(ends[0][1] - ends[0][0], ends[1][1] - ends[1][0]);
    return [ends[0][0] - pad, ends[1][0] - pad, ends[0][1] - ends[0][0] + 2 * pad, ends[1][1] - ends[1][0] + 2 * pad];
  }

  const node = (name, attributes = {}, ...children) => {
    const svg = ["svg", "path", "circle", "image", "title"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const lines = (points) => data.edges.filter(([a, b]) => points[a] && points[b]).map(([a, b]) => `M${points[a]}L${points[b]}`).join("");
  const text = (value, unit) => (value === null ? "-" : `${value.toFixed(2)} ${unit}`.trim());

  function distance(film, a, b) {
    if (!a || !b) return null;
    const scale = data.unit === "mm" && film.spacing ? film.spacing : [1, 1];
    return Math.hypot((a[0] - b[0]) * scale[0], (a[1] - b[1]) * scale[1]);
  }

  function panel(film, row, score, points, base, box) {
    const size = Math.max(box[2], box[3]) / (data.landmarks.length > 30 ? 150 : 90), colour = colourOf(row);
    const label = `${row.label}: ${text(score, data.scoreUnit)}`;
    const links = points.flatMap((point, place) => (point && base[place] ? [`M${base[place]}L${point}`] : [])).join("");
    const svg = node("svg", { viewBox: box.join(" "), role: "img", "aria-label": `${label} on film ${film.id}` });
    if (film.image) svg.append(node("image", { href: film.image, width: box[2], height: box[3], preserveAspectRatio: "none" }));
    svg.append(node("path", { class: "base", d: lines(base) }));
    for (const point of base) if (point) svg.append(node("circle", { class: "base", cx: point[0], cy: point[1], r: size * 0.7 }));
    svg.append(node("path", { class: "off", d: links }), node("path", { class: "answer", d: lines(points), style: `stroke:${colour}` }));
    points.forEach((point, place) => {
      if (!point) return;
      const off = film.truth ? `: ${text(distance(film, point, base[place]), data.unit)}` : "";
      svg.append(node("path", { class: "point", d: SHAPES[row.symbol], transform: `translate(${point}) scale(${size})`, style: `fill:${colour}` }, node("title", {}, `${data.landmarks[place]}${off}`)));
    });
    return node("figure", { class: film.image ? "case on-film" : "case" }, svg, node("figcaption", {}, node("strong", {}, row.label), " ", node("span", { class: "number" }, text(score, data.scoreUnit))));
  }

  function errorTable(film, chosen, base) {
    errors.replaceChildren();
    if (!film.truth) return;
    const head = node("tr", {}, node("th", { scope: "col" }, "Landmark"), ...chosen.map(({ row }) => node("th", { scope: "col", class: "n" }, `${row.label} (${data.unit})`)));
    const body = data.landmarks.map((name, place) => node("tr", {}, node("th", { scope: "row" }, name), ...chosen.map(({ points }) => node("td", {}, text(distance(film, points[place], base[place]), "")))));
    const table = node("table", {}, node("caption", {}, `Error of each landmark on film ${film.id} (${data.unit})`), node("thead", {}, head), node("tbody", {}, ...body));
    errors.append(node("div", { class: "scroll", role: "group", "aria-label": "Error of each landmark", tabindex: "0" }, table));
  }

  function show(push = true) {
    const film = data.cases[current];
    const answers = film.points.map(unpack);
    const base = reference(film, answers);
    const chosen = data.rows.flatMap((row, place) => (shown.has(place) && answers[place] ? [{ row, place, points: answers[place] }] : []));
    const box = view(film, [base, ...chosen.map((each) => each.points)]);
    panels.replaceChildren(...chosen.map(({ row, place, points }) => panel(film, row, film.scores[place], points, base, box)));
    errorTable(film, chosen, base);
    picker.value = String(current);
    const spread = film.spread === null ? "" : `, disagreement ${film.spread.toFixed(1)} px`;
    status.textContent = `Film ${film.id}, ${sequence.indexOf(current) + 1} of ${sequence.length}${spread}`;
    copy.href = `#case=${encodeURIComponent(film.id)}`;
    if (push) history.replaceState(null, "", copy.href);
  }

  const first = data.rows.findIndex((_, place) => data.cases.some((film) => film.scores[place] !== null));
  const orders = {
    name: () => 0,
    disagreement: (a, b) => (b.spread ?? -1) - (a.spread ?? -1),
    worst: (a, b) => (data.lowerIsBetter ? 1 : -1) * ((b.scores[first] ?? 0) - (a.scores[first] ?? 0)),
  };

  function sort() {
    sequence = data.cases.map((_, place) => place).sort((a, b) => orders[order.value](data.cases[a], data.cases[b]) || a - b);
    picker.replaceChildren(...sequence.map((place) => node("option", { value: place }, data.cases[place].id)));
    current = sequence[0];
    show();
  }

  function step(by) {
    current = sequence[(sequence.indexOf(current) + by + sequence.length) % sequence.length];
    show();
  }

  function fromHash() {
    const wanted = decodeURIComponent((location.hash.match(/^#case=(.*)$/) || [])[1] || "");
    const found = data.cases.findIndex((film) => film.id === wanted);
    if (found >= 0) { current = found; show(false); }
    return found >= 0;
  }

  data.rows.forEach((row, place) => {
    const button = node("button", { type: "button", "aria-pressed": shown.has(place) }, node("svg", { class: "dot", viewBox: "-1.4 -1.4 2.8 2.8", "aria-hidden": "true", style: `fill:${colourOf(row)}` }, node("path", { d: SHAPES[row.symbol] })), row.label);
    button.addEventListener("click", () => {
      shown[shown.has(place) ? "delete" : "add"](place);
      button.setAttribute("aria-pressed", shown.has(place));
      show();
    });
    names.append(button);
  });
  picker.addEventListener("change", () => { current = Number(picker.value); show(); });
  order.addEventListener("change", sort);
  document.getElementById("case-before").addEventListener("click", () => step(-1));
  document.getElementById("case-after").addEventListener("click", () => step(1));
  addEventListener("hashchange", fromHash);
  dark.addEventListener("change", () => {
    names.querySelectorAll(".dot").forEach((dot, place) => { dot.style.fill = colourOf(data.rows[place]); });
    show(false);
  });
  root.hidden = false;
  const given = location.hash;
  sort();
  if (given) { history.replaceState(null, "", given); fromHash(); }
})();
