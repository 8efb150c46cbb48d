"""How the pages look: the browser's own fonts, light or dark as the reader has it."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fff;
  --panel: #f5f7f9; --link: #0b5cad; --get: #1b6e3c; --post: #0b5cad; --patch: #8a5a00; --delete: #a8221f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --soft: #9aa6b5; --line: #333d4a;
  --paper: #14181d; --panel: #1c2229; --link: #7ab8ff;
  --get: #6fd396; --post: #7ab8ff; --patch: #e8b75a; --delete: #ff8f8b; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875em; }
code { background: var(--panel); border-radius: 3px; padding: .1em .3em; overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem;
  overflow-x: auto; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.sides { display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.25rem; background: var(--panel);
  border-right: 1px solid var(--line); font-size: .875rem; }
nav h2 { margin: 1.1rem 0 .3rem; font-size: .75rem; color: var(--soft); text-transform: uppercase;
  letter-spacing: .05em; border: 0; padding: 0; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li { padding: .1rem 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
nav .method { display: inline-block; width: 3.6rem; }
main { max-width: 60rem; padding: 1.5rem 2.5rem 5rem; }
main.alone { margin: 0 auto; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: .5rem 0; }
h2 { margin: 3rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2.5rem 0 .25rem; font-size: 1.1rem; }
h4 { margin: 1.25rem 0 .3rem; font-size: .8rem; color: var(--soft); text-transform: uppercase;
  letter-spacing: .05em; }
article { scroll-margin-top: 1rem; }
.method { font: 700 .75rem ui-monospace, "DejaVu Sans Mono", monospace; }
.get { color: var(--get); } .post { color: var(--post); }
.patch, .put { color: var(--patch); } .delete { color: var(--delete); }
.path { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .8rem; }
td:first-child { white-space: nowrap; }
td p { margin: 0 0 .3rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--link); }
@media (max-width: 50rem) { .sides { display: block; } main { padding: 1rem; }
  td:first-child { white-space: normal; }
  nav { position: static; height: auto; max-height: 40vh; border: 0;
    border-bottom: 1px solid var(--line); } }
"""
