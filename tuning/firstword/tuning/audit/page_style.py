"""The look of an audit's page, beside that of the pictures in it, whose colours it shares (`firstword.tuning.svg`)."""

from __future__ import annotations

from typing import Final

from firstword.tuning.svg import SCHEMES

_COLOURS = (
    ":root{--fw-page:#f4f6f8;--fw-line:#dfe4e9;--fw-accent:#2463c5;--fw-soft:#8db1ea;--fw-floor:#8d98a4;--fw-gain:#1f8a4c;"
    "--fw-ok:#1b7a43;--fw-ok-back:#e2f4e9;--fw-fair:#8a5a00;--fw-fair-back:#fdf0d3;--fw-slow:#b3202a;--fw-slow-back:#fde5e5;"
    "--fw-code:#f1f4f7}"
    "@media (prefers-color-scheme:dark){:root{--fw-page:#0b0e12;--fw-line:#29313a;--fw-accent:#6aa3ff;--fw-soft:#3a5c94;"
    "--fw-floor:#717d8a;--fw-gain:#4ccb85;--fw-ok:#74dfa4;--fw-ok-back:#10301f;--fw-fair:#f2c46b;--fw-fair-back:#382a0b;"
    "--fw-slow:#ff938c;--fw-slow-back:#3d1517;--fw-code:#1b2129}}"
)
_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--fw-page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1060px;margin:0 auto;padding:28px clamp(12px,3vw,32px) 48px}
h1{font-size:clamp(22px,4.5vw,32px);line-height:1.2;margin:2px 0 6px;overflow-wrap:anywhere}
h2{font-size:20px;margin:0 0 10px}
p{margin:0 0 10px}
a{color:var(--fw-accent)}
section{margin-top:22px}
.fw-eyebrow{margin:0;color:var(--fw-accent);font-weight:600;letter-spacing:.04em}
.fw-facts,.fw-dim,.fw-label,.fw-note{color:var(--dim)}
.fw-facts{margin:0;font-size:14px;overflow-wrap:anywhere}
.fw-label{font-size:14px;margin:0}
.fw-hero,.fw-card,.fw-path{background:var(--back);border:1px solid var(--fw-line);border-radius:14px}
.fw-hero{padding:22px clamp(16px,3vw,30px);display:grid;gap:20px 40px;grid-template-columns:minmax(230px,1fr) minmax(0,1.5fr);align-items:center}
.fw-bad{display:block}
.fw-big{font-size:clamp(40px,9vw,60px);line-height:1.1;font-weight:700;letter-spacing:-.02em;margin:2px 0 8px}
.fw-ratio{display:inline-block;padding:2px 12px;border-radius:99px;font-weight:600;margin-bottom:10px}
.fw-ok{color:var(--fw-ok);background:var(--fw-ok-back)}
.fw-fair{color:var(--fw-fair);background:var(--fw-fair-back)}
.fw-slow,.fw-warn{color:var(--fw-slow);background:var(--fw-slow-back)}
.fw-warn{padding:8px 12px;border-radius:8px;margin:10px 0 0;font-size:14px;overflow-wrap:anywhere}
.fw-bars{display:grid;gap:12px}
.fw-row{display:grid;grid-template-columns:82px 1fr 62px;gap:12px;align-items:center;font-size:14px}
.fw-row b{text-align:right;white-space:nowrap}
.fw-track{display:block;height:12px;border-radius:6px;background:var(--fw-code);overflow:hidden}
.fw-fill{display:block;height:100%;border-radius:6px;min-width:3px}
.fw-mine{background:var(--fw-accent)}.fw-soft{background:var(--fw-soft)}.fw-floor{background:var(--fw-floor)}.fw-gain{background:var(--fw-gain)}
.fw-pills{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:8px}
.fw-pills li{padding:6px 14px;border-radius:10px;font-size:15px;overflow-wrap:anywhere}
.fw-card{margin-top:12px}
summary{cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
.fw-card>summary{display:grid;grid-template-columns:30px minmax(0,1fr) auto;gap:8px 12px;align-items:center;padding:16px clamp(14px,2.5vw,22px)}
.fw-card>summary>.fw-track{grid-column:2/-1;height:6px}
.fw-number{display:grid;place-items:center;width:28px;height:28px;border-radius:50%;background:var(--fw-code);color:var(--dim);font-weight:600;font-size:14px}
.fw-title{font-weight:600;font-size:17px;line-height:1.35;overflow-wrap:anywhere}
.fw-saving{color:var(--fw-gain);font-weight:700;font-size:19px;text-align:right;white-space:nowrap;line-height:1.25}
.fw-saving small{display:block;color:var(--dim);font-weight:400;font-size:13px}
.fw-inside{padding:0 clamp(14px,2.5vw,22px) 12px calc(clamp(14px,2.5vw,22px) + 42px)}
.fw-evidence,.fw-lines{list-style:none;margin:0 0 12px;padding:0}
.fw-evidence li{display:grid;grid-template-columns:72px minmax(0,1fr);gap:12px;padding:7px 0;border-top:1px solid var(--fw-line)}
.fw-where{font-weight:600;overflow-wrap:anywhere}
.fw-evidence,.fw-what,.fw-took{font-size:14px}
.fw-dim{overflow-wrap:anywhere}
pre{margin:5px 0 0;padding:7px 11px;background:var(--fw-code);border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{font:inherit}p code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--fw-code);padding:1px 5px;border-radius:5px}
.fw-inside>pre{margin-bottom:8px;white-space:pre;overflow-x:auto}
.fw-path{padding:18px clamp(14px,2.5vw,22px)}
.fw-path>summary{display:flex;flex-wrap:wrap;gap:2px 8px;align-items:baseline}
.fw-path>summary h2{margin:0}
.fw-path>summary h2::before,.fw-more>summary::before{content:"▸";color:var(--dim);margin-right:8px}
.fw-path[open]>summary h2::before,.fw-more[open]>summary::before{content:"▾"}
.fw-lines{margin-top:12px}
.fw-lines li{display:grid;grid-template-columns:72px minmax(0,1fr);gap:12px;padding:9px 0;border-top:1px solid var(--fw-line)}
.fw-took small{display:block;color:var(--dim)}
.fw-what .fw-track{height:8px;margin:6px 0 5px;background:none}
.fw-more{border-top:1px solid var(--fw-line);padding-top:10px}
.fw-more>summary{color:var(--dim);font-size:14px}
.fw-picture{margin-top:10px}
.fw-picture svg{display:block}
ul.fw-note{padding-left:20px;margin:0}
.fw-note li{margin-bottom:5px;overflow-wrap:anywhere}
@media (max-width:640px){.fw-picture{margin:10px calc(-1*clamp(14px,2.5vw,22px)) 0}.fw-hero{grid-template-columns:1fr}.fw-inside{padding-left:clamp(14px,2.5vw,22px)}
.fw-row{grid-template-columns:78px 1fr 56px;gap:8px}.fw-card>summary{grid-template-columns:30px minmax(0,1fr)}
.fw-saving{grid-column:2;text-align:left}.fw-saving small{display:inline;margin-left:8px}
.fw-evidence li,.fw-lines li{grid-template-columns:58px minmax(0,1fr);gap:8px}}
@media print{.fw-inside>pre{white-space:pre-wrap}.fw-card,.fw-hero,.fw-path{break-inside:avoid}}
"""
STYLE: Final = f"{SCHEMES}{_COLOURS}{_RULES}"
