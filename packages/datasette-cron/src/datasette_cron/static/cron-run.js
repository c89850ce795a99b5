"use strict";
// Keeps the page of a run that has not ended up to date.
(() => {
  const EVERY = 1000;
  const LONGEST = 10000;
  let pause = EVERY;

  // The characters that the server shows by their codes, too: pages/visible.py.
  const HIDDEN =
    /([\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff])/u;

  const page = () => document.getElementById("cron-run");

  // Text with hidden characters as the server's page has them.
  function tell(element, text) {
    const parts = text.split(HIDDEN).map((part, i) => {
      if (i % 2 === 0) {
        return part;
      }
      const code = document.createElement("span");
      code.className = "cron-code-point";
      code.textContent = `\\u${part.charCodeAt(0).toString(16).padStart(4, "0")}`;
      return code;
    });
    element.replaceChildren(...parts);
  }

  function showProgress(progress) {
    const section = document.getElementById("cron-progress");
    if (!section || !progress) {
      return;
    }
    const bar = section.querySelector("progress");
    const { done, total, message } = progress;
    let text = String(done);
    if (total > 0) {
      bar.max = total;
      bar.value = Math.min(done, total);
      text = `${done} of ${total} (${Math.round((100 * Math.min(done, total)) / total)}%)`;
    } else {
      bar.removeAttribute("value");
    }
    section.querySelector("[data-progress=text]").textContent = text;
    tell(section.querySelector("[data-progress=message]"), message || "");
    section.hidden = false;
  }

  let shownLog = "";

  function showLog(log) {
    const section = document.getElementById("cron-log");
    if (!section || !log) {
      return;
    }
    const pre = section.querySelector("pre");
    if (shownLog === log) {
      return;
    }
    shownLog = log;
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    tell(pre, log);
    section.hidden = false;
    if (atEnd) {
      pre.scrollTop = pre.scrollHeight;
    }
  }

  // The server's page of the run as it is now takes the place of this one.
  async function renew() {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) {
      throw new Error(`the page answered ${answer.status}`);
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    page().replaceWith(document.adoptNode(fresh.getElementById("cron-run")));
    document.getElementById("cron-run-status").textContent =
      `The run is now: ${page().querySelector(".cron-badge").textContent}`;
  }

  let state = page().dataset.state;

  async function look() {
    const address = page().dataset.poll;
    if (!address) {
      return; // it has ended
    }
    if (!document.hidden) {
      try {
        const answer = await fetch(address, { headers: { accept: "application/json" } });
        if (!answer.ok) {
          throw new Error(`the run answered ${answer.status}`);
        }
        const { run } = await answer.json();
        const now = `${run.status} ${run.cancel_requested_by}`;
        showProgress(run.progress);
        showLog(run.log);
        if (state !== now) {
          await renew();
        }
        state = now;
        pause = EVERY;
      } catch {
        // The server may be gone for a while: ask less and less often.
        pause = Math.min(2 * pause, LONGEST);
      }
    }
    setTimeout(look, pause);
  }

  document.addEventListener("visibilitychange", () => {
    pause = EVERY;
  });
  look();
})();
