"""Pictures of the pages for the documentation, of a site with some history.

    uv run tests/browser/screenshots.py [docs/images]

Each page is taken on a wide screen in light and in dark, and on a phone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import sys
import tempfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "adapter")]

from live import Server  # noqa: E402
from playwright.async_api import async_playwright  # noqa: E402

VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
TALLEST = 1100
"""Pixels: what is below is cut off."""
# 256 colours of a picture, the most frequent ones that can be told apart, and of each pixel the
# nearest of them: a letter's edge has shades that nobody sees, and that make a file much longer.
REDUCE = """
async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) {
    counts.set(pixel, (counts.get(pixel) || 0) + 1);
  }
  const colours = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
  const parts = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  const known = [];
  for (const [r, g, b] of colours.map(parts)) {
    const far = ([kr, kg, kb]) => (r - kr) ** 2 + (g - kg) ** 2 + (b - kb) ** 2 >= 100;
    if (known.length < 256 && known.every(far)) {
      known.push([r, g, b]);
    }
  }
  const nearest = new Map();
  for (const colour of colours) {
    const [r, g, b] = parts(colour);
    let best = 0;
    let least = Infinity;
    known.forEach(([kr, kg, kb], i) => {
      const distance = (r - kr) ** 2 + (g - kg) ** 2 + (b - kb) ** 2;
      if (distance < least) {
        [best, least] = [i, distance];
      }
    });
    nearest.set(colour, best);
  }
  let text = "";
  for (const pixel of pixels) {
    text += String.fromCharCode(nearest.get(pixel));
  }
  return { width: image.width, height: image.height, palette: known, pixels: btoa(text) };
}
"""
HANDLERS = '''
import asyncio
from cronkit_core import current_run
from datasette import hookimpl


async def import_orders(datasette, config):
    """Fetches the orders of the day from the shop."""
    run = current_run()
    run.log("asked shop.example for orders since yesterday")
    for done in range(0, 500, 20):
        await run.progress(done, 500, f"order {40210 + done}")
        if done % 100 == 0:
            run.log(f"{done} orders are in")
        await asyncio.sleep(config.get("pause", 0))
    return {"orders": 500}


async def send_report(datasette, config):
    """Mails the numbers of the week."""
    raise ConnectionError("mail.example:587 refused the connection")


async def tidy(datasette, config):
    """Deletes what is older than the days in its config."""
    current_run().log("deleted 1204 rows")
    return {"deleted": 1204}


@hookimpl
def cron_register_handlers(datasette):
    return {"import-orders": import_orders, "send-report": send_report, "tidy": tidy}
'''
TASKS = (
    ("import orders", "shop:import-orders", "*/15 * * * *", {"pause": 2}, {}),
    ("tidy up", "shop:tidy", "10 3 * * *", {"days": 30}, {"timezone": "Europe/Berlin"}),
    (
        "weekly report",
        "shop:send-report",
        "0 9 * * 1",
        {"to": "sales@example.com"},
        {"timezone": "America/New_York", "retry": {"max_retries": 2}},
    ),
    ("heartbeat", "shop:tidy", "*/5 * * * *", {}, {}),
    ("month end", "shop:tidy", {"rrule": "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=22"}, {}, {}),
)
CONFIG = {
    "permissions": {"datasette-cron-access": True, "datasette-cron-edit": True},
    "plugins": {"datasette-cron": {"grace": 0}},
}


def fill(server: Server) -> dict[str, str]:
    """Make tasks and history; the addresses of the pages by their names."""

    def ask(path: str, body: object) -> dict:
        answer = server.ask("POST", f"/-/api/cron/{path}", body)
        assert answer.status < 300, answer.text
        return json.loads(answer.text)

    now = datetime.now(UTC)
    for name, handler, schedule, config, more in TASKS:
        wish = {"name": name, "handler": handler, "schedule": schedule, "config": config, **more}
        ask("tasks", wish)
    for name, days in (("heartbeat", 0.4), ("tidy~20up", 40), ("weekly~20report", 30)):
        span = {"start": (now - timedelta(days=days)).isoformat(), "end": now.isoformat()}
        ask(f"tasks/{name}/backfill", {**span, "overlap": "allow"})
    while server.ask("GET", "/-/api/cron/runs?status=running&status=pending").json["runs"]:
        pass
    ask("tasks/month~20end/enable", {"enabled": False})
    failed = server.ask("GET", "/-/api/cron/runs?status=error").json["runs"][0]["id"]
    running = ask("tasks/import~20orders/trigger", {})["run_id"]
    while True:  # until it has said how far it is
        run = server.ask("GET", f"/-/api/cron/runs/{running}").json["run"]
        if (run["progress"] or {}).get("done", 0) >= 40:
            break
    return {
        "dashboard": "/-/cron",
        "task": "/-/cron/heartbeat",
        "runs": "/-/cron/runs",
        "run": f"/-/cron/runs/{running}",
        "failure": f"/-/cron/runs/{failed}",
        "edit": "/-/cron/tidy~20up/edit",
    }


# What a picture says of the machine that made it is nobody's business.
RENAME = """
(names) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [name, other] of names) {
      texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(name, other);
    }
  }
}
"""


async def take(address: str, pages: dict[str, str], folder: Path, site: Path) -> None:
    """A picture of each page in each view."""
    names = [
        (str(site), "/srv/site"),
        (str(HERE.parents[1] / "packages"), "/srv/lib"),
        (f"{socket.gethostname()}:", "web-1:"),
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        blank = await browser.new_page()
        for view, options in VIEWS.items():
            context = await browser.new_context(**options, locale="en-GB", reduced_motion="reduce")
            page = await context.new_page()
            for name, path in pages.items():
                await page.goto(address + path)
                await page.evaluate(RENAME, names)
                height = await page.evaluate("document.documentElement.scrollHeight")
                width = options["viewport"]["width"]
                picture = await page.screenshot(
                    clip={"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)},
                    full_page=True,
                )
                reduced = await blank.evaluate(REDUCE, base64.b64encode(picture).decode())
                (folder / f"{name}-{view}.png").write_bytes(png(**reduced))
            await context.close()
        await browser.close()


def png(width: int, height: int, palette: list[list[int]], pixels: str) -> bytes:
    """A picture with a palette as a PNG file."""
    data = base64.b64decode(pixels)
    rows = b"".join(b"\0" + data[i : i + width] for i in range(0, width * height, width))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(value for colour in palette for value in colour)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "docs" / "images")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as site:
        server = Server(Path(site), CONFIG)
        (Path(site) / "plugins" / "shop.py").write_text(HANDLERS)
        with server:
            asyncio.run(take(server.address, fill(server), folder, Path(site)))
    total = sum(picture.stat().st_size for picture in folder.glob("*.png"))
    print(f"{len(list(folder.glob('*.png')))} pictures, {total // 1000} kB, in {folder}")


if __name__ == "__main__":
    main()
