// What makes pages live: they are whole without it. Nothing is fetched from anywhere but the cluster's own consoles.
"use strict";
(() => {
  const SILENT_MS = 5000, PROBE_MS = 1500, TYPING_MS = 350;
  const body = document.body;
  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const light = document.getElementById("live");

  // The new content of an element, with as little touched as can be: focus, selection and what is open stay.
  function morph(old, made) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== made.nodeValue) old.nodeValue = made.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!made.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    let next = old.firstChild;
    for (const child of made.childNodes) {
      const found = counterpart(next, child);
      if (!found) { old.insertBefore(document.importNode(child, true), next); continue; }
      while (next !== found) { const gone = next; next = next.nextSibling; gone.remove(); }
      next = found.nextSibling;
      morph(found, child);
    }
    while (next) { const gone = next; next = next.nextSibling; gone.remove(); }
  }

  // What came before or went moves nothing else: the keyboard's place stays on what it was on, not on what is there now.
  function counterpart(from, child) {
    const name = (node) => `${node.nodeName} ${node.id || node.dataset?.key || node.classList?.[0] || ""}`;
    for (let one = from; one; one = one.nextSibling) {
      if (name(one) === name(child)) return one;
      if (child.nodeType !== Node.ELEMENT_NODE) return null;
    }
    return null;
  }

  function take(html, selector) {
    const made = new DOMParser().parseFromString(html, "text/html");
    for (const part of made.querySelectorAll(selector)) {
      const old = document.getElementById(part.id);
      if (old) morph(old, part);
    }
    times();
    return made;
  }

  function times() {
    const now = Date.now() / 1000;
    for (const one of document.querySelectorAll("time[data-since]")) {
      const s = Math.max(now - Number(one.dataset.since), 0);
      const format = (value, unit) => new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, maximumFractionDigits: 0 }).format(value);
      const text = s < 90 ? format(Math.floor(s), "second") : s < 5400 ? format(Math.round(s / 60), "minute")
        : s < 129600 ? format(Math.round(s / 3600), "hour") : format(Math.round(s / 86400), "day");
      if (one.textContent !== text) one.textContent = text;
    }
    for (const one of document.querySelectorAll("time[data-clock]:not([data-local])")) {
      const at = new Date(Number(one.dataset.clock) * 1000);
      const two = (n, width = 2) => String(n).padStart(width, "0");
      one.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`;
    }
  }

  let busy = false, again = false;
  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      do {
        again = false;
        if (!document.querySelector("[data-live]")) return;
        const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(8000) });
        if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
        if (answer.ok) take(await answer.text(), "[data-live]");
      } while (again);
    } catch { /* the watch over the stream tells when the node is gone */ } finally { busy = false; }
  }

  function show(kind, text) {
    if (!light) return;
    light.className = `live ${kind}`;
    light.lastElementChild.textContent = text;
  }

  let heard = Date.now(), tickets = {}, consoles = {}, moving = false, version = null;
  function follow() {
    const stream = new EventSource("/api/v1/events");
    const word = (handle) => (event) => { heard = Date.now(); show("on", `${body.dataset.tLive} · ${body.dataset.node}`); handle(JSON.parse(event.data)); };
    stream.addEventListener("alive", word(() => {}));
    stream.addEventListener("consoles", word((told) => { consoles = told.consoles; tickets = told.tickets ?? {}; }));
    stream.addEventListener("state", word((told) => { if (version !== told.version) { version = told.version; refresh(); } }));
    const watch = setInterval(async () => {
      times();
      if (stream.readyState === EventSource.CLOSED && Date.now() - heard < SILENT_MS) { clearInterval(watch); setTimeout(follow, 1000); return; }
      if (Date.now() - heard < SILENT_MS || moving) return;
      show("off", body.dataset.tLost);
      moving = true;
      try {
        if (await answers(location.origin)) {
          const entry = await fetch("/api/v1/me");
          if (entry.status === 401) { location.reload(); return; }
          heard = Date.now();
          if (stream.readyState === EventSource.CLOSED) { clearInterval(watch); follow(); }
        } else await goOver();
      } catch { /* tried again with the next beat */ } finally { moving = false; }
    }, 1000);
    addEventListener("pagehide", () => { stream.close(); clearInterval(watch); });
  }

  async function answers(origin) {
    try {
      await fetch(`${origin}/health`, { mode: "no-cors", cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PROBE_MS) });
      return true;
    } catch { return false; }
  }

  async function goOver() {
    for (const [node, origin] of Object.entries(consoles)) {
      if (!tickets[node] || !(await answers(origin))) continue;
      show("off", `${body.dataset.tMoving} ${node}`);
      const form = document.createElement("form");
      form.method = "post";
      form.action = `${origin}/handover`;
      for (const [name, value] of Object.entries({ ticket: tickets[node], next: location.pathname + location.search, from: body.dataset.node })) {
        const field = document.createElement("input");
        Object.assign(field, { type: "hidden", name, value });
        form.append(field);
      }
      body.append(form);
      form.submit();
      return;
    }
  }

  // Forms that are looked at as one types: the verdict and the file that suits, never what is being typed.
  for (const form of document.querySelectorAll("form[data-check]")) {
    const text = form.querySelector("textarea"), source = form.elements.namedItem("source");
    let timer, asked = 0;
    form.addEventListener("input", (event) => {
      if (source && text.hasAttribute("data-fill")) source.value = event.target === text ? "text" : event.target.name === "name" ? source.value : "form";
      clearTimeout(timer);
      timer = setTimeout(check, TYPING_MS);
    });
    async function check() {
      const number = ++asked;
      const fields = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.action, { method: "POST", body: fields, headers: { "x-csrf": csrf, accept: "text/html" } });
      if (!answer.ok || number !== asked) return;
      const made = take(await answer.text(), "[data-result]");
      const filled = made.querySelector("textarea[data-fill]");
      if (filled && document.activeElement !== text && source.value === "form") text.value = filled.value;
    }
  }

  // Forms that say what would happen for what is chosen.
  for (const form of document.querySelectorAll("form[data-preview]")) {
    form.addEventListener("change", async (event) => {
      const kept = form.dataset.keep.split(" ");
      if (!kept.includes(event.target.name)) return;
      const query = new URLSearchParams([...new FormData(form)].filter(([name]) => kept.includes(name)));
      const answer = await fetch(`${location.pathname}?${query}`, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const made = take(await answer.text(), "[data-result]");
        const button = form.querySelector(".go button"), other = made.querySelector("form[data-preview] .go button");
        if (button && other) button.className = other.className;
      }
    });
  }

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  times();
  if ("livePage" in body.dataset) follow();
})();
