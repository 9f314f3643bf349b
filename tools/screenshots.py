"""Every page of console and station as a picture: light and dark, on a desk and on a phone. `make screenshots`.

Starts a sandbox of its own on the simulated chain, pays some people, leaves some payouts waiting, and looks at the
pages in Chromium. All pictures go to `screenshots/`; those that the documents show, to `docs/images/console/`.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, Page, sync_playwright

from strongroom.cli.session import client, document
from strongroom.formats.simulated import simulated_address
from strongroom.sandbox import parts

ROOT: Final = Path(__file__).parent.parent
ALL: Final = ROOT / "screenshots"
SHOWN: Final = ROOT / "docs/images/console"
PORTS: Final = 29_800
COOLING_S: Final = 6
SIM: Final = 10**8
SIZES: Final = {"desk": (1360, 900), "phone": (390, 844)}
PEOPLE: Final = ("Blue Harbor Logistics", "Marta Example", "Atlas Fleet GmbH", "Nova Couriers", "Åsa Example",
                 "Łukasz Example", "Jun Example")
PAGES: Final = {
    "ada": (
        "/", "/approvals", "/payouts", "/find?q=Jun Example", "/exceptions", "/beneficiaries", "/treasury", "/policy",
        "/changes", "/sessions",
    ),
    "cleo": ("/people", "/keys", "/audit", "/freeze"),
}
KEPT: Final = {
    ("/", "desk", "light"): "overview", ("/approvals", "desk", "light"): "approvals",
    ("/approvals", "desk", "dark"): "approvals-dark", ("/approvals", "phone", "light"): "approvals-phone",
    ("/audit", "desk", "light"): "audit",
}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="strongroom-pages-") as folder:
        Path(folder).chmod(0o755)  # the processes are other users
        data = Path(folder) / "data"
        _run("up", "--ports", str(PORTS), "--rails", "simulated", "--detach", "--data", str(data))
        try:
            _fill(data)
            _shoot(data)
        finally:
            _run("down", "--data", str(data))
    return 0


def _run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", *command], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def _fill(data: Path) -> None:
    """Some that are paid, some that wait for one person or two, a run, and one whose address changed."""
    profile = document(data)
    asset = profile["assets"]["SIM"]
    with client(profile, "beneficiaries") as declarer:
        made = [
            declarer.beneficiaries.create(name=name, destination=_destination(name), idempotency_key=f"page-{at}")
            for at, name in enumerate(PEOPLE)
        ]
    time.sleep(COOLING_S)
    with client(profile, "payouts") as payer:
        def ask(to: Any, amount: int, name: str) -> None:
            payer.payouts.create(
                beneficiary=to["id"], destination_digest=to["destination"]["digest"], asset=asset, external_id=name,
                amount=str(amount), idempotency_key=name.replace(" ", "-"))

        for at, to in enumerate(made):
            for trip in range(4):
                ask(to, (20 + 7 * trip + at) * SIM, f"trips of week {44 + trip}, {at}")
        time.sleep(4)
        for at, to in enumerate(made):
            ask(to, (600 + 250 * at) * SIM, f"host {at}")
        ask(made[0], 18_425 * SIM, "invoice 2211")


def _destination(name: str) -> dict[str, str]:
    key = b"\x02" + hashlib.sha256(name.encode()).digest()
    return {"network": "sim:sandbox", "address": simulated_address(key)}


def _shoot(data: Path) -> None:
    ALL.mkdir(exist_ok=True)
    SHOWN.mkdir(parents=True, exist_ok=True)
    origin = document(data)["console_url"]
    with sync_playwright() as driver:
        program, variables = parts.browser(print)
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], env={**os.environ, **variables})
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                for login, pages in PAGES.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=theme)
                    page = _signed_in(context, data, login)
                    for path in pages:
                        page.goto(origin + path)
                        _keep(page, path, size, theme)
                    context.close()
        browser.close()


def _signed_in(context: BrowserContext, data: Path, login: str) -> Page:
    page = context.new_page()
    page.goto(json.loads(_run("console", "sign-in", "--as", login, "--data", str(data), "--json"))["link"])
    return page


def _keep(page: Page, path: str, size: str, theme: str) -> None:
    if path == "/approvals" and size == "phone":
        page.locator(".queue a").last.click()
        page.wait_for_load_state()
    page.wait_for_timeout(400)
    name = path.strip("/").partition("?")[0] or "overview"
    page.screenshot(path=str(ALL / f"{name}-{size}-{theme}.png"))
    kept = KEPT.get((path, size, theme))
    if kept is not None:
        page.screenshot(path=str(SHOWN / f"{kept}.png"))


if __name__ == "__main__":
    sys.exit(main())
