// Unpack the data, draw the curves, sort tables, and open the target of a link.
"use strict";

async function unpacked(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Plotly interprets some HTML in its texts; names of runs and agents must stay plain text.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function value(name) {
  const control = document.getElementById(name);
  return control.type === "checkbox" ? control.checked : control.value;
}

// One closed polygon for every stretch with an interval; null ends a polygon.
function band(curve, look, floor) {
  const [x, y] = [[], []];
  for (let begin = 0, end; begin < curve.x.length; begin = end + 1) {
    for (end = begin; end < curve.x.length && curve.low[end] !== null; end++);
    if (end === begin) continue;
    const low = curve.low.slice(begin, end).map((v) => Math.max(v, floor));
    x.push(...curve.x.slice(begin, end), ...curve.x.slice(begin, end).reverse(), null);
    y.push(...low, ...curve.high.slice(begin, end).reverse(), null);
  }
  return {
    x, y,
    fill: "toself", fillcolor: look.color, opacity: 0.13, line: { width: 0 }, mode: "lines",
    hoverinfo: "skip", showlegend: false, legendgroup: look.label,
  };
}

// Black stands for the ink of the page, which is light in the dark. A muted curve waits to be pointed at.
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function painted(data) {
  const front = new Set(data.front), all = !document.getElementById("all") || value("all");
  return data.looks.map((look, k) => {
    const muted = !all && !front.has(k) && data.pointed !== look.label;
    const color = muted ? ink("--line") : look.color === "#000000" ? ink("--ink") : look.color;
    return { ...look, color, muted, width: muted ? 1 : look.width + (data.pointed === look.label ? 1 : 0) };
  });
}

function centre(curve, look, twin, k) {
  const last = curve.n[curve.n.length - 1];
  return {
    x: curve.x, y: curve.mean, mode: "lines",
    name: `${plain(look.label)} (n = ${Math.max(...curve.n)})` + (twin ? ` = ${plain(twin)}` : ""),
    line: { color: look.color, width: look.width * 1.2, dash: look.dash }, legendgroup: look.label, legendrank: k,
    customdata: curve.low.map((low, i) => [low, curve.high[i], curve.n[i]]), meta: last,
    hovertemplate: "%{y:.4~g} [%{customdata[0]:.4~g}, %{customdata[1]:.4~g}], n = %{customdata[2]}" +
      `<extra>${plain(look.label)}</extra>`,
  };
}

function single(run, look, axis) {
  return {
    x: run[axis], y: run.y, mode: "lines", showlegend: false, legendgroup: look.label, opacity: 0.45,
    line: { color: look.color, width: 0.9 }, hovertemplate: `%{y:.4~g}<extra>${plain(run.id)}</extra>`,
    meta: { anchor: run.anchor },
  };
}

function traces(data) {
  const [env, metric, axis] = [value("env"), value("metric"), value("axis")];
  const [out, seen] = [[], new Map()];
  const shown = Object.values(data.cells[metric][env] || {}).map((cell) => cell[axis]).filter(Boolean);
  const floor = value("scale") === "log" ? Math.min(...shown.flatMap((curve) => curve.mean)) : -Infinity;
  // Muted curves come first: what is drawn later lies on top.
  const looks = painted(data).map((look, k) => [look, k]).sort((a, b) => b[0].muted - a[0].muted);
  looks.forEach(([look, k]) => {
    const cell = (data.cells[metric][env] || {})[k];
    if (!cell) return;
    const curve = cell[axis];
    if (value("runs")) cell.runs.filter((run) => run[axis]).forEach((run) => out.push(single(run, look, axis)));
    if (!curve) return;
    if (!look.muted && curve.low.some((v) => v !== null)) out.push(band(curve, look, floor));
    const line = JSON.stringify([curve.x, curve.mean]); // an equal line is hidden by this one
    out.push(centre(curve, look, seen.get(line), k));
    if (!seen.has(line)) seen.set(line, look.label);
  });
  return out;
}

// A logarithmic scale needs positive values; with others, the scale is linear.
function allowScales(data) {
  const lines = traces(data).filter((trace) => trace.fill === undefined);
  const positive = lines.every((trace) => trace.y.every((v) => v === null || v > 0));
  const [scale, log] = [document.getElementById("scale"), document.querySelector("#scale option[value=log]")];
  log.disabled = !positive;
  log.textContent = positive ? "logarithmic" : "logarithmic (values above 0 only)";
  if (!positive) scale.value = "linear";
}

function draw(data) {
  allowScales(data);
  const narrow = document.getElementById("curves").clientWidth < 600;
  const names = data.looks.filter((_, k) => (data.cells[value("metric")][value("env")] || {})[k]).length;
  const grid = { gridcolor: ink("--line"), zeroline: false, automargin: true };
  const layout = {
    height: narrow ? 380 + 20 * names : 470, margin: { l: narrow ? 48 : 64, r: 12, t: 34, b: 48 },
    hovermode: "closest", hoverlabel: { namelength: -1 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink("--ink") },
    xaxis: { title: { text: value("axis") === "steps" ? "environment steps" : "wall-clock seconds of the job" }, ...grid },
    yaxis: { title: { text: "return" }, type: value("scale"), ...grid },
    legend: { groupclick: "togglegroup", ...(narrow ? { orientation: "h", x: 0, y: -0.25, yanchor: "top" } : {}) },
  };
  const config = {
    responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: "curves" },
  };
  return Plotly.react("curves", traces(data), layout, config);
}

function show(anchor) {
  const target = document.getElementById(anchor);
  if (!target) return;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.scrollIntoView();
}

function sortBy(table, column, head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  const key = (row) => {
    const text = row.cells[column].textContent.replace(/[\u2007\s]/g, "").replace(/\u2212/g, "-").replace("<", "");
    const number = parseFloat(text);
    return Number.isNaN(number) ? [1, 0, text] : [0, number, text];
  };
  const compare = (a, b) => a[0] - b[0] || a[1] - b[1] || a[2].localeCompare(b[2]);
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0])).forEach(([, row]) => table.tBodies[0].append(row));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const head of document.querySelectorAll("thead th")) {
  head.tabIndex = 0;
  head.title = "sort";
  const act = () => sortBy(head.closest("table"), head.cellIndex, head);
  head.addEventListener("click", act);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
}
addEventListener("hashchange", () => show(location.hash.slice(1)));
show(location.hash.slice(1));

async function start() {
  const library = document.createElement("script");
  library.textContent = await unpacked("plotly");
  document.head.append(library);
  const data = JSON.parse(await unpacked("data"));
  await draw(data);
  const plot = document.getElementById("curves");
  plot.on("plotly_click", (event) => {
    const meta = event.points[0].data.meta;
    if (meta && meta.anchor) location.hash = meta.anchor;
  });
  let leaving;
  const point = (label) => {
    if (data.pointed === label) return;
    data.pointed = label;
    draw(data);
  };
  if (document.getElementById("all")) {
    plot.on("plotly_hover", (event) => { clearTimeout(leaving); point(event.points[0].data.legendgroup); });
    plot.on("plotly_unhover", () => { leaving = setTimeout(() => point(undefined), 300); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(data));
  for (const control of document.querySelectorAll("#controls select, #controls input")) {
    control.addEventListener("change", () => draw(data));
  }
  document.body.dataset.ready = "yes";
}
if (document.getElementById("data")) start();
