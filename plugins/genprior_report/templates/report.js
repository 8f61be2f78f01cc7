"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  document.body.classList.add("scripted");
  const all = (selector) => [...document.querySelectorAll(selector)];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // Colours of Okabe and Ito, which colour-blind people can tell apart; more runs also differ in their dashes.
  const light_colours = ["#0072b2", "#d55e00", "#009e73", "#b5568e", "#8a6d00", "#2f9bd0", "#555555", "#7a3e9d"];
  const dark_colours = ["#56b4e9", "#f08a3c", "#2fc79a", "#de94bd", "#e8d44d", "#8fd3ff", "#c9c9c9", "#bb8be0"];
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];
  const colour = (i) => (dark.matches ? dark_colours : light_colours)[i % light_colours.length];
  const dash = (i) => dashes[Math.floor(i / light_colours.length) % dashes.length];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (value) => value.toLocaleString("en");
  // Plotly reads tags in its texts; a label is shown as it is.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const hidden_runs = new Set();

  const paint_chips = () => all("[data-chip]").forEach((chip) => { chip.style.background = colour(+chip.dataset.chip); });

  // ---- samples over training --------------------------------------------------------------------------------------
  const slider = document.getElementById("step");
  const newest = new Map(all("[data-samples]").map((image) => [+image.dataset.samples, image.getAttribute("src")]));
  const show_step = () => {
    const steps = slider.dataset.steps.split(" ").map(Number), step = steps[+slider.value];
    document.getElementById("step-shown").textContent = number(step);
    slider.setAttribute("aria-valuetext", `step ${number(step)}`);
    all("[data-samples]").forEach((image) => {
      const place = +image.dataset.samples, pictures = data.samples[place];
      const chosen = pictures.filter((each) => each.step <= step).pop() || pictures[0];
      image.src = chosen.src || newest.get(place);
      image.alt = `Samples of ${data.runs[place]} after ${number(chosen.step)} steps`;
    });
  };
  if (slider) slider.addEventListener("input", show_step);

  // ---- plots ------------------------------------------------------------------------------------------------------
  const layout = () => ({
    margin: { l: 48, r: 8, t: 6, b: 40 }, showlegend: false, hovermode: "closest", autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: css("--quiet") },
    // A margin of its own for level labels below: Plotly's automatic ones of both axes may never settle.
    xaxis: { gridcolor: css("--line"), zerolinecolor: css("--line"), tickangle: 0 },
    yaxis: { gridcolor: css("--line"), zerolinecolor: css("--line"), automargin: true },
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } },
  });
  const config = { displayModeBar: false, responsive: true, showTips: false, plotlyServerURL: "" };

  const draw_curve = (place) => {
    const phase = data.phases[+place.dataset.phase], curve = phase.curves[+place.dataset.curve];
    const lines = curve.lines.filter((line) => !hidden_runs.has(line.run));
    const traces = lines.map((line) => ({
      x: line.x, y: line.y, name: plain(data.runs[line.run]), mode: line.x.length < 20 ? "lines+markers" : "lines",
      line: { color: colour(line.run), width: 1.8, dash: dash(line.run) }, marker: { size: 4 },
      hovertemplate: "%{fullData.name}<br>step %{x:,}: %{y}<extra></extra>",
    }));
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${curve.name} in ${phase.name}, by step. Last values: ` +
      lines.map((line) => `${data.runs[line.run]} ${line.y[line.y.length - 1]}`).join(", "));
    const look = layout();
    look.xaxis.title = { text: "step", standoff: 4 };
    return Plotly.react(place, traces, look, config);
  };

  const kinds = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b39700", "#56b4e9", "#7a3e9d", "#8c564b", "#17a5b5", "#e377c2"];
  const marks = ["circle", "diamond", "square", "triangle-up", "cross"];
  const draw_codes = async (place) => {
    const run = +place.dataset.codes, codes = data.codes[run];
    const groups = new Map();
    codes.kinds.forEach((kind, i) => groups.set(kind, [...(groups.get(kind) || []), i]));
    const order = [...groups.keys()].sort((a, b) => a - b);
    const traces = order.map((kind) => {
      const points = groups.get(kind);
      return {
        x: points.map((i) => codes.x[i]), y: points.map((i) => codes.y[i]), customdata: points, mode: "markers",
        name: kind < 0 ? "drawn with the prior" : plain(codes.classes[kind]), hoverinfo: "name",
        marker: kind < 0 ? { color: css("--quiet"), size: 5, symbol: "circle-open" }
          : { color: kinds[kind % kinds.length], size: 6, symbol: marks[Math.floor(kind / kinds.length) % marks.length] },
      };
    });
    const key = document.querySelector(`[data-key="${run}"]`);
    key.replaceChildren(...order.map((kind) => {
      const entry = document.createElement("li"), sign = document.createElement("span");
      sign.className = kind < 0 ? "chip open" : "chip";
      if (kind >= 0) sign.style.background = kinds[kind % kinds.length];
      entry.append(sign, kind < 0 ? "drawn with the prior" : codes.classes[kind]);
      return entry;
    }));
    traces.push({ x: [], y: [], mode: "markers", hoverinfo: "skip", name: "chosen", showlegend: false,
      marker: { size: 16, symbol: "circle-open", line: { width: 3 }, color: css("--ink") } });
    const look = layout();
    look.xaxis.title = { text: plain(codes.axes[0]), standoff: 4 };
    look.yaxis.title = { text: plain(codes.axes[1]), standoff: 4 };
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `Codes of ${data.runs[run]}: ${codes.x.length} points. The slider below goes through them.`);
    await Plotly.react(place, traces, look, config);
    place.removeAllListeners("plotly_hover");
    const reached = (event) => look_at(run, event.points[0].customdata);
    place.on("plotly_hover", reached);
    place.on("plotly_click", reached);
    look_at(run, +document.querySelector(`[data-point="${run}"]`).value);
  };

  const look_at = (run, point) => {
    if (point === undefined) return;
    const codes = data.codes[run], sheet = codes.sheet;
    const seen = document.querySelector(`[data-seen="${run}"]`), input = document.querySelector(`[data-point="${run}"]`);
    const scale = 96 / Math.max(sheet.width, sheet.height);
    seen.style.width = `${sheet.width * scale}px`;
    seen.style.height = `${sheet.height * scale}px`;
    if (!seen.style.backgroundImage) seen.style.backgroundImage = `url("${sheet.src}")`;
    seen.style.backgroundSize = `${sheet.width * sheet.columns * scale}px ${sheet.height * sheet.rows * scale}px`;
    seen.style.backgroundPosition =
      `${-(point % sheet.columns) * sheet.width * scale}px ${-Math.floor(point / sheet.columns) * sheet.height * scale}px`;
    const told = `${codes.texts[point]} (${point + 1} of ${codes.x.length}), at ${codes.x[point]}, ${codes.y[point]}`;
    seen.setAttribute("aria-label", `Image of the chosen point: ${told}`);
    document.querySelector(`[data-told="${run}"]`).textContent = told;
    input.value = point;
    input.setAttribute("aria-valuetext", told);
    const plot = document.querySelector(`[data-codes="${run}"]`);
    if (plot.data) Plotly.restyle(plot, { x: [[codes.x[point]]], y: [[codes.y[point]]] }, [plot.data.length - 1]);
  };
  all("[data-point]").forEach((input) =>
    input.addEventListener("input", () => look_at(+input.dataset.point, +input.value)));

  const draw = (place) => (place.dataset.codes === undefined ? draw_curve(place) : draw_codes(place));
  const drawn = new Set();
  const draw_once = (place) => {
    if (!window.Plotly || drawn.has(place)) return;
    drawn.add(place);
    draw(place);
  };
  // What is folded away or hidden has no size: it is drawn when it is opened, and is not printed.
  const waiting = () => all(".plot").filter((place) => !drawn.has(place) && !place.closest("details:not([open]), [hidden]"));
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting) draw_once(entry.target);
  }), { rootMargin: "400px" });
  // A print and a picture of the whole page also show what nobody has scrolled to; one plot at a time, so nothing stalls.
  const when_idle = (work) =>
    (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work, 50));
  const draw_rest = () => {
    const [place] = waiting();
    if (!place) return;
    draw_once(place);
    when_idle(draw_rest);
  };
  window.addEventListener("beforeprint", () => waiting().forEach(draw_once));
  const draw_again = () => drawn.forEach(draw);

  const load_plotly = async () => {
    const packed = document.getElementById("report-plotly");
    if (!packed) return;
    if (!window.DecompressionStream) throw new Error("this browser is too old");
    const bytes = Uint8Array.from(atob(packed.textContent.trim()), (letter) => letter.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
    packed.remove();
    all(".plot").forEach((place) => watcher.observe(place));
    when_idle(draw_rest);
  };

  // ---- runs shown, recipes ----------------------------------------------------------------------------------------
  all("[data-toggle]").forEach((box) => {
    box.checked = true;
    box.addEventListener("change", () => {
      const run = +box.dataset.toggle;
      if (box.checked) hidden_runs.delete(run); else hidden_runs.add(run);
      all(`.card[data-run="${run}"]`).forEach((card) => { card.hidden = !box.checked; });
      drawn.forEach((place) => { if (place.dataset.codes === undefined) draw(place); });
    });
  });
  all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const recipe = document.getElementById(button.dataset.copy);
    const announced = document.getElementById("announced");
    try {
      await navigator.clipboard.writeText(recipe.textContent);
      button.textContent = "Copied";
      announced.textContent = "The recipe was copied.";
    } catch {
      getSelection().selectAllChildren(recipe);
      button.textContent = "Selected: press Ctrl-C";
      announced.textContent = "The recipe is selected. Press Ctrl-C to copy it.";
    }
  }));

  paint_chips();
  dark.addEventListener("change", () => { paint_chips(); draw_again(); });
  load_plotly().catch((error) => all(".plot").forEach((place) => { place.textContent = `Not drawn: ${error.message}.`; }));
})();
