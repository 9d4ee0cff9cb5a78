"""The style and the script of a timeline's page. The script only filters the list of entries."""

from collections.abc import Iterator
from typing import Final

_COLOURS: Final = (
    ("page", "#ffffff", "#0d1117"),
    ("ink", "#1f2328", "#e6edf3"),
    ("dim", "#59636e", "#9198a1"),
    ("edge", "#d1d9e0", "#3d444d"),
    ("stripe", "#f6f8fa", "#151b23"),
    ("mark", "#fff8c5", "#2e2711"),
    ("model", "#0969da", "#4493f8"),
    ("tools", "#bc4c00", "#db6d28"),
    ("decision", "#0a7c86", "#39c5cf"),
    ("person", "#8250df", "#ab7df8"),
    ("upkeep", "#9a6700", "#d29922"),
    ("plugin", "#bf3989", "#db61a2"),
    ("away", "#a9b1ba", "#5a636e"),
    ("good", "#1a7f37", "#3fb950"),
    ("bad", "#cf222e", "#f85149"),
    ("soft", "#818b98", "#6e7681"),
)
_LOOKS: Final = tuple(name for name, _, _ in _COLOURS[6:])
_BASE: Final = """\
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1240px;background:var(--page);color:var(--ink);\
font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
h1{font-size:20px;margin:0;overflow-wrap:anywhere}
.stands{margin:4px 0 12px;color:var(--dim);overflow-wrap:anywhere}
.facts{display:flex;flex-wrap:wrap;gap:6px 28px;margin:0 0 16px}
dt{font-size:12px;color:var(--dim)}
dd{margin:0;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;border:1px solid var(--edge);border-radius:8px}
.chart{display:block;width:100%;min-width:760px;height:auto}
.chart text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,\
'Helvetica Neue',Arial,sans-serif;fill:var(--ink)}
.chart .group,.chart .time,.chart .soft{fill:var(--dim)}
.chart .group{font-weight:600}
.chart .time{text-anchor:middle}
.chart .tick{stroke:var(--edge);fill:none}
.chart .back{fill:none;pointer-events:all}
.chart .row:hover .back{fill:var(--stripe)}
.chart .fold rect{fill:var(--stripe);stroke:var(--edge);stroke-dasharray:3 3}
.chart a:hover .bar,.chart g:hover>.bar,.chart a:focus .bar{stroke:var(--ink);stroke-width:1.5}
.chart .open{fill-opacity:.55}
.chart .area{opacity:.18}
.chart .curve{fill:none;stroke-width:1.5}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 20px;padding:0;\
list-style:none;color:var(--dim);font-size:13px}
.filter input{font:inherit;padding:4px 8px;width:min(320px,60vw);border:1px solid var(--edge);\
border-radius:6px;background:var(--page);color:var(--ink)}
.filter output{margin-left:12px;color:var(--dim)}
table{width:100%;border-collapse:collapse;font-size:13px}
caption{text-align:left;font-weight:600;font-size:14px;padding:0 0 6px}
th{text-align:left;font-weight:600;color:var(--dim);padding:4px 12px 4px 0;\
border-bottom:1px solid var(--edge)}
td{vertical-align:top;padding:3px 12px 3px 0;border-bottom:1px solid var(--edge)}
td:nth-child(1),td:nth-child(2){white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--dim)}
td:nth-child(3),td:nth-child(4){white-space:nowrap}
td:nth-child(5){overflow-wrap:anywhere;width:100%}
tr:target{background:var(--mark)}
tr.left td{text-align:center;color:var(--dim);white-space:normal}
.moved{font-weight:600}
.noted,.says{color:var(--dim)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0 8px;padding:8px;background:var(--stripe);\
border-radius:6px;max-height:360px;overflow:auto}
summary{cursor:pointer;color:var(--dim)}
@media (max-width:640px){
thead{display:none}
tr{display:block;padding:6px 0;border-bottom:1px solid var(--edge)}
td,td:nth-child(5){display:inline;border:0;padding:0 8px 0 0;width:auto}
td:nth-child(5){display:block}
}
"""


def _style() -> str:
    return "\n".join(_rules())


def _rules() -> Iterator[str]:
    yield _BASE.rstrip("\n")
    for side, around in ((1, "{}"), (2, "@media (prefers-color-scheme:dark){{{}}}")):
        names = ";".join(f"--{colour[0]}:{colour[side]}" for colour in _COLOURS)
        yield around.format(f":root{{{names}}}")
    for look in _LOOKS:
        yield f".bar.{look},.area.{look}{{fill:var(--{look})}}.line-{look}{{stroke:var(--{look})}}"


STYLE: Final = _style()
SCRIPT: Final = """\
"use strict";
(() => {
  const box = document.getElementById("filter");
  const count = document.getElementById("count");
  const rows = [...document.querySelectorAll("#entries tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = box.value.toLowerCase().split(/\\s+/).filter((word) => word);
    let shown = 0;
    rows.forEach((row, n) => {
      row.hidden = !words.every((word) => texts[n].includes(word));
      if (!row.hidden && row.id) shown += 1;
    });
    count.textContent = words.length ? `${shown} shown` : "";
  };
  box.closest("p").hidden = false;
  box.addEventListener("input", show);
  window.addEventListener("hashchange", () => {
    if (location.hash && document.querySelector(`${location.hash}[hidden]`)) {
      box.value = "";
      show();
      document.querySelector(location.hash).scrollIntoView();
    }
  });
  show();
})();
"""
