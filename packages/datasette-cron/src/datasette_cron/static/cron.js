"use strict";

// Keeps what is on a page under /-/cron up to date: gets the page again from time to time, and
// changes what is different. Without it, everything works but that.

(() => {
  const SECONDS = 5;
  const PATIENCE = 60;

  // --- times, for those who look at them from another zone

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const clock = new Intl.DateTimeFormat(undefined, {
    weekday: "short", year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
    hourCycle: "h23",
  });
  const hour = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  });

  function tellTimes(root) {
    for (const time of root.querySelectorAll("time[data-cron-time]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.valueOf())) {
        time.title += ` · yours: ${clock.format(at)}`;
      }
    }
    for (const text of root.querySelectorAll("text[data-cron-hour]")) {
      text.textContent = hour.format(new Date(text.dataset.cronHour));
    }
    for (const name of root.querySelectorAll("[data-cron-zone]")) {
      name.textContent = `your zone, ${zone}`;
    }
  }

  // --- changing what is different, and nothing else: focus, selection and what is open stay

  function same(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName;
  }

  function update(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) {
        old.nodeValue = fresh.nodeValue;
      }
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") {
        old.removeAttribute(name);
      }
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && name !== "open") {
        old.setAttribute(name, value);
      }
    }
    const olds = [...old.childNodes];
    const news = [...fresh.childNodes];
    news.forEach((child, i) => {
      if (i >= olds.length) {
        old.append(document.importNode(child, true));
      } else if (same(olds[i], child)) {
        update(olds[i], child);
      } else {
        olds[i].replaceWith(document.importNode(child, true));
      }
    });
    for (const child of olds.slice(news.length)) {
      child.remove();
    }
  }

  // --- getting the page again

  const said = document.getElementById("cron-said");
  let pause = SECONDS;
  let known = summary(document);

  // What is worth saying aloud: how many tasks run and fail; of a task, its state.
  function summary(root) {
    const parts = [...root.querySelectorAll("#cron-now h2, #cron-state .cron-badge")];
    return parts.map((part) => part.textContent.trim().replace(/\s+/g, " ")).join(", ");
  }

  // The page as it is now; null where the server is away, or restarts.
  async function fetchAgain() {
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      const html = response.ok ? await response.text() : null;
      return html && new DOMParser().parseFromString(html, "text/html");
    } catch {
      return null;
    }
  }

  function show(fresh) {
    tellTimes(fresh);
    for (const part of document.querySelectorAll("[data-cron-live]")) {
      const found = fresh.getElementById(part.id);
      if (found) {
        update(part, found);
      }
    }
    const news = summary(document);
    if (said && news !== known) {
      said.textContent = news;
    }
    known = news;
  }

  let timer = 0;

  async function keepLooking() {
    clearTimeout(timer);
    const fresh = document.hidden ? null : await fetchAgain();
    if (fresh) {
      show(fresh);
    }
    // A server that does not answer is asked less and less often.
    pause = fresh || document.hidden ? SECONDS : Math.min(pause * 2, PATIENCE);
    clearTimeout(timer);
    timer = setTimeout(keepLooking, pause * 1000);
  }

  tellTimes(document);
  // A page that answers a form holds what was typed; what it shows stays as it was sent.
  if (document.querySelector("[data-cron-live]") && !document.querySelector(".cron-problem")) {
    timer = setTimeout(keepLooking, pause * 1000);
    // Who comes back to a page is not to wait.
    document.addEventListener("visibilitychange", keepLooking);
  }
})();
