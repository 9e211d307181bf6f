"""The page in a real browser: it renders without errors, in light and dark, wide and narrow."""

import html
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from edgewise.eval.report import write_report

matplotlib_image = pytest.importorskip("matplotlib.image")
pytest.importorskip("jinja2")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--log-level=0",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium"),
]


def chromium(folder, page, *flags):
    """Run the browser on a page with a fresh profile; its standard output and the console's lines."""
    profile = folder / f"profile{len(list(folder.iterdir()))}"
    profile.mkdir()
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()]
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(folder, page, width, height, dark=False):
    picture = folder / f"{width}{'dark' if dark else 'light'}.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _, console = chromium(folder, page, f"--window-size={width},{height}", f"--screenshot={picture}", *scheme)
    assert console == []
    pixels = matplotlib_image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (height, width)
    return pixels


@pytest.mark.parametrize("folder", ["run_dir", "game_dir"])
def test_the_page_renders_in_light_and_dark(tmp_path, request, folder):
    page = write_report(request.getfixturevalue(folder))
    light = screenshot(tmp_path, page, 1280, 2400)
    dark = screenshot(tmp_path, page, 1280, 2400, dark=True)
    for pixels in (light, dark):
        bands = np.array_split(pixels, 8)  # content from top to bottom, not one picture and a void
        assert all(band.std() > 0.02 for band in bands)
        assert len(np.unique((pixels * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 100
    assert light.mean() > 0.8
    assert dark.mean() < 0.3


@pytest.mark.parametrize("folder", ["run_dir", "game_dir"])
def test_the_page_fits_a_narrow_window(tmp_path, request, folder):
    # A frame of 390 px, since the browser's own window cannot be that narrow.
    page = write_report(request.getfixturevalue(folder))
    measured = tmp_path / "narrow.html"
    inner = html.escape(re.sub(r"<meta http-equiv[^>]*>", "", page.read_text()), quote=True)
    measured.write_text(
        f'<!doctype html><iframe id=f width=390 height=3000 srcdoc="{inner}"></iframe><script>'
        "onload=()=>{const d=f.contentDocument.documentElement;"
        "document.title=d.scrollWidth+' '+f.contentDocument.querySelectorAll('figure svg path').length}</script>"
    )
    dom, console = chromium(tmp_path, measured, "--dump-dom")
    assert console == []
    width, marks = map(int, re.search(r"<title>(\d+) (\d+)</title>", dom).groups())
    assert width <= 390  # nothing makes the page itself scroll sideways
    assert marks > 50


def test_a_script_error_would_be_seen(tmp_path):
    page = tmp_path / "broken.html"
    page.write_text("<!doctype html><script>undefinedName()</script>")
    _, console = chromium(tmp_path, page, "--dump-dom")
    assert any("undefinedName" in line for line in console)
