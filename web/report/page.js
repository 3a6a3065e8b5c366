"use strict";
// Draws the report from the JSON in #data. Names come from model files: they reach the page through
// textContent only, never as markup.
(() => {
  const report = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const charts = [];

  // ---- words and numbers -------------------------------------------------------------------

  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "–");
  const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

  function scaled(value, unit) {
    if (!known(value)) return "–";
    const prefixes = ["", "k", "M", "G", "T", "P", "E"];
    let step = 0;
    while (Math.abs(value) >= 999.5 && step + 1 < prefixes.length) {
      value /= 1000;
      ++step;
    }
    const digits = step === 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return `${value.toFixed(digits)} ${prefixes[step]}${unit}`.trim();
  }
  const bytes = (value) => scaled(value, "B");
  const milliseconds = (value) =>
    known(value) ? `${value < 1 ? value.toFixed(3) : value < 100 ? value.toFixed(2) : value.toFixed(0)} ms` : "–";
  const ratio = (before, after) => (known(before) && known(after) && before > 0 && after > 0 ? before / after : null);
  const times = (value) => (known(value) ? `${value.toFixed(2)}×` : "–");
  const compact = (value) => (Math.abs(value) >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : Number(value.toPrecision(4)).toString());
  const metricText = (value, unit) => {
    if (!known(value)) return "–";
    return unit === "%" ? `${(value * 100).toFixed(2)} %` : `${value.toFixed(4)} ${unit}`.trim();
  };
  const metricChange = (metric) => {
    if (!known(metric.before) || !known(metric.after)) return "–";
    const change = metric.after - metric.before;
    return metric.unit === "%" ? `${signed(change * 100, 2)} points` : signed(change, 4);
  };

  // ---- small DOM helpers -------------------------------------------------------------------

  function element(tag, options = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(options)) {
      if (key === "text") node.textContent = value;
      else if (key === "class") node.className = value;
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  /// columns: {title, kind: "name" | "number" | "text", extra class}; the first column heads its row.
  function table(id, caption, columns, rows, rowClasses = []) {
    const head = element("tr", {}, ...columns.map((column) =>
      element("th", { scope: "col", class: column.kind === "number" ? "number" : "", text: column.title })));
    const body = rows.map((cells, r) => element("tr", rowClasses[r] ? { class: rowClasses[r] } : {},
      ...cells.map((cell, i) => {
        const options = { class: `${columns[i].kind || ""} ${columns[i].class || ""}`.trim(), text: cell };
        if (i === 0) options.scope = "row";
        return element(i === 0 ? "th" : "td", options);
      })));
    return element("table", { id }, element("caption", { text: caption }), element("thead", {}, head),
      element("tbody", {}, ...body));
  }

  function section(id, title, text) {
    const node = element("section", { id, "aria-labelledby": `${id}-title` },
      element("h2", { id: `${id}-title`, text: title }));
    if (text) node.append(element("p", { class: "muted", text }));
    main.append(node);
    return node;
  }

  /// Every chart has its numbers in a table that opens below it.
  function withTable(node, summary, content) {
    node.append(element("details", {}, element("summary", { text: summary }),
      element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": summary }, content)));
  }

  // ---- charts ------------------------------------------------------------------------------

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function axis(title, extra = {}) {
    return {
      ...extra,
      title: { display: Boolean(title), text: title, color: color("muted") },
      ticks: { color: color("muted"), ...(extra.ticks || {}) },
      grid: { color: color("line"), ...(extra.grid || {}) },
      border: { color: color("line") },
    };
  }

  /// `build` returns a Chart.js configuration; it runs again when the theme changes, for the colours.
  function chart(parent, label, build, minimumWidth = 0) {
    const canvas = element("canvas", { role: "img", "aria-label": label });
    const box = element("div", { class: "chart wide" }, canvas);
    if (minimumWidth > 0) box.style.width = `max(100%, ${minimumWidth}px)`;
    parent.append(element("div", { class: "scroll" }, box));
    charts.push({ canvas, build, instance: null });
  }

  function drawCharts() {
    for (const entry of charts) {
      if (entry.instance) entry.instance.destroy();
      const configuration = entry.build();
      configuration.options = {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,  // figures, not a show
        ...configuration.options,
      };
      entry.instance = new Chart(entry.canvas, configuration);
    }
  }

  const layerLegend = () => ({ legend: { align: "start", labels: { color: color("text"), usePointStyle: true } } });
  /// The end of a name tells layers apart; exporters append the operator, which the tooltip shows.
  function shortName({ name, op }) {
    const bare = name.endsWith(`/${op}`) ? name.slice(0, -op.length - 1) : name;
    return bare.length > 24 ? `…${bare.slice(-23)}` : bare;
  }

  /// Charts in network order share their x axis.
  function layerAxis(layers) {
    return axis("", {
      ticks: {
        autoSkip: true, maxRotation: 60, minRotation: layers.length > 8 ? 50 : 0, font: { size: 10 },
        callback(_, index) { return shortName(layers[index]); },
      },
      grid: { display: false },
    });
  }
  const layerTooltip = (layers, digits, unit) => ({
    callbacks: {
      title: (items) => `${layers[items[0].dataIndex].name}  (${layers[items[0].dataIndex].op})`,
      label: (item) => `${item.dataset.label}: ${fixed(item.parsed.y, digits)} ${unit}`,
    },
  });

  function layerChart(parent, label, layers, type, yTitle, digits, unit, series, yOptions = {}) {
    chart(parent, label, () => ({
      type,
      data: {
        labels: layers.map((layer) => layer.name),
        datasets: series().map((one) => ({
          spanGaps: true, borderWidth: type === "line" ? 2 : 0, pointRadius: layers.length > 120 ? 1.5 : 3,
          pointHoverRadius: 6, tension: 0, categoryPercentage: 0.8, barPercentage: 0.95,
          backgroundColor: one.color, borderColor: one.color, ...one,
        })),
      },
      options: {
        interaction: { mode: "index", intersect: false },
        plugins: { ...layerLegend(), tooltip: layerTooltip(layers, digits, unit) },
        scales: { x: layerAxis(layers), y: axis(yTitle, yOptions) },
      },
    }), layers.length * 12);
  }

  // ---- parts of the page -------------------------------------------------------------------

  function card(value, label, detail, verdict) {
    return element("div", { class: "card" },
      element("div", { class: `value ${verdict || ""}`, text: value }),
      element("div", { class: "label", text: label }),
      element("div", { class: "detail", text: detail }));
  }

  function header() {
    document.getElementById("model").textContent = report.model;
    document.getElementById("subtitle").textContent =
      [report.method, report.settings].filter(Boolean).join(" · ");
    const cards = document.getElementById("cards");
    const { before, after } = report;
    const smaller = ratio(before.file_bytes, after.file_bytes);
    if (known(smaller)) {
      cards.append(card(times(smaller), smaller >= 1 ? "smaller on disk" : "of the size: it grew",
        `${bytes(before.file_bytes)} → ${bytes(after.file_bytes)}`, smaller >= 1 ? "good" : "bad"));
    }
    const faster = ratio(before.median_ms, after.median_ms);
    if (known(faster)) {
      cards.append(card(times(faster), faster >= 1 ? "faster (median)" : "of the speed: it is slower",
        `${milliseconds(before.median_ms)} → ${milliseconds(after.median_ms)}`, faster >= 1 ? "good" : "bad"));
    }
    const memory = ratio(before.peak_bytes, after.peak_bytes);
    if (known(memory)) {
      cards.append(card(times(memory), "less memory", `${bytes(before.peak_bytes)} → ${bytes(after.peak_bytes)}`,
        memory >= 1 ? "good" : "bad"));
    }
    for (const metric of report.metrics) {
      cards.append(card(known(metric.after) ? metricText(metric.after, metric.unit) : metricText(metric.before, metric.unit),
        metric.name, `float ${metricText(metric.before, metric.unit)}, ${metricChange(metric)}`));
    }
    const notes = document.getElementById("notes");
    for (const note of report.notes) notes.append(element("li", { text: note }));
  }

  function beforeAfter() {
    const { before, after } = report;
    const row = (name, read, write) => [name, write(read(before)), write(read(after)), times(ratio(read(before), read(after)))];
    const rows = [row("size on disk", (side) => side.file_bytes, bytes)];
    if (before.peak_bytes > 0) {
      rows.push(row("peak memory", (side) => side.peak_bytes, bytes),
        row("of it weights", (side) => side.weight_bytes, bytes),
        row("of it activations", (side) => side.arena_bytes, bytes));
    }
    rows.push(row("latency, median", (side) => side.median_ms, milliseconds),
      row("latency, 95th percentile", (side) => side.p95_ms, milliseconds));
    for (const metric of report.metrics) {
      rows.push([metric.name, metricText(metric.before, metric.unit), metricText(metric.after, metric.unit), metricChange(metric)]);
    }
    const node = section("before-after", "Before and after");
    const runs = [before.runs, after.runs].filter((value) => value > 0);
    const caption = runs.length ? `${Math.min(...runs)} timed runs, ${report.provenance.threads} thread(s)` : "";
    node.append(element("div", { class: "scroll" }, table("before-after-table", caption, [
      { title: "" }, { title: before.label, kind: "number" }, { title: after.label, kind: "number" },
      { title: "gain", kind: "number" }], rows)));
  }

  const bitsBought = (search) => table("raised-table", "Layers above their cheapest setting, the best bargain first", [
    { title: "layer", kind: "name" }, { title: "op" }, { title: "from" }, { title: "to" },
    { title: "loss taken away", kind: "number" }, { title: "time paid", kind: "number" },
    { title: "bytes paid", kind: "number" }],
  search.raised.map((one) => [one.name, one.op, one.from, one.to, one.loss.toPrecision(3),
    `${signed(one.ms, 4)} ms`, signed(one.bytes, 0)]));

  /// The points that no other one beats in both metric and cost, cheapest first.
  function frontOf(points, read) {
    const front = [];
    for (const point of [...points].sort((a, b) => read(a) - read(b) || b.metric - a.metric)) {
      if (!front.length || point.metric > front[front.length - 1].metric) front.push(point);
    }
    return front;
  }

  /// Every model that was tried, metric against one cost; a line joins the front.
  function tradeOff(node, search, title, read, write) {
    const kinds = [
      { label: "tried", color: "float", pointStyle: "circle", radius: 3, take: (point) => point.kind !== "float" && !point.kind.startsWith("uniform") },
      { label: "uniform bits", color: "warn", pointStyle: "rectRot", radius: 6, take: (point) => point.kind.startsWith("uniform") },
      { label: "float", color: "text", pointStyle: "triangle", radius: 6, take: (point) => point.kind === "float" },
      { label: "chosen", color: "good", pointStyle: "star", radius: 10, take: (point) => point.best },
    ];
    const toPoint = (point) => ({ x: read(point), y: 100 * point.metric, point });
    const front = frontOf(search.points, read);
    chart(node, `${search.metric} against ${title} of the models tried`, () => ({
      type: "scatter",
      data: { datasets: [
        ...kinds.map((kind) => ({
          label: kind.label, data: search.points.filter(kind.take).map(toPoint), pointStyle: kind.pointStyle,
          pointRadius: kind.radius, pointHoverRadius: kind.radius + 2, borderWidth: 2,
          backgroundColor: color(kind.color), borderColor: color(kind.color),
        })),
        {
          type: "line", label: "Pareto front", data: front.map(toPoint), pointRadius: 0, borderWidth: 2, tension: 0,
          borderColor: color("quantized"), backgroundColor: color("quantized"),
        },
      ] },
      options: {
        plugins: { ...layerLegend(), tooltip: { callbacks: {
          title: (items) => items[0].raw.point.kind,
          label: ({ raw }) => [`${search.metric} ${metricText(raw.point.metric, "%")}, ${signed(-raw.point.drop, 2)} points`,
            `${bytes(raw.point.bytes)}, ${milliseconds(raw.point.ms)}`, raw.point.settings] } } },
        scales: {
          x: axis(title, { type: "linear", ticks: { callback: (value) => write(value) } }),
          y: axis(`${search.metric} (%)`),
        },
      },
    }));
  }

  function bitSearch() {
    const search = report.search;
    if (!search) return;
    const verdict = search.met ? "Met." : search.complete ? "No setting meets it: this is the closest." : "Not met in the time it had: this is the closest so far.";
    const node = section("search", "How the bits were found",
      `Goal: ${search.goal}. ${verdict} ${search.data}. Each point is a whole model, quantized, judged and timed.`);
    const charts = [
      ["ms", (point) => point.ms, (value) => compact(value)],
      ["size on disk", (point) => point.bytes, (value) => bytes(value)],
    ];
    if (search.by === "size") charts.reverse();
    for (const [title, read, write] of charts) tradeOff(node, search, title, read, write);
    withTable(node, "Numbers of these charts", table("search-table", "Models in the order in which they were tried", [
      { title: "model", kind: "name" }, { title: search.metric, kind: "number" }, { title: "points", kind: "number" },
      { title: "latency", kind: "number" }, { title: "size", kind: "number" }, { title: "front" }, { title: "layers" }],
    search.points.map((point) => [point.best ? `${point.kind} (chosen)` : point.kind, metricText(point.metric, "%"),
      signed(-point.drop, 2), milliseconds(point.ms), bytes(point.bytes), point.front ? "yes" : "", point.settings])));
    if (!search.raised.length) return;
    node.append(element("h3", { text: "What each raised layer bought" }),
      element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "What each raised layer bought" },
        bitsBought(search)));
  }

  function errorPerLayer() {
    const errors = report.errors;
    if (!errors.length) return;
    const EXACT = 200;
    const lost = (decibels) => (decibels < EXACT ? decibels : null);
    const shown = (decibels) => (decibels < EXACT ? fixed(decibels, 2) : "exact");
    const worst = errors.reduce((least, one) => (one.own_sqnr_db < least.own_sqnr_db ? one : least));
    const node = section("error", "What each layer lost",
      "Signal to quantization noise of each tensor, in network order; higher is better, 6 dB is one bit. "
      + "“Alone” feeds the layer with exact inputs: it names the layer that breaks. “With all before it” shows how the loss adds up.");
    if (worst.own_sqnr_db < EXACT) {
      node.append(element("p", {}, "Lost most on its own: ", element("code", { text: worst.name }),
        ` (${worst.op}), ${fixed(worst.own_sqnr_db, 1)} dB.`));
    }
    layerChart(node, "Signal to noise ratio of each layer in decibel", errors, "line", "SQNR (dB)", 1, "dB", () => [
      { label: "this layer alone", data: errors.map((one) => lost(one.own_sqnr_db)), color: color("quantized") },
      { label: "with all before it", data: errors.map((one) => lost(one.accumulated_sqnr_db)), color: color("warn"), borderDash: [5, 4], pointStyle: "rectRot" },
    ]);
    withTable(node, "Numbers of this chart", table("error-table", "SQNR in dB, in network order", [
      { title: "layer", kind: "name" }, { title: "op" }, { title: "alone", kind: "number" },
      { title: "with all before", kind: "number" }, { title: "cosine alone", kind: "number" },
      { title: "cosine with all before", kind: "number" }],
    errors.map((one) => [one.name, one.op, shown(one.own_sqnr_db), shown(one.accumulated_sqnr_db),
      fixed(one.own_cosine, 6), fixed(one.accumulated_cosine, 6)])));
  }

  function examination() {
    const { first_broken: broken, diagnoses, sensitivity } = report;
    if (!broken && !diagnoses.length && !sensitivity) return;
    const node = section("examination", "Why", "What the exact tensors look like on the grids chosen for them, in words, with the option that would help.");
    if (broken) {
      node.append(element("p", {}, "Breaks first, in network order: ", element("code", { text: broken.name }),
        ` (${broken.op}), ${fixed(broken.accumulated_sqnr_db, 1)} dB with all before it, ${broken.own_sqnr_db < 200 ? `${fixed(broken.own_sqnr_db, 1)} dB` : "exact"} alone.`));
    }
    if (diagnoses.length) {
      node.append(element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Diagnoses" },
        table("diagnosis-table", "", [{ title: "layer", kind: "name" }, { title: "what it is" }, { title: "what shows it" }, { title: "try" }],
          diagnoses.map((one) => [one.name, one.disease, one.words, one.flag]))));
    }
    if (!sensitivity) return;
    const shown = (decibels) => (decibels < 200 ? fixed(decibels, 2) : "exact");
    layerChart(node, "Signal to noise ratio of the outputs by layer in decibel", sensitivity.layers, "line", "SQNR of the outputs (dB)", 1, "dB", () => [
      { label: "only this layer quantized", data: sensitivity.layers.map((one) => (one.alone_db < 200 ? one.alone_db : null)), color: color("quantized") },
      { label: "only this layer restored", data: sensitivity.layers.map((one) => (one.restored_db < 200 ? one.restored_db : null)), color: color("warn"), borderDash: [5, 4], pointStyle: "rectRot" },
    ]);
    withTable(node, "Numbers of this chart", table("sensitivity-table",
      `SQNR of the outputs in dB, ${sensitivity.runs} inputs; ${shown(sensitivity.all_db)} with every layer quantized`, [
        { title: "layer", kind: "name" }, { title: "op" }, { title: "only it quantized", kind: "number" },
        { title: "only it restored", kind: "number" }],
      sensitivity.layers.map((one) => [one.name, one.op, shown(one.alone_db), shown(one.restored_db)])));
  }

  /// Dashed lines at the ends of the represented range.
  const rangeLines = (histogram) => ({
    id: "range",
    afterDatasetsDraw({ ctx, chartArea, scales }) {
      ctx.save();
      ctx.strokeStyle = color("warn");
      ctx.lineWidth = 1.5;
      ctx.setLineDash([4, 3]);
      for (const edge of [histogram.range_low, histogram.range_high]) {
        const x = Math.min(Math.max(scales.x.getPixelForValue(edge), chartArea.left), chartArea.right);
        ctx.beginPath();
        ctx.moveTo(x, chartArea.top);
        ctx.lineTo(x, chartArea.bottom);
        ctx.stroke();
      }
      ctx.restore();
    },
  });

  const binCenters = (histogram) => {
    const width = (histogram.high - histogram.low) / histogram.counts.length;
    return histogram.counts.map((_, i) => histogram.low + (i + 0.5) * width);
  };
  const represented = (histogram, x) => x >= histogram.range_low && x <= histogram.range_high;

  /// Percentage of the values that the range cuts off.
  function clipped(histogram) {
    const total = histogram.counts.reduce((sum, count) => sum + count, 0);
    const outside = binCenters(histogram).reduce((sum, x, i) => sum + (represented(histogram, x) ? 0 : histogram.counts[i]), 0);
    return total > 0 ? (100 * outside) / total : 0;
  }

  function histogramConfiguration(histogram) {
    // Empty bins lie on the floor of the logarithmic axis; a lone outlier then still stands out.
    const positive = histogram.counts.filter((count) => count > 0);
    const floor = positive.length ? Math.min(...positive) / 2 : 0.5;
    const centers = binCenters(histogram);
    const points = histogram.counts.map((count, i) => ({ x: centers[i], y: Math.max(count, floor) }));
    if (points.length) {
      points.unshift({ x: histogram.low, y: points[0].y });
      points.push({ x: histogram.high, y: points[points.length - 1].y });
    }
    const paint = ({ p0, p1 }) => color(represented(histogram, (p0.parsed.x + p1.parsed.x) / 2) ? "quantized" : "float");
    return {
      type: "line",
      data: { datasets: [{
        data: points, stepped: "middle", fill: "start", pointRadius: 0, pointHitRadius: 8, borderWidth: 1,
        borderColor: color("quantized"), backgroundColor: color("quantized"),
        segment: { borderColor: paint, backgroundColor: paint },
      }] },
      options: {
        parsing: false,
        plugins: { legend: { display: false }, tooltip: { callbacks: {
          title: (items) => `around ${compact(items[0].parsed.x)}`,
          label: (item) => `${compact(item.parsed.y > floor ? item.parsed.y : 0)} values` } } },
        scales: {
          x: axis("", { type: "linear", min: Math.min(histogram.low, histogram.range_low),
            max: Math.max(histogram.high, histogram.range_high), grid: { display: false },
            ticks: { maxTicksLimit: 6, font: { size: 10 }, callback: (value) => compact(value) } }),
          y: axis("", { type: "logarithmic", min: floor, ticks: { maxTicksLimit: 5, font: { size: 10 },
            callback: (value) => (Number.isInteger(Math.log10(value)) ? scaled(value, "") : "") } }),
        },
      },
      plugins: [rangeLines(histogram)],
    };
  }

  function histograms() {
    if (!report.histograms.length) return;
    const node = section("histograms", "Worst tensors and the ranges chosen for them",
      "Distribution over the calibration data (logarithmic counts). Lines mark the range that the quantizer represents; bars outside it are clipped.");
    const grid = element("div", { class: "small-multiples" });
    node.append(grid);
    const range = (one) => `${compact(one.range_low)} … ${compact(one.range_high)}`;
    for (const histogram of report.histograms) {
      const noise = known(histogram.sqnr_db) ? `, ${fixed(histogram.sqnr_db, 1)} dB` : "";
      const figure = element("figure", {}, element("h3", { text: histogram.tensor }), element("figcaption", {
        text: `${histogram.bits} bit, ${histogram.rule}: ${range(histogram)}${noise}` }));
      grid.append(figure);
      chart(figure, `Histogram of ${histogram.tensor}`, () => histogramConfiguration(histogram));
    }
    withTable(node, "Numbers of these charts", table("histogram-table", "Observed extent and chosen range", [
      { title: "tensor", kind: "name" }, { title: "rule" }, { title: "bits", kind: "number" },
      { title: "observed", kind: "number" }, { title: "represented", kind: "number" },
      { title: "clipped", kind: "number" }, { title: "SQNR", kind: "number" }],
    report.histograms.map((one) => [one.tensor, one.rule, String(one.bits), `${compact(one.low)} … ${compact(one.high)}`,
      range(one), `${clipped(one).toFixed(3)} %`, `${fixed(one.sqnr_db, 1)} dB`])));
  }

  function contactSheet() {
    if (!report.contact_sheet) return;
    const node = section("pictures", "Pictures made from the network",
      "No pictures were given: these were made by gradient to calibrate on. The folder \"synthetic\" beside this page has them as the network takes them.");
    node.append(element("img", { src: report.contact_sheet, alt: "The pictures, side by side", class: "contact-sheet" }));
  }

  function bitsPerLayer() {
    const layers = report.layers;
    if (!layers.length) return;
    const node = section("bits", "Bits per layer", "32 means the layer stays in float; why is told below.");
    layerChart(node, "Bits of weights and activations of each layer", layers, "bar", "bits", 0, "bit", () => [
      { label: "weights", data: layers.map((layer) => layer.weight_bits), color: color("quantized") },
      { label: "activations", data: layers.map((layer) => layer.activation_bits), color: color("float") },
    ], { beginAtZero: true, suggestedMax: 8, ticks: { stepSize: layers.some((layer) => layer.weight_bits > 8) ? 8 : 2 } });
    withTable(node, "Numbers of this chart", table("bits-table", "Bits, parameters and multiply-accumulates", [
      { title: "layer", kind: "name" }, { title: "op" }, { title: "weights", kind: "number" },
      { title: "activations", kind: "number" }, { title: "parameters", kind: "number" }, { title: "MACs", kind: "number" }],
    layers.map((layer) => [layer.name, layer.op, layer.weights, layer.activations,
      scaled(layer.parameters, ""), scaled(layer.macs, "")])));
  }

  function latencyPerLayer() {
    const pieces = report.pieces;
    if (!pieces.length) return;
    const slower = (piece) => piece.quantized_ms > piece.float_ms;
    const node = section("latency", "Time per layer",
      "Median time of each piece of work, both models on this machine. What the engine fuses is timed together under the name of its layer, conversions between floats and codes included.");
    layerChart(node, "Time of each layer, float and quantized, in milliseconds", pieces, "bar", "ms", 4, "ms", () => [
      { label: report.before.label, data: pieces.map((piece) => piece.float_ms), color: color("float") },
      { label: report.after.label, data: pieces.map((piece) => piece.quantized_ms), color: color("quantized") },
    ], { beginAtZero: true });
    withTable(node, "Numbers of this chart", table("latency-table", "Median milliseconds; slower pieces have a red gain", [
      { title: "layer", kind: "name" }, { title: "op" }, { title: report.before.label, kind: "number" },
      { title: report.after.label, kind: "number" }, { title: "gain", kind: "number", class: "ratio" },
      { title: "nodes", kind: "number" }],
    pieces.map((piece) => [piece.name, piece.op, fixed(piece.float_ms, 4), fixed(piece.quantized_ms, 4),
      times(ratio(piece.float_ms, piece.quantized_ms)), String(piece.nodes)]),
    pieces.map((piece) => (slower(piece) ? "slower" : ""))));
  }

  function keptFloat() {
    const node = section("kept", "Layers kept in float");
    if (!report.kept_float.length) {
      node.append(element("p", { class: "muted", text: "None: every planned layer runs on integers." }));
      return;
    }
    node.append(element("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Layers kept in float" },
      table("kept-table", "", [{ title: "layer", kind: "name" }, { title: "op" }, { title: "reason" }],
        report.kept_float.map((kept) => [kept.name, kept.op, kept.reason]))));
  }

  function provenance() {
    const from = report.provenance;
    const node = section("provenance", "How to repeat this");
    const list = element("dl");
    const add = (term, text, mono) => {
      if (text === "" || text === undefined || text === null) return;
      list.append(element("dt", { text: term }), element("dd", { class: mono ? "mono" : "", text }));
    };
    // As one would type it: an argument that a shell would take apart stands in quotes.
    const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
    add("command", from.command.map(quoted).join(" "), true);
    add("model", from.model_hash, true);
    add("data", `${from.data} (${from.data_items} items)`);
    add("data hash", from.data_hash, true);
    add("skipped", from.skipped.join("; "));
    add("machine", from.machine);
    add("instruction set", from.instruction_set);
    add("threads", String(from.threads));
    add("seed", String(from.seed));
    add("versions", Object.entries(from.versions).map(([name, version]) => `${name} ${version}`).join(", "));
    add("started", from.started);
    add("time", Object.entries(from.seconds).map(([stage, seconds]) => `${stage} ${seconds.toFixed(1)} s`).join(", "));
    add("files", report.files.join(", "));
    node.append(list);
  }

  // ---- theme -------------------------------------------------------------------------------

  function setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    drawCharts();
  }

  header();
  beforeAfter();
  bitSearch();
  errorPerLayer();
  examination();
  latencyPerLayer();
  histograms();
  contactSheet();
  bitsPerLayer();
  keptFloat();
  provenance();
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  prefersDark.addEventListener("change", (event) => setTheme(event.matches));
  document.getElementById("theme").addEventListener("click",
    () => setTheme(document.documentElement.dataset.theme !== "dark"));
  setTheme(prefersDark.matches);
})();
