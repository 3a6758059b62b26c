"""The page in a real headless Chromium: opened from disk, hovered, toggled, sorted, followed."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.benchmark.store import schema

HOSTILE = "<script>alert(1)</script><b>x</b>"
# without a screen, as root or not, and without a word to the network
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser():
    found = next(
        (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
    )
    if not found:
        pytest.skip("no Chromium is installed: the page is not driven in a browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made(rainbow_writer, tmp_path_factory):
    study = rainbow_writer(tmp_path_factory.mktemp("browser") / "results" / "driven")
    study.rainbow(seeds=4, envs=("lake", "pond"), parts=3)
    for seed in range(3):
        study.run(study.variant(HOSTILE, base=HOSTILE, full=HOSTILE), "lake", seed, 50)
    study.run(study.variant("Rainbow"), "lake", 9, 100, state=schema.RUNNING, until=0.5)
    folder = study.plan()
    assert main(["report", str(folder)]) == 0
    return folder / "report" / "index.html"


@pytest.fixture
def page(browser, made):
    """An open page; what the console complained of, and what it asked the network for, fails."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: (errors.append("a dialog opened"), dialog.dismiss()))
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith(("http", "ws")) else None)
    page.goto(made.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    yield page
    shots = os.environ.get("PRISM_SCREENSHOTS")
    if shots:
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[1].split(" ")[0]
        page.screenshot(path=Path(shots) / f"{name}.png")
    page.close()
    assert errors == []
    assert asked == []


def lines(page):
    return page.locator("#curves .scatterlayer .trace path.js-line").count()


def test_the_page_tells_what_it_holds(page):
    assert "driven" in page.title()
    assert page.get_by_text("The study is still running").is_visible()
    page.locator("details.alert > summary").click()
    few = page.locator("details.alert").inner_text()
    assert (
        "At n = 3 to 4, nominal 95% intervals of a mean cover the true mean in as few as 72%" in few
    )
    assert "as few as 72% if the shapes differ" in few


def test_choosing_an_environment_scale_and_single_runs_redraws(page):
    page.check("#all")
    lake = lines(page)
    assert lake == 2 * 6  # a band and a mean for each of six agents
    page.select_option("#env", "pond")
    assert lines(page) == 2 * 5
    page.check("#runs")
    assert lines(page) == 2 * 5 + 5 * 4
    page.select_option("#scale", "log")
    assert page.evaluate("document.getElementById('curves').layout.yaxis.type") == "log"
    page.select_option("#metric", schema.TRAIN_RETURN)
    assert lines(page) == 2 * 5 + 5 * 4


def test_five_agents_are_in_colour_and_another_when_it_is_pointed_at(page):
    bands = "document.getElementById('curves').data.filter((trace) => trace.fill).length"
    assert page.evaluate(bands) == 5
    emit = (
        "(name) => document.getElementById('curves').emit(name, {points: [{data: "
        "document.getElementById('curves').data.find((trace) => trace.line.width === 1.2)}]})"
    )
    page.evaluate(emit, "plotly_hover")
    page.wait_for_function(f"{bands} === 6")
    page.evaluate("document.getElementById('curves').emit('plotly_unhover', {})")
    page.wait_for_function(f"{bands} === 5")


def test_the_first_screen_answers(page):
    answer = page.locator(".answer").inner_text()
    assert answer.strip() == "No component's effect can be told from no effect."
    first = page.locator("table.forest").first
    assert first.locator("tbody tr").count() == 3
    box = first.bounding_box()
    assert box["y"] + box["height"] < 900
    texts = page.locator("table.matrix").first.locator("thead th").all_inner_texts()
    assert texts == ["", "lake", "pond"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(browser, made, scheme):
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page.goto(made.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    ink, paper = page.evaluate(
        "['color', 'backgroundColor'].map((key) => getComputedStyle(document.body)[key])"
    )
    assert (ink == "rgb(232, 234, 237)") == (scheme == "dark")
    assert ink != paper
    legend = page.evaluate("document.getElementById('curves')._fullLayout.legend.orientation")
    assert legend == "h"
    page.close()


def test_hovering_shows_the_number_and_its_n(page):
    page.locator("#curves").scroll_into_view_if_needed()
    box = page.locator("#curves .nsewdrag").bounding_box()
    x, y = page.evaluate(
        """() => {
            const plot = document.getElementById("curves"), axes = plot._fullLayout;
            const mean = plot.data.find((t) => t.meta !== undefined && t.legendgroup === "Rainbow");
            return [axes.xaxis.l2p(mean.x[10]), axes.yaxis.l2p(mean.y[10])];
        }"""
    )
    page.mouse.move(box["x"] + x + 1, box["y"] + y + 1)
    hover = page.locator("#curves .hoverlayer .hovertext")
    hover.first.wait_for()
    assert "n = 4" in hover.first.text_content()
    assert "Rainbow" in hover.first.text_content()


def test_a_click_in_the_legend_hides_an_agent(page):
    before = lines(page)
    page.locator("#curves .legendtoggle").nth(1).click()
    page.wait_for_function(
        f"document.querySelectorAll('#curves .scatterlayer .trace path.js-line').length < {before}"
    )
    assert lines(page) == before - 2


def test_a_click_on_a_run_goes_to_its_entry(page):
    page.check("#runs")
    page.evaluate(
        "document.getElementById('curves').emit('plotly_click', {points: [{data: "
        "document.getElementById('curves').data.find(d => d.meta && d.meta.anchor)}]})"
    )
    page.wait_for_url("**#run-*")
    assert page.locator("tr:target").is_visible()


def test_tables_sort_both_ways(page):
    page.evaluate("document.querySelectorAll('details').forEach((box) => (box.open = true))")
    table = page.locator("figure.table", has_text="one component removed").first.locator("table")
    head = table.locator("thead th").nth(3)

    def column():
        return [float(cell.split("[")[0].replace("\u2212", "-").replace("\u2007", "")) for cell in
                table.locator("tbody td:nth-child(4)").all_inner_texts()]  # fmt: skip

    head.click()
    assert column() == sorted(column())
    assert head.get_attribute("aria-sort") == "ascending"
    head.press("Enter")
    assert column() == sorted(column(), reverse=True)


def test_a_number_leads_to_its_runs_and_to_the_command(page):
    page.evaluate("document.querySelectorAll('details').forEach((box) => (box.open = true))")
    page.locator("figure.table tbody a").first.click()
    cell = page.locator("details.cell:target")
    assert cell.get_attribute("open") is not None
    assert cell.locator("tbody tr").count() == 5
    assert "prism " in cell.inner_text()
    assert cell.locator("tbody a").first.get_attribute("href") == "../runs/rainbow-lake-s0/"


def test_a_hostile_name_is_text(page):
    assert page.evaluate("[...document.querySelectorAll('b')].every(b => b.textContent !== 'x')")
    texts = page.locator("#curves .legendtext").all_text_contents()
    assert any(text.startswith(HOSTILE) for text in texts)
    assert page.locator("tbody th", has_text=HOSTILE).count() > 0


@pytest.fixture(scope="module")
def odd(browser, tmp_path_factory):
    """Returns below 0; a run of "short" ends half-way; the lines of "one" and "two" are equal."""
    rows = [
        {"label": label, "env": "lake", "seed": s, "global_step": 10 * t, "eval/return": t - 5 + s}
        | {"state": "failed" if label == "short" and s == 2 else "finished", "budget": 100}
        for label in ("one", "short", "two")
        for s in range(3)
        for t in range(11)
        if t <= 5 or label != "short" or s < 2
    ]
    folder = tmp_path_factory.mktemp("odd")
    pd.DataFrame(rows).to_csv(folder / "odd.csv", index=False)
    out = folder / "out"
    words = ["report", str(folder / "odd.csv"), "--include", "unfinished", "--out", str(out)]
    assert main(words) == 0
    page = browser.new_page()
    page.goto((out / "index.html").as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    yield page
    page.close()


def test_a_band_is_drawn_as_far_as_there_are_runs(odd):
    bands = odd.evaluate("document.getElementById('curves').data.filter(t => t.fill).map(t => t.x)")
    assert len(bands) == 3
    whole, short, _ = bands
    assert max(x for x in whole if x is not None) == 100
    assert max(x for x in short if x is not None) == 50


def test_no_logarithm_of_what_is_not_above_0(odd):
    option = odd.locator("#scale option[value=log]")
    assert option.is_disabled()
    assert "above 0" in option.inner_text()
    assert odd.evaluate("document.getElementById('curves').layout.yaxis.type") == "linear"


def test_a_line_that_hides_another_says_so(odd):
    names = odd.locator("#curves .legendtext").all_text_contents()
    assert names == ["one (n = 3)", "short (n = 3)", "two (n = 3) = one"]


def test_it_prints(page, tmp_path):
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible()
    assert page.locator("#curves svg").first.is_visible()
    page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    assert (tmp_path / "page.pdf").stat().st_size > 100_000
