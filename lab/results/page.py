"""The look of the report's page, and the choices on it: which lines, by what, how smooth; and two lines compared.

The page is one file that loads nothing. Its script reads the JSON of each figure and block from the page itself, and
writes texts from records with `textContent` alone.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --page: #fff; --head: #f3f5f7;
        --mark: #8a4b00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9ba5b0; --line: #3a414a; --page: #14171b;
        --head: #1e2329; --mark: #f0b45c } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1250px;
       margin: 0 auto; padding: 1rem; overflow-wrap: break-word }
h1 { margin: .2rem 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line);
     padding-top: 1rem } h3 { font-size: 1rem; margin: 1.5rem 0 .4rem }
a { color: inherit } nav ul { margin: .2rem 0; padding-left: 1.2rem } nav ul ul { padding: 0 }
nav ul ul li { display: inline-block; margin-right: 1rem }
p, figcaption, li { max-width: 75ch } .soft, figcaption { color: var(--soft); font-size: .9rem }
.note { color: var(--mark); font-weight: 600 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .3rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { background: var(--head) } thead th { text-align: center } .group { border-left: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--page) }
thead th:first-child { background: var(--head) }
figure { margin: 1rem 0 } .plot { min-height: 300px } summary { cursor: pointer; padding: .3rem 0 }
.said { font-weight: 600 } .choices { position: sticky; top: 0; z-index: 3; background: var(--page); padding: .4rem 0;
    border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: center }
.choices label { white-space: nowrap } .lines { max-height: 30vh; overflow: auto; display: flex; flex-wrap: wrap;
    gap: 0 1rem } select, input { font: inherit; max-width: 100% } [hidden] { display: none }
@media (max-width: 760px) { .choices { position: static } }
"""

CHOICES = """
<form class='choices' aria-label='Choices' onsubmit='return false'>
<details><summary>Lines</summary><p><button type='button' id='all'>all</button>
<button type='button' id='none'>none</button></p><div class='lines' id='lines'></div></details>
<label>By <select id='by'><option>epoch</option><option>step</option><option>updates</option><option>seconds</option>
</select></label>
<label>Smoothing <input id='smooth' type='range' min='0' max='20' value='0' aria-label='Smoothing'>
<output id='share'>none</output></label>
<label><input id='log' type='checkbox'> log</label>
<span class='soft'>A click on a name in a legend shows it alone; two clicks hide it.</span></form>
"""

