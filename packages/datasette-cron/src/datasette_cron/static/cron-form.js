"use strict";
// The form for tasks: what a schedule means, and what is wrong with the config, while it is typed.
(() => {
  const PAUSE = 300;
  const SLOTS = 5;
  const form = document.getElementById("cron-form");
  const box = document.getElementById("cron-preview");
  const { schedule, timezone, config, handler } = form.elements;

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) {
      made.className = className;
    }
    return made;
  }

  function say(...children) {
    box.replaceChildren(...children);
  }

  // As the server reads what was typed: JSON where it is an object, or else text.
  function spec() {
    const text = schedule.value.trim();
    return text.startsWith("{") ? JSON.parse(text) : text;
  }

  function mark(field, problem) {
    if (problem) {
      field.setAttribute("aria-invalid", "true");
    } else {
      field.removeAttribute("aria-invalid");
      document.getElementById(`${field.id}-problem`)?.remove();
    }
  }

  const clock = new Intl.DateTimeFormat("en-GB", { weekday: "short", timeZone: "UTC" });

  // "2027-01-01T09:00:00+01:00" as "Fri 2027-01-01 09:00:00 +01:00"
  function shown(local) {
    const day = clock.format(new Date(`${local.slice(0, 10)}T00:00:00Z`));
    return `${day} ${local.slice(0, 10)} ${local.slice(11, 19)} ${local.slice(19).replace(/^\.\d+/, "")}`;
  }

  function show(answer) {
    mark(schedule, !answer.valid && answer.where !== "timezone");
    mark(timezone, !answer.valid && answer.where === "timezone");
    if (!answer.valid) {
      say(element("p", answer.error, "cron-problem"));
      return;
    }
    const words = element("p", "");
    words.append(element("strong", answer.description));
    const parts = [words];
    for (const warning of answer.warnings) {
      const banner = element("div", "", "cron-banner");
      banner.dataset.kind = "warning";
      banner.append(element("p", warning.message));
      parts.push(banner);
    }
    if (answer.slots.length) {
      parts.push(element("p", `Next, in ${answer.timezone || "UTC"}:`, "cron-hint"));
      const list = element("ol", "", "cron-list");
      for (const slot of answer.slots) {
        const item = document.createElement("li");
        const time = element("time", shown(slot.local));
        time.dateTime = slot.local;
        item.append(time);
        if (slot.note) {
          item.append(" ", element("span", slot.note, "cron-hint"));
        }
        list.append(item);
      }
      parts.push(list);
    } else {
      parts.push(element("p", "Nothing is to come."));
    }
    say(...parts);
  }

  let asked = null;

  async function preview() {
    if (!schedule.value.trim()) {
      say(element("p", "Type a schedule to see when it runs.", "cron-muted"));
      return;
    }
    let wanted;
    try {
      wanted = spec();
    } catch (error) {
      mark(schedule, true);
      say(element("p", `bad JSON: ${error.message}`, "cron-problem"));
      return;
    }
    asked?.abort();
    asked = new AbortController();
    try {
      const answer = await fetch(form.dataset.preview, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ schedule: wanted, timezone: timezone.value.trim() || null, n: SLOTS }),
        signal: asked.signal,
      });
      const data = await answer.json();
      if (answer.ok) {
        show(data);
      } else {
        say(element("p", data.error || `the server answered ${answer.status}`, "cron-problem"));
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        say(element("p", "The server does not answer: what is typed here stays.", "cron-problem"));
      }
    }
  }

  let waiting = 0;

  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(preview, PAUSE);
  }

  schedule.addEventListener("input", soon);
  timezone.addEventListener("input", soon);
  document.getElementById("cron-preview-button").remove();

  const live = document.getElementById("cron-config-live");

  function checkConfig() {
    let problem = "";
    try {
      const value = JSON.parse(config.value.trim() || "{}");
      if (value === null || typeof value !== "object" || Array.isArray(value)) {
        problem = 'not a JSON object: such as {"database": "sales"}';
      }
    } catch (error) {
      problem = `bad JSON: ${error.message}`;
    }
    mark(config, problem);
    live.textContent = problem;
    live.hidden = !problem;
  }

  let checking = 0;
  config.addEventListener("input", () => {
    clearTimeout(checking);
    checking = setTimeout(checkConfig, PAUSE);
  });

  const hint = document.getElementById("f-handler-hint");
  const general = hint.textContent;

  function describe() {
    hint.textContent = handler.selectedOptions[0]?.dataset.description || general;
  }

  handler.addEventListener("change", describe);
  describe();

  // A link to a field in details that are closed opens them.
  document.getElementById("cron-problems")?.addEventListener("click", (event) => {
    const address = event.target.closest("a")?.getAttribute("href");
    const field = address && document.getElementById(address.slice(1));
    if (field) {
      field.closest("details")?.setAttribute("open", "");
      field.focus();
      event.preventDefault();
    }
  });
  document.getElementById("cron-problems")?.focus();
})();
