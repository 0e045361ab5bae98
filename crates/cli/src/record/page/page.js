// Selection, and a filter. The page says all it has to say without this.
"use strict";
const root = document.documentElement;
addEventListener("error", event => { root.dataset.error = event.message; });
addEventListener("securitypolicyviolation", event => { root.dataset.error = "blocked: " + event.violatedDirective; });

const drawing = document.getElementById("drawing");
const strip = document.getElementById("strip");
const list = document.getElementById("list");
const told = document.getElementById("told");
const cursor = document.getElementById("cursor");
const filter = document.getElementById("filter");
const count = document.getElementById("count");
const rows = [...document.querySelectorAll("#entries tbody tr[id]")];
const marks = [...document.querySelectorAll("#marks a")];
const places = marks.map(mark => Number(mark.dataset.x));
const numbers = rows.map(row => Number(row.id.slice(6)));
const shown = rows.map(() => true);
let picked = -1;

function words(index) {
  return marks[index].querySelector("title").textContent;
}

function unpick() {
  if (picked < 0) return;
  rows[picked].classList.remove("picked");
  rows[picked].removeAttribute("aria-current");
  marks[picked].classList.remove("picked");
  picked = -1;
}

function pick(index, say) {
  unpick();
  picked = index;
  rows[index].classList.add("picked");
  rows[index].setAttribute("aria-current", "true");
  marks[index].classList.add("picked");
  told.textContent = words(index);
  told.classList.remove("told-idle");
  cursor.setAttribute("x1", places[index]);
  cursor.setAttribute("x2", places[index]);
  cursor.removeAttribute("hidden");
  root.dataset.picked = rows[index].id;
  reveal(index);
  if (say) history.replaceState(null, "", "#" + rows[index].id);
}

// Moves the two scrollers, never the page.
function reveal(index) {
  const head = list.querySelector("thead").offsetHeight;
  const top = rows[index].offsetTop - head, bottom = top + head + rows[index].offsetHeight;
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 3;
  }
  const x = places[index] - drawing.viewBox.baseVal.x;
  if (x < strip.scrollLeft + 20 || x > strip.scrollLeft + strip.clientWidth - 20) {
    strip.scrollLeft = x - strip.clientWidth / 2;
  }
}

function step(by) {
  let index = picked < 0 ? (by > 0 ? -1 : rows.length) : picked;
  do index += by; while (index >= 0 && index < rows.length && !shown[index]);
  if (index >= 0 && index < rows.length) pick(index, true);
}

// The entry at a place of the drawing: the mark that was hit, or the nearest.
function near(event) {
  const hit = event.target.closest && event.target.closest("#marks a");
  if (hit) return marks.indexOf(hit);
  const x = event.clientX - drawing.getBoundingClientRect().left + drawing.viewBox.baseVal.x;
  let low = 0, high = places.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - places[low - 1] < places[low] - x ? low - 1 : low;
}

function fromHash() {
  const found = /^#(?:entry|mark)-(\d+)$/.exec(location.hash);
  if (!found) return;
  // An entry without a row of its own is on the row before.
  const after = numbers.findIndex(number => number > Number(found[1]));
  pick(after < 0 ? rows.length - 1 : Math.max(after - 1, 0), false);
  // The browser has the row in view; with this the drawing is as well.
  scrollTo(0, 0);
}

function search() {
  const text = filter.value.trim().toLowerCase();
  let found = 0;
  rows.forEach((row, index) => {
    shown[index] = !text || row.textContent.toLowerCase().includes(text);
    row.hidden = !shown[index];
    marks[index].classList.toggle("found", shown[index]);
    found += shown[index];
  });
  drawing.classList.toggle("filtered", Boolean(text));
  count.textContent = (text ? found + " of " : "") + rows.length + " rows";
}

if (rows.length) {
  drawing.addEventListener("mousemove", event => {
    told.textContent = words(near(event));
    told.classList.remove("told-idle");
  });
  drawing.addEventListener("mouseleave", () => {
    if (picked >= 0) told.textContent = words(picked);
  });
  drawing.addEventListener("click", event => {
    event.preventDefault();
    pick(near(event), true);
  });
  list.addEventListener("click", event => {
    const row = event.target.closest("tr[id]");
    if (!row || String(getSelection())) return;
    event.preventDefault();
    pick(rows.indexOf(row), true);
  });
  addEventListener("keydown", event => {
    if (event.target === filter || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const inside = strip.contains(event.target) || list.contains(event.target);
    if (event.key in steps && (inside || picked >= 0)) {
      event.preventDefault();
      step(steps[event.key]);
    } else if ((event.key === "Home" || event.key === "End") && inside) {
      event.preventDefault();
      unpick();
      step(event.key === "Home" ? 1 : -1);
    }
  });
  filter.addEventListener("input", search);
  document.getElementById("search").hidden = false;
  told.hidden = false;
  addEventListener("hashchange", fromHash);
  addEventListener("load", fromHash);
  fromHash();
  const measure = () => { root.dataset.width = root.scrollWidth + "/" + innerWidth; };
  addEventListener("resize", measure);
  measure();
}
root.dataset.ready = marks.length;
