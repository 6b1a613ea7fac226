"""By hand in the Prefect UI, as people do it: a real browser, the form of the deployment, the run, the report."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, sync_playwright

from tests.real_prefect import Server, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium here (Debian: apt install chromium)"
)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def field(page: Page, label: str) -> Locator:
    """The input that stands under a label of the form."""
    has_input = "xpath=ancestor::*[.//input or .//textarea][1]//*[self::input or self::textarea]"
    return page.get_by_text(f"{label} (Optional)", exact=True).locator(has_input).first


def open_form(page: Page, one: Server, deployment: str) -> None:
    with one.client() as client:
        number = client.read_deployment_by_name(deployment).id
    page.goto(f"{one.url}/deployments/deployment/{number}/run")
    page.get_by_text("Direction Floor (Optional)").wait_for()


def n_runs(one: Server) -> int:
    with one.client() as client:
        return len(client.read_flow_runs())


def test_a_night_is_started_from_the_form_and_its_report_read_in_the_browser(prefect_server, page, tmp_path):
    open_form(page, prefect_server, "retrain/small")
    page.screenshot(path=tmp_path / "form.png")
    form = page.inner_text("body")
    assert "The lower end of the interval of the direction AUC must exceed this. Range: ≥ 0.5 and ≤ 1." in form
    assert field(page, "Window").input_value() == "21", "the deployment's own settings are filled in"

    before = n_runs(prefect_server)
    field(page, "Direction Floor").fill("0.2")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("0.2 is less than the minimum of 0.5").first.wait_for()
    assert n_runs(prefect_server) == before, "a wrong value starts nothing"

    field(page, "Direction Floor").fill("0.5")
    field(page, "Seed").fill("3")
    field(page, "Note").fill("Started by hand.")
    with prefect_server.worker("gpu", tmp_path / "there"):
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**tab=Runs")
        page.locator("a[href*='/runs/flow-run/']").first.click()
        page.get_by_text("Completed", exact=True).first.wait_for(timeout=240_000)
    page.screenshot(path=tmp_path / "run.png")

    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("nocturne-night").first.click()
    page.get_by_text("Started by hand.").wait_for()
    widths = "images => images.map(image => image.naturalWidth)"
    pictures = until(lambda: page.locator("img[src^='data:image/png']").evaluate_all(widths))
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert len(pictures) >= 3
    assert all(width > 300 for width in pictures), "every picture of the report is shown"
