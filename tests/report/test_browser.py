"""The page in a real browser: what a person sees on a desk and on a telephone, in light and in dark."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
VIEWS = [(width, scheme) for width in (1280, 400) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here, so the report was not looked at in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=list(OPTIONS)
        )
        yield chromium
        chromium.close()


def _open(browser, path: Path, width: int, scheme: str):
    """Opens the page tall enough to be seen at once; whatever it complains of or asks the network for fails."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url[:80]))
    page.goto(path.as_uri())
    addresses = [text for text in said if not text.startswith("data:")]
    assert addresses == [path.as_uri()]
    page.set_viewport_size({"width": width, "height": page.evaluate("document.body.scrollHeight")})
    return page


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_all_of_it_can_be_read(browser, pages, width, scheme):
    for path in (pages.one, pages.two, pages.published):
        page = _open(browser, path, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (
            page.evaluate(
                "Math.max(...[...document.body.querySelectorAll('*')]"
                ".map(e => e.getBoundingClientRect().right))"
            )
            <= width
        )
        found = page.evaluate(CONTRAST, 4.5)
        assert found["low"] == []
        assert found["count"] > 80
        page.close()


def test_contrast_is_measured(browser, tmp_path):
    """The measure itself: grey on white of a known ratio, text over a half-clear bar, text in an SVG."""
    path = tmp_path / "grey.html"
    path.write_text(
        "<body style='background: #fff'><p style='color: #777'>4.48</p><p style='color: #767676'>4.54</p>"
        "<p style='color: #000; background: rgb(0 0 0 / 0.7)'>dark</p>"
        "<svg><rect width='90' height='50' fill='#222' /><text x='5' y='20' fill='#333'>hidden</text></svg>"
    )
    page = browser.new_page(viewport={"width": 400, "height": 400})
    page.goto(path.as_uri())
    found = page.evaluate(CONTRAST, 4.5)
    page.close()
    assert found["count"] == 4
    assert [text.split()[1] for text in found["low"]] == ["4.48", "dark", "hidden"]
    assert found["low"][0].split()[0] == "4.48"


@pytest.mark.parametrize("width", [1280, 400])
def test_every_figure_is_there(browser, pages, width):
    page = _open(browser, pages.one, width, "light")
    charts = page.evaluate(
        "[...document.querySelectorAll('.charts figure')].map(f => [f.id, f.querySelector('figcaption').innerText, "
        "f.querySelector('svg').getAttribute('aria-label'), f.querySelector('svg').getBoundingClientRect().height, "
        "[...f.querySelectorAll('svg path')].filter(p => p.getTotalLength() > 10).length])"
    )
    assert [chart[0].removeprefix("chart-") for chart in charts] == [
        *("loss", "top1", "learning_rate", "images_per_second", "input_wait_fraction", "time")
    ]
    for _, title, alternative, height, paths in charts:
        assert title
        assert len(alternative) > 30
        assert height > 120
        assert paths >= 5
    images = page.evaluate(
        "[...document.images].map(i => [i.alt, i.complete && i.naturalWidth, i.getBoundingClientRect().width])"
    )
    assert len(images) == 2 + 12  # filters at start and end, best and worst
    for alternative, pixels, shown in images:
        assert alternative
        assert pixels >= 32
        assert shown >= 100
    assert page.locator(".matrix tbody tr").count() == 10
    counts = page.locator(".matrix td:not(.none)").all_inner_texts()
    assert sum(map(int, counts)) == 360
    assert page.locator(".card dt").count() > 10
    page.close()


def test_print_is_light(browser, pages):
    page = _open(browser, pages.one, 1280, "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST, 4.5)["low"] == []
    page.close()


def test_two_runs_overlay_their_curves(browser, pages):
    page = _open(browser, pages.two, 1280, "light")
    lines = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.charts g[id]')]"
        ".filter(g => /-(train|eval)$/.test(g.id)).map(g => [g.id, [getComputedStyle(g.querySelector('path')).stroke, "
        "g.querySelector('path').getAttribute('d').match(/[ML]/g).length]]))"
    )
    for metric in ("loss", "top1"):
        assert lines[f"{metric}-first-eval"][1] == lines[f"{metric}-second-eval"][1] == 3
    for metric in ("loss", "top1", "learning_rate", "images_per_second", "input_wait_fraction"):
        first, second = lines[f"{metric}-first-train"], lines[f"{metric}-second-train"]
        assert first[0] != second[0]  # the colour
        swatches = page.evaluate(
            "[...document.querySelectorAll('.swatch')].map(s => getComputedStyle(s).backgroundColor)"
        )
        assert swatches == [first[0], second[0]]
    assert page.locator("#chart-time path[style*='series-2']").count() >= 5
    page.close()