# Draws each figure when it is first seen unfolded; panels stand one below the other on a narrow screen.
SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)'), narrow = matchMedia('(max-width: 760px)')
const one = id => document.getElementById(id), read = box => JSON.parse(box.textContent)
const looks = read(one('looks')), every = read(one('every')).lines, chosen = new Set(every)
function layoutFor({data, layout}) {
  const clear = 'rgba(0,0,0,0)', grid = dark.matches ? '#3a414a' : '#e3e7eb'
  const ink = dark.matches ? '#e6e8eb' : '#1b1f24'
  layout = {...layout, template: looks, paper_bgcolor: clear, plot_bgcolor: clear, title: undefined, font: {color: ink},
            modebar: {bgcolor: clear, color: grid, activecolor: ink}, margin: {...layout.margin, t: 60}}
  layout.height -= 30
  const axes = Object.keys(layout).filter(key => /^xaxis/.test(key)).slice(0, (layout.annotations || []).length)
  for (const key of Object.keys(layout).filter(key => /^[xy]axis/.test(key)))
    layout[key] = {...layout[key], gridcolor: grid, zerolinecolor: grid, automargin: true}
  if (!narrow.matches || axes.length < 2) return layout
  const names = new Set(data.filter(line => line.showlegend !== false).map(line => line.name)).size
  const each = names ? 260 : layout.height - 60, plot = each * axes.length, foot = 40 + 22 * Math.ceil(names / 2)
  layout.height = plot + 60 + foot
  layout.margin = {...layout.margin, l: 40, r: 10, b: foot}
  axes.forEach((x, i) => {
    const y = x.replace('x', 'y'), top = 1 - i / axes.length
    layout[x] = {...layout[x], domain: [0, 1]}
    layout[y] = {...layout[y], domain: [top - (each - 75) / plot, top], showticklabels: true}
  })
  layout.annotations = layout.annotations.map((title, i) => ({...title, x: .5, y: 1 - i / axes.length}))
  return layout
}
// The line of a trace as it is called in `every`; null where it is none of these.
function lineOf(trace) {
  const name = trace.name || (Array.isArray(trace.y) && typeof trace.y[0] === 'string' ? trace.y[0] : '')
  const plain = new DOMParser().parseFromString(name, 'text/html').documentElement.textContent
  return [plain, plain.replace(/ \\(sampled\\)$/, '')].find(text => every.includes(text)) ?? null
}
// An exponential mean over x: a value that lies `half` back counts half; nulls have no weight, as in lab.figures.
function smoothed(x, y, half) {
  let top = 0, bottom = 0
  return y.map((value, i) => {
    let width = i ? x[i] - x[i - 1] : x.length > 1 ? x[1] - x[0] : half
    if (!(width > 0)) width = half
    const keep = 2 ** (-width / half), there = value !== null && isFinite(value)
    top = keep * top + (there ? (1 - keep) * value : 0)
    bottom = keep * bottom + (there ? 1 - keep : 0)
    return there && bottom > 0 ? top / bottom : value
  })
}
function draw(box) {
  const figure = box.figure ??= read(box.querySelector('script'))
  const by = one('by').value, share = one('smooth').value / 100, curves = figure.axes !== undefined
  const longest = Math.max(0, ...figure.data.flatMap((trace, i) => curves ? (figure.axes[by] ?? [])[i] ?? trace.x : []))
  const data = figure.data.map((trace, i) => {
    const line = lineOf(trace), shown = {...trace, visible: line === null || chosen.has(line)}
    if (curves) shown.x = (figure.axes[by] ?? [])[i] ?? trace.x
    if (curves && share && trace.mode === 'lines+markers') shown.y = smoothed(shown.x, trace.y, share * longest)
    if (curves && share && trace.fill) shown.visible = false  // the band is that of the values as they were recorded
    return shown
  })
  const layout = layoutFor(figure)
  if (curves) for (const key of Object.keys(layout)) {
    if (/^yaxis/.test(key)) layout[key] = {...layout[key], type: one('log').checked ? 'log' : 'linear'}
    if (/^xaxis/.test(key) && layout[key].title) layout[key] = {...layout[key], title: {...layout[key].title, text: by}}
  }
  const config = {displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: '',
                  toImageButtonOptions: {scale: 2}, modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']]}
  Plotly.react(box.querySelector('.plot'), data, layout, config)
}
const shown = () => [...document.querySelectorAll('figure')].filter(box => !box.closest('details:not([open])'))
const redraw = () => shown().forEach(draw)
function choose() {
  for (const part of document.querySelectorAll('[data-line]')) part.hidden = !chosen.has(part.dataset.line)
  for (const box of one('lines').querySelectorAll('input')) box.checked = chosen.has(box.value)
  redraw()
}
for (const name of every) {
  const label = document.createElement('label'), box = document.createElement('input')
  Object.assign(box, {type: 'checkbox', value: name, checked: true})
  box.addEventListener('change', () => { chosen[box.checked ? 'add' : 'delete'](name); choose() })
  label.append(box, ' ' + name)
  one('lines').append(label)
}
one('all').addEventListener('click', () => { every.forEach(name => chosen.add(name)); choose() })
one('none').addEventListener('click', () => { chosen.clear(); choose() })
for (const id of ['by', 'log']) one(id).addEventListener('change', redraw)
one('smooth').addEventListener('input', () => {
  one('share').textContent = one('smooth').value > 0 ? one('smooth').value + ' %' : 'none'
  redraw()
})
// Two lines of a block: the settings that differ, and the differences of the scores over the seeds that both have.
function compare(box) {
  const {lines, t, tasks} = read(box.querySelector('script')), names = Object.keys(lines)
  const selects = [0, 1].map(i => {
    const select = document.createElement('select')
    select.setAttribute('aria-label', i ? 'with' : 'compare')
    for (const name of names) select.append(new Option(name))
    select.selectedIndex = Math.min(i, names.length - 1)
    select.addEventListener('change', show)
    box.querySelector('p').append(i ? ' with ' : 'Compare ', select)
    return select
  })
  function row(table, texts, tag = 'td') {
    const line = table.insertRow()
    for (const text of texts) line.append(Object.assign(document.createElement(tag), {textContent: text}))
  }
  function show() {
    const [a, b] = selects.map(select => lines[select.value]), table = document.createElement('table')
    const keys = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])]
    row(table, ['', ...selects.map(select => select.value), 'difference'], 'th')
    for (const key of keys.filter(key => a.settings[key] !== b.settings[key]))
      row(table, [key, a.settings[key] ?? '-', b.settings[key] ?? '-', ''])
    for (const [task, name] of Object.entries(tasks)) {
      const mean = list => list.reduce((sum, value) => sum + value, 0) / list.length
      const of = line => Object.values(line.seeds).map(seed => seed[task]).filter(value => value !== undefined)
      const both = Object.keys(a.seeds).filter(seed => [a, b].every(line => line.seeds[seed]?.[task] !== undefined))
      const gaps = both.map(seed => a.seeds[seed][task] - b.seeds[seed][task])
      const without = both.filter(seed => [a, b].some(line => line.seeds[seed][task] === null)).length
      let said = without ? `no score with ${without} of ${both.length} seeds` : 'no seed in common'
      if (gaps.length && !without) {
        const middle = mean(gaps), n = gaps.length
        const spread = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - middle) ** 2, 0) / (n - 1))
        const half = t[n] ? t[n] * spread / Math.sqrt(n) : NaN
        const digits = half > 0 ? Math.max(3, Math.min(9, -Math.floor(Math.log10(half)))) : 3
        const sign = value => (value < 0 ? '' : '+') + value.toFixed(digits)
        said = sign(middle) + (n > 2 ? ` (95 % interval ${sign(middle - half)} to ${sign(middle + half)}, ${n} seeds)`
                                     : ` (${n} seed${n > 1 ? 's' : ''}: no interval)`)
      }
      const text = list => list.length && !list.includes(null) ? mean(list).toFixed(3) : 'n/a'
      row(table, [name, text(of(a)), text(of(b)), said])
    }
    box.querySelector('div').replaceChildren(table)
  }
  show()
}
document.querySelectorAll('.compare').forEach(compare)
redraw()
for (const fold of document.querySelectorAll('section details'))
  fold.addEventListener('toggle', () => fold.open && fold.querySelectorAll('figure').forEach(draw))
for (const query of [dark, narrow]) query.addEventListener('change', redraw)
"""
