"use strict";
(() => {
	const root = document.documentElement;
	const $ = (id) => document.getElementById(id);
	const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
	const kept = (name, value) => { // a page in a file may have no storage
		try {
			if (value !== undefined) sessionStorage.setItem(name, value);
			return sessionStorage.getItem(name);
		} catch { return null; }
	};
	const table = $("list");
	const rows = table ? all("tbody tr", table) : [];
	const statuses = new Map(all("[data-status]").map((th) => [th.dataset.status, th.dataset.statusZh]));
	let zh = false;
	let texts = null; // of the rows, for the search

	const speak = () => {
		root.lang = zh ? "zh-CN" : "en";
		const button = $("language");
		button.textContent = zh ? "English" : "中文";
		button.lang = zh ? "en" : "zh-CN";
		for (const e of all("title[data-zh], option[data-zh]")) {
			e.dataset.en ??= e.textContent;
			e.textContent = zh ? e.dataset.zh : e.dataset.en;
		}
		for (const e of all("svg[data-zh]")) {
			e.dataset.en ??= e.getAttribute("aria-label");
			e.setAttribute("aria-label", zh ? e.dataset.zh : e.dataset.en);
		}
		const numbers = new Intl.DateTimeFormat(zh ? "zh-CN" : "en", { dateStyle: "medium", timeStyle: "long" });
		for (const e of all("time")) e.title = numbers.format(new Date(e.dateTime));
		for (const row of rows) {
			const cell = row.cells[3];
			row.dataset.s ??= cell.textContent;
			cell.textContent = (zh && statuses.get(row.dataset.s)) || row.dataset.s;
		}
		texts = null;
		if (table) filter();
	};

	const pageSize = 100;
	let fitting = rows; // those that the search finds, in order
	let first = 0; // of them, at the top of the page
	const paginate = (to) => {
		first = Math.max(0, Math.min(to, Math.floor((fitting.length - 1) / pageSize) * pageSize));
		const shown = new Set(fitting.slice(first, first + pageSize));
		for (const row of rows) if (row.hidden === shown.has(row)) row.hidden = !row.hidden;
		$("pages").hidden = fitting.length <= pageSize;
		$("previous").disabled = first === 0;
		$("following").disabled = first + pageSize >= fitting.length;
		const n = new Intl.NumberFormat(zh ? "zh-CN" : "en");
		const [from, last, found, of] = [first + 1, first + shown.size, fitting.length, rows.length].map((x) => n.format(x));
		let text = zh ? `共 ${of} 条，找到 ${found} 条` : `${found} of ${of} found`;
		if (fitting.length > pageSize) text += zh ? `，显示第 ${from} 至 ${last} 条` : `, ${from} to ${last} shown`;
		$("found").textContent = text;
	};

	let kind = "";
	const filter = () => {
		const wanted = $("text").value.trim().toLowerCase();
		const only = $("only").value;
		texts ??= rows.map((row) => row.textContent.toLowerCase());
		const place = new Map(rows.map((row, i) => [row, texts[i]]));
		fitting = Array.from(table.tBodies[0].rows).filter((row) =>
			place.get(row).includes(wanted) && (!only || row.dataset.s === only) && (!kind || row.dataset.k === kind));
		$("clear").hidden = !wanted && !only && !kind;
		paginate(0);
	};

	const sort = (header) => {
		const column = header.cellIndex;
		const down = header.getAttribute("aria-sort") === "ascending";
		for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
		header.setAttribute("aria-sort", down ? "descending" : "ascending");
		const order = new Intl.Collator(zh ? "zh-CN" : "en", { numeric: true });
		const keyed = rows.map((row) => [header.dataset.sort ? Number(row.cells[column].textContent) : row.cells[column].textContent, row]);
		keyed.sort(header.dataset.sort ? (a, b) => a[0] - b[0] : (a, b) => order.compare(a[0], b[0]));
		if (down) keyed.reverse();
		table.tBodies[0].append(...keyed.map((k) => k[1]));
		filter();
	};

	if (table) {
		for (const header of all("thead th", table)) {
			const button = document.createElement("button");
			button.type = "button";
			button.append(...header.childNodes);
			button.addEventListener("click", () => sort(header));
			header.append(button);
		}
		for (const s of new Set(rows.map((row) => row.cells[3].textContent))) {
			const option = new Option(s, s);
			option.dataset.zh = statuses.get(s) || s;
			$("only").append(option);
		}
		$("search").hidden = false;
		$("search").addEventListener("submit", (event) => event.preventDefault());
		$("text").addEventListener("input", filter);
		$("only").addEventListener("change", filter);
		const turn = (by) => {
			paginate(first + by);
			$("records").scrollIntoView();
		};
		$("previous").addEventListener("click", () => turn(-pageSize));
		$("following").addEventListener("click", () => turn(pageSize));
		$("clear").addEventListener("click", () => {
			kind = $("text").value = $("only").value = "";
			filter();
			$("text").focus();
		});
		for (const link of all("[data-kind]")) {
			link.hidden = false;
			link.addEventListener("click", () => {
				$("text").value = $("only").value = "";
				kind = link.dataset.kind;
				filter();
			});
		}
	}

	for (const button of all(".copy")) {
		button.hidden = false;
		const said = document.createElement("span");
		said.setAttribute("role", "status");
		button.after(said);
		button.addEventListener("click", async () => {
			const text = button.previousElementSibling;
			let copied = true;
			try {
				await navigator.clipboard.writeText(text.textContent);
			} catch { // not over plain HTTP; then the selection does it, or the reader
				getSelection().selectAllChildren(text);
				copied = document.execCommand("copy");
			}
			said.textContent = copied ? (zh ? "已复制" : "copied") : (zh ? "请手动复制" : "selected: copy it yourself");
			setTimeout(() => { said.textContent = ""; }, 4000);
		});
	}

	zh = (kept("language") || navigator.language || "en").toLowerCase().startsWith("zh");
	$("language").hidden = false;
	$("language").addEventListener("click", () => {
		zh = !zh;
		kept("language", zh ? "zh" : "en");
		speak();
	});
	speak();

	const seconds = Number(root.dataset.refresh);
	if (seconds) {
		const pause = $("pause");
		pause.hidden = false;
		let paused = false;
		pause.addEventListener("click", () => pause.setAttribute("aria-pressed", String(paused = !paused)));
		setInterval(() => { if (!paused && !document.hidden) location.reload(); }, seconds * 1000);
	}
})();
