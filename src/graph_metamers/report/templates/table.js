"use strict";
/* Tables that sort and filter. Without this script they are plain tables.

   <table class="sortable">: a column's title becomes a button, which sorts by that column, and the
   other way round when it is used again. A cell's value is its data-value, or else its text; an
   empty one is last either way.

   <form class="filters" data-table="ID" hidden>: shown when the script runs. A control with
   data-column="2" lets rows stay whose third cell has its value; any other, rows with its text.
   Its <output> says how many are shown. */
(() => {
  for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
  for (const form of document.querySelectorAll("form.filters")) makeFilter(form);

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table.tBodies[0], column, down ? -1 : 1);
      });
    });
  }

  function sort(body, column, direction) {
    const keyed = [...body.rows].map((row) => ({ row, value: valueOf(row.cells[column]) }));
    const numeric = keyed.every(({ value }) => value === "" || !Number.isNaN(Number(value)));
    const compare = numeric
      ? (a, b) => Number(a) - Number(b)
      : (a, b) => a.localeCompare(b, "en", { numeric: true });
    keyed.sort((a, b) => {
      if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
      return direction * compare(a.value, b.value);
    });
    body.append(...keyed.map(({ row }) => row));
  }

  function makeFilter(form) {
    const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
    const controls = [...form.querySelectorAll("input, select")];
    const count = form.querySelector("output");
    const apply = () => {
      for (const row of rows) row.hidden = !controls.every((control) => passes(row, control));
      const shown = rows.filter((row) => !row.hidden).length;
      if (count) count.value = `${shown} of ${rows.length} shown`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply(); // a browser may have kept what was typed before the page was loaded again
  }

  function passes(row, control) {
    const wanted = control.value.trim().toLowerCase();
    if (wanted === "") return true;
    if (control.dataset.column === undefined) return row.textContent.toLowerCase().includes(wanted);
    return valueOf(row.cells[Number(control.dataset.column)]).toLowerCase() === wanted;
  }

  function valueOf(cell) {
    const value = cell.dataset.value ?? cell.textContent.trim();
    return value.toLowerCase() === "nan" ? "" : value;
  }
})();
