"""One self-contained HTML page: style inside, no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: its heading.
        body: its HTML.
        lead: a sentence below the heading: how to read it.
    """

    title: str
    body: str
    lead: str = ""


@dataclass(frozen=True)
class Tile:
    """A headline number: what it is, the number, and what kind of number."""

    label: str
    value: str
    note: str = ""


def page(
    title: str, subtitle: str, tiles: Sequence[Tile], sections: Sequence[Section], *,
    style: str = "",
) -> str:  # fmt: skip
    """Return the whole document; `style` is CSS behind the page's own."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>"
        f"<main>{_tiles(tiles)}{''.join(_section(one) for one in sections)}</main>"
        "</body></html>\n"
    )


def _tiles(tiles: Sequence[Tile]) -> str:
    cells = "".join(
        f'<div class="tile"><span>{escape(tile.label)}</span><b>{escape(tile.value)}</b>'
        f"<small>{escape(tile.note)}</small></div>"
        for tile in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _section(section: Section) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    return f"<section><h2>{escape(section.title)}</h2>{lead}{section.body}</section>"


STYLE: Final = """
:root{--ink:#17191c;--soft:#5c636e;--line:#e3e6ea;--paper:#fbfbfa;--card:#fff;--accent:#0b6e6e;
--c0:#0f7b7b;--c1:#d9622b;--c2:#4a63c9;--c3:#b8901b;--c4:#a2418f;--c5:#4d8b31;--c6:#7a6a58;
--c7:#c23a4b;--p0:#0b8f8c;--p1:#d9622b;--p2:#3f5bd0;--p3:#a67c00;--p4:#a2418f;--p5:#3f8a2a;
--p6:#7a6a58;--p7:#c23a4b}
@media (prefers-color-scheme:dark){:root{--ink:#e9ebee;--soft:#98a1ad;--line:#2b3036;
--paper:#131518;--card:#1a1d21;--accent:#58c4bd;--c0:#4fb9b3;--c1:#f08a55;--c2:#8b9ff5;
--c3:#dab64c;--c4:#d681c5;--c5:#8cc06d;--c6:#b3a38f;--c7:#ee7583}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 Inter,ui-sans-serif,
system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
-webkit-font-smoothing:antialiased;font-variant-numeric:tabular-nums}
header,main{max-width:1120px;margin:0 auto;padding:0 28px}
header{padding-top:56px;padding-bottom:8px}
h1{font-size:34px;line-height:1.15;letter-spacing:-.022em;margin:0 0 8px;font-weight:680}
header p{margin:0;color:var(--soft);font-size:16px;max-width:72ch}
h2{font-size:20px;letter-spacing:-.012em;margin:0 0 4px;font-weight:640}
h3{font-size:14px;margin:22px 0 8px;font-weight:620}
section{padding:40px 0 0;margin-top:40px;border-top:1px solid var(--line)}
.lead{color:var(--soft);margin:0 0 20px;max-width:76ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:1px;
background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;
margin-top:28px}
.tile{box-shadow:0 0 0 1px var(--line);padding:16px 18px;display:flex;flex-direction:column;
gap:2px;min-width:0}
.tile span{color:var(--soft);font-size:12.5px}
.tile b{font-size:24px;font-weight:640;letter-spacing:-.02em}
.tile small{color:var(--soft);font-size:12px}
.shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:22px}
.lcds{display:grid;grid-template-columns:repeat(auto-fill,minmax(338px,1fr));gap:14px}
svg{width:100%;height:auto;display:block;overflow:visible}
figure{margin:0}
figure svg{overflow:hidden}
figure svg,figure img{width:100%;height:auto;display:block;border-radius:6px}
figcaption{color:var(--soft);font-size:12.5px;margin-top:7px;display:flex;gap:10px;
justify-content:space-between}
.lcd{background:#0b0c0d;padding:9px 9px 8px;border-radius:9px}
.lcd img{border-radius:2px}
.lcd figcaption{color:#a9b1bb}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:28px}
.two>div,.three>div{min-width:0}
.three{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:24px}
svg .grid{stroke:var(--line)}
svg text{font:11.5px Inter,ui-sans-serif,system-ui,sans-serif;fill:var(--soft)}
svg .tag{font-size:10px;font-weight:600;fill:#fff}
svg .value{fill:var(--ink)}
svg .band{stroke:var(--ink);stroke-width:1.4;opacity:.55}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:10px;font-size:12.5px;
color:var(--soft)}
.key i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;
vertical-align:middle}
.key i.dash{background:none!important;border-top:2px dashed var(--soft);height:0}
.two h3,.three h3{margin-top:0}
.scroll,.chart{overflow-x:auto}
.chart svg{min-width:680px}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{caption-side:bottom;text-align:left;color:var(--soft);font-size:12.5px;padding-top:8px}
th{font-weight:560;color:var(--soft);font-size:12.5px}
th,td{text-align:right;padding:8px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
.figures th:first-child{width:30%}.figures th:nth-child(2){width:26%}
.figures th:last-child,.figures td:last-child{text-align:left;white-space:normal;
color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 24px;margin:0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px;
overflow-x:auto;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:0}
.note{color:var(--soft);font-size:12.5px;margin:10px 0 0;max-width:84ch}
main{padding-bottom:80px}
@media (max-width:560px){.shots,.two{grid-template-columns:1fr}header{padding-top:32px}
header,main{padding-left:18px;padding-right:18px}h1{font-size:27px;overflow-wrap:anywhere}
dl{grid-template-columns:1fr;gap:2px}dd{margin-bottom:8px}}
@media print{section{break-inside:avoid}}
"""
