"use strict";
// Sorts and filters tables, and draws charts; without it the pages show plain tables.

const keyOf = (cell) => { // the first text is the value, smaller lines follow it
  const text = (cell.dataset.v ?? cell.firstChild?.textContent ?? "").trim();
  return text === "-" ? "" : text;
};

function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last either way
  const [x, y] = [Number(a), Number(b)];
  const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true, sensitivity: "base" }) : x - y;
  return direction === "ascending" ? order : -order;
}

function sortBy(table, header, place) {
  const opposite = { ascending: "descending", descending: "ascending" };
  const now = header.getAttribute("aria-sort");
  const direction = now ? opposite[now] : header.dataset.first || "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [keyOf(row.cells[place]), row]);
  rows.sort((a, b) => compare(a[0], b[0], direction)); // stable: equal rows keep their order
  body.append(...rows.map((pair) => pair[1]));
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((header, place) => {
    const label = header.querySelector(".h");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...label.childNodes);
    label.replaceWith(button);
    button.addEventListener("click", () => sortBy(table, header, place));
  });
}

function makeFilter(form) {
  const table = document.getElementById(form.dataset.for);
  const rows = [...table.tBodies[0].rows];
  const [search, boxes, output] = [form.querySelector("[type=search]"), [...form.querySelectorAll("[type=checkbox]")], form.querySelector("output")];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const row of rows) {
      const kept = words.every((word) => texts.get(row).includes(word)) && (!boxes.length || kinds.has(row.className));
      row.hidden = !kept;
      count += kept;
    }
    output.textContent = `${count} of ${rows.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

const DARK = matchMedia("(prefers-color-scheme: dark)");
const ON_DARK = JSON.parse(document.body.dataset.onDark);
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shade = (colour) => Array.isArray(colour) ? colour.map(shade) : (DARK.matches && ON_DARK[colour]) || colour;

const axis = () => ({ gridcolor: ink("--grid"), linecolor: ink("--field"), zeroline: false, showline: true, automargin: true, title: { standoff: 8, font: { size: 12 } }, tickfont: { size: 11 } });
const base = () => ({
  font: { family: ink("--sans"), size: 12, color: ink("--ink") },
  margin: { l: 8, r: 12, t: 8, b: 8 }, showlegend: false, hovermode: "closest",
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { align: "left", namelength: 40 }, dragmode: false,
});

function merged(base, extra) {
  const both = { ...base };
  for (const [key, value] of Object.entries(extra)) {
    const plain = value && typeof value === "object" && !Array.isArray(value);
    both[key] = plain ? merged(base[key] || {}, value) : value;
  }
  return both;
}

function coloured(trace) { // the same lines, lighter where the page is dark
  const parts = ["line", "marker"].filter((part) => trace[part]?.color);
  return { ...trace, ...Object.fromEntries(parts.map((part) => [part, { ...trace[part], color: shade(trace[part].color) }])) };
}

function framed(figure) { // between the cells of a field the page's own lines, so that none melts into a dark page
  const layout = merged({ ...base(), xaxis: axis(), yaxis: axis() }, figure.layout);
  return figure.data.some((trace) => trace.type === "heatmap") ? { ...layout, plot_bgcolor: ink("--line") } : layout;
}

function draw(canvas) {
  if (canvas.dataset.drawn || !window.Plotly || !canvas.offsetWidth) return;
  canvas.dataset.drawn = "yes";
  const figure = JSON.parse(document.getElementById(canvas.dataset.spec).textContent);
  const layout = framed(figure);
  layout.height = canvas.offsetHeight;
  Plotly.newPlot(canvas, figure.data.map(coloured), layout, { responsive: true, displayModeBar: false, displaylogo: false });
  if (canvas.dataset.legend) makeLegend(canvas, document.getElementById(canvas.dataset.legend), figure.data);
}

const STROKES = { solid: "", dash: "6 3", dot: "2 3", dashdot: "6 3 2 3" };
const SHAPES = { // round (0, 0), about as large as a circle of radius 1
  circle: "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z", square: "M-.9-.9h1.8v1.8h-1.8z",
  diamond: "M0-1.3L1.3 0L0 1.3L-1.3 0z", "triangle-up": "M0-1.2L1.2 .9H-1.2z",
};

function makeLegend(canvas, legend, traces) {
  const buttons = [...legend.children]; // charts that share a legend have the same lines
  if (buttons.length) {
    const visible = buttons.map((button) => button.getAttribute("aria-pressed") === "true");
    Plotly.restyle(canvas, { visible }, buttons.map((button) => Number(button.dataset.place)));
    return;
  }
  traces.forEach((trace, place) => {
    if (trace.showlegend === false) return;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.place = place;
    button.dataset.colour = trace.line.color;
    const point = trace.mode?.includes("markers") ? `<path d="${SHAPES[trace.marker.symbol]}" transform="translate(13 5) scale(3.4)" fill="currentColor"/>` : "";
    button.innerHTML = `<svg aria-hidden="true" style="color:${shade(trace.line.color)}"><line x1="0" x2="26" y1="5" y2="5" stroke="currentColor" stroke-width="2.5" stroke-dasharray="${STROKES[trace.line.dash]}"/>${point}</svg>`;
    button.append(trace.name);
    button.setAttribute("aria-pressed", String(trace.visible !== false));
    button.addEventListener("click", () => {
      const visible = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(visible));
      for (const chart of document.querySelectorAll(`[data-legend="${legend.id}"][data-drawn]`)) Plotly.restyle(chart, { visible }, [place]);
    });
    legend.append(button);
  });
}

function redraw() { // after a change between light and dark; what was switched off stays off
  for (const canvas of document.querySelectorAll(".canvas[data-drawn]")) {
    const figure = JSON.parse(document.getElementById(canvas.dataset.spec).textContent);
    const data = figure.data.map((trace, place) => ({ ...coloured(trace), visible: canvas.data[place].visible }));
    Plotly.react(canvas, data, { ...framed(figure), height: canvas.offsetHeight });
  }
  for (const button of document.querySelectorAll(".legend button")) {
    button.querySelector("svg").style.color = shade(button.dataset.colour);
  }
}

function openTarget() { // a link into a folded part opens it
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const inside = target.querySelector(":scope > details.fold");
  if (inside) inside.open = true;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.scrollIntoView();
}

function drawAll() {
  const waiting = [...document.querySelectorAll(".canvas")];
  if (!waiting.length || !window.Plotly) return;
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && draw(entry.target)), { rootMargin: "300px" });
  waiting.forEach((canvas) => seen.observe(canvas));
  const later = window.requestIdleCallback || ((task) => setTimeout(task, 30));
  const next = () => {
    const canvas = waiting.shift();
    if (!canvas) return document.documentElement.setAttribute("data-charts", "drawn");
    draw(canvas);
    later(next);
  };
  later(next); // the rest while nobody waits, so that a printed page is complete
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filter").forEach(makeFilter);
document.querySelectorAll(".scroll, .plot.wide").forEach((box) => { if (box.scrollWidth <= box.clientWidth) box.removeAttribute("tabindex"); });
document.querySelectorAll("details").forEach((box) => box.addEventListener("toggle", () => box.open && box.querySelectorAll(".canvas").forEach(draw)));
addEventListener("hashchange", openTarget);
DARK.addEventListener("change", redraw);
openTarget();
drawAll();
