"""Look of the page, light and dark, and its only script: values under the pointer."""

# Eight hues in an order in which neighbours differ also for colour-blind readers, one set for each
# background.
LIGHT = ("#0067b8", "#c84a00", "#00805a", "#a8429b", "#8a6a00", "#2b8fbf", "#b0223c", "#5b5f6b")
DARK = ("#5cb0ff", "#ff9458", "#3fcf9b", "#e391d8", "#e3bf4d", "#7fd6f2", "#ff8296", "#b4bac6")


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(f"--c{index}:{colour};" for index, colour in enumerate(colours))


_LINES = "\n".join(
    f".c{index} path{{stroke:var(--c{index})}} .c{index} circle{{fill:var(--c{index})}} "
    f".swatch.c{index}{{background:var(--c{index})}}"
    for index in range(len(LIGHT))
)

STYLE = f"""
:root{{color-scheme:light dark;--page:#fff;--ink:#1d2129;--soft:#5d6470;--rule:#dfe2e8;
--card:#f7f8fa;--bad:#a11a2b;{_variables(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{--page:#14171c;--ink:#e7eaf0;--soft:#a3abb8;
--rule:#333943;--card:#1b1f26;--bad:#ff8f9d;{_variables(DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:1500px;padding:1.5rem;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}}
h1{{font-size:1.5rem;margin:0 0 .2rem}} h2{{font-size:1.15rem;margin:2.2rem 0 .6rem}}
h3{{font-size:.95rem;margin:0 0 .1rem}}
p{{margin:.3rem 0 .6rem}} .soft{{color:var(--soft)}} .bad{{color:var(--bad);font-weight:600}}
.scroll{{overflow-x:auto;margin:.4rem 0}}
table{{border-collapse:collapse;font-size:.9rem}} caption{{text-align:left;color:var(--soft);
padding:.1rem 0 .3rem}}
th,td{{padding:.28rem 1rem .28rem 0;text-align:left;border-bottom:1px solid var(--rule);
vertical-align:top;font-variant-numeric:tabular-nums}}
.numbers td,.numbers thead th:not(:first-child){{text-align:right;white-space:nowrap}}
thead th{{color:var(--soft);font-weight:600}} tbody th{{font-weight:600;white-space:nowrap}}
h1,h2,p,code{{overflow-wrap:anywhere}}
td{{min-width:2.5rem}} .flags td{{overflow-wrap:anywhere;max-width:38rem}}
.charts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr));gap:1rem}}
figure{{margin:0;padding:.8rem .9rem .5rem;background:var(--card);border:1px solid var(--rule);
border-radius:8px;min-width:0}}
figcaption p{{margin:0;font-size:.85rem;color:var(--soft)}}
svg.chart{{display:block;width:100%;height:auto;overflow:visible;color:var(--ink)}}
.chart text{{fill:currentColor;font:11px system-ui,sans-serif}} .chart .tick{{fill:var(--soft)}}
.chart .label{{fill:var(--soft)}}
.grid{{stroke:var(--rule);stroke-width:1}} .axis{{stroke:var(--soft);stroke-width:1}}
.line path{{fill:none;stroke-linejoin:round;stroke-linecap:round}}
.line.thin path{{stroke-width:1.2;opacity:.6}} .line.strong path{{stroke-width:2}}
.line.dashed path{{stroke-dasharray:6 4}}
.cursor line{{stroke:var(--soft);stroke-dasharray:2 3}} .cursor circle{{fill:var(--ink)}}
.legend{{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.2rem 0 .8rem;padding:0;
list-style:none;font-size:.9rem}}
.swatch{{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin-right:.45em}}
.swatch.dashed{{opacity:.55}}
details{{margin:.4rem 0}} summary{{cursor:pointer;color:var(--soft);font-size:.9rem}}
figure details{{margin:.2rem 0 0}} figure summary{{font-size:.8rem}} figure table{{font-size:.8rem}}
#hover{{position:fixed;pointer-events:none;display:none;background:var(--page);color:var(--ink);
border:1px solid var(--rule);border-radius:6px;padding:.35rem .6rem;font-size:.8rem;
white-space:pre-line;box-shadow:0 2px 10px #0003;z-index:2;max-width:90vw}}
@media print{{figure{{break-inside:avoid}} body{{max-width:none}}}}
{_LINES}
"""

# It writes by textContent only, so what a log says stays text.
SCRIPT = """
(function () {
  var box = document.getElementById("hover");
  document.querySelectorAll("svg.chart").forEach(function (svg) {
    var lines = null, cursor = svg.querySelector(".cursor");
    function read() {
      lines = Array.from(svg.querySelectorAll(".line")).map(function (g) {
        return {name: g.dataset.name, points: (g.dataset.points || "").split(" ").filter(Boolean)
          .map(function (p) { return p.split(",").map(Number); })};
      }).filter(function (l) { return l.points.length; });
    }
    svg.addEventListener("pointermove", function (event) {
      if (!lines) read();
      var left = +svg.dataset.left, width = +svg.dataset.width;
      var at = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(svg.getScreenCTM().inverse());
      var low = +svg.dataset.low, high = +svg.dataset.high;
      var x = low + (at.x - left) / width * (high - low);
      if (!lines.length || at.x < left || at.x > left + width) return hide();
      var nearest = null;
      var rows = lines.map(function (l) {
        var best = l.points.reduce(function (a, b) {
          return Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a;
        });
        if (nearest === null || Math.abs(best[0] - x) < Math.abs(nearest - x)) nearest = best[0];
        return {name: l.name, point: best};
      });
      box.textContent = svg.dataset.x + " " + Number(nearest.toPrecision(5)) + "\\n" +
        rows.filter(function (r) { return Math.abs(r.point[0] - nearest) <= (high - low) / 25; })
          .map(function (r) { return r.name + ": " + r.point[1]; }).join("\\n");
      var place = left + (nearest - low) / (high - low) * width;
      cursor.innerHTML = "";
      var line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      [["x1", place], ["x2", place], ["y1", svg.dataset.top], ["y2", svg.dataset.base]]
        .forEach(function (p) { line.setAttribute(p[0], p[1]); });
      cursor.appendChild(line);
      box.style.display = "block";
      box.style.left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8) + "px";
      box.style.top = Math.min(event.clientY + 14, innerHeight - box.offsetHeight - 8) + "px";
    });
    function hide() { box.style.display = "none"; cursor.innerHTML = ""; }
    svg.addEventListener("pointerleave", hide);
  });
})();
"""
